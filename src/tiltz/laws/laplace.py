"""Double exponential rewards: a power-law tail of the weights at both ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import number, positive, store
from tiltz.laws.series import x_minus_log1p

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Laplace(ClosedForm):
    """A Laplace reward, symmetric about its mean.

    Attributes
    ----------
    mean : float
        Mean reward under the reference.
    scale : float
        Mean distance from the mean, above 0.

    Notes
    -----
    log Z = mean / beta - log(1 - k^2) with the tail index k = scale / beta; at k = 1 and above, Z is infinite.

    Examples
    --------
    >>> from tiltz.laws import Laplace
    >>> Laplace(0, scale=1).log_z([2.0, 1.0]).round(6)
    array([0.287682,      inf])
    """

    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        store(self, mean=number("mean", self.mean), scale=positive("scale", self.scale))

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return self.scale

    @property
    def reward_range(self) -> tuple[float, float]:
        """Without bounds."""
        return -math.inf, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.laplace(self.mean, self.scale, n)

    def negated(self) -> Laplace:
        """Return the law of minus the reward."""
        return Laplace(0.0 - self.mean, self.scale)

    def _kl(self, beta: Floats) -> Floats:
        k = self.scale / beta
        # k^2 / (1 - k^2), with a difference that is exact near the pole.
        odds = k * k / ((1.0 + k) * (beta - self.scale) / beta)
        return odds + x_minus_log1p(odds)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return -np.log1p(-((self.scale / beta) ** 2))
