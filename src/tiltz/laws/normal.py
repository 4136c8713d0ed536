"""Gaussian rewards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import number, positive, store
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Normal(ClosedForm):
    """A Gaussian reward, whose weights are lognormal.

    Attributes
    ----------
    mean : float
        Mean reward under the reference.
    sd : float
        Standard deviation under the reference, above 0.

    Notes
    -----
    log Z = mean / beta + s^2 / 2 with s = sd / beta, at every beta; both divergences are s^2 / 2. Plain sampling
    needs about exp(s^2) samples.

    Examples
    --------
    >>> from tiltz.laws import Normal
    >>> Normal(0, 1).log_z([2.0, 0.5])
    array([0.125, 2.   ])
    """

    mean: float = 0.0
    sd: float = 1.0

    def __post_init__(self) -> None:
        store(self, mean=number("mean", self.mean), sd=positive("sd", self.sd))

    @property
    def reward_range(self) -> tuple[float, float]:
        """Without bounds."""
        return -math.inf, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.normal(self.mean, self.sd, n)

    def tilted(self, beta: float) -> Normal:
        """Return the law of the reward under the tilted distribution."""
        return Normal(self.mean + self.sd * (self.sd / one_beta(self, beta)), self.sd)

    def negated(self) -> Normal:
        """Return the law of minus the reward."""
        return Normal(0.0 - self.mean, self.sd)

    def _kl(self, beta: Floats) -> Floats:
        return 0.5 * (self.sd / beta) ** 2

    def _kl_reverse(self, beta: Floats) -> Floats:
        return 0.5 * (self.sd / beta) ** 2
