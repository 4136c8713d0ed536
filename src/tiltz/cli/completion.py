"""``tiltz completion``: the script that completes commands in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from tiltz.errors import InputError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes tiltz in a shell.

    \b
    Examples:
      tiltz completion bash >> ~/.bashrc
      tiltz completion fish > ~/.config/fish/completions/tiltz.fish
    """
    script = get_completion_class(shell)
    if script is None:
        raise InputError(f"no completion is known for the shell {shell!r}.")
    click.echo(script(ctx.find_root().command, {}, "tiltz", "_TILTZ_COMPLETE").source())
