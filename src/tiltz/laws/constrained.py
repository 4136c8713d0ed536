"""A hard constraint on top of a law: some outcomes have the reward -inf."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.law import Law
from tiltz.laws.parameters import a_law, probability, store
from tiltz.laws.tilting import one_beta, tilted_part

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Constrained(ClosedForm):
    """The reward of another law with probability ``prob``, else ``-inf``.

    Attributes
    ----------
    law : Law
        The reward of an outcome that keeps the constraint.
    prob : float
        Probability under the reference that an outcome does, above 0.

    Notes
    -----
    log Z and KL(tilted || reference) are the other law's, plus and minus ``log(prob)``. If the constraint can be
    broken, the mean reward is ``-inf``, to which the soft value falls as beta grows, and KL(reference || tilted) is
    infinite.

    Examples
    --------
    >>> from tiltz.laws import Constrained, Normal
    >>> Constrained(Normal(0, 1), prob=0.5).kl(1.0).__round__(6)
    1.193147
    """

    law: Law
    prob: float

    def __post_init__(self) -> None:
        store(self, law=a_law("law", self.law), prob=probability("prob", self.prob))
        if self.prob == 0:
            raise InputError(
                "prob must be above 0: were every reward -inf, no tilted distribution would exist."
            )

    @property
    def mean(self) -> float:
        """Mean reward under the reference, ``-inf`` if the constraint can be broken."""
        return self.law.mean if self.prob == 1 else -math.inf

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return self.law.beta_min

    @property
    def reward_range(self) -> tuple[float, float]:
        """From ``-inf`` to the highest reward, if the constraint can be broken."""
        low, high = self.law.reward_range
        return (low if self.prob == 1 else -math.inf), high

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        reward = self.law.sample(n, rng)
        return np.where(rng.random(n) < self.prob, reward, -math.inf)

    def tilted(self, beta: float) -> Law:
        """Return the law of the reward under the tilted distribution, in which no outcome breaks the constraint."""
        return tilted_part(self.law, one_beta(self, beta))

    def _kl(self, beta: Floats) -> Floats:
        return self.law.kl(beta) - math.log(self.prob)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self.law.kl_reverse(beta) + (0.0 if self.prob == 1 else math.inf)

    def _log_z(self, beta: Floats) -> Floats:
        return self.law.log_z(beta) + math.log(self.prob)

    def _mean_reward(self, beta: Floats) -> Floats:
        return self.law.mean_reward(beta)
