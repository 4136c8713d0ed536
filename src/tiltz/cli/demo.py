"""``tiltz demo``: the estimate beside the truth, on rollouts that ship with the package."""

from __future__ import annotations

import filecmp
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

import click
import numpy as np

import tiltz
from tiltz.cli.options import Betas, NewFile, one_beta
from tiltz.errors import FileError
from tiltz.testbeds import DEMO_FILE, Sums, sums
from tiltz.text import count, number, paragraph, table


@click.command()
@click.option(
    "--beta",
    type=Betas(),
    multiple=True,
    default=["0.1"],
    show_default=True,
    callback=one_beta,
    help="Beta to show.",
)
@click.option("--rows", default=12, show_default=True, type=click.IntRange(min=1), help="Prompts to print.")
@click.option(
    "--save",
    type=NewFile(".parquet"),
    help="Copy the rollouts to FILE (.parquet), to try the other commands.",
)
def demo(beta: float, rows: int, save: str | None) -> None:
    """Show the estimate beside the truth.

    The rollouts are 16 draws for each of 240 questions "What is a + b?" from a small world in which every
    answer and its probability are known, so that log Z is known exactly.

    \b
    Examples:
      tiltz demo
      tiltz demo --beta 0.5 --rows 5
      tiltz demo --save rollouts.parquet
    """
    if save is not None:
        _save(Path(save))
    outcomes, world = tiltz.read(DEMO_FILE, reward_values=(0, 1)), sums()
    found, truth = tiltz.estimate(outcomes, beta), tiltz.estimate(world.outcomes(), beta)
    click.echo(f"log Z at beta {number(beta)} from {count(len(outcomes), 'rollout')}, beside the truth\n")
    click.echo(_table(outcomes, world, found, truth, rows))
    click.echo()
    for sentence in _sentences(found, truth):
        click.echo("\n".join(paragraph(sentence)))
    click.echo("\nNext, on files of your own or on these:")
    if save is None:
        click.echo("  tiltz demo --save rollouts.parquet")
    name = shlex.quote(save or "rollouts.parquet")
    click.echo(f"  tiltz estimate {name} --beta {number(beta)}\n  tiltz sweep {name} --betas 0.01:10:13")


def _table(
    outcomes: tiltz.Outcomes, world: Sums, found: tiltz.Estimate, truth: tiltz.Estimate, rows: int
) -> str:
    """Return one line per prompt: how many answers were right, and each number beside the truth."""
    headers = ["prompt", "right", "log Z", f"{found.level:.0%} interval", "truth", "soft value", "truth"]
    right = np.add.reduceat(outcomes.reward, outcomes.groups.start[:-1])
    lines = [
        [
            world.prompt[i],
            f"{right[i]:.0f}/{found.n[i]}",
            number(found.log_z[i, 0]),
            f"[{number(found.lo[i, 0])}, {number(found.hi[i, 0])}]",
            number(truth.log_z[i, 0]),
            number(found.soft_value[i, 0]),
            number(truth.soft_value[i, 0]),
        ]
        for i in range(min(rows, len(found.prompt)))
    ]
    more = len(found.prompt) - len(lines)
    return table(headers, lines, right=range(1, len(headers))) + (
        f"\n... {count(more, 'more prompt')}" if more else ""
    )


def _sentences(found: tiltz.Estimate, truth: tiltz.Estimate) -> list[str]:
    held = (found.lo <= truth.log_z) & (truth.log_z <= found.hi)
    mean, exact = found.overall, float(np.mean(truth.soft_value))
    return [
        "right: answers with reward 1 (the others have 0); log Z in nats; soft value: beta log Z, in units of reward; "
        "truth: from the probabilities of all answers.",
        f"The interval holds the truth for {held.sum()} of {held.size} prompts (promised: at least {found.level:.0%}).",
        f"Mean soft value: log-mean-exp says {number(mean.soft_value[0])}, the truth is {number(exact)}; the interval "
        f"says [{number(mean.lo[0])}, {number(mean.hi[0])}]. Log-mean-exp is biased low, and averaging does not help.",
        "Prompts with 0 right of 16 are not known to be impossible: their soft value may be high, and tiltz says so.",
    ]


def _save(target: Path) -> None:
    """Copy the rollouts; the name appears when the copy is complete, and no other file is overwritten."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        if target.exists():
            if filecmp.cmp(DEMO_FILE, target, shallow=False):
                return
            raise FileError(
                f"{str(target)!r} is there already and holds something else; save under another name."
            )
        shutil.copyfile(DEMO_FILE, partial)
        partial.replace(target)
    except OSError as reason:
        raise FileError(f"{str(target)!r} cannot be written: {reason.strerror}.") from reason
    finally:
        with suppress(OSError):
            partial.unlink()
    click.echo(f"wrote {target}", err=True)
