"""A few possible rewards with known probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.finite_tilt import FiniteTilt, finite_tilt
from tiltz.laws.parameters import number, probabilities, store
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Categorical(ClosedForm):
    """Finitely many rewards.

    Attributes
    ----------
    prob : tuple of float
        Probabilities under the reference; given as any sequence that sums to 1 within 1e-9, and normalised.
    reward : tuple of float
        The rewards, finite; for a hard constraint see :class:`tiltz.laws.Constrained`.

    Notes
    -----
    Z is the sum of ``prob * exp(reward / beta)``, at every beta.

    Examples
    --------
    >>> from tiltz.laws import Categorical
    >>> Categorical([0.6, 0.4], [2, 1]).log_z(1.0).__round__(6)
    1.708513
    """

    prob: Sequence[float]
    reward: Sequence[float]

    def __post_init__(self) -> None:
        prob = probabilities("prob", self.prob)
        reward = tuple(number("each reward", value) for value in self.reward)
        if len(prob) != len(reward):
            raise InputError(
                f"prob and reward must have equal lengths; found {len(prob)} probabilities and {len(reward)} rewards."
            )
        store(self, prob=prob, reward=reward)

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return self.reward[0] + float(np.dot(self.prob, np.subtract(self.reward, self.reward[0])))

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest reward of probability above 0."""
        occurring = [r for p, r in zip(self.prob, self.reward, strict=True) if p > 0]
        return min(occurring), max(occurring)

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        return rng.choice(np.array(self.reward), size=n, p=self.prob)

    def tilted(self, beta: float) -> Categorical:
        """Return the law of the reward under the tilted distribution."""
        prob, one = np.zeros(len(self.prob)), np.array([one_beta(self, beta)])
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            prob[np.array(self.prob) > 0] = self._tilt(one).tilted[0]
        return Categorical(np.minimum(prob, 1.0).tolist(), self.reward)

    def negated(self) -> Categorical:
        """Return the law of minus the reward."""
        return Categorical(self.prob, [0.0 - value for value in self.reward])

    def _kl(self, beta: Floats) -> Floats:
        return self._tilt(beta).kl()

    def _kl_reverse(self, beta: Floats) -> Floats:
        tilt = self._tilt(beta)
        # The highest reward less the mean, of which a large common offset cancels before it is rounded.
        top = np.max(self._offset()[np.array(self.prob) > 0])
        return np.where(tilt.near, tilt.log_from_mean, top / beta + tilt.log_from_top)

    def _log_z(self, beta: Floats) -> Floats:
        tilt, top = self._tilt(beta), self.reward_range[1]
        return np.where(tilt.near, self.mean / beta + tilt.log_from_mean, top / beta + tilt.log_from_top)

    def _offset(self) -> Floats:
        """Return the rewards less their mean."""
        from_first = np.subtract(self.reward, self.reward[0])
        return from_first - np.dot(self.prob, from_first)

    def _tilt(self, beta: Floats) -> FiniteTilt:
        prob = np.array(self.prob)
        occurring = prob > 0
        drop = np.array(self.reward)[occurring] - self.reward_range[1]
        return finite_tilt(
            np.log(prob[occurring]),
            gain=self._offset()[occurring] / beta[:, None],
            drop=drop / beta[:, None],
        )
