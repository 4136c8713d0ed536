"""Poisson rewards: counts of rare events."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import positive, store
from tiltz.laws.series import expm1_minus_x, x_exp_minus_expm1
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Poisson(ClosedForm):
    """A Poisson reward: 0, 1, 2, ...

    Attributes
    ----------
    mean : float
        Mean reward under the reference, above 0.

    Notes
    -----
    log Z = mean (exp(1 / beta) - 1), finite at every beta; below about 0.0014 it is beyond the largest float. The
    tilted distribution is the Poisson of mean ``mean * exp(1 / beta)`` [1]_.

    References
    ----------
    .. [1] N. L. Johnson, A. W. Kemp, S. Kotz, *Univariate Discrete Distributions*, 3rd ed., section 4.3.

    Examples
    --------
    >>> from tiltz.laws import Poisson
    >>> Poisson(3).log_z(1.0).__round__(6)
    5.154845
    >>> Poisson(3).tilted(1.0).mean.__round__(6)
    8.154845
    """

    mean: float

    def __post_init__(self) -> None:
        store(self, mean=positive("mean", self.mean))

    @property
    def reward_range(self) -> tuple[float, float]:
        """From 0 without an upper bound."""
        return 0.0, math.inf

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.poisson(self.mean, n).astype(np.float64)

    def tilted(self, beta: float) -> Poisson:
        """Return the law of the reward under the tilted distribution."""
        return Poisson(self.mean * float(np.exp(1.0 / one_beta(self, beta))))

    def _kl(self, beta: Floats) -> Floats:
        t = 1.0 / beta
        near = self.mean * x_exp_minus_expm1(np.minimum(t, 1.0))
        return np.where(t < 1.0, near, self._mean_reward(beta) * (t - 1.0) + self.mean)

    def _kl_reverse(self, beta: Floats) -> Floats:
        t = 1.0 / beta
        return np.where(
            t < 1.0,
            self.mean * expm1_minus_x(np.minimum(t, 1.0)),
            self._log_z(beta) - self.mean * np.minimum(t, 1e3),
        )

    def _log_z(self, beta: Floats) -> Floats:
        t = 1.0 / beta
        return np.where(t < 1.0, self.mean * np.expm1(t), self._mean_reward(beta) - self.mean)

    def _mean_reward(self, beta: Floats) -> Floats:
        # A small mean may keep finite what exp alone does not.
        t = 1.0 / beta
        return np.where(t < 700.0, self.mean * np.exp(t), np.exp(t + math.log(self.mean)))
