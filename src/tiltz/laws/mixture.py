"""Mixtures of laws, and the rare mode that no sample shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.finite_tilt import FiniteTilt, finite_tilt, log_sum_exp
from tiltz.laws.law import Law
from tiltz.laws.normal import Normal
from tiltz.laws.parameters import a_law, probabilities, probability, store
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
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            weights = self._tilt(np.array([one])).tilted[0]
        return Mixture(np.minimum(weights, 1.0).tolist(), [tilted_part(law, one) for _, law in self._parts()])

    def negated(self) -> Mixture:
        """Return the law of minus the reward."""
        weights, laws = zip(*self._parts(), strict=True)
        return Mixture(weights, [negated_part(law) for law in laws])

    def _parts(self) -> list[tuple[float, Law]]:
        return [part for part in zip(self.weights, self.laws, strict=True) if part[0] > 0]

    def _each(self, name: str, beta: Floats) -> Floats:
        """Return a curve of every part, shape (n_betas, n_parts)."""
        return np.stack([getattr(law, name)(beta) for _, law in self._parts()], axis=-1)

    def _log_weights(self) -> Floats:
        return np.log([weight for weight, _ in self._parts()])

    def _log_z(self, beta: Floats) -> Floats:
        tilt, top = self._tilt(beta), self._top(beta)
        return self._representable(
            beta, np.where(tilt.near, self.mean / beta + tilt.log_from_mean, top + tilt.log_from_top)
        )

    def _kl(self, beta: Floats) -> Floats:
        tilt = self._tilt(beta)
        inside = np.where(tilt.tilted > 0, tilt.tilted * self._each("kl", beta), 0.0)
        return self._representable(beta, tilt.kl() + np.sum(inside, axis=-1))

    def _kl_reverse(self, beta: Floats) -> Floats:
        tilt, gain = self._tilt(beta), self._gain(beta)
        from_mean = np.where(tilt.near, tilt.log_from_mean, log_sum_exp(self._log_weights() + gain))
        return self._representable(beta, from_mean)

    def _representable(self, beta: Floats, values: Floats) -> Floats:
        """Return infinity where log Z of a part is beyond the largest float, and differences are meaningless."""
        return np.where(self._top(beta) == np.inf, np.inf, values)

    def _gain(self, beta: Floats) -> Floats:
        """Return the log-weights of the parts as wholes, measured from the mean reward."""
        offset = np.array([law.mean - self.mean for _, law in self._parts()])
        return offset / beta[:, None] + self._each("kl_reverse", beta)

    def _top(self, beta: Floats) -> Floats:
        """Return the largest log Z of a part, shape (n_betas,)."""
        return np.max(self._each("log_z", beta), axis=-1)

    def _tilt(self, beta: Floats) -> FiniteTilt:
        return finite_tilt(
            self._log_weights(),
            gain=self._gain(beta),
            drop=self._each("log_z", beta) - self._top(beta)[:, None],
            mean_gain=np.sum(np.exp(self._log_weights()) * self._each("kl_reverse", beta), axis=-1),
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
