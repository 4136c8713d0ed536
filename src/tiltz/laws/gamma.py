"""Exponential and gamma rewards: weights with a power-law tail, and an infinite Z at small beta."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import positive, store
from tiltz.laws.series import x_minus_log1p

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

    def _kl(self, beta: Floats) -> Floats:
        return _kl(beta * self.rate)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return _kl_reverse(beta * self.rate)


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

    def _kl(self, beta: Floats) -> Floats:
        return self.shape * _kl(beta * self.rate)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self.shape * _kl_reverse(beta * self.rate)


def _kl(beta: Floats) -> Floats:
    """Return KL(tilted || reference) of the exponential law of rate 1, log(1 - k) + k / (1 - k)."""
    return x_minus_log1p(1.0 / (beta - 1.0))


def _kl_reverse(beta: Floats) -> Floats:
    """Return KL(reference || tilted) of the exponential law of rate 1, -log(1 - k) - k."""
    return x_minus_log1p(-1.0 / beta)
