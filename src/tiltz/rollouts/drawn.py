"""Who drew the rows, and the log-probabilities that their weights need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tiltz.errors import InputError, LayoutError
from tiltz.files import identifier
from tiltz.rollouts.layouts import Draws
from tiltz.rollouts.numbers import as_number, is_numeric
from tiltz.rollouts.rows import Rows
from tiltz.rollouts.wording import count, steps_in_words

_TILTED = ("beta", "weight")
ROUNDING = 1e-6
"""A log-probability this far above 0 is rounding; beyond it the file is refused."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Who drew the rows, a note about it, and the log-probabilities if it was not the reference."""

    name: str
    note: str
    log_ref: np.ndarray | None = None
    log_proposal: np.ndarray | None = None
    log_policy: np.ndarray | None = (
        None  # of rows from the reference, which scores of the policy make fit to be pooled
    )


def who_drew(draws: Draws, rows: Rows, drawn_from: Literal["reference", "policy"] | None) -> Drawn:
    """Return who drew the rows: ``log_proposal`` if there, else ``log_policy``, else the reference.

    Raises
    ------
    LayoutError
        If the rows were not drawn from the reference and a log-probability is missing or not legal, or if they
        were resampled from a tilted policy and nothing is said about them.
    """
    if drawn_from not in (None, "reference", "policy"):
        raise InputError(f"drawn_from must be 'reference' or 'policy'; found {drawn_from!r}.")
    if drawn_from is None:
        _refuse_tilted(draws)
    present = [word for word in ("log_proposal", "log_policy") if has_values(draws, word)]
    if drawn_from == "policy":
        present = [word for word in present if word == "log_policy"] or present
    if drawn_from == "reference":
        log_ref, log_policy = _scores(draws, rows)
        return Drawn(
            "reference", "drawn from the reference, as declared.", log_ref=log_ref, log_policy=log_policy
        )
    if present:
        return _weighted(draws, rows, present[0])
    if drawn_from == "policy":
        raise LayoutError(_no_policy(draws))
    return _unweighted(draws, rows)


def _refuse_tilted(draws: Draws) -> None:
    """Refuse the rows that ``tiltz sample`` wrote, told by its columns: a beta and a probability."""
    if not all(is_numeric(draws.table.columns.get(name, "")) for name in _TILTED):
        return
    row = draws.table.first(
        "SELECT bool_and(coalesce(beta > 0 AND weight BETWEEN 0 AND 1, false)), min(beta), max(beta) "
        f"FROM {draws.table.relation}"
    )
    if row and row[0]:
        betas = f"beta {row[1]:g}" if row[1] == row[2] else f"betas from {row[1]:g} to {row[2]:g}"
        raise LayoutError(
            "Z is estimated from draws of the reference or of a policy with known log-probabilities; the rows of "
            f"{draws.table.files[0]!r} were resampled from the tilted policy at {betas} (tiltz sample adds the "
            "columns beta and weight), where good rewards are too frequent. Read the rollouts that they were drawn "
            "from; or, if beta and weight mean something else, say who drew the rows with --drawn-from reference "
            "(Python: drawn_from='reference')."
        )


def has_values(draws: Draws, word: str) -> bool:
    """Say whether a common column is there and not all null."""
    if word not in draws.names:
        return False
    row = draws.table.first(f"SELECT count({draws.column(word)}) > 0 FROM {draws.table.relation}")
    return bool(row and row[0])


def _weighted(draws: Draws, rows: Rows, word: str) -> Drawn:
    name = "proposal" if word == "log_proposal" else "policy"
    if not has_values(draws, "log_ref"):
        raise LayoutError(
            f"rows drawn from a {name} ({word} is there) need log_ref too, since their weight is the ratio "
            f"of the two; {draws.table.files[0]!r} has none. Score the completions under the reference and "
            f"add the column log_ref, or, if the rows were drawn from the reference, say so with "
            "--drawn-from reference (Python: drawn_from='reference')."
        )
    log_proposal = _log_probs(draws, rows, word)
    _refuse(
        rows,
        log_proposal == -np.inf,
        f"{word} must be above -inf for a completion that was drawn",
        log_proposal,
    )
    return Drawn(
        name,
        f"drawn from the {name} ({word}), weighted to the reference (log_ref).",
        _log_probs(draws, rows, "log_ref"),
        log_proposal,
    )


def _scores(draws: Draws, rows: Rows) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return scores of rows from the reference under it and under the policy, None where they are not there in full.

    An estimate from these rows alone needs none, so that a bad one is no reason to refuse the file.
    """
    if not (has_values(draws, "log_ref") and has_values(draws, "log_policy")):
        return None, None
    try:
        return _log_probs(draws, rows, "log_ref"), _log_probs(draws, rows, "log_policy")
    except LayoutError:
        return None, None


def _unweighted(draws: Draws, rows: Rows) -> Drawn:
    steps = [] if rows.step is None else np.unique(rows.step).tolist()
    if not draws.layout.moving and steps in ([], [0]):
        return Drawn("reference", "drawn from the reference (no log_proposal or log_policy says otherwise).")
    if len(steps) > 1:
        return Drawn(
            "policy of each step",
            f"Z of each group is relative to the policy of its own step (steps {steps_in_words(steps)}), "
            "which drew it.",
        )
    if not steps:
        return Drawn("policy", "Z is relative to the policy that drew the rows; the files name no step.")
    start = " (the starting policy, before its first update)" if draws.layout.moving and steps == [1] else ""
    return Drawn(
        f"policy of step {steps[0]}",
        f"Z is relative to the policy of step {steps[0]}{start}, which drew the rows.",
    )


def _no_policy(draws: Draws) -> str:
    missing = [word for word in ("log_policy", "log_ref") if not has_values(draws, word)]
    return (
        "rows drawn from a policy need log_policy and log_ref to be weighted to the reference; "
        f"{draws.table.files[0]!r} lacks {' and '.join(missing)}. Score the completions and add the "
        f"columns, or leave --drawn-from out: Z is then relative to "
        f"{'the policy that drew the rows' if draws.layout.moving else 'the reference, as the sampler'}."
    )


def _log_probs(draws: Draws, rows: Rows, word: str) -> np.ndarray:
    name = draws.names[word]
    number = as_number(identifier(name), draws.table.columns[name])
    if number is None:
        raise LayoutError(
            f"{name!r} must hold the log-probability of each whole completion, one number per row; found "
            f"type {draws.table.columns[name]} in {draws.table.files[0]!r}. Sum it over the tokens."
        )
    values = np.ma.filled(draws.fetch(value=number)["value"].astype(np.float64), np.nan)[rows.index]
    _refuse(rows, np.isnan(values), f"{name} must be a number in every row", values)
    _refuse(rows, values > ROUNDING, f"{name} is a log-probability and must not be above 0", values)
    return np.minimum(values, 0.0)


def _refuse(rows: Rows, bad: np.ndarray, rule: str, values: np.ndarray) -> None:
    if bad.any():
        i = int(np.argmax(bad))
        found = "NaN or null" if np.isnan(values[i]) else f"{values[i]:g}"
        raise LayoutError(
            f"{rule}; found {found} in {rows.where(i)} ({count(int(bad.sum()), 'such row')}). Repair or "
            "remove those rows."
        )
