"""``tiltz sample``: completions resampled from the tilted policy."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

import tiltz
from tiltz.cli import session
from tiltz.cli.options import Betas, reading
from tiltz.errors import InputError
from tiltz.text import count, number, paragraph, table


@click.command()
@reading
@click.option("--beta", type=Betas(), required=True, help="Beta of the tilted policy.")
@click.option(
    "-n", "n", type=click.IntRange(min=1), default=1, show_default=True, help="Completions per prompt."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random draws."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False),
    required=True,
    help="File to write: .parquet, .jsonl or .csv.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; messages go to stderr.")
def sample(
    files: tuple[str, ...],
    beta: tuple[float, ...],
    n: int,
    seed: int,
    output: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw completions from the tilted policy by resampling the rollouts.

    Rows are drawn with replacement, n for each prompt, with their tilted probabilities; the columns "beta" and
    "weight" (the row's tilted probability) are added. A draw is never better than the best rollout of its prompt.

    \b
    Example:
      tiltz sample rollouts.parquet --beta 0.1 -n 20 -o tilted.jsonl
    """
    if len(beta) != 1:
        raise InputError(f"sample needs one beta; found a grid of {len(beta)}.")
    outcomes = session.read_table(files, **options)
    tilted = tiltz.tilt(outcomes, beta[0])
    rows = tilted.sample(n, rng=np.random.default_rng(seed))
    added = {"beta": np.full(len(rows), beta[0]), "weight": tilted.prob[rows]}
    with session.progress("writing"):
        outcomes.source.write(outcomes.row[rows], output, columns=added)
    click.echo(f"wrote {len(rows):,} rows to {output}", err=True)
    columns = _columns(tilted, rows, n)
    text = session.about(outcomes) + "\n\n" + _summary(tilted, columns, n)
    session.give(outcomes, columns, None, text, output=None, as_json=as_json)


def _columns(tilted: tiltz.Tilted, rows: Any, n: int) -> dict[str, list[Any]]:
    """Return what was drawn, one row per prompt."""
    columns: dict[str, list[Any]] = {"prompt": tilted.prompt.tolist()}
    if tilted.outcomes.step is not None:
        columns["step"] = tilted.outcomes.step.tolist()
    drawn = rows.reshape(-1, n)
    columns["beta"] = [float(tilted.beta[0])] * len(drawn)
    columns["n"] = tilted.outcomes.n.tolist()
    columns["n_drawn"] = [n] * len(drawn)
    columns["n_unique"] = [len(set(one.tolist())) for one in drawn]
    for name in ("ess", "mean_reward", "kl"):
        columns[name] = getattr(tilted, name)[:, 0].tolist()
    return columns


def _summary(tilted: tiltz.Tilted, columns: dict[str, list[Any]], n: int, max_rows: int = 20) -> str:
    headers = ["prompt", "n", "drawn", "unique", "ess", "mean reward", "KL"]
    names = ["prompt", "n", "n_drawn", "n_unique", "ess", "mean_reward", "kl"]
    shown = zip(*(columns[name][:max_rows] for name in names), strict=True)
    rows = [[str(row[0]), *map(str, row[1:4]), *(number(x, 3) for x in row[4:])] for row in shown]
    lines = [table(headers, rows, right=range(1, len(headers)))]
    if len(columns["prompt"]) > max_rows:
        lines.append(f"... {count(len(columns['prompt']) - max_rows, 'more prompt')}")
    few = sum(ess < n for ess in columns["ess"])
    lines += ["", f"beta {number(float(tilted.beta[0]))}; KL in nats, plug-in: at most log n"]
    if few:
        lines += paragraph(
            f"{count(few, 'prompt')} with fewer effective samples than draws: their draws repeat the same few rollouts "
            "and are less varied than the tilted policy"
        )
    return "\n".join(lines)
