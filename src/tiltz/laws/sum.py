"""Rewards that are sums of independent parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.law import Law
from tiltz.laws.parameters import a_law, count, store
from tiltz.laws.tilting import negated_part, one_beta, tilted_part

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sum(ClosedForm):
    """The sum of independent rewards: several criteria, or the steps of an episode.

    Attributes
    ----------
    laws : tuple of Law
        The law of each part; given as any sequence of at least one.
    n_copies : tuple of int
        How many independent parts have each law; one integer holds for all.

    Notes
    -----
    log Z, both divergences and both means are the sums of the parts', and Z is infinite where that of a part is: at
    and below the largest of their ``beta_min``. Parts that share a prompt but are not independent under the
    reference (two rewards of one completion, as a rule) have no such sum. The mean of n rewards is
    ``Affine(Sum([law], n_copies=n), scale=1 / n)``.

    Examples
    --------
    Eight steps, each a success in one of ten cases, together a binomial reward:

    >>> from tiltz.laws import Sum, TwoPoint
    >>> Sum([TwoPoint(0.1)], n_copies=8).log_z(0.5).__round__(6)
    3.95223
    """

    laws: Sequence[Law]
    n_copies: int | Sequence[int] = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.laws, Law) or not isinstance(self.laws, Sequence) or not len(self.laws):
            raise InputError(
                f"laws must be a list of at least one law, such as [Normal(0, 1)]; found {self.laws!r}."
            )
        laws = tuple(a_law("each of laws", law) for law in self.laws)
        store(self, laws=laws, n_copies=_counts(self.n_copies, len(laws)))

    @property
    def mean(self) -> float:
        """Mean reward under the reference."""
        return sum(n * law.mean for n, law in self._parts())

    @property
    def beta_min(self) -> float:
        """Z is infinite at and below this beta, the largest of the parts'."""
        return max(law.beta_min for law in self.laws)

    @property
    def reward_range(self) -> tuple[float, float]:
        """Sums of the lowest and of the highest rewards."""
        ranges = [(n * law.reward_range[0], n * law.reward_range[1]) for n, law in self._parts()]
        low, high = zip(*ranges, strict=True)
        return sum(low), sum(high)

    def tilted(self, beta: float) -> Sum:
        """Return the law of the reward under the tilted distribution: the sum of the tilted parts."""
        one = one_beta(self, beta)
        return Sum([tilted_part(law, one) for law in self.laws], n_copies=self.n_copies)

    def negated(self) -> Sum:
        """Return the law of minus the reward."""
        return Sum([negated_part(law) for law in self.laws], n_copies=self.n_copies)

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent rewards under the reference."""
        total = np.zeros(n)
        for n_copies, law in self._parts():
            for _ in range(n_copies):
                total += law.sample(n, rng)
        low, high = self.reward_range
        return np.clip(total, low, high)

    def _parts(self) -> list[tuple[int, Law]]:
        counts = self.n_copies if isinstance(self.n_copies, Sequence) else [self.n_copies]
        return list(zip(counts, self.laws, strict=True))

    def _total(self, name: str, beta: Floats) -> Floats:
        curves = np.stack([n * getattr(law, name)(beta) for n, law in self._parts()])
        # Beyond the largest float in one part, a sum with another's -inf would mean nothing.
        return np.where(np.any(curves == np.inf, axis=0), np.inf, np.sum(curves, axis=0))

    def _kl(self, beta: Floats) -> Floats:
        return self._total("kl", beta)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self._total("kl_reverse", beta)

    def _log_z(self, beta: Floats) -> Floats:
        return self._total("log_z", beta)

    def _mean_reward(self, beta: Floats) -> Floats:
        return self._total("mean_reward", beta)


def _counts(n_copies: Any, n_laws: int) -> tuple[int, ...]:
    given = list(n_copies) if np.iterable(n_copies) and not isinstance(n_copies, str) else [n_copies] * n_laws
    if len(given) != n_laws:
        raise InputError(
            f"n_copies must be one count, or one for each law; found {len(given)} counts for {n_laws} laws."
        )
    return tuple(count("each of n_copies", value) for value in given)
