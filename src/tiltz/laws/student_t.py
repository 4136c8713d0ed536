"""Rewards with a power-law tail: Z is infinite at every beta."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import number, positive, store

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StudentT(ClosedForm):
    """A Student t reward, for which there is nothing to estimate.

    Attributes
    ----------
    df : float
        Degrees of freedom, above 0; 1 is the Cauchy law.
    loc, scale : float
        Centre and scale of the rewards.

    Notes
    -----
    No exponential moment exists: log Z is infinite at every beta, while n samples always give a finite number. An
    honest estimator leaves the upper limit open.

    Examples
    --------
    >>> from tiltz.laws import StudentT
    >>> StudentT(5).log_z(1e6)
    inf
    """

    df: float
    loc: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        loc, scale = number("loc", self.loc), positive("scale", self.scale)
        store(self, df=positive("df", self.df), loc=loc, scale=scale)

    @property
    def mean(self) -> float:
        """Mean reward under the reference; NaN for at most one degree of freedom."""
        return self.loc if self.df > 1 else math.nan

    @property
    def beta_min(self) -> float:
        """Z is infinite at every beta."""
        return math.inf

    @property
    def reward_range(self) -> tuple[float, float]:
        """Without bounds."""
        return -math.inf, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return self.loc + self.scale * rng.standard_t(self.df, n)

    def negated(self) -> StudentT:
        """Return the law of minus the reward."""
        return StudentT(self.df, 0.0 - self.loc, self.scale)

    def _kl(self, beta: Floats) -> Floats:
        return np.full_like(beta, math.nan)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return np.full_like(beta, math.nan)
