"""The rewards that were drawn, taken as the whole world."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.array_parameters import floats
from tiltz.laws.atoms import Atoms
from tiltz.laws.categorical import Categorical
from tiltz.laws.closed_form import ClosedForm
from tiltz.laws.parameters import store
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Empirical(ClosedForm):
    """A reward drawn, with equal chances, from a list of n rewards.

    Attributes
    ----------
    reward : array, shape (n_distinct,)
        The distinct rewards, ascending; given as any list of finite numbers, in any order, a million if need be.
    count : int array, shape (n_distinct,)
        How often each stands in the list.

    Notes
    -----
    Z is the mean of ``exp(reward / beta)`` over the list, at every beta. The log-mean-exp of a sample is the log Z of
    this law exactly; of the law that the sample was drawn from it is an estimate, biased low, which never exceeds
    ``max(reward) / beta``. For the latter with an interval see :func:`tiltz.estimate`.

    A reward of ``-inf`` is refused: put the finite ones here and a :class:`tiltz.laws.Constrained` around them.

    Examples
    --------
    >>> from tiltz.laws import Empirical
    >>> law = Empirical([0, 1, 0, 0])
    >>> law
    Empirical(n=4, n_distinct=2, mean=0.25)
    >>> law.log_z(1.0).__round__(6)
    0.35737
    """

    reward: npt.ArrayLike
    count: Ints = field(init=False)
    _atoms: Atoms = field(init=False)

    def __post_init__(self) -> None:
        drawn = floats("reward", self.reward, minus_inf=True)
        if drawn.ndim != 1:
            raise InputError(
                f"reward must be a list of the rewards of one prompt, shape (n,); found shape {drawn.shape}. "
                "Make one law per prompt."
            )
        _refuse_minus_inf(drawn)
        reward, count = np.unique(drawn, return_counts=True)
        reward.setflags(write=False)
        count.setflags(write=False)
        store(self, reward=reward, count=count, _atoms=Atoms(reward, np.log(count) - np.log(len(drawn))))

    def __repr__(self) -> str:
        n = int(np.sum(self.count))
        return f"Empirical(n={n}, n_distinct={len(self.count)}, mean={self.mean:.6g})"

    @property
    def mean(self) -> float:
        """Mean of the list."""
        return self._atoms.mean

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest reward of the list."""
        return float(self._atoms.reward[0]), self._atoms.top

    def tilted(self, beta: float) -> Categorical:
        """Return the law of the reward under the tilted distribution: the same rewards, weighted."""
        return self._atoms.tilted(one_beta(self, beta))

    def negated(self) -> Empirical:
        """Return the law of minus the reward."""
        return Empirical(np.repeat(0.0 - np.asarray(self.reward), self.count))

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent draws from the list, with replacement."""
        return self._atoms.sample(n, rng)

    def _kl(self, beta: Floats) -> Floats:
        return self._atoms.kl(beta)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self._atoms.kl_reverse(beta)

    def _log_z(self, beta: Floats) -> Floats:
        return self._atoms.log_z(beta)


def _refuse_minus_inf(reward: Floats) -> None:
    kept = int(np.count_nonzero(reward > -np.inf))
    if kept == 0:
        raise InputError(
            f"At least one reward must be finite; found {len(reward)} rewards, all -inf: Z would be 0 at every beta."
        )
    if kept < len(reward):
        raise InputError(
            f"Each reward must be finite; found {len(reward) - kept} of {len(reward)} that are -inf. "
            f"Use Constrained(Empirical(reward[reward > -inf]), prob={kept / len(reward):.6g})."
        )
