"""What rows of completions say against their own log-probabilities: repeats, how many there are, values per token."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tiltz.auditing import Check

ALARM = 1e-3
"""How often honest rows are accused by their number of repeats."""
_BETS = (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)
_ENOUGH = 5.0  # expected repeats that a wrong temperature would change
SAME = 0.02
"""Nats by which scores of one completion may differ: single precision, another batch or another library."""


def checks_of_rows(
    name: str, of_row: np.ndarray, columns: Mapping[str, Any], *, drawn_by: str, tokens: Mapping[str, str]
) -> Iterator[Check]:
    """Yield what the rows of one file show.

    Parameters
    ----------
    name : str
        What messages call the file.
    of_row : int array, shape (n_rows,)
        Prompt of each row.
    columns : mapping of str to sequence
        ``log_ref``, ``log_policy``, ``completion_ids``, ``completion``, as far as they are there.
    drawn_by : str
        The column of the sampler that drew the rows.
    tokens : mapping of str to str
        Columns with a log-probability per token, by the column that must be their sum.

    Yields
    ------
    Check
        On repeats, on how many there are, and on values per token.
    """
    outcomes = outcome_numbers(of_row, columns)
    words = [word for word in ("log_policy", "log_ref") if word in columns]
    yield _repeats(f"repeated completions of the {name}", outcomes, {word: columns[word] for word in words})
    yield _number_of_repeats(f"number of repeats of the {name}", of_row, outcomes, columns.get(drawn_by))
    yield _per_token(f"log-probabilities per token of the {name}", columns, tokens)


def outcome_numbers(of_row: np.ndarray, columns: Mapping[str, Any]) -> np.ndarray | None:
    """Return a number per row that is equal for the same prompt and tokens; None without ``completion_ids``."""
    ids = columns.get("completion_ids")
    if ids is None or any(one is None for one in ids):
        return None
    known: dict[Any, int] = {}
    keys = zip(of_row.tolist(), map(tuple, ids), strict=True)
    return np.array([known.setdefault(key, len(known)) for key in keys])


def _repeats(name: str, outcomes: np.ndarray | None, scores: Mapping[str, np.ndarray]) -> Check:
    """Look for the same tokens with two log-probabilities."""
    if outcomes is None:
        return Check(
            name=name,
            status="not checkable",
            text="without completion_ids the same outcome is not recognised",
        )
    again = len(outcomes) - int(outcomes.max()) - 1
    if not again or not scores:
        return Check(name=name, status="not checkable", text="no completion comes twice")
    worst, where = 0.0, next(iter(scores))
    for word, values in scores.items():
        first = np.full(int(outcomes.max()) + 1, -np.inf)
        last = np.full(len(first), np.inf)
        np.maximum.at(first, outcomes, values)
        np.minimum.at(last, outcomes, values)
        with np.errstate(invalid="ignore"):  # two that are both -inf are the same
            apart = np.where(first == last, 0.0, first - last) / (1 + 0.05 * np.abs(np.nan_to_num(first)))
        if apart.max() > worst:
            worst, where = float(apart.max()), word
    status = "failed" if worst > SAME else "passed"
    text = (
        f"{where} of the same tokens differs by up to {worst:.3g} nats"
        if worst > SAME
        else f"{again:,} agree"
    )
    return Check(name=name, status=status, text=text)


def _number_of_repeats(
    name: str, of_row: np.ndarray, outcomes: np.ndarray | None, log_prob: np.ndarray | None
) -> Check:
    """Bet on whether each row repeats an earlier one, which has the probability of all that was seen before.

    The capital is a mean of likelihood ratios, a martingale that starts at 1 if rows were drawn with the probabilities
    that they say; it ever reaches 1 / alpha with a probability of at most alpha.
    """
    if outcomes is None or log_prob is None:
        return Check(
            name=name, status="not checkable", text="without completion_ids and their log-probabilities"
        )
    prob = np.exp(log_prob)
    seen_mass, seen = np.zeros(int(of_row.max()) + 1), np.zeros(int(outcomes.max()) + 1, dtype=bool)
    before, repeat = np.empty(len(outcomes)), np.empty(len(outcomes), dtype=bool)
    for i, (prompt, outcome) in enumerate(zip(of_row.tolist(), outcomes.tolist(), strict=True)):
        before[i], repeat[i] = seen_mass[prompt], seen[outcome]
        if not seen[outcome]:
            seen[outcome], seen_mass[prompt] = True, seen_mass[prompt] + prob[i]
    text = f"{int(repeat.sum()):,} repeats, {before.sum():.4g} expected"
    if seen_mass.max() > math.exp(SAME):
        text = f"the probabilities of distinct completions of one prompt sum to {seen_mass.max():.4g}"
        return Check(name=name, status="failed", text=text)
    before = np.clip(before, 0.0, 1.0)
    bets = np.array(_BETS)[:, None]
    with np.errstate(divide="ignore"):
        capital = np.cumsum(bets * repeat - np.log1p(before * np.expm1(bets)), axis=1)
    top = capital.max(axis=0)
    log_mean = top + np.log(np.mean(np.exp(capital - top), axis=0))
    if float(log_mean.max()) >= math.log(1 / ALARM):
        return Check(
            name=name, status="failed", text=f"{text}: not drawn with these probabilities, beyond chance"
        )
    status = "passed" if float(np.sum(before * (1 - before))) >= _ENOUGH else "not checkable"
    return Check(name=name, status=status, text=text if status == "passed" else f"{text}: too few to tell")


def _per_token(name: str, columns: Mapping[str, Any], tokens: Mapping[str, str]) -> Check:
    """Compare log-probabilities per token with their sum, and their number with that of the tokens."""
    there = [(word, column) for word, column in tokens.items() if word in columns and column in columns]
    if not there:
        return Check(name=name, status="not checkable", text=f"no column {' or '.join(tokens.values())}")
    for word, column in there:
        lists = columns[column]
        ids = columns.get("completion_ids")
        if ids is not None:
            short = [
                i for i, (a, b) in enumerate(zip(lists, ids, strict=True)) if len(a or ()) != len(b or ())
            ]
            if short:
                i = short[0]
                text = (
                    f"{column} has {len(lists[i] or ())} values for {len(ids[i] or ())} tokens in row {i} "
                    f"({len(short):,} such): the end token counts too"
                )
                return Check(name=name, status="failed", text=text)
        sums = np.array([math.fsum(values or ()) for values in lists])
        off = np.abs(sums - columns[word]) / (1 + 0.05 * np.abs(columns[word]))
        if not float(np.max(off)) <= SAME:
            i = int(np.argmax(off))
            text = f"{column} sums to {sums[i]:.6g}, and {word} is {columns[word][i]:.6g}, in row {i}"
            return Check(name=name, status="failed", text=text)
    return Check(name=name, status="passed", text="they sum to the log-probability of the whole")
