"""``tiltz audit``: how much of what a reward can give at this beta a policy has collected."""

from __future__ import annotations

from typing import Any

import click

import tiltz
from tiltz.cli import session
from tiltz.cli.options import Betas, Numbers, one_beta, reading, reward_weights, writing
from tiltz.errors import InputError
from tiltz.text import paragraph


@click.command()
@reading
@click.option("--reference", multiple=True, metavar="FILE", help="Rows that the reference drew; repeatable.")
@click.option(
    "--beta", "beta", type=Betas(), multiple=True, required=True, callback=one_beta, help="KL coefficient."
)
@click.option(
    "--score-policy", metavar="MODEL", help="Score rows under the policy: hf:PATH_OR_ID, tiny:policy, ..."
)
@click.option(
    "--score-reference", metavar="MODEL", help="Score rows under the reference: hf:PATH_OR_ID, tiny, ..."
)
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence level.")
@click.option(
    "--reward-range", type=Numbers(":", "0:1", count=2), metavar="LOW:HIGH",
    help="Declare the lowest and highest possible reward.",
)  # fmt: skip
@click.option(
    "--reward-values", type=Numbers(",", "0,1"), metavar="A,B", help="Declare all possible rewards."
)
@click.option(
    "--rows", default=20, show_default=True, type=click.IntRange(min=0), help="Lines to print; 0 prints all."
)
@writing
def audit(
    files: tuple[str, ...],
    reward: tuple[str, ...],
    step: Any,
    drawn_from: str | None,
    wanted: tuple[str, ...],
    reference: tuple[str, ...],
    beta: float,
    score_policy: str | None,
    score_reference: str | None,
    level: float,
    reward_range: tuple[float, float] | None,
    reward_values: tuple[float, ...] | None,
    rows: int,
    output: str | None,
    as_json: bool,
) -> None:
    """Say how far a policy is from the optimum of its own reward at one beta.

    \b
        J = E[reward] - beta KL(policy || reference) = V - beta KL(policy || tilted)

    FILE holds rows that the policy drew, with log_policy and log_ref; --reference rows that the reference
    drew, whose log_policy is the policy's score of them. What is missing can be scored with models.

    \b
    Examples:
      tiltz audit policy.parquet --reference reference.parquet --beta 0.1
      tiltz audit policy/ --reference base/ --score-policy hf:tuned --score-reference hf:base --beta 0.1
    """
    from tiltz.auditing.verdicts import REFUSED
    from tiltz.rollouts.audited import read_audited

    if drawn_from == "reference":
        raise InputError(
            "an audit is about rows that the policy drew; give those of the reference with --reference."
        )
    with session.progress("reading"):
        found = read_audited(
            list(files), list(reference) or None, score_policy=score_policy, score_reference=score_reference,
            reward=reward_weights(reward), step=step, reward_range=reward_range, reward_values=reward_values,
        )  # fmt: skip
    both = [found.policy] if found.reference is None else [found.policy, found.reference]
    for table in both:
        session.keep_from(output, table.source.files)
    policy = session.keep(found.policy, wanted) if wanted else found.policy
    with session.progress("auditing"):
        result = tiltz.audit(policy, beta, reference=found.reference, level=level, checks=found.checks)
    lines = [
        f"{name}: {table.source.recognised}"
        for name, table in zip(("policy", "reference"), both, strict=False)
    ]
    head = "\n".join(line for text in (*lines, *found.notes) for line in paragraph(text))
    text = head + "\n\n" + result.summary(max_rows=rows or None)
    columns = result.to_dict()
    if not as_json:
        columns = _flat(columns)
    session.give(
        policy, columns, result.overall_dict(), text, output=None if as_json else output, as_json=as_json
    )
    if as_json and output is not None:
        session.write(_flat(columns), output)
    if result.overall.verdict == REFUSED:
        raise click.exceptions.Exit(2)


def _flat(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return columns of numbers in the place of quantities: name, name_lo, name_hi."""
    flat: dict[str, list[Any]] = {}
    for name, values in columns.items():
        if values and isinstance(values[0], dict):
            for part, suffix in (("value", ""), ("lo", "_lo"), ("hi", "_hi")):
                flat[name + suffix] = [value[part] for value in values]
        else:
            flat[name] = values
    return flat
