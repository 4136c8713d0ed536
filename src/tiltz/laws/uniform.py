"""Rewards spread evenly between two ends, such as the quantile of an outcome."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.polynomial.polynomial import polyval

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import interval, store

Floats = npt.NDArray[np.float64]

_TERMS = 14  # for arguments up to 2 the next term is below one unit in the last place
_SINH_OVER_X_LESS_1 = np.array([1.0 / math.factorial(2 * k + 1) for k in range(1, _TERMS)])
_X_COSH_LESS_SINH = np.array([2.0 * k / math.factorial(2 * k + 1) for k in range(1, _TERMS)])


@dataclass(frozen=True, slots=True)
class Uniform(ClosedForm):
    """A uniform reward; ``Uniform()`` is that of the quantile of an outcome under the reference.

    Attributes
    ----------
    low, high : float
        The two ends.

    Notes
    -----
    log Z = (low + high) / (2 beta) + log(sinh(h) / h) with h = (high - low) / (2 beta), at every beta [1]_.

    References
    ----------
    .. [1] N. L. Johnson, S. Kotz, N. Balakrishnan, *Continuous Univariate Distributions*, vol. 2, section 26.2.

    Examples
    --------
    >>> import numpy as np
    >>> from tiltz.laws import Uniform
    >>> bool(np.isclose(Uniform(0, 1).log_z(0.5), np.log((np.exp(2) - 1) / 2), rtol=1e-14))
    True
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        low, high = interval(self.low, self.high)
        store(self, low=low, high=high)

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.low + 0.5 * (self.high - self.low)

    @property
    def reward_range(self) -> tuple[float, float]:
        """The two ends."""
        return self.low, self.high

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.uniform(self.low, self.high, n)

    def negated(self) -> Uniform:
        """Return the law of minus the reward."""
        return Uniform(0.0 - self.high, 0.0 - self.low)

    def _kl(self, beta: Floats) -> Floats:
        h = 0.5 * (self.high - self.low) / beta
        near = _x_coth_less_1(h) - _log_sinh_over_x(h)
        far = 2.0 * h / np.expm1(2.0 * h)
        return np.where(
            h < 2.0, near, np.where(far > 0, far, 0.0) - 1.0 + np.log(2.0 * h) - np.log1p(-np.exp(-2.0 * h))
        )

    def _kl_reverse(self, beta: Floats) -> Floats:
        h = 0.5 * (self.high - self.low) / beta
        return np.where(h < 2.0, _log_sinh_over_x(h), h + _log_from_top(h))

    def _log_z(self, beta: Floats) -> Floats:
        h = 0.5 * (self.high - self.low) / beta
        return np.where(h < 2.0, self.mean / beta + _log_sinh_over_x(h), self.high / beta + _log_from_top(h))

    def _mean_reward(self, beta: Floats) -> Floats:
        half = 0.5 * (self.high - self.low)
        h = half / beta
        # Above 2 measured from the top, which the tilted mean falls short of by about beta.
        short = beta - 2.0 * half / np.expm1(2.0 * h)
        return np.where(h < 2.0, self.mean + beta * _x_coth_less_1(h), self.high - short)


def _log_sinh_over_x(h: Floats) -> Floats:
    """Return log(sinh(h) / h) for h < 2, never negative."""
    near = np.minimum(h, 2.0)
    return np.log1p(near * near * polyval(near * near, _SINH_OVER_X_LESS_1))


def _x_coth_less_1(h: Floats) -> Floats:
    """Return h coth(h) - 1 for h < 2, never negative."""
    near = np.minimum(h, 2.0)
    square = near * near
    return square * polyval(square, _X_COSH_LESS_SINH) / (1.0 + square * polyval(square, _SINH_OVER_X_LESS_1))


def _log_from_top(h: Floats) -> Floats:
    """Return log(sinh(h) / h) - h for h >= 2."""
    return np.log1p(-np.exp(-2.0 * h)) - np.log(2.0 * h)
