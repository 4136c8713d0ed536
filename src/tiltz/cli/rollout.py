"""``tiltz rollout``: completions drawn from a reference, rewarded, on disk."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tiltz.errors import InputError
from tiltz.text import count

if TYPE_CHECKING:
    from tiltz.rollouts.drawing import Progress, RolloutRun


@click.command("rollout", short_help="Draw completions from a reference, reward them, and write them.")
@click.argument("prompts", type=click.Path(dir_okay=False))
@click.option("--model", "-m", default="tiny", show_default=True, help="tiny, hf:PATH_OR_ID, table:FILE, ...")
@click.option(
    "--reward", "reward_names", multiple=True, required=True,
    help="package.module:function or file.py:function with TRL's signature, or hf:PATH_OR_ID; repeated, their sum.",
)  # fmt: skip
@click.option(
    "-n", "n", type=click.IntRange(min=1), default=16, show_default=True, help="Completions per prompt."
)
@click.option("--output", "-o", type=click.Path(file_okay=False), required=True, help="Folder to write.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the draws.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Divides the logits.")
@click.option("--top-k", type=int, default=0, show_default=True, help="Most probable tokens kept; 0 for all.")
@click.option("--top-p", type=float, default=1.0, show_default=True, help="Mass of the tokens kept.")
@click.option("--min-p", type=float, default=0.0, show_default=True, help="Share of the best token's mass.")
@click.option("--max-tokens", type=int, default=None, help="Longest completion.  [default: the model's]")
@click.option("--batch-prompts", type=click.IntRange(min=1), default=None, help="Prompts of one shard.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; messages go to stderr.")
def rollout_command(
    prompts: str,
    model: str,
    reward_names: tuple[str, ...],
    n: int,
    output: str,
    seed: int,
    batch_prompts: int | None,
    as_json: bool,
    **drawn_as: Any,
) -> None:
    """Draw completions of PROMPTS from a reference, reward them, and write them shard by shard.

    PROMPTS is a file with a column "prompt" (text or chat messages) and the columns that the rewards need; or
    .txt, one prompt per line. What is drawn from IS the reference: temperature, truncation and length belong to it
    and are written down. Killed at any moment, the same command goes on where it was.

    \b
    Examples:
      tiltz rollout prompts.jsonl --reward rewards.py:correct -n 32 -o rollouts/
      tiltz rollout prompts.jsonl -m hf:my-model --reward hf:my-reward-model -o rollouts/ --max-tokens 256
      tiltz estimate rollouts/ --beta 0.1
    """
    # Models and rewards take longer to import than all other commands to run.
    from tiltz import rewards
    from tiltz.rollouts.drawing import read_prompts, rollout

    listed = read_prompts(prompts)
    loaded = [(name, rewards.load(name)) for name in reward_names]
    functions = _named(loaded)
    reference = _model(model, drawn_as)
    begun = time.monotonic()
    with _bar(len(listed) * n) as told:
        run = rollout(
            reference, functions, listed, n, output, seed=seed, batch_prompts=batch_prompts, progress=told
        )
    seconds = time.monotonic() - begun
    if as_json:
        click.echo(json.dumps(_facts(run, seconds), ensure_ascii=False))
    else:
        click.echo(_text(run, seconds))


def _named(loaded: list[tuple[str, Any]]) -> Any:
    """Return one reward as it is, several by the last part of their names."""
    if len(loaded) == 1:
        return loaded[0][1]
    named = {name.rpartition(":")[2]: function for name, function in loaded}
    if len(named) < len(loaded):
        raise InputError(
            f"several rewards must have different names; found {', '.join(name for name, _ in loaded)}."
        )
    return named


def _model(name: str, drawn_as: dict[str, Any]) -> Any:
    """Return the model, drawn from as asked; lengths that were not given are its own."""
    from tiltz import lm

    longest = drawn_as.pop("max_tokens")
    if longest is None:
        longest = lm.load(name).spec.max_tokens
    return lm.load(name, spec=lm.SamplingSpec(max_tokens=longest, **drawn_as))


@contextmanager
def _bar(n_rows: int) -> Iterator[Callable[[Progress], None]]:
    """Show rows, tokens per second and the time left on stderr, if a person is watching."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    begun = time.monotonic()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("drawing", total=n_rows)

        def told(progress: Progress) -> None:
            speed = progress.n_tokens / max(time.monotonic() - begun, 1e-9)
            failed = f", {progress.n_failed:,} without reward" if progress.n_failed else ""
            bar.update(task, completed=progress.n_rows, description=f"{speed:,.0f} tokens/s{failed}")

        yield told


def _facts(run: RolloutRun, seconds: float) -> dict[str, Any]:
    return {
        "schema": "tiltz/1",
        "folder": str(run.folder),
        "n_rows": run.n_rows,
        "n_new": run.n_new,
        "n_tokens": run.n_tokens,
        "n_failed": run.n_failed,
        "seconds": round(seconds, 3),
    }


def _text(run: RolloutRun, seconds: float) -> str:
    before = run.n_rows - run.n_new
    lines = [
        f"{run.folder}: {count(run.n_rows, 'completion')}, {run.n_new:,} drawn now, {before:,} were there"
    ]
    if run.n_new:
        lines.append(
            f"{run.n_tokens:,} tokens in {seconds:.1f} s, {run.n_tokens / max(seconds, 1e-9):,.0f} per second"
        )
    if run.n_failed:
        lines.append(
            f"{count(run.n_failed, 'completion')} without a reward: the column error says why; a reward that is not "
            "known is no reward of 0"
        )
    lines.append(f"next:  tiltz estimate {run.folder} --beta 0.1")
    return "\n".join(lines)
