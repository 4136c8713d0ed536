"""The reward c log(y) + d log(1 - y) of a beta variable y, from which laws of log-probabilities are made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.bregman import divergences, panels
from tiltz.laws.polygamma import digamma_step, trigamma_step

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LogBetaPair:
    """Curves at one beta; log Z = log B(a + c t, b + d t) - log B(a, b) with t = 1 / beta.

    Attributes
    ----------
    a, b : float
        Shapes of the beta variable, above 0.
    c, d : float
        Weights of log(y) and of log(1 - y).
    """

    a: float
    b: float
    c: float
    d: float

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return float(self._slope(np.zeros(1))[0])

    def mean_reward(self, beta: float) -> float:
        """Return the mean reward under the tilted distribution."""
        return float(self._slope(np.array([1.0 / beta]))[0])

    def log_z(self, beta: float) -> float:
        """Return log Z, in nats, the integral of the mean reward."""
        s, weight = panels(1.0 / beta, below=self._below, above=self._above)
        return float(weight @ self._slope(s))

    def divergences(self, beta: float) -> tuple[float, float]:
        """Return both divergences, in nats."""
        return divergences(self._variance, 1.0 / beta, below=self._below, above=self._above)

    @property
    def _below(self) -> float:
        return _first_zero([(self.a, self.c), (self.b, self.d), (self.a + self.b, self.c + self.d)])

    @property
    def _above(self) -> float:
        return _first_zero([(self.a, -self.c), (self.b, -self.d), (self.a + self.b, -self.c - self.d)])

    def _shapes(self, s: Floats) -> tuple[Floats, Floats]:
        return self.a + self.c * s, self.b + self.d * s

    def _slope(self, s: Floats) -> Floats:
        a, b = self._shapes(s)
        return -self.c * digamma_step(a, b) - self.d * digamma_step(b, a)

    def _variance(self, s: Floats) -> Floats:
        a, b = self._shapes(s)
        own = self.c**2 * trigamma_step(a, b) + self.d**2 * trigamma_step(b, a)
        if self.c * self.d == 0:
            return own
        from scipy.special import polygamma

        return own - 2.0 * self.c * self.d * polygamma(1, a + b)


def _first_zero(lines: list[tuple[float, float]]) -> float:
    """Return the least s > 0 at which a falling line ``value - slope s`` is 0."""
    return min((value / slope for value, slope in lines if slope > 0), default=math.inf)
