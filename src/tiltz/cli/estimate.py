"""``tiltz estimate``: log Z, interval, soft value and flags for every prompt."""

from __future__ import annotations

from typing import Any

import click

import tiltz
from tiltz.cli import session
from tiltz.cli.options import Betas, all_betas, declaring, reading, writing
from tiltz.inference.pooled import PRIORS

_LEGEND = (
    "log Z and its interval in nats; soft value: beta log Z, in units of reward; n: number of rows, ess: effective "
    "number of rows"
)


@click.command()
@reading
@click.option(
    "--beta",
    "--betas",
    "betas",
    type=Betas(),
    multiple=True,
    required=True,
    callback=all_betas,
    help="Beta, or LOW:HIGH:N; repeatable.",
)
@declaring
@click.option(
    "--shrink",
    is_flag=True,
    help="Pool the prompts: each one's posterior under a law of prompts fitted to the whole table.",
)
@click.option(
    "--prior",
    type=click.Choice(PRIORS),
    help="With --shrink and two rewards: the law of success rates; 'beta' declares that no prompt is impossible.",
)
@click.option(
    "--these-prompts",
    is_flag=True,
    help="Average over just these prompts, not the population they stand for.",
)
@click.option(
    "--rows", default=40, show_default=True, type=click.IntRange(min=0), help="Lines to print; 0 prints all."
)
@writing
def estimate(
    files: tuple[str, ...],
    betas: list[float],
    level: float,
    interval: str,
    reward_range: tuple[float, float] | None,
    reward_values: tuple[float, ...] | None,
    shrink: bool,
    prior: str | None,
    these_prompts: bool,
    rows: int,
    output: str | None,
    as_json: bool,
    **table: Any,
) -> None:
    """Estimate log Z of every prompt, with an interval and the reason to believe it.

    \b
    Examples:
      tiltz estimate rollouts.parquet --beta 0.1 --beta 0.5
      tiltz estimate completions/ --step 1 --reward 1.0*correct --reward 0.3*style --beta 0.05
      tiltz estimate rollouts.jsonl --beta 0.1 --reward-values 0,1 --json
      tiltz estimate rollouts.parquet --beta 0.01 --shrink
    """
    outcomes = session.read_table(
        files, to_write=[output], reward_range=reward_range, reward_values=reward_values, **table
    )
    with session.progress("estimating") as progress:
        found = tiltz.estimate(
            outcomes,
            betas,
            level=level,
            interval=None if interval == "none" else interval,
            shrink=shrink,
            prior=prior,
            progress=progress,
        )
    overall = found.overall_these if these_prompts else found.overall
    summary = found.summary(max_rows=rows or None, these_prompts=these_prompts)
    text = session.about(outcomes, _LEGEND) + "\n\n" + summary
    as_object = session.overall_json(overall, found.beta, level)
    session.give(outcomes, found.to_dict(), as_object, text, output=output, as_json=as_json)
