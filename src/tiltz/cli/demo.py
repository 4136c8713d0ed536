"""``tiltz demo``: the estimate beside the truth, on rollouts that ship with the package."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import numpy as np

import tiltz
from tiltz.cli.options import Betas
from tiltz.errors import FileError
from tiltz.testbeds import DEMO_FILE, sums
from tiltz.text import number, paragraph, table


@click.command()
@click.option("--beta", type=Betas(), default="0.1", show_default=True, help="Beta to show.")
@click.option("--rows", default=12, show_default=True, type=click.IntRange(min=1), help="Prompts to print.")
@click.option(
    "--save",
    type=click.Path(dir_okay=False),
    help="Copy the rollouts to FILE (.parquet), to try the other commands.",
)
def demo(beta: tuple[float, ...], rows: int, save: str | None) -> None:
    """Show the estimate beside the truth.

    The rollouts are 16 draws for each of 240 questions "What is a + b?" from a small world in which every
    answer and its probability are known, so that log Z is known exactly.
    """
    if save is not None:
        _save(save)
    outcomes = tiltz.read(DEMO_FILE, reward_values=(0, 1))
    world = sums()
    found, truth = tiltz.estimate(outcomes, beta[0]), tiltz.estimate(world.outcomes(), beta[0])
    headers = [
        "prompt",
        "right",
        "log Z",
        f"{100 * found.level:g}% interval",
        "true log Z",
        "soft value",
        "true",
    ]
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
    held = (found.lo <= truth.log_z) & (truth.log_z <= found.hi)
    mean, exact = found.overall, float(np.mean(truth.soft_value))
    says = [
        f"The interval holds the truth for {held.sum()} of {held.size} prompts (promised: at least {found.level:.0%}).",
        f"Mean soft value: log-mean-exp says {number(mean.soft_value[0])}, the truth is {number(exact)}; the interval "
        f"says [{number(mean.lo[0])}, {number(mean.hi[0])}]. Log-mean-exp is biased low, and averaging does not help.",
        "Prompts with 0 right of 16 are not known to be impossible: their soft value may be high, and tiltz says so.",
    ]
    click.echo(f"log Z at beta {number(beta[0])} from {len(outcomes):,} rollouts, beside the truth\n")
    click.echo(table(headers, lines, right=range(1, len(headers))))
    click.echo("\n" + "\n".join(line for sentence in says for line in paragraph(sentence)))
    name = save or "rollouts.parquet"
    click.echo("\nNext, on files of your own or on these:")
    if save is None:
        click.echo(f"  tiltz demo --save {name}")
    click.echo(f"  tiltz estimate {name} --beta {number(beta[0])}\n  tiltz sweep {name} --betas 0.01:10:13")


def _save(path: str) -> None:
    """Copy the rollouts; the name appears when the copy is complete."""
    target = Path(path)
    if target.suffix != ".parquet":
        raise FileError(
            f"the demo's rollouts are a Parquet file; --save must end in .parquet, found {path!r}."
        )
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.copyfile(DEMO_FILE, partial)
        partial.replace(target)
    except OSError as reason:
        partial.unlink(missing_ok=True)
        raise FileError(f"{path!r} cannot be written: {reason.strerror}.") from reason
    click.echo(f"wrote {target}", err=True)
