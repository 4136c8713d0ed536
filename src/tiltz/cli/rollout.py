"""``tiltz rollout``: completions drawn from a reference, rewarded, on disk."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tiltz.cli.options import Numbers
from tiltz.errors import InputError
from tiltz.text import count, number, one_line

if TYPE_CHECKING:
    from tiltz.rollouts.drawing import Progress, RolloutRun, WidthRun

_OWN_LENGTH = ("tiny", "table", "numpy")  # quickly loaded; all others take that of a plain spec


@click.command("rollout", short_help="Draw completions from a reference, reward them, and write them.")
@click.argument("prompts", type=click.Path(dir_okay=False))
@click.option(
    "--model", "-m", default="tiny", show_default=True, help="tiny, hf:PATH_OR_ID, openai:URL#MODEL, ..."
)
@click.option("--policy", help="Draw from this model instead; the reference scores what it draws.")
@click.option(
    "--reward", "reward_names", multiple=True, required=True,
    help="package.module:function or file.py:function with TRL's signature, or hf:PATH_OR_ID; repeated, their sum.",
)  # fmt: skip
@click.option(
    "-n", "n", type=click.IntRange(min=1), default=16, show_default=True,
    help="Completions per prompt; with --until-width those of the first round.",
)  # fmt: skip
@click.option(
    "--until-width", type=float, metavar="NATS",
    help="Go on with each prompt until its interval of log Z is so narrow.",
)  # fmt: skip
@click.option("--beta", type=float, help="With --until-width: the beta of that interval.")
@click.option(
    "--at-most", type=click.IntRange(min=1),
    help="With --until-width: completions after which a prompt gets no more.  [default: 4096]",
)  # fmt: skip
@click.option(
    "--level", type=float, default=0.95, show_default=True, help="With --until-width: confidence level."
)
@click.option(
    "--reward-range", type=Numbers(":", "0:1", count=2), metavar="LOW:HIGH",
    help="Declare the lowest and highest possible reward.  [default: what the rewards declare]",
)  # fmt: skip
@click.option(
    "--reward-values",
    type=Numbers(",", "0,1"),
    metavar="A,B",
    help="Declare all possible rewards.",
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
    policy: str | None,
    reward_names: tuple[str, ...],
    n: int,
    output: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw completions of PROMPTS from a reference, reward them, and write them shard by shard.

    PROMPTS is a file with a column "prompt" (text or chat messages) and the columns that the rewards need; or
    .txt, one prompt per line. What is drawn from IS the reference: temperature, truncation and length belong to it
    and are written down. Killed at any moment, the same command goes on where it was.

    With --until-width every prompt gets as many completions as its interval needs, and the interval still covers.

    \b
    Examples:
      tiltz rollout prompts.jsonl --reward rewards.py:correct -n 32 -o rollouts/
      tiltz rollout prompts.jsonl -m hf:my-model --reward hf:my-reward-model -o rollouts/ --max-tokens 256
      tiltz rollout prompts.jsonl --policy hf:my-policy --reward hf:my-reward-model -o policy/
      tiltz rollout prompts.jsonl --reward rewards.py:correct --until-width 0.5 --beta 0.1 --reward-values 0,1 -o out/
      tiltz estimate rollouts/ --beta 0.1
    """
    # Models and rewards take longer to import than all other commands to run.
    from tiltz import rewards
    from tiltz.rollouts.drawing import read_prompts, rollout

    listed = read_prompts(prompts)
    functions = _named([(name, rewards.load(name)) for name in reward_names])
    drawn_as = {name: options.pop(name) for name in ("temperature", "top_k", "top_p", "min_p", "max_tokens")}
    reference = _model(model, drawn_as)
    drawer = None
    if policy is not None:
        # Of all tokens, whatever the reference leaves out: its draws must cover those of the reference.
        spec = {"temperature": drawn_as["temperature"], "max_tokens": reference.spec.max_tokens}
        drawer = _model(policy, spec)
    begun = time.monotonic()
    with _bar(len(listed)) as told, _goes_on(output):
        run = rollout(reference, functions, listed, n, output, policy=drawer, progress=told, **options)
    seconds = time.monotonic() - begun
    if as_json:
        click.echo(json.dumps(_facts(run, seconds), ensure_ascii=False))
    else:
        click.echo("\n".join(_lines(run, seconds)))


