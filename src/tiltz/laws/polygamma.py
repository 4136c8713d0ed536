"""Differences of the digamma and trigamma functions, to full relative precision also for a small step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SHIFT = 14  # from here on the asymptotic series below are right to one unit in the last place
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)


def digamma_step(x: Floats, step: Floats) -> Floats:
    """Return digamma(x + step) - digamma(x), never negative, for x > 0 and step > 0.

    Notes
    -----
    The recurrence 5.5.2 of [1]_ up to x + 14, whose terms are positive, and the expansion 5.11.2 from there.

    References
    ----------
    .. [1] NIST Digital Library of Mathematical Functions.
    """
    total = np.zeros(np.broadcast(x, step).shape)
    for k in range(_SHIFT):
        total += step / (x + k) / (x + step + k)
    y = x + _SHIFT
    log_ratio = np.log1p(step / y)
    tail = log_ratio + 0.5 * _fall(y, log_ratio, 1)
    for k, bernoulli in enumerate(_BERNOULLI, start=1):
        tail += bernoulli / (2 * k) * _fall(y, log_ratio, 2 * k)
    return total + tail


def trigamma_step(x: Floats, step: Floats) -> Floats:
    """Return trigamma(x) - trigamma(x + step), never negative, for x > 0 and step > 0.

    Notes
    -----
    As :func:`digamma_step`, by derivatives.
    """
    total = np.zeros(np.broadcast(x, step).shape)
    for k in range(_SHIFT):
        total += step / (x + k) / (x + step + k) * (1.0 / (x + k) + 1.0 / (x + step + k))
    y = x + _SHIFT
    log_ratio = np.log1p(step / y)
    tail = _fall(y, log_ratio, 1) + 0.5 * _fall(y, log_ratio, 2)
    for k, bernoulli in enumerate(_BERNOULLI, start=1):
        tail += bernoulli * _fall(y, log_ratio, 2 * k + 1)
    return total + tail


def _fall(y: Floats, log_ratio: Floats, power: int) -> Floats:
    """Return y^-power - (y + step)^-power."""
    return -np.expm1(-power * log_ratio) * y ** float(-power)
