"""Exponential and gamma rewards, whose Z is infinite at small beta, and the exponential turned over: log-quantiles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import positive, store
from tiltz.laws.series import x_minus_log1p
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Exponential(ClosedForm):
    """An exponential reward, whose weights are exactly Pareto.

    Attributes
    ----------
    rate : float
        One over the mean reward, above 0.

    Notes
    -----
    The weights exp(reward / beta) have the tail P(w > x) = x^(-1/k), the Pareto law of tail index
    k = 1 / (rate beta). log Z = -log(1 - k) for k < 1; at k = 1 and above, Z is infinite. At k >= 1/2 the weights have
    no variance. It is also the law of the log of a Pareto variable with exponent ``rate``.

    Examples
    --------
    >>> from tiltz.laws import Exponential
    >>> Exponential(1).log_z([4.0, 1.0]).round(6)
    array([0.287682,      inf])
    """

    rate: float = 1.0

    def __post_init__(self) -> None:
        store(self, rate=positive("rate", self.rate))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return 1.0 / self.rate

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return 1.0 / self.rate

    @property
    def reward_range(self) -> tuple[float, float]:
        """From 0 without an upper bound."""
        return 0.0, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.exponential(1.0 / self.rate, n)

    def tilted(self, beta: float) -> Exponential:
        """Return the law of the reward under the tilted distribution."""
        return Exponential(_tilted_rate(self.rate, one_beta(self, beta)))

    def negated(self) -> LogQuantile:
        """Return the law of minus the reward."""
        return LogQuantile(self.rate)

    def _kl(self, beta: Floats) -> Floats:
        return _kl(beta * self.rate)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return _kl_reverse(beta * self.rate)


@dataclass(frozen=True, slots=True)
class LogQuantile(ClosedForm):
    """The reward log(U), where U is the quantile of an outcome among draws of the reference.

    Attributes
    ----------
    best_of : float
        Of how many such draws the outcome is the best, above 0 and not always whole; 1 is the reference itself.

    Notes
    -----
    For any reward whose distribution has no atoms, U is uniform, log Z = -log(1 + 1 / beta), and the tilt at
    beta = 1 / (n - 1) IS best-of-n: its density is n u^(n - 1), Z = 1 / n, and KL(tilted || reference) =
    log(n) - (n - 1) / n [1]_. With m = ``best_of``, log Z = -log(1 + 1 / (m beta)), at every beta, and the tilted
    distribution is that of the best of m + 1 / beta.

    References
    ----------
    .. [1] A. Beirami et al., *Theoretical guarantees on the best-of-n alignment policy*, ICML 2025, which shows that
       for rewards with atoms log(n) - (n - 1) / n is an upper bound.

    Examples
    --------
    >>> import numpy as np
    >>> from tiltz.laws import LogQuantile
    >>> LogQuantile().tilted(1 / (16 - 1)).best_of
    16.0
    >>> bool(np.isclose(LogQuantile().kl(1 / (16 - 1)), np.log(16) - 15 / 16, rtol=1e-14))
    True
    """

    best_of: float = 1.0

    def __post_init__(self) -> None:
        store(self, best_of=positive("best_of", self.best_of))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return -1.0 / self.best_of

    @property
    def reward_range(self) -> tuple[float, float]:
        """From 0 without a lower bound."""
        return -math.inf, 0.0

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return -rng.exponential(1.0 / self.best_of, n)

    def tilted(self, beta: float) -> LogQuantile:
        """Return the law of the reward under the tilted distribution."""
        return LogQuantile(self.best_of + 1.0 / one_beta(self, beta))

    def negated(self) -> Exponential:
        """Return the law of minus the reward."""
        return Exponential(self.best_of)

    def _kl(self, beta: Floats) -> Floats:
        ratio = self.best_of * beta
        near = x_minus_log1p(-1.0 / (1.0 + np.maximum(ratio, 1.0)))
        return np.where(ratio > 1.0, near, np.log1p(1.0 / ratio) - 1.0 / (1.0 + ratio))

    def _kl_reverse(self, beta: Floats) -> Floats:
        return x_minus_log1p(1.0 / (self.best_of * beta))

    def _log_z(self, beta: Floats) -> Floats:
        return -np.log1p(1.0 / (self.best_of * beta))

    def _mean_reward(self, beta: Floats) -> Floats:
        return -1.0 / (self.best_of + 1.0 / beta)


@dataclass(frozen=True, slots=True)
class Gamma(ClosedForm):
    """A gamma reward, whose weights have a power-law tail but for a logarithm.

    Attributes
    ----------
    shape, rate : float
        Above 0; the mean reward is ``shape / rate``.

    Notes
    -----
    log Z = -shape log(1 - k) with the tail index k = 1 / (rate beta); at k = 1 and above, Z is infinite.

    Examples
    --------
    >>> from tiltz.laws import Gamma
    >>> Gamma(2.5, rate=3).log_z(0.5).__round__(6)
    2.746531
    """

    shape: float
    rate: float = 1.0

    def __post_init__(self) -> None:
        store(self, shape=positive("shape", self.shape), rate=positive("rate", self.rate))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.shape / self.rate

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return 1.0 / self.rate

    @property
    def reward_range(self) -> tuple[float, float]:
        """From 0 without an upper bound."""
        return 0.0, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.gamma(self.shape, 1.0 / self.rate, n)

    def tilted(self, beta: float) -> Gamma:
        """Return the law of the reward under the tilted distribution."""
        return Gamma(self.shape, _tilted_rate(self.rate, one_beta(self, beta)))

    def _kl(self, beta: Floats) -> Floats:
        return self.shape * _kl(beta * self.rate)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self.shape * _kl_reverse(beta * self.rate)


def _tilted_rate(rate: float, beta: float) -> float:
    return rate * ((beta - 1.0 / rate) / beta)


def _kl(beta: Floats) -> Floats:
    """Return KL(tilted || reference) of the exponential law of rate 1, log(1 - k) + k / (1 - k)."""
    return x_minus_log1p(1.0 / (beta - 1.0))


def _kl_reverse(beta: Floats) -> Floats:
    """Return KL(reference || tilted) of the exponential law of rate 1, -log(1 - k) - k."""
    return x_minus_log1p(-1.0 / beta)
