"""Geometric and negative binomial rewards: lengths that end at random, and an infinite Z at small beta."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import positive, probability, store
from tiltz.laws.series import expm1_minus_x, x_minus_log1p
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NegativeBinomial(ClosedForm):
    """A negative binomial reward, the sum of ``size`` geometric ones; ``size`` may be any number above 0.

    Attributes
    ----------
    size : float
        Above 0.
    q : float
        Probability of one more, in (0, 1): the reward k has probability C(k + size - 1, k) (1 - q)^size q^k. This is
        ``scipy.stats.nbinom(size, 1 - q)``: SciPy and NumPy take the probability of stopping.

    Notes
    -----
    log Z = size log((1 - q) / (1 - q exp(1 / beta))) for q exp(1 / beta) < 1 [1]_; at beta = -1 / log(q) and below,
    Z is infinite. The tilted distribution has q exp(1 / beta) in place of q.

    References
    ----------
    .. [1] N. L. Johnson, A. W. Kemp, S. Kotz, *Univariate Discrete Distributions*, 3rd ed., section 5.3.

    Examples
    --------
    >>> from tiltz.laws import NegativeBinomial
    >>> NegativeBinomial(2.5, q=0.4).log_z(2.0).__round__(6)
    1.416202
    >>> from scipy import stats
    >>> float(stats.nbinom(2.5, 1 - 0.4).mean() - NegativeBinomial(2.5, 0.4).mean)
    0.0
    """

    size: float
    q: float

    def __post_init__(self) -> None:
        store(self, size=positive("size", self.size), q=_more("q", self.q))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.size * self.q / (1.0 - self.q)

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return -1.0 / math.log(self.q)

    @property
    def reward_range(self) -> tuple[float, float]:
        """From 0 without an upper bound."""
        return 0.0, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.negative_binomial(self.size, 1.0 - self.q, n).astype(np.float64)

    def tilted(self, beta: float) -> NegativeBinomial:
        """Return the law of the reward under the tilted distribution."""
        return NegativeBinomial(self.size, _tilted_more(self.q, one_beta(self, beta)))

    def _kl(self, beta: Floats) -> Floats:
        return self.size * _kl(self.q, beta)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self.size * _kl_reverse(self.q, beta)

    def _log_z(self, beta: Floats) -> Floats:
        return self.size * _log_z(self.q, beta)

    def _mean_reward(self, beta: Floats) -> Floats:
        return self.size * _tilted_mean(self.q, beta)


@dataclass(frozen=True, slots=True)
class Geometric(ClosedForm):
    """A geometric reward: 0, 1, 2, ... where each further one is reached with probability ``q``.

    Attributes
    ----------
    q : float
        Probability of one more, in (0, 1): the reward k has probability (1 - q) q^k. This is
        ``scipy.stats.geom(1 - q, loc=-1)``: SciPy and NumPy take the probability of stopping, and count from 1.

    Notes
    -----
    log Z = log((1 - q) / (1 - q exp(1 / beta))) for q exp(1 / beta) < 1 [1]_; at beta = -1 / log(q) and below, Z is
    infinite. The tilted distribution has q exp(1 / beta) in place of q.

    References
    ----------
    .. [1] N. L. Johnson, A. W. Kemp, S. Kotz, *Univariate Discrete Distributions*, 3rd ed., section 5.2.

    Examples
    --------
    >>> from tiltz.laws import Geometric
    >>> Geometric(0.5).log_z([10 / 3, 1.0]).round(6)
    array([0.430566,      inf])
    >>> from scipy import stats
    >>> float(stats.geom(1 - 0.75, loc=-1).mean() - Geometric(0.75).mean)
    0.0
    """

    q: float

    def __post_init__(self) -> None:
        store(self, q=_more("q", self.q))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.q / (1.0 - self.q)

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return -1.0 / math.log(self.q)

    @property
    def reward_range(self) -> tuple[float, float]:
        """From 0 without an upper bound."""
        return 0.0, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.geometric(1.0 - self.q, n).astype(np.float64) - 1.0

    def tilted(self, beta: float) -> Geometric:
        """Return the law of the reward under the tilted distribution."""
        return Geometric(_tilted_more(self.q, one_beta(self, beta)))

    def _kl(self, beta: Floats) -> Floats:
        return _kl(self.q, beta)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return _kl_reverse(self.q, beta)

    def _log_z(self, beta: Floats) -> Floats:
        return _log_z(self.q, beta)

    def _mean_reward(self, beta: Floats) -> Floats:
        return _tilted_mean(self.q, beta)


def _more(name: str, value: float) -> float:
    q = probability(name, value)
    if q in (0.0, 1.0):
        raise InputError(f"{name}, the probability of one more, must lie inside (0, 1); found {q:g}.")
    return q


def _tilted_more(q: float, beta: float) -> float:
    return min(math.exp(math.log(q) + 1.0 / beta), math.nextafter(1.0, 0.0))


def _rest(q: float, beta: Floats) -> Floats:
    """Return (1 - q exp(1/beta)) / (1 - q), exact near the pole."""
    log_q = math.log(q)
    rest: Floats = -np.expm1(log_q * (beta + 1.0 / log_q) / beta) / (1.0 - q)
    return rest


def _excess(q: float, beta: Floats) -> Floats:
    """Return one less the rest, q (exp(1/beta) - 1) / (1 - q)."""
    return q * np.expm1(1.0 / beta) / (1.0 - q)


def _log_z(q: float, beta: Floats) -> Floats:
    excess = _excess(q, beta)
    return np.where(excess < 0.5, -np.log1p(-np.minimum(excess, 0.5)), -np.log(_rest(q, beta)))


def _tilted_mean(q: float, beta: Floats) -> Floats:
    mean: Floats = q / (1.0 - q) * np.exp(1.0 / beta) / _rest(q, beta)
    return mean


def _kl_reverse(q: float, beta: Floats) -> Floats:
    """Return the divergence of a gamma mixing law plus that of the Poisson count inside."""
    excess = _excess(q, beta)
    near = x_minus_log1p(-np.minimum(excess, 0.5))
    mixing = np.where(excess < 0.5, near, -np.log(_rest(q, beta)) - excess)
    return mixing + q / (1.0 - q) * expm1_minus_x(1.0 / beta)


def _kl(q: float, beta: Floats) -> Floats:
    """Return the reverse divergence of the tilted law, tilted back."""
    odds = _excess(q, beta) / _rest(q, beta)
    return x_minus_log1p(odds) + _tilted_mean(q, beta) * expm1_minus_x(-1.0 / beta)
