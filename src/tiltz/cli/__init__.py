"""The command line: one file per command, which parses, calls the library and prints."""

from __future__ import annotations

import sys

import click

from tiltz import __version__
from tiltz.cli.completion import completion
from tiltz.cli.demo import demo
from tiltz.cli.estimate import estimate
from tiltz.cli.sample import sample
from tiltz.cli.sweep import sweep
from tiltz.errors import TiltzError


class _Commands(click.Group):
    """Commands whose mistakes of use end in one paragraph and exit code 2."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except TiltzError as error:
            raise _Refusal(str(error)) from error


class _Refusal(click.ClickException):
    exit_code = 2

    def show(self, file: object = None) -> None:
        click.echo(click.wrap_text(f"Error: {self.message}", width=80), err=True)


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="tiltz")
def commands() -> None:
    """Compute the normalization factor Z of a reward-weighted policy, from rollouts.

    \b
        pi_beta(y|x) = pi_ref(y|x) exp(r(x,y) / beta) / Z(x)
        soft value   = beta log Z(x)

    Every command reads rollouts from files (Parquet, JSONL, CSV; the layouts of tiltz, TRL, verl, A-PO
    and NeMo-RL are recognised) and groups them by prompt.

    Start with:  tiltz demo
    """


for _command in (estimate, sweep, sample, demo, completion):
    commands.add_command(_command)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # A prompt may hold characters that a terminal's encoding lacks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    commands(prog_name="tiltz")
