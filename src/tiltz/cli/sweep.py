"""``tiltz sweep``: the curve over beta, and the smallest beta that the samples support."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

import tiltz
from tiltz.charts import FORMATS, check_picture, save_chart
from tiltz.cli import session
from tiltz.cli.options import Betas, NewFile, all_betas, declaring, reading, writing
from tiltz.text import count, number, paragraph

_LEGEND = (
    "soft value: beta log Z, with the interval of its mean, and mean reward of the tilted policy, in units of reward; "
    "KL: from the tilted policy to the reference; ess: effective number of rows"
)


@click.command()
@reading
@click.option(
    "--betas",
    "--beta",
    "betas",
    type=Betas(),
    multiple=True,
    required=True,
    callback=all_betas,
    help="LOW:HIGH:N, or a beta; repeatable.",
)
@declaring
@click.option(
    "--width", default=1.0, show_default=True, help="Widest interval, in nats, that counts as reliable."
)
@click.option("--simultaneous", is_flag=True, help="Limits that hold for all betas of a prompt together.")
@click.option(
    "--against-best-of",
    type=click.IntRange(min=1),
    metavar="N",
    help="Compare with best-of-N, and with fewer draws, at the same KL.",
)
@click.option("--plot", type=NewFile(*FORMATS), help="Draw the curve to FILE: .html, .svg or .png.")
@writing
def sweep(
    files: tuple[str, ...],
    betas: list[float],
    level: float,
    interval: str,
    reward_range: tuple[float, float] | None,
    reward_values: tuple[float, ...] | None,
    width: float,
    simultaneous: bool,
    against_best_of: int | None,
    plot: str | None,
    output: str | None,
    as_json: bool,
    **table: Any,
) -> None:
    """Show the curve over beta: soft value, mean reward and KL, and where the samples support them.

    \b
    Examples:
      tiltz sweep rollouts.parquet --betas 0.01:10:25
      tiltz sweep rollouts.parquet --betas 0.01:10:50 --plot curve.svg --output curve.csv
      tiltz sweep rollouts.parquet --betas 0.01:10:50 --against-best-of 16 --plot curve.html
    """
    if plot is not None:
        check_picture(plot)
    outcomes = session.read_table(
        files, to_write=[output, plot], reward_range=reward_range, reward_values=reward_values, **table
    )
    options: dict[str, Any] = {"level": level, "width": width}
    with session.progress("sweeping") as progress:
        found = tiltz.sweep(
            outcomes,
            betas,
            interval=None if interval == "none" else interval,
            simultaneous=simultaneous,
            progress=progress,
            **options,
        )
    columns, text = found.to_dict(), session.about(outcomes, _LEGEND) + "\n\n" + found.summary()
    if interval != "none":
        with session.progress("looking for the smallest beta"):
            least = tiltz.smallest_beta(outcomes, interval=interval, **options)
        columns["smallest_beta"] = np.repeat(least, len(found.beta)).tolist()
        text += "\n" + _smallest(least, width)
    best = None
    if against_best_of is not None:
        with session.progress("comparing with best-of-n"):
            best = tiltz.best_of_n(outcomes, _counts(against_best_of), level=level)
        text += "\n\n" + best.summary()
    if plot is not None:
        save_chart(found.plot(best), plot)
        click.echo(f"drew the curve to {plot}", err=True)
    overall = session.overall_json(found.estimate.overall, found.beta, level)
    more = {} if best is None else {"best_of_n": session.rows_json(best.mean_curve())}
    session.give(outcomes, columns, overall, text, output=output, as_json=as_json, **more)


def _counts(most: int) -> list[int]:
    """Return the powers of two below a count, and the count."""
    return [1 << i for i in range(most.bit_length()) if 1 << i < most] + [most]


def _smallest(least: Any, width: float) -> str:
    """Return a sentence about the smallest beta that each prompt's rows support."""
    said, never = [], int(np.isinf(least).sum())
    if len(least) == 1:
        said.append("none" if never else _in_words(least[0]))
    else:
        of = {"half": 0.5, "90%": 0.9, "all": 1.0}
        betas = {name: np.quantile(least, share, method="higher") for name, share in of.items()}
        found = [f"{_in_words(beta)} for {name}" for name, beta in betas.items() if beta < np.inf]
        said += [", ".join(found) + " of the prompts"] if found else []
        said += [f"none for {count(never, 'prompt')}"] if never else []
    about = (
        f"smallest beta that the rows support (an interval of at most {number(width)} nats there and above)"
    )
    return "\n".join(paragraph(f"{about}: {'; '.join(said)}"))


def _in_words(beta: float) -> str:
    return number(float(beta)) if beta > 0 else "any"
