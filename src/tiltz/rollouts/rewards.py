"""Which columns are the reward, and their weighted sum."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tiltz.checks import checked_range, checked_values
from tiltz.errors import InputError, LayoutError
from tiltz.files import identifier
from tiltz.files.table import POSITION
from tiltz.rollouts.layouts import Draws
from tiltz.rollouts.numbers import as_number, is_numeric
from tiltz.rollouts.rows import Rows
from tiltz.rollouts.wording import count, shortened, some_of

_REPAIR = "Repair or remove those rows."
_NEVER_REWARDS = {
    "advantage",
    "draw",
    "n_tokens",
    "prompt_id",
    "step",
    "truncated",
    "log_ref",
    "log_proposal",
    "log_policy",
    "beta",
    "weight",
}


def named_weights(reward: str | Mapping[str, float] | None) -> dict[str, float]:
    """Return the weight of each reward column that the user names; empty where none is named.

    Raises
    ------
    InputError
        If a weight is 0, NaN or infinite, or the mapping is empty.
    """
    if reward is None:
        return {}
    if isinstance(reward, str):
        return {reward: 1.0}
    weights: dict[str, float] = {}
    for name, weight in reward.items():
        try:
            weights[str(name)] = float(weight)
        except (TypeError, ValueError) as error:
            raise InputError(f"the weight of reward {name!r} must be a number; found {weight!r}.") from error
        if weights[str(name)] == 0 or not math.isfinite(weights[str(name)]):
            raise InputError(
                f"the weight of reward {name!r} must be finite and not 0; found {weight!r}. Leave a reward "
                "out to ignore it."
            )
    if not weights:
        raise InputError("a mapping of rewards must name at least one column; found an empty mapping.")
    return weights


def reward_weights(draws: Draws, named: Mapping[str, float], hint: Sequence[float] = ()) -> dict[str, float]:
    """Return the weight of each column of the reward.

    Parameters
    ----------
    draws : Draws
        The rows.
    named : mapping of str to float
        What the user names, or nothing.
    hint : sequence of float
        Weights that a trainer's settings hold, for the message.

    Raises
    ------
    LayoutError
        If a named column is missing, or nothing is named and the choice is not clear.
    """
    for name in named:
        if name not in draws.table.columns:
            raise LayoutError(
                f"the reward column {name!r} is not in {draws.table.files[0]!r}; columns that hold numbers: "
                f"{some_of(candidates(draws), 20) or 'none'}."
            )
    if named:
        return dict(named)
    if "reward" in draws.names:
        return {draws.names["reward"]: 1.0}
    numeric = candidates(draws)
    if len(numeric) == 1:
        return {numeric[0]: 1.0}
    raise LayoutError(_which(draws, numeric, hint))


def candidates(draws: Draws) -> list[str]:
    """Return the columns that may be rewards."""
    return [
        name
        for name, type_ in draws.table.columns.items()
        if is_numeric(type_) and name not in _NEVER_REWARDS and not name.startswith("__index_level_")
    ]


def _which(draws: Draws, numeric: list[str], hint: Sequence[float]) -> str:
    if not numeric:
        return (
            f"{draws.layout.title} need a column of numbers as their reward; found none in "
            f"{draws.table.files[0]!r} among {some_of(list(draws.table.columns), 40)}."
        )
    settings = len(hint) > 0 and len(hint) <= len(numeric)
    weights = list(hint) if settings else [1.0, 0.3]
    pairs = list(zip(weights, numeric, strict=False))
    options = " ".join(f"--reward {weight:g}*{name}" for weight, name in pairs)
    mapping = ", ".join(f"{name!r}: {weight:g}" for weight, name in pairs)
    why = f" (the run's settings have the weights {list(hint)})" if settings else ""
    return (
        f"{count(len(numeric), 'column')} of {draws.table.files[0]!r} may be the reward: "
        f"{some_of(numeric, 20)}. Name one with --reward {numeric[0]}, or give a weighted sum with "
        f"{options}{why}. In Python: reward={numeric[0]!r} or reward={{{mapping}}}."
    )


def summed_rewards(draws: Draws, rows: Rows, weights: Mapping[str, float]) -> tuple[np.ndarray, list[str]]:
    """Return the reward of each row, and notes about components that abstained.

    Raises
    ------
    LayoutError
        If a reward is text, NaN in all components, or infinite; naming the row.
    """
    components = np.array([_component(draws, rows, name) for name in weights])
    missing = np.isnan(components)
    nowhere = np.asarray(missing.all(axis=0))
    if nowhere.any():
        remedy = _why_missing(draws, rows, nowhere)
        _refuse(
            rows, nowhere, f"{_what(weights)} must be a number or -inf in every row", "NaN or null", remedy
        )
    total = np.zeros(len(rows))
    with np.errstate(over="ignore", invalid="ignore"):
        for values, weight, absent in zip(components, weights.values(), missing, strict=True):
            total += np.where(absent, 0.0, values * weight)
    too_large = np.isnan(total) | (total == np.inf)
    _refuse(rows, too_large, f"{_what(weights)} must be below +inf (check the weights' signs)", "+inf")
    return total, [
        f"{name} abstained (NaN) in {count(int(absent.sum()), 'row')} of {len(rows)}: the other components "
        "alone are the reward there."
        for name, absent in zip(weights, missing, strict=True)
        if absent.any()
    ]


def declared(
    rows: Rows,
    rewards: np.ndarray,
    reward_range: Sequence[float] | None,
    reward_values: Sequence[float] | None,
) -> tuple[tuple[float, float] | None, tuple[float, ...] | None]:
    """Return what is declared about all rewards, in order.

    Raises
    ------
    InputError
        If a declaration is not legal.
    LayoutError
        If a row contradicts it.
    """
    within = None if reward_range is None else checked_range(reward_range)
    among = None if reward_values is None else checked_values(reward_values)
    if within is not None:
        outside = (rewards < within[0]) | (rewards > within[1])
        _refuse_undeclared(
            rows, rewards, outside, f"lie in the declared reward_range [{within[0]:g}, {within[1]:g}]"
        )
    if among is not None:
        _refuse_undeclared(
            rows, rewards, ~np.isin(rewards, among), f"be one of the declared reward_values {among}"
        )
    return within, among


def _refuse_undeclared(rows: Rows, rewards: np.ndarray, bad: np.ndarray, rule: str) -> None:
    if bad.any():
        i = int(np.argmax(bad))
        raise LayoutError(
            f"every reward must {rule}; found {rewards[i]:g} in {rows.where(i)} "
            f"({count(int(bad.sum()), 'such row')}). Declare what is possible, or remove those rows."
        )


def _component(draws: Draws, rows: Rows, name: str) -> np.ndarray:
    column, type_ = identifier(name), draws.table.columns[name]
    number = as_number(column, type_)
    if number is None:
        raise LayoutError(
            f"the reward column {name!r} must hold numbers; found type {type_} in {draws.table.files[0]!r}."
        )
    found = draws.fetch(number=number, filled=f"{column} IS NOT NULL")
    values = found["number"][rows.index]
    text = np.ma.getmaskarray(values) & np.asarray(found["filled"])[rows.index].astype(bool)
    if type_ == "JSON" and text.any():
        text &= _not_json_null(draws, column)[rows.index]
    if text.any():
        raise LayoutError(_text_reward(draws, rows, name, int(np.argmax(text)), int(text.sum())))
    plain = np.ma.filled(values.astype(np.float64), np.nan)
    _refuse(rows, plain == np.inf, f"reward {name!r} must be below +inf (-inf is a hard constraint)", "+inf")
    return plain


def _not_json_null(draws: Draws, column: str) -> np.ndarray:
    return np.asarray(draws.fetch(filled=f"coalesce(json_type({column}) <> 'NULL', false)")["filled"]).astype(
        bool
    )


def _text_reward(draws: Draws, rows: Rows, name: str, i: int, n_bad: int) -> str:
    column = identifier(name)
    text = f"({column} ->> '$')" if draws.table.columns[name] == "JSON" else column
    row = draws.table.first(
        f"SELECT {text} FROM {draws.table.relation} WHERE {POSITION} = {int(rows.position[i])}"
    )
    found = shortened(row[0] if row else None)
    return (
        f"reward {name!r} must be a number in every row; found the text {found} in {rows.where(i)} "
        f"({count(n_bad, 'row')} with text in all). Write a number there, or choose another column with "
        "--reward."
    )


def _what(weights: Mapping[str, float]) -> str:
    return (
        f"reward {next(iter(weights))!r}"
        if len(weights) == 1
        else f"the weighted sum of {', '.join(weights)}"
    )


def _why_missing(draws: Draws, rows: Rows, missing: np.ndarray) -> str:
    """Return what the rows themselves say about rewards that are missing, and what to do."""
    if draws.table.columns.get("error") != "VARCHAR":
        return _REPAIR
    told = draws.fetch(error="error")["error"][rows.index][missing]
    reasons = Counter(text for text in np.ma.filled(told.astype(object), None).tolist() if text is not None)
    if not reasons:
        return _REPAIR
    reason, times = reasons.most_common(1)[0]
    return (
        f"The column error says why, {times:,} times: {reason!r:.200}. Mend the reward and draw anew; or write the "
        "rows that have a reward to a file of their own, whose Z is that of completions on which the reward works."
    )


def _refuse(rows: Rows, bad: np.ndarray, rule: str, found: str, remedy: str = _REPAIR) -> None:
    if bad.any():
        i = int(np.argmax(bad))
        raise LayoutError(
            f"{rule}; found {found} in {rows.where(i)} ({count(int(bad.sum()), 'such row')}). {remedy}"
        )
