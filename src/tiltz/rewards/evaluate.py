"""Every reward of every completion, or why there is none: what fails takes nothing else with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.rewards.batch import Batch, call_all
from tiltz.rewards.protocol import Reward, name_of
from tiltz.rewards.values import as_list, as_number

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """Rewards of a batch of completions.

    Attributes
    ----------
    values : dict of str to array, shape (n,)
        By the names of the rewards; NaN where there is none.
    errors : dict of str to list
        By the same names: why there is no value, None where there is one.
    """

    values: dict[str, Floats]
    errors: dict[str, list[str | None]]


def evaluate(
    rewards: Mapping[str, Reward] | Reward,
    prompts: Iterable[Any],
    completions: Iterable[Any],
    columns: Mapping[str, Iterable[Any]] | None = None,
) -> Evaluated:
    """Return the rewards of completions, and what went wrong.

    Parameters
    ----------
    rewards : mapping of str to Reward, or Reward
        Sync or async functions; one alone goes by its own name.
    prompts, completions : sequence
        One prompt per completion: texts or lists of chat messages, handed over as they are.
    columns : mapping of str to sequence, optional
        What else the rows have, such as an answer.

    Returns
    -------
    Evaluated
        A value or an error for each reward and row.

    Raises
    ------
    InputError
        If there is no reward, or the columns differ in length.

    Notes
    -----
    A reward that raises for a batch is called again row by row, so that only bad rows are lost; one that returns
    a wrong number of values is not, since nobody knows which value belongs to which row. ``None``, NaN and ``+inf``
    are errors, ``-inf`` is not.

    Examples
    --------
    >>> def shortness(prompts, completions, **columns):
    ...     return [1 / len(text) for text in completions]
    >>> found = evaluate(shortness, ["Say a."] * 3, ["a", "aa", ""])
    >>> found.values
    {'shortness': array([1. , 0.5, nan])}
    >>> found.errors
    {'shortness': [None, None, 'ZeroDivisionError: division by zero']}
    """
    named: dict[str, Reward] = dict(rewards) if isinstance(rewards, Mapping) else {name_of(rewards): rewards}
    if not named:
        raise InputError("rewards must hold at least one reward; found none.")
    for name, reward in named.items():
        if not callable(reward):
            raise InputError(f"a reward must be a function; found {reward!r:.100} under the name {name!r}.")
    batch = Batch.of(prompts, completions, columns or {})
    returned = call_all([(reward, batch) for reward in named.values()]) if len(batch) else [[]] * len(named)
    values, errors = {}, {}
    for (name, reward), result in zip(named.items(), returned, strict=True):
        rows = _rows(result, len(batch))
        if isinstance(result, Exception) and len(batch) > 1:
            alone = call_all([(reward, batch.row(i)) for i in range(len(batch))])
            rows = [row for result in alone for row in _rows(result, 1)]
        values[name] = np.array([value for value, _ in rows], dtype=np.float64)
        errors[name] = [error for _, error in rows]
    return Evaluated(values=values, errors=errors)


def _rows(returned: Any, n: int) -> list[tuple[float, str | None]]:
    """Return a value and an error for each of n completions."""
    try:
        if isinstance(returned, Exception):
            raise returned
        return [_row(value) for value in as_list(returned, n)]
    except Exception as reason:  # whatever the reward raised
        return [(math.nan, _text(reason))] * n


def _row(value: Any) -> tuple[float, str | None]:
    try:
        found = as_number(value)
    except InputError as reason:
        return math.nan, _text(reason)
    return found, f"no reward: {value}" if math.isnan(found) else None


def _text(reason: Exception) -> str:
    if isinstance(reason, InputError):
        return str(reason)
    try:
        return f"{type(reason).__name__}: {reason}".removesuffix(": ")
    except Exception:  # its own text may fail, too
        return type(reason).__name__
