"""Finitely many rewards in arrays, for laws that may have a million of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tiltz.laws.categorical import Categorical
from tiltz.laws.finite_tilt import FiniteTilt, finite_tilt
from tiltz.laws.parameters import store

Floats = npt.NDArray[np.float64]

_MOST_CELLS = 1_000_000  # betas times atoms held at once


@dataclass(frozen=True, slots=True, eq=False)
class Atoms:
    """Rewards with masses, and their curves.

    Attributes
    ----------
    reward : array, shape (n_atoms,)
        Finite, each with a mass above 0.
    log_mass : array, shape (n_atoms,)
        Log of the masses, which sum to 1, in nats.
    mean : float
        Mean reward.
    top : float
        Highest reward.
    offset : array, shape (n_atoms,)
        Rewards less their mean, of which a large common offset cancels before it is rounded.
    """

    reward: Floats
    log_mass: Floats
    mean: float = field(init=False)
    top: float = field(init=False)
    offset: Floats = field(init=False)

    def __post_init__(self) -> None:
        from_first = self.reward - self.reward[0]
        mean_from_first = float(np.sum(np.exp(self.log_mass) * from_first))
        mean = float(self.reward[0]) + mean_from_first
        store(self, mean=mean, top=float(np.max(self.reward)), offset=from_first - mean_from_first)

    def tilt(self, beta: Floats) -> FiniteTilt:
        """Return the tilt at each beta, shape (n_betas, n_atoms)."""
        b = beta[:, None]
        return finite_tilt(self.log_mass, gain=self.offset / b, drop=(self.reward - self.top) / b)

    def log_z(self, beta: Floats) -> Floats:
        """Return log Z, in nats, shape (n_betas,)."""
        return self._in_blocks(
            beta,
            lambda tilt, b: np.where(
                tilt.near, self.mean / b + tilt.log_from_mean, self.top / b + tilt.log_from_top
            ),
        )

    def kl(self, beta: Floats) -> Floats:
        """Return KL(tilted || reference), in nats, shape (n_betas,)."""
        return self._in_blocks(beta, lambda tilt, _: tilt.kl())

    def kl_reverse(self, beta: Floats) -> Floats:
        """Return KL(reference || tilted), in nats, shape (n_betas,)."""
        from_mean = float(np.max(self.offset))
        return self._in_blocks(
            beta, lambda tilt, b: np.where(tilt.near, tilt.log_from_mean, from_mean / b + tilt.log_from_top)
        )

    def tilted(self, beta: float) -> Categorical:
        """Return the law of the reward under the tilted distribution."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            mass = self.tilt(np.array([beta])).tilted[0]
        return Categorical((mass / math.fsum(mass)).tolist(), self.reward.tolist())

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        cumulative = np.cumsum(np.exp(self.log_mass))
        which = np.searchsorted(cumulative, rng.random(n), side="right")
        return self.reward[np.minimum(which, len(self.reward) - 1)]

    def _in_blocks(self, beta: Floats, curve: Callable[[FiniteTilt, Floats], Floats]) -> Floats:
        size = max(1, _MOST_CELLS // len(self.reward))
        blocks = [beta[start : start + size] for start in range(0, len(beta), size)]
        return np.concatenate([curve(self.tilt(block), block) for block in blocks])
