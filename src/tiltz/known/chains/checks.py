"""What the arrays of a chain and of its rewards must be, and the messages when they are not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.checks import MASS_TOLERANCE
from tiltz.errors import InputError

Floats = npt.NDArray[np.float64]


def real_array(values: npt.ArrayLike, name: str) -> Floats:
    """Return a copy as floats, or refuse what is not numbers."""
    try:
        with np.errstate(all="raise"):
            array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"an array of {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError) as reason:
        raise InputError(
            f"{name} must be an array of numbers, in rows of one length; found {reason}."
        ) from reason


def checked_reward(values: npt.ArrayLike, name: str) -> Floats:
    """Return rewards as floats; -inf forbids, NaN and +inf are refused."""
    array = real_array(values, name)
    wrong = np.isnan(array) | (array == np.inf)
    if np.any(wrong):
        raise InputError(f"{name} must be finite or -inf (forbidden); found {_first(array, wrong)}.")
    return array


def checked_probabilities(values: npt.ArrayLike, name: str) -> Floats:
    """Return an array of numbers between 0 and 1."""
    array = real_array(values, name)
    wrong = ~((array >= 0) & (array <= 1 + MASS_TOLERANCE))
    if np.any(wrong):
        raise InputError(f"{name} must hold probabilities, between 0 and 1; found {_first(array, wrong)}.")
    return array


def summing_to(array: Floats, missing: Floats, name: str, others: str) -> tuple[Floats, Floats]:
    """Return rows and what they leave, divided by their common sums, which must be 1 within 1e-9."""
    total = np.sum(array, axis=-1) + missing
    off = np.abs(total - 1.0) > MASS_TOLERANCE
    if np.any(off):
        where = tuple(np.argwhere(off)[0]) if total.ndim else ()
        row = f"row {_index(where)} of {name}" if total.ndim else name
        raise InputError(
            f"{row} must sum to {1.0 - missing[where]:.12g} ({others}) within {MASS_TOLERANCE:g}; it sums to "
            f"{total[where] - missing[where]:.12g}."
        )
    return array / total[..., None], missing / total


def checked_count(value: object, name: str) -> int:
    """Return a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be a positive whole number; found {value!r}.")
    return int(value)


def _first(array: Floats, wrong: npt.NDArray[np.bool_]) -> str:
    where = tuple(np.argwhere(wrong)[0]) if array.ndim else ()
    return f"{array[where]:g}" + (f" at {_index(where)}" if where else "")


def _index(where: object) -> str:
    return ", ".join(str(int(i)) for i in np.atleast_1d(np.asarray(where)))
