"""Mixtures of laws, and the rare mode that no sample shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.law import Law
from tiltz.laws.normal import Normal
from tiltz.laws.parameters import a_law, probabilities, probability, store
from tiltz.laws.parts import CURVES, Curves, joined
from tiltz.laws.tilting import negated_part, one_beta, tilted_part

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mixture(ClosedForm):
    """A reward drawn from one of several laws.

    Attributes
    ----------
    weights : tuple of float
        Probabilities of the laws; given as any sequence that sums to 1 within 1e-9, and normalised.
    laws : tuple of Law
        The parts. Those of weight 0 count for nothing; the others have a mean above ``-inf`` (for a part whose
        reward is ``-inf``, put a :class:`tiltz.laws.Constrained` around the mixture).

    Notes
    -----
    log Z is the log-sum-exp of the parts' ``log weight + log_z``, and the tilted distribution the mixture of the
    tilted parts. The divergences keep their digits at a large beta; at a small one they are right to 1e-15 of log Z.

    Examples
    --------
    >>> from tiltz.laws import Mixture, Normal
    >>> Mixture([0.5, 0.5], [Normal(0, 1), Normal(3, 1)]).log_z(1.0).__round__(6)
    2.85544
    """

    weights: Sequence[float]
    laws: Sequence[Law]

    def __post_init__(self) -> None:
        weights = probabilities("weights", self.weights)
        laws = tuple(a_law("each of laws", law) for law in self.laws)
        if len(weights) != len(laws):
            raise InputError(
                f"weights and laws must have equal lengths; found {len(weights)} weights and {len(laws)} laws."
            )
        store(self, weights=weights, laws=laws)
        if any(law.mean == -np.inf for _, law in self._parts()):
            raise InputError(
                "each of laws must have a mean reward above -inf; for rewards of -inf use "
                "Constrained(Mixture(...), prob=...)."
            )

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        first = self._parts()[0][1].mean
        return first + sum(weight * (law.mean - first) for weight, law in self._parts())

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta."""
        return max(law.beta_min for _, law in self._parts())

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest reward of any part."""
        low, high = zip(*(law.reward_range for _, law in self._parts()), strict=True)
        return min(low), max(high)

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        part = rng.choice(len(self.laws), size=n, p=self.weights)
        reward = np.empty(part.shape)
        for k, law in enumerate(self.laws):
            drawn = part == k
            reward[drawn] = law.sample(int(np.count_nonzero(drawn)), rng)
        return reward

    def tilted(self, beta: float) -> Mixture:
        """Return the mixture of the tilted parts, with weights tilted by their log Z."""
        one = one_beta(self, beta)
        weights = joined(self._log_weights(), self._curves(np.array([one])), np.array([one]))[1].tilted[0]
        return Mixture(np.minimum(weights, 1.0).tolist(), [tilted_part(law, one) for _, law in self._parts()])

    def negated(self) -> Mixture:
        """Return the law of minus the reward."""
        weights, laws = zip(*self._parts(), strict=True)
        return Mixture(weights, [negated_part(law) for law in laws])

    def _parts(self) -> list[tuple[float, Law]]:
        return [part for part in zip(self.weights, self.laws, strict=True) if part[0] > 0]

    def _log_weights(self) -> Floats:
        return np.log([weight for weight, _ in self._parts()])

    def _log_z(self, beta: Floats) -> Floats:
        return self._whole(beta).soft_value / beta

    def _mean_reward(self, beta: Floats) -> Floats:
        return self._whole(beta).mean_reward

    def _kl(self, beta: Floats) -> Floats:
        return self._whole(beta).kl

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self._whole(beta).kl_reverse

    def _whole(self, beta: Floats) -> Curves:
        return joined(self._log_weights(), self._curves(beta), beta)[0]

    def _curves(self, beta: Floats) -> Curves:
        """Return the curves of the parts, shape (n_betas, n_parts)."""
        laws = [law for _, law in self._parts()]
        return Curves(
            mean=np.array([law.mean for law in laws]),
            **{name: np.stack([getattr(law, name)(beta) for law in laws], axis=-1) for name in CURVES},
        )


def rare_mode(prob: float = 1e-4, *, gain: float = 15.0, sd: float = 0.5) -> Mixture:
    """Return standard normal rewards with a rare mode far above, which carries Z.

    Parameters
    ----------
    prob : float
        Mass of the rare mode.
    gain, sd : float
        Mean and standard deviation of its rewards.

    Returns
    -------
    Mixture
        At beta 1, 1,000 samples show the mode in one run of ten; in the others everything that can be computed
        from the sample looks healthy, and log Z is too low by five nats.

    Examples
    --------
    >>> from tiltz.laws import rare_mode
    >>> rare_mode().log_z(1.0).__round__(6)
    5.9191
    """
    prob = probability("prob", prob)
    return Mixture((1.0 - prob, prob), (Normal(0.0, 1.0), Normal(gain, sd)))
