"""What a parameter of a law must be, and the messages when it is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tiltz.errors import InputError
from tiltz.laws.law import Law

_TOLERANCE = 1e-9


def store(law: Any, /, **values: Any) -> None:
    """Set checked fields of a frozen dataclass, from its ``__post_init__``."""
    for name, value in values.items():
        object.__setattr__(law, name, value)


def number(name: str, value: Any) -> float:
    """Return a finite number as a float, or refuse it."""
    what = f"{name} must be a finite number"
    try:
        found = float(value)
    except (TypeError, ValueError) as reason:
        raise InputError(f"{what}; found {value!r}.") from reason
    if not math.isfinite(found):
        raise InputError(f"{what}; found {found:g}.")
    return found


def positive(name: str, value: Any) -> float:
    """Return a number above 0 as a float, or refuse it."""
    found = number(name, value)
    if found <= 0:
        raise InputError(f"{name} must be above 0; found {found:g}.")
    return found


def probability(name: str, value: Any) -> float:
    """Return a number in [0, 1] as a float, or refuse it."""
    found = number(name, value)
    if not 0.0 <= found <= 1.0:
        raise InputError(f"{name} must lie in [0, 1]; found {found:g}.")
    return found


def probabilities(name: str, values: Sequence[Any]) -> tuple[float, ...]:
    """Return probabilities that sum to 1 within 1e-9, normalised within that, or refuse them."""
    found = tuple(probability(f"each of {name}", value) for value in values)
    total = math.fsum(found)
    if abs(total - 1.0) > _TOLERANCE:
        raise InputError(f"{name} must sum to 1 within {_TOLERANCE:g}; found {total:.12g}.")
    return tuple(value / total for value in found)


def interval(low: Any, high: Any) -> tuple[float, float]:
    """Return two rewards, the lower first, or refuse them."""
    low, high = number("low", low), number("high", high)
    if not low < high:
        raise InputError(f"low must be below high; found {low:g} and {high:g}.")
    return low, high


def a_law(name: str, value: Any) -> Law:
    """Return a law, or refuse what is none."""
    if not isinstance(value, Law):
        raise InputError(f"{name} must be a law such as tiltz.laws.Normal(0, 1); found {value!r}.")
    return value


def count(name: str, value: Any, *, least: int = 1) -> int:
    """Return a whole number of at least ``least`` as an integer, or refuse it."""
    found = number(name, value)
    if found != int(found) or found < least:
        raise InputError(f"{name} must be a whole number of at least {least}; found {found:g}.")
    return int(found)


def numbers(name: str, values: Any) -> tuple[float, ...]:
    """Return finite numbers, at least one, or refuse them."""
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise InputError(f"{name} must be a sequence of finite numbers; found {values!r}.")
    found = tuple(number(f"each of {name}", value) for value in values)
    if not found:
        raise InputError(f"{name} must hold at least one number; found none.")
    return found
