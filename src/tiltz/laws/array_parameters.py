"""What an array among the parameters of a law must be, and the messages when it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError

Floats = npt.NDArray[np.float64]


def floats(name: str, value: Any, *, minus_inf: bool = False) -> Floats:
    """Return numbers as a new array that cannot be written to, or refuse them.

    Parameters
    ----------
    name : str
        What the message calls them.
    value : array_like
        At least one number, all finite.
    minus_inf : bool
        Whether ``-inf`` is let through.
    """
    what = f"{name} must be an array of finite numbers"
    try:
        given = np.asarray(value)
    except ValueError as reason:
        raise InputError(f"{what}; found rows of unequal lengths.") from reason
    if given.size == 0:
        raise InputError(f"{what}; found none.")
    if given.dtype.kind not in "biuf":
        raise InputError(f"{what}; found values such as {given.ravel()[0]!r} (dtype {given.dtype}).")
    found = given.astype(np.float64)
    wrong = ~(np.isfinite(found) | (minus_inf & (found == -np.inf)))
    if np.any(wrong):
        first = np.argwhere(wrong)[0].tolist()
        raise InputError(
            f"{what}; found {found[tuple(first)]:g} at index {', '.join(map(str, first)) or '()'}."
        )
    found.setflags(write=False)
    return found
