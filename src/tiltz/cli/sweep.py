"""``tiltz sweep``: the curve over beta, and the smallest beta that the samples support."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

import tiltz
from tiltz.cli import session
from tiltz.cli.options import Betas, declaring, reading, writing
from tiltz.text import count, number, paragraph


@click.command()
@reading
@click.option(
    "--betas",
    "--beta",
    "betas",
    type=Betas(),
    multiple=True,
    required=True,
    help="LOW:HIGH:N, or a beta; repeatable.",
)
@declaring
@click.option(
    "--width", default=1.0, show_default=True, help="Widest interval, in nats, that counts as reliable."
)
@click.option("--plot", type=click.Path(dir_okay=False), help="Draw the curve to FILE: .html, .svg or .png.")
@writing
def sweep(
    files: tuple[str, ...],
    betas: tuple[tuple[float, ...], ...],
    level: float,
    interval: str,
    reward_range: tuple[float, float] | None,
    reward_values: tuple[float, ...] | None,
    width: float,
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
    """
    outcomes = session.read_table(files, **table)
    options: dict[str, Any] = {
        "level": level,
        "reward_range": reward_range,
        "reward_values": reward_values,
        "width": width,
    }
    with session.progress("sweeping") as progress:
        found = tiltz.sweep(
            outcomes,
            [beta for word in betas for beta in word],
            interval=None if interval == "none" else interval,
            progress=progress,
            **options,
        )
    columns, text = found.to_dict(), session.about(outcomes) + "\n\n" + found.summary()
    if interval != "none":
        with session.progress("looking for the smallest beta"):
            least = tiltz.smallest_beta(outcomes, interval=interval, **options)
        columns["smallest_beta"] = np.repeat(least, len(found.beta)).tolist()
        text += "\n" + _smallest(least, width)
    if plot is not None:
        from tiltz.charts import save_chart

        save_chart(found.plot(), plot)
        click.echo(f"drew the curve to {plot}", err=True)
    overall = session.overall_json(found.estimate.overall, found.beta, level)
    session.give(outcomes, columns, overall, text, output=output, as_json=as_json)


def _smallest(least: Any, width: float) -> str:
    """Return a sentence about the smallest beta that each prompt's rows support."""
    about = (
        f"smallest beta that the rows support (an interval of at most {number(width)} nats there and above): "
    )
    if len(least) == 1:
        only = float(least[0])
        words = {0.0: "every beta", np.inf: "none"}
        return "\n".join(paragraph(about + words.get(only, number(only))))
    quantiles = [(50, "half"), (90, "90%"), (100, "all")]
    parts = [f"{number(float(np.quantile(least, q / 100, method='higher')))} for {of}" for q, of in quantiles]
    never = int(np.isinf(least).sum())
    tail = f"; none for {count(never, 'prompt')}" if never else ""
    return "\n".join(paragraph(about + ", ".join(parts) + " of the prompts" + tail))
