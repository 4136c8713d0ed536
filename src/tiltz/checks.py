"""What a column of rewards or log-probabilities must be, and the messages when it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.grouping import Groups

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MASS_TOLERANCE = 1e-9
"""How far the reference mass of a complete table may be from 1 without ``renormalise``."""


def checked_range(declared: Sequence[float], name: str = "reward_range") -> tuple[float, float]:
    """Return a declared range, or refuse it."""
    what = f"{name} must be (lowest, highest), both finite, lowest first"
    found = _numbers(declared, what)
    if len(found) != 2 or not -math.inf < found[0] <= found[1] < math.inf:
        raise InputError(f"{what}; found {declared!r}.")
    return found[0], found[1]


def checked_values(reward_values: Sequence[float]) -> tuple[float, ...]:
    """Return the declared reward values in ascending order, or refuse them."""
    what = "reward_values must be the rewards that are possible, such as (0, 1), without NaN and +inf"
    found = _numbers(reward_values, what)
    if not found or any(math.isnan(value) or value == math.inf for value in found):
        raise InputError(f"{what}; found {reward_values!r}.")
    return tuple(sorted(set(found)))


def check_declared(
    reward: Floats,
    groups: Groups,
    reward_range: tuple[float, float] | None,
    reward_values: tuple[float, ...] | None,
) -> None:
    """Refuse a reward that contradicts what was declared about all rewards."""
    if reward_range is not None:
        low, high = reward_range
        refuse(
            (reward < low) | (reward > high),
            groups,
            f"every reward must lie in the declared reward_range [{low:g}, {high:g}]",
            reward,
        )
    if reward_values is not None:
        refuse(
            ~np.isin(reward, reward_values),
            groups,
            f"every reward must be one of the declared reward_values {reward_values}",
            reward,
        )


def _numbers(values: Sequence[float], what: str) -> list[float]:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError) as reason:
        raise InputError(f"{what}; found {values!r}.") from reason


def as_rows(prompt: Any, *, reward: Any, **columns: Any) -> tuple[npt.NDArray[Any], ...]:
    """Return ``reward`` and the columns as 1-D float arrays, and last one label per row."""
    reward = as_floats(reward, "reward")
    if reward.ndim not in (1, 2):
        raise InputError(
            f"reward must have shape (n_rows,) or (n_prompts, n_samples); found {reward.ndim} dimensions."
        )
    if reward.size == 0:
        raise InputError(f"a table needs at least one row for every prompt; found shape {reward.shape}.")
    found = []
    for name, values in columns.items():
        array = as_floats(values, name)
        if array.shape != reward.shape:
            raise InputError(f"{name} must have the shape of reward, {reward.shape}; found {array.shape}.")
        found.append(array.reshape(-1))
    n_labels = reward.shape[0]
    labels = np.arange(n_labels) * (reward.ndim == 2) if prompt is None else _labels(prompt)
    if labels.shape != (n_labels,):
        what = "row" if reward.ndim == 1 else "prompt"
        raise InputError(
            f"prompt must hold one label for each {what}, {n_labels} in all; found shape {labels.shape}."
        )
    if reward.ndim == 2:
        labels = np.repeat(labels, reward.shape[1])
    return reward.reshape(-1), *found, labels


def _labels(prompt: Any) -> npt.NDArray[Any]:
    """Return labels as an array; text as objects, since NumPy would pad it all to the longest."""
    return np.asarray(prompt) if hasattr(prompt, "dtype") else np.array(prompt, dtype=object)


def as_floats(values: Any, name: str) -> Floats:
    """Return a copy as floats, or refuse what is not numbers."""
    try:
        if np.ma.is_masked(values):
            raise ValueError("found masked values")
        array = np.asarray(values)
        if array.dtype.kind not in "bifuO":
            raise ValueError(f"found type {array.dtype}")
        return np.array(array, dtype=np.float64)
    except (TypeError, ValueError) as reason:
        raise InputError(f"{name} must hold numbers ({reason}).") from reason


def row_index(row: npt.ArrayLike, n_rows: int) -> Ints:
    """Return indices into a source as integers, one per row."""
    index = np.array(row)
    if index.shape != (n_rows,) or index.dtype.kind not in "iu":
        raise InputError(
            f"row must hold one integer for each of the {n_rows} rows; found shape {index.shape}."
        )
    return index.astype(np.int64)


def check_rewards(reward: Floats, groups: Groups) -> None:
    """Refuse NaN and +inf; ``-inf`` is a hard constraint."""
    what = "a reward must be a number or -inf (a hard constraint), never NaN or +inf"
    refuse(np.isnan(reward) | (reward == np.inf), groups, what, reward)


def check_log_probs(log_prob: Floats, groups: Groups, name: str) -> None:
    """Refuse NaN and +inf; log-densities may be above 0."""
    refuse(np.isnan(log_prob) | (log_prob == np.inf), groups, f"{name} must be a number below +inf", log_prob)


def refuse(bad: npt.NDArray[np.bool_], groups: Groups, what: str, values: Floats | None = None) -> None:
    """Raise for the first bad row, naming it, its prompt and how many there are."""
    if not np.any(bad):
        return
    first = int(np.argmax(bad))
    found = "" if values is None else f" {values[first]:g}"
    others = int(np.count_nonzero(bad)) - 1
    more = f" ({others} more row{'s'[: others != 1]} like it)" if others else ""
    raise InputError(f"{what}; found{found} in row {first}, {groups.name(int(groups.of_row[first]))}{more}.")


def total_log_mass(log_ref: Floats, groups: Groups) -> Floats:
    """Return the log of the total mass of each group."""
    grouped, start = groups.gather(log_ref), groups.start
    top = np.maximum.reduceat(grouped, start[:-1])
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore", under="ignore"):
        return top + np.log(np.add.reduceat(np.exp(grouped - np.repeat(top, groups.size)), start[:-1]))


def missing_mass(log_listed: Floats, groups: Groups, log_missing: npt.ArrayLike | None) -> Floats:
    """Return the log of the unlisted mass, checked against the listed."""
    too_much = log_listed > MASS_TOLERANCE
    if np.any(too_much):
        worst = int(np.argmax(too_much))
        raise InputError(
            "the listed outcomes of a partial table must have reference mass at most 1; those of "
            f"{groups.name(worst)} have mass {math.exp(min(log_listed[worst], 700.0)):.12g}. Is an outcome listed "
            "twice?"
        )
    if log_missing is None:
        with np.errstate(divide="ignore"):
            return np.log(-np.expm1(np.minimum(log_listed, 0.0)))
    missing = as_floats(log_missing, "log_missing")
    if missing.shape not in ((), log_listed.shape):
        raise InputError(
            f"log_missing must hold one number for each of the {len(log_listed)} prompts; found shape {missing.shape}."
        )
    missing = np.broadcast_to(missing, log_listed.shape).copy()
    off = np.abs(np.exp(log_listed) + np.exp(np.minimum(missing, 700.0)) - 1.0)
    wrong = ~(off <= MASS_TOLERANCE)
    if np.any(wrong):
        worst = int(np.argmax(wrong))
        raise InputError(
            f"listed and missing mass must sum to 1 within {MASS_TOLERANCE:g}; for {groups.name(worst)} the "
            f"listed mass is {math.exp(log_listed[worst]):.12g} and log_missing is {missing[worst]:.12g}."
        )
    return missing


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the array itself, now read-only."""
    array.setflags(write=False)
    return array
