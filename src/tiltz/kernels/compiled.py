"""How loops are compiled: without the interpreter's lock, with divisions as NumPy has them, and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

Loop = Callable[..., Any]


def compiled(*signature: Any, **options: Any) -> Callable[[Loop], Loop]:
    """Return a decorator that compiles a loop, at once if it has a signature.

    Parameters
    ----------
    *signature : numba signature
        Of the one form in which it is called; none for loops that only others call.
    **options
        Of :func:`numba.njit`, such as ``fastmath``.
    """

    def wrap(function: Loop) -> Loop:
        try:
            return njit(*signature, nogil=True, cache=True, error_model="numpy", **options)(function)
        except RuntimeError:
            # Nowhere to keep the machine code (a read-only installation and no home): compiled in every process.
            return njit(*signature, nogil=True, error_model="numpy", **options)(function)

    return wrap
