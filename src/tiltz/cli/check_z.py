"""``tiltz check-z``: a column of somebody else's log Z or soft value against ours."""

from __future__ import annotations

from typing import Any, Literal

import click

import tiltz
from tiltz.claims.check import READINGS
from tiltz.cli import session
from tiltz.cli.options import Betas, declaring, one_beta, reading, writing
from tiltz.rollouts.further import numbers_of

_LEGEND = (
    "claimed: what the column says, log Z and its interval: ours, difference: claimed less ours, all in nats; n: "
    "number of rows"
)


@click.command("check-z")
@reading
@click.option(
    "--beta",
    type=Betas(),
    multiple=True,
    required=True,
    callback=one_beta,
    help="Beta that the column was computed at.",
)
@click.option("--column", required=True, metavar="NAME", help="Column to check.")
@click.option(
    "--as",
    "of",
    type=click.Choice(READINGS),
    default=READINGS[0],
    show_default=True,
    help="What the column holds: log Z in nats, or beta log Z in units of reward.",
)
@declaring
@click.option(
    "--rows", default=40, show_default=True, type=click.IntRange(min=0), help="Lines to print; 0 prints all."
)
@writing
def check_z(
    files: tuple[str, ...],
    beta: float,
    column: str,
    of: Literal["log_z", "soft_value"],
    level: float,
    interval: str,
    reward_range: tuple[float, float] | None,
    reward_values: tuple[float, ...] | None,
    rows: int,
    output: str | None,
    as_json: bool,
    **table: Any,
) -> None:
    """Check a trainer's own log Z or soft value against ours.

    Says for every prompt how far the column lies from our log Z and whether it is outside of our interval, and which
    of the usual estimators it is: mean reward, log-mean-exp, either of them leave-one-out, largest reward, VarGrad, or
    the closed form of quantile rewards.

    \b
    Examples:
      tiltz check-z rollouts.parquet --beta 0.1 --column log_z
      tiltz check-z rollouts.jsonl --beta 0.001 --column v_star --as soft_value --reward-values 0,1
    """
    outcomes = session.read_table(
        files, to_write=[output], reward_range=reward_range, reward_values=reward_values, **table
    )
    with session.progress("checking") as progress:
        found = tiltz.check_z(
            outcomes,
            beta,
            numbers_of(outcomes, column),
            of=of,
            level=level,
            interval=None if interval == "none" else interval,
            progress=progress,
        )
    text = session.about(outcomes, _LEGEND) + "\n\n" + found.summary(max_rows=rows or None)
    session.give(outcomes, found.to_dict(), found.overall_dict(), text, output=output, as_json=as_json)
