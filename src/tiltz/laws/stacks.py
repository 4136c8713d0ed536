"""Many laws at once, one per prompt, with their log Z in arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tiltz.laws.closed_form import checked_beta
from tiltz.laws.law import Law
from tiltz.laws.normal import Normal
from tiltz.laws.two_point import TwoPoint, two_point_tilt

Floats = npt.NDArray[np.float64]


class Stack(Protocol):
    """Laws of the reward of several prompts."""

    @property
    def laws(self) -> tuple[Law, ...]:
        """The law of each prompt."""
        ...

    def log_z(self, betas: npt.ArrayLike) -> Floats:
        """Return log Z, in nats, of shape (n_laws, n_betas)."""
        ...

    def soft_value(self, betas: npt.ArrayLike) -> Floats:
        """Return beta log Z, in units of reward, of shape (n_laws, n_betas)."""
        ...

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """Return ``n`` independent rewards of each law, of shape (n_laws, n)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TwoPointStack:
    """One :class:`tiltz.laws.TwoPoint` per prompt, with common rewards.

    Attributes
    ----------
    p : array, shape (n_laws,)
        Success rates, in [0, 1].
    low, high : float
        The two rewards.
    """

    p: Floats
    low: float = 0.0
    high: float = 1.0

    @property
    def laws(self) -> tuple[Law, ...]:
        """The law of each prompt."""
        return tuple(TwoPoint(p, self.low, self.high) for p in self.p.tolist())

    def log_z(self, betas: npt.ArrayLike) -> Floats:
        """Return log Z, in nats, of shape (n_laws, n_betas)."""
        beta, width = _as_row(betas), self.high - self.low
        p = self.p[:, None]
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            tilt = two_point_tilt(np.log(p), np.log1p(-p), width / beta)
            near = (self.low + p * width) / beta + tilt.log_from_mean
            return np.where(tilt.near, near, self.high / beta + tilt.log_from_top)

    def soft_value(self, betas: npt.ArrayLike) -> Floats:
        """Return beta log Z, in units of reward, of shape (n_laws, n_betas)."""
        return _as_row(betas) * self.log_z(betas)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """Return ``n`` independent rewards of each law, of shape (n_laws, n)."""
        return np.where(rng.random((len(self.p), n)) < self.p[:, None], self.high, self.low)


@dataclass(frozen=True, slots=True, eq=False)
class NormalStack:
    """One :class:`tiltz.laws.Normal` per prompt.

    Attributes
    ----------
    mean, sd : array, shape (n_laws,)
        Means and standard deviations of the rewards.
    """

    mean: Floats
    sd: Floats

    @property
    def laws(self) -> tuple[Law, ...]:
        """The law of each prompt."""
        return tuple(Normal(mean, sd) for mean, sd in zip(self.mean.tolist(), self.sd.tolist(), strict=True))

    def log_z(self, betas: npt.ArrayLike) -> Floats:
        """Return log Z, in nats, of shape (n_laws, n_betas)."""
        beta = _as_row(betas)
        return self.mean[:, None] / beta + 0.5 * (self.sd[:, None] / beta) ** 2

    def soft_value(self, betas: npt.ArrayLike) -> Floats:
        """Return beta log Z, in units of reward, of shape (n_laws, n_betas)."""
        return _as_row(betas) * self.log_z(betas)

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """Return ``n`` independent rewards of each law, of shape (n_laws, n)."""
        return rng.normal(self.mean[:, None], self.sd[:, None], (len(self.mean), n))


@dataclass(frozen=True, slots=True, eq=False)
class LawStack:
    """Any laws, several prompts to a law.

    Attributes
    ----------
    kinds : tuple of Law
        The different laws.
    which : int array, shape (n_laws,)
        Index into ``kinds`` of the law of each prompt.
    """

    kinds: tuple[Law, ...]
    which: npt.NDArray[np.int64]

    @property
    def laws(self) -> tuple[Law, ...]:
        """The law of each prompt."""
        return tuple(self.kinds[k] for k in self.which)

    def log_z(self, betas: npt.ArrayLike) -> Floats:
        """Return log Z, in nats, of shape (n_laws, n_betas)."""
        return np.stack([law.log_z(_as_row(betas)) for law in self.kinds])[self.which]

    def soft_value(self, betas: npt.ArrayLike) -> Floats:
        """Return beta log Z, in units of reward, of shape (n_laws, n_betas)."""
        return np.stack([law.soft_value(_as_row(betas)) for law in self.kinds])[self.which]

    def sample(self, n: int, rng: np.random.Generator) -> Floats:
        """Return ``n`` independent rewards of each law, of shape (n_laws, n)."""
        reward = np.empty((len(self.which), n))
        for k, law in enumerate(self.kinds):
            drawn = self.which == k
            reward[drawn] = law.sample((int(np.count_nonzero(drawn)), n), rng)
        return reward


def _as_row(betas: npt.ArrayLike) -> Floats:
    return np.atleast_1d(checked_beta(betas))
