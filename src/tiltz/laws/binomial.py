"""Binomial rewards: how many of a fixed number of checks pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import count, probability, store
from tiltz.laws.tilting import one_beta
from tiltz.laws.two_point import TwoPoint

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Binomial(ClosedForm):
    """The number of successes in ``n`` independent trials.

    Attributes
    ----------
    n : int
        Number of trials, at least 1.
    p : float
        Success rate of each, in [0, 1].

    Notes
    -----
    log Z = n log(1 - p + p exp(1 / beta)), at every beta: n times that of one trial [1]_. The tilted distribution
    is binomial, its odds p / (1 - p) multiplied by exp(1 / beta).

    References
    ----------
    .. [1] N. L. Johnson, A. W. Kemp, S. Kotz, *Univariate Discrete Distributions*, 3rd ed., section 3.3.

    Examples
    --------
    >>> from tiltz.laws import Binomial, TwoPoint
    >>> Binomial(10, 0.1).log_z(0.2) == 10 * TwoPoint(0.1).log_z(0.2)
    True
    """

    n: int
    p: float

    def __post_init__(self) -> None:
        store(self, n=count("n", self.n), p=probability("p", self.p))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.n * self.p

    @property
    def reward_range(self) -> tuple[float, float]:
        """From no success to nothing else."""
        return 0.0, float(self.n)

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.binomial(self.n, self.p, n).astype(np.float64)

    def tilted(self, beta: float) -> Binomial:
        """Return the law of the reward under the tilted distribution."""
        return Binomial(self.n, TwoPoint(self.p).tilted(one_beta(self, beta)).p)

    def _kl(self, beta: Floats) -> Floats:
        return self.n * TwoPoint(self.p).kl(beta)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self.n * TwoPoint(self.p).kl_reverse(beta)

    def _log_z(self, beta: Floats) -> Floats:
        return self.n * TwoPoint(self.p).log_z(beta)

    def _mean_reward(self, beta: Floats) -> Floats:
        return self.n * TwoPoint(self.p).mean_reward(beta)
