"""Three differences that cancel near 0, to full relative precision."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numpy.polynomial.polynomial import polyval

Floats = npt.NDArray[np.float64]

_END = 20  # for arguments up to 1 the next term is below one unit in the last place
_EXPM1_MINUS_X = np.array([1 / math.factorial(k) for k in range(2, _END)])
_X_EXP_MINUS_EXPM1 = np.array([(k - 1) / math.factorial(k) for k in range(2, _END)])
_ATANH = np.array([1 / (2 * k + 3) for k in range(20)])


def expm1_minus_x(x: Floats) -> Floats:
    """Return e^x - 1 - x, never negative."""
    near = np.clip(x, -1.0, 1.0)
    return np.where(np.abs(x) < 1.0, near * near * polyval(near, _EXPM1_MINUS_X), np.expm1(x) - x)


def x_exp_minus_expm1(x: Floats) -> Floats:
    """Return x e^x - e^x + 1 for ``|x| <= 1``, never negative."""
    return x * x * polyval(x, _X_EXP_MINUS_EXPM1)


def x_minus_log1p(x: Floats) -> Floats:
    """Return x - log(1 + x), never negative, for x > -1."""
    # With s = x / (2 + x), log(1 + x) is 2 atanh(s), and x - 2 s is x s.
    near = np.clip(x, -0.5, 0.5)
    s = near / (2.0 + near)
    series = near * s - 2.0 * s**3 * polyval(s * s, _ATANH)
    return np.where(np.abs(x) < 0.5, series, x - np.log1p(x))
