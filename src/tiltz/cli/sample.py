"""``tiltz sample``: completions resampled from the tilted policy."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

import tiltz
from tiltz.cli import session
from tiltz.cli.options import Betas, NewTable, one_beta, reading
from tiltz.errors import InputError
from tiltz.text import count, number, paragraph, table

MOST_DRAWS = 50_000_000
"""Some 300 bytes of memory each."""


@click.command()
@reading
@click.option(
    "--beta",
    type=Betas(),
    multiple=True,
    required=True,
    callback=one_beta,
    help="Beta of the tilted policy.",
)
@click.option(
    "-n", "n", type=click.IntRange(min=1), default=1, show_default=True, help="Completions per prompt."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random draws."
)
@click.option(
    "--output", "-o", type=NewTable(), required=True, help="File to write: .parquet, .jsonl or .csv."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; messages go to stderr.")
def sample(
    files: tuple[str, ...],
    beta: float,
    n: int,
    seed: int,
    output: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw completions from the tilted policy by resampling the rollouts.

    Rows are drawn with replacement, n for each prompt, with their tilted probabilities; the columns "beta" and
    "weight" (the row's tilted probability) are added. A draw is never better than the best rollout of its prompt.
    Prompts whose rewards are all -inf are left out.

    \b
    Examples:
      tiltz sample rollouts.parquet --beta 0.1 -n 20 -o tilted.jsonl
      tiltz sample completions/ --step 1 --reward correct --beta 0.05 -n 4 -o tilted.parquet --seed 7
    """
    outcomes = _possible(session.read_table(files, to_write=[output], **options), beta)
    _refuse_too_many(len(outcomes.prompt), n)
    tilted = tiltz.tilt(outcomes, beta)
    rows = tilted.sample(n, rng=np.random.default_rng(seed))
    added = {"beta": np.full(len(rows), beta), "weight": tilted.prob[rows]}
    says = {**outcomes.source.metadata, "drawn_from": "tilted policy", "beta": repr(beta)}
    with session.progress("writing"):
        outcomes.source.write(outcomes.row[rows], output, columns=added, metadata=says)
    click.echo(f"wrote {len(rows):,} rows to {output}", err=True)
    columns = _columns(tilted, rows, n)
    text = session.about(outcomes) + "\n\n" + _summary(tilted, columns, n)
    session.give(outcomes, columns, None, text, output=None, as_json=as_json)


def _possible(outcomes: tiltz.Outcomes, beta: float) -> tiltz.Outcomes:
    """Return the prompts of which something can be drawn, and say which are left out."""
    nothing = np.isneginf(tiltz.estimate(outcomes, beta, interval=None).log_z[:, 0])
    if not np.any(nothing):
        return outcomes
    first = outcomes.groups.name(int(np.argmax(nothing)))
    if np.all(nothing):
        raise InputError(
            f"nothing can be drawn: the rewards of every prompt are all -inf, those of {first} first. A reward of "
            "-inf forbids a completion; choose another reward column with --reward, or other files."
        )
    left_out = count(int(nothing.sum()), "prompt")
    reason = f"left out: {left_out} whose rewards are all -inf, so that nothing can be drawn ({first} first)"
    click.echo("\n".join(paragraph(reason)), err=True)
    return outcomes.select(~nothing)


def _refuse_too_many(n_prompts: int, n: int) -> None:
    if n_prompts * n > MOST_DRAWS:
        raise InputError(
            f"sample writes {MOST_DRAWS:,} rows at most; {count(n_prompts, 'prompt')} x {count(n, 'draw')} are "
            f"{n_prompts * n:,}. Lower -n, or choose prompts with --prompt."
        )


def _columns(tilted: tiltz.Tilted, rows: Any, n: int) -> dict[str, list[Any]]:
    """Return what was drawn, one row per prompt."""
    columns: dict[str, list[Any]] = {"prompt": tilted.prompt.tolist()}
    if tilted.outcomes.step is not None:
        columns["step"] = tilted.outcomes.step.tolist()
    drawn = rows.reshape(-1, n)
    columns["beta"] = [float(tilted.beta[0])] * len(drawn)
    columns["n"] = tilted.outcomes.n.tolist()
    columns["n_drawn"] = [n] * len(drawn)
    columns["n_unique"] = [len(np.unique(one)) for one in drawn]
    for name in ("ess", "mean_reward", "kl"):
        columns[name] = getattr(tilted, name)[:, 0].tolist()
    return columns


def _summary(tilted: tiltz.Tilted, columns: dict[str, list[Any]], n: int, max_rows: int = 20) -> str:
    shown = {"prompt": "prompt"} | ({"step": "step"} if "step" in columns else {})
    shown |= {"rollouts": "n", "ess": "ess", "drawn": "n_drawn", "distinct": "n_unique"}
    shown |= {"mean reward": "mean_reward", "KL": "kl"}
    cells = [[_cell(value) for value in columns[name][:max_rows]] for name in shown.values()]
    lines = [table(list(shown), zip(*cells, strict=True), right=range(1, len(shown)))]
    if len(columns["prompt"]) > max_rows:
        lines.append(f"... {count(len(columns['prompt']) - max_rows, 'more prompt')}")
    few = sum(ess < n for ess in columns["ess"])
    lines += ["", *paragraph(_legend(tilted))]
    if few:
        lines += paragraph(
            f"{count(few, 'prompt')} with fewer effective samples than draws: their draws repeat the same few rollouts "
            "and are less varied than the tilted policy"
        )
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return number(value, 3) if isinstance(value, float) else str(value)


def _legend(tilted: tiltz.Tilted) -> str:
    weighted = tilted.outcomes.weighted
    base = "reference" if weighted else tilted.outcomes.drawn_from
    legend = (
        f"at beta {number(float(tilted.beta[0]))}; ess: effective number of rollouts; distinct: rollouts among the "
        f"draws; mean reward: of the tilted policy; KL: from the tilted policy to the {base}, in nats"
    )
    # With weights there is no such bound.
    return legend if weighted else legend + ", as the rollouts show it: at most log(rollouts)"
