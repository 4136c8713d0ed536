"""Rewards in another unit, from another zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.law import Law
from tiltz.laws.parameters import a_law, number, positive, store

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Affine(ClosedForm):
    """The reward ``shift + scale * reward`` of another law's reward.

    Attributes
    ----------
    law : Law
        The other law.
    shift, scale : float
        What is added, and what is multiplied by before, above 0.

    Notes
    -----
    log Z(beta) = shift / beta + log Z of the other law at beta / scale; the divergences are the other law's there.

    Examples
    --------
    >>> from tiltz.laws import Affine, Normal
    >>> Affine(Normal(0, 1), shift=1, scale=2).log_z(2.0)
    1.0
    """

    law: Law
    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        shift, scale = number("shift", self.shift), positive("scale", self.scale)
        store(self, law=a_law("law", self.law), shift=shift, scale=scale)

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.shift + self.scale * self.law.mean

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return self.scale * self.law.beta_min

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest possible reward."""
        low, high = self.law.reward_range
        return self.shift + self.scale * low, self.shift + self.scale * high

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return self.shift + self.scale * self.law.sample(n, rng)

    def _kl(self, beta: Floats) -> Floats:
        return self.law.kl(beta / self.scale)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self.law.kl_reverse(beta / self.scale)

    def _log_z(self, beta: Floats) -> Floats:
        return self.shift / beta + self.law.log_z(beta / self.scale)

    def _mean_reward(self, beta: Floats) -> Floats:
        return self.shift + self.scale * self.law.mean_reward(beta / self.scale)
