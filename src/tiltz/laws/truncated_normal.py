"""Gaussian rewards within limits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.gaussian_piece import GaussianPiece, draw_piece
from tiltz.laws.parameters import number, positive, store
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TruncatedNormal(ClosedForm):
    """A Gaussian reward, given that it lies within limits.

    Attributes
    ----------
    mean_before, sd : float
        Mean and standard deviation before truncation.
    low, high : float
        The limits; ``-inf`` and ``inf`` leave an end open. They may lie far in a tail.

    Notes
    -----
    With s = sd / beta, a = (low - mean_before) / sd and b = (high - mean_before) / sd, log Z = mean_before / beta +
    s^2 / 2 + log((Phi(b - s) - Phi(a - s)) / (Phi(b) - Phi(a))), at every beta; the tilted distribution is the same
    piece of the Gaussian of mean ``mean_before + sd * s`` [1]_. The integrals are taken from the peaks of the two
    densities, so that nothing underflows in a tail.

    References
    ----------
    .. [1] N. L. Johnson, S. Kotz, N. Balakrishnan, *Continuous Univariate Distributions*, vol. 1, section 13.10.

    Examples
    --------
    Thirty standard deviations out, the reward is almost ``low`` plus an exponential one of rate 30:

    >>> from tiltz.laws import TruncatedNormal
    >>> round(TruncatedNormal(0, 1, low=30).mean, 6)
    30.033259
    >>> TruncatedNormal(0, 1, low=-1, high=1).tilted(0.5) == TruncatedNormal(2, 1, low=-1, high=1)
    True
    """

    mean_before: float = 0.0
    sd: float = 1.0
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        store(self, mean_before=number("mean_before", self.mean_before), sd=positive("sd", self.sd))
        store(self, low=_limit("low", self.low), high=_limit("high", self.high))
        if not self.low < self.high or self.low == math.inf or self.high == -math.inf:
            raise InputError(f"low must be below high; found {self.low:g} and {self.high:g}.")

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        piece = self._piece()
        # From the limit where the mass is, which the mean may hardly leave.
        return self._from_peak(piece.peak) + self.sd * piece.mean_from_peak

    @property
    def reward_range(self) -> tuple[float, float]:
        """The limits."""
        return self.low, self.high

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        piece = self._piece()
        reward = self._from_peak(piece.peak) + self.sd * draw_piece(piece, n, rng)
        return np.clip(reward, self.low, self.high)

    def tilted(self, beta: float) -> TruncatedNormal:
        """Return the law of the reward under the tilted distribution."""
        moved = self.mean_before + self.sd * (self.sd / one_beta(self, beta))
        return TruncatedNormal(moved, self.sd, self.low, self.high)

    def negated(self) -> TruncatedNormal:
        """Return the law of minus the reward."""
        return TruncatedNormal(0.0 - self.mean_before, self.sd, 0.0 - self.high, 0.0 - self.low)

    def _kl(self, beta: Floats) -> Floats:
        return self._piece().kl(self.sd / beta)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self._piece().kl_reverse(self.sd / beta)

    def _log_z(self, beta: Floats) -> Floats:
        piece = self._piece()
        far = self._from_peak(piece.peak) / beta + piece.log_z_from_peak(self.sd / beta)
        near = self.mean / beta + piece.kl_reverse(self.sd / beta)
        return np.where(piece.is_near(self.sd / beta), near, far)

    def _mean_reward(self, beta: Floats) -> Floats:
        peak, offset = self._piece().tilted_mean(self.sd / beta)
        return np.array([self._from_peak(z) for z in peak.tolist()]) + self.sd * offset

    def _piece(self) -> GaussianPiece:
        return GaussianPiece(
            (self.low - self.mean_before) / self.sd, (self.high - self.mean_before) / self.sd
        )

    def _from_peak(self, peak: float) -> float:
        """Return the reward at a peak, in standard deviations, without rounding at a limit."""
        reward = self.mean_before + self.sd * peak
        return min(max(reward, self.low), self.high)


@dataclass(frozen=True, slots=True)
class HalfNormal(ClosedForm):
    """The absolute value of a Gaussian reward of mean 0.

    Attributes
    ----------
    sd : float
        Standard deviation of the Gaussian, above 0; the mean reward is ``sd * sqrt(2 / pi)``.

    Notes
    -----
    log Z = log(2) + s^2 / 2 + log Phi(s) with s = sd / beta, at every beta [1]_. The tilted distribution is a
    :class:`tiltz.laws.TruncatedNormal`.

    References
    ----------
    .. [1] N. L. Johnson, S. Kotz, N. Balakrishnan, *Continuous Univariate Distributions*, vol. 1, section 13.10.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.stats import norm
    >>> from tiltz.laws import HalfNormal
    >>> bool(np.isclose(HalfNormal(1).log_z(0.5), np.log(2) + 2**2 / 2 + norm.logcdf(2), rtol=1e-14))
    True
    """

    sd: float = 1.0

    def __post_init__(self) -> None:
        store(self, sd=positive("sd", self.sd))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.sd * math.sqrt(2.0 / math.pi)

    @property
    def reward_range(self) -> tuple[float, float]:
        """From 0 without an upper bound."""
        return 0.0, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return np.abs(rng.normal(0.0, self.sd, n))

    def tilted(self, beta: float) -> TruncatedNormal:
        """Return the law of the reward under the tilted distribution."""
        return self._truncated().tilted(one_beta(self, beta))

    def negated(self) -> TruncatedNormal:
        """Return the law of minus the reward."""
        return self._truncated().negated()

    def _truncated(self) -> TruncatedNormal:
        return TruncatedNormal(0.0, self.sd, low=0.0)

    def _kl(self, beta: Floats) -> Floats:
        return self._truncated().kl(beta)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self._truncated().kl_reverse(beta)

    def _mean_reward(self, beta: Floats) -> Floats:
        return self._truncated().mean_reward(beta)


def _limit(name: str, value: float) -> float:
    found = float(value) if isinstance(value, float | int) else number(name, value)
    return found if math.isinf(found) else number(name, found)
