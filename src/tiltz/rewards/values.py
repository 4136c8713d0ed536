"""What a reward function returned, read as numbers or refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tiltz.errors import InputError


def as_list(returned: Any, n: int) -> list[Any]:
    """Return the values of n completions, or refuse what is not so many."""
    if isinstance(returned, str | bytes | Mapping) or not isinstance(returned, Iterable):
        raise InputError(
            f"a reward must return a list of numbers, one per completion; found {returned!r:.100}."
        )
    values = list(returned)
    if len(values) != n:
        raise InputError(f"a reward must return one value per completion, {n} in all; found {len(values)}.")
    return values


def as_number(value: Any) -> float:
    """Return a reward, NaN where there is none, or refuse what cannot be one.

    Examples
    --------
    >>> as_number(True), as_number(None), as_number(float("-inf"))
    (1.0, nan, -inf)
    """
    what = "a reward must be a number or -inf, or None where there is none"
    if value is None:
        return math.nan
    try:
        if isinstance(value, str | bytes):
            raise TypeError("a text")
        found = float(value)
    except (TypeError, ValueError, OverflowError) as reason:
        raise InputError(f"{what}; found {value!r:.100}.") from reason
    if found == math.inf:
        raise InputError(f"{what}; found +inf.")
    return found