def _named(loaded: list[tuple[str, Any]]) -> Any:
    """Return one reward by its whole name, which the files keep, several by the last parts, which name columns."""
    if len(loaded) == 1:
        return dict(loaded)
    named = {name.rpartition(":")[2]: function for name, function in loaded}
    if len(named) < len(loaded):
        raise InputError(
            f"several rewards must have different names; found {', '.join(name for name, _ in loaded)}."
        )
    return named


def _model(name: str, drawn_as: dict[str, Any]) -> Any:
    """Return the model, drawn from as asked; lengths that were not given are its own."""
    from tiltz import lm

    given = {key: value for key, value in drawn_as.items() if value is not None}
    if "max_tokens" not in given and name.partition(":")[0] in _OWN_LENGTH:
        given["max_tokens"] = lm.load(name).spec.max_tokens
    spec = lm.SamplingSpec(**given)
    return lm.load(name, spec=spec)


@contextmanager
def _goes_on(output: str) -> Iterator[None]:
    """Say, where a run is interrupted, that it can go on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"finished shards are in {output}; the same command goes on from there", err=True)
        raise


@contextmanager
def _bar(n_prompts: int) -> Iterator[Callable[[Progress], None]]:
    """Show finished prompts, completions, tokens per second and the time left on stderr, if a person is watching."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("prompts, {task.description}"),
        TimeRemainingColumn(),
    )
    begun = time.monotonic()
    # Rounds may take minutes, and speed is an average over all of them.
    with Bar(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=86400) as bar:
        task = bar.add_task("drawing", total=n_prompts)

        def told(progress: Progress) -> None:
            speed = progress.n_tokens / max(time.monotonic() - begun, 1e-9)
            failed = f", {progress.n_failed:,} without reward" if progress.n_failed else ""
            words = f"{count(progress.n_rows, 'completion')}, {speed:,.0f} tokens/s{failed}"
            bar.update(task, completed=progress.n_prompts, description=words)

        yield told


def _facts(run: RolloutRun, seconds: float) -> dict[str, Any]:
    from tiltz.rollouts.drawing import WidthRun

    facts = {
        "schema": "tiltz/1",
        "folder": str(run.folder),
        "n_rows": run.n_rows,
        "n_new": run.n_new,
        "n_tokens": run.n_tokens,
        "n_failed": run.n_failed,
        "seconds": round(seconds, 3),
    }
    if isinstance(run, WidthRun):
        ended = {"n_prompts": run.n_prompts, "n_narrow": run.n_narrow, "most_rows": run.most_rows}
        facts |= {**run.stopping.to_dict(), **ended}
    return facts


def _lines(run: RolloutRun, seconds: float) -> Iterator[str]:
    from tiltz.rollouts.drawing import WidthRun

    before = run.n_rows - run.n_new
    yield f"{run.folder}: {count(run.n_rows, 'completion')}, {run.n_new:,} drawn now, {before:,} were there"
    if run.n_new:
        speed = run.n_tokens / max(seconds, 1e-9)
        yield f"{run.n_tokens:,} tokens in {seconds:.1f} s, {speed:,.0f} per second"
    if run.n_failed:
        why = f"{count(run.n_failed, 'completion')} without a reward, which is no reward of 0; the first because:"
        yield f"{why} {one_line(run.first_error):.300}"
    beta, level = 0.1, ""
    if isinstance(run, WidthRun):
        yield from _widths(run)
        beta = run.stopping.beta
        level = "" if run.stopping.level == 0.95 else f" --level {run.stopping.level:g}"
    yield f"next:  tiltz estimate {run.folder} --beta {beta:g}{level}"


def _widths(run: WidthRun) -> Iterator[str]:
    # Also what one number of completions for all would have cost, where it is known.
    rule = run.stopping
    wanted = f"at most {number(rule.until_width)} nats wide at beta {number(rule.beta)}"
    yield f"{run.n_narrow:,} of {count(run.n_prompts, 'prompt')} have an interval {wanted}"
    if run.n_narrow < run.n_prompts:
        yield f"{run.n_prompts - run.n_narrow:,} ended with the {rule.at_most:,} completions that --at-most allows"
    elif run.n_rows < run.most_rows * run.n_prompts:
        yield (
            f"the hardest prompt needed {run.most_rows:,}; so many for each would be "
            f"{run.most_rows * run.n_prompts:,} completions"
        )
