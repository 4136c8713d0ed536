"""Rewards in another unit, from another zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.law import Law
from tiltz.laws.parameters import a_law, number, store
from tiltz.laws.tilting import negated_part, one_beta, tilted_part

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Affine(ClosedForm):
    """The reward ``shift + scale * reward`` of another law's reward.

    Attributes
    ----------
    law : Law
        The other law.
    shift, scale : float
        What is added, and what is multiplied by before, not 0. Below 0, the law must have the method ``negated``.

    Notes
    -----
    log Z(beta) = shift / beta + log Z of the other law at beta / scale; the divergences are the other law's there. For
    a negative scale the other law is that of minus its reward.

    Examples
    --------
    >>> from tiltz.laws import Affine, Normal
    >>> Affine(Normal(0, 1), shift=1, scale=2).log_z(2.0)
    1.0

    A cost in place of a reward:

    >>> from tiltz.laws import Exponential
    >>> Affine(Exponential(2), scale=-1).log_z(0.5).__round__(6)
    -0.693147
    """

    law: Law
    shift: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        shift, scale = number("shift", self.shift), number("scale", self.scale)
        if scale == 0:
            raise InputError("scale must not be 0, which would make every reward equal; found 0.")
        store(self, law=a_law("law", self.law), shift=shift, scale=scale)
        self._upright()

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.shift + self.scale * self.law.mean

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return abs(self.scale) * self._upright().beta_min

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest possible reward."""
        low, high = sorted(self.shift + self.scale * end for end in self.law.reward_range)
        return low, high

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return self.shift + self.scale * self.law.sample(n, rng)

    def tilted(self, beta: float) -> Affine:
        """Return the law of the reward under the tilted distribution."""
        size = abs(self.scale)
        return Affine(tilted_part(self._upright(), one_beta(self, beta) / size), shift=self.shift, scale=size)

    def negated(self) -> Affine:
        """Return the law of minus the reward."""
        return Affine(self.law, shift=0.0 - self.shift, scale=-self.scale)

    def _upright(self) -> Law:
        """Return the law of which the reward is a positive multiple."""
        return self.law if self.scale > 0 else negated_part(self.law)

    def _kl(self, beta: Floats) -> Floats:
        return self._upright().kl(beta / abs(self.scale))

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self._upright().kl_reverse(beta / abs(self.scale))

    def _log_z(self, beta: Floats) -> Floats:
        return self.shift / beta + self._upright().log_z(beta / abs(self.scale))

    def _mean_reward(self, beta: Floats) -> Floats:
        size = abs(self.scale)
        return self.shift + size * self._upright().mean_reward(beta / size)
