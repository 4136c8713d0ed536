"""Rewards replaced by their quantile among a finite number of reference rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.atoms import Atoms
from tiltz.laws.categorical import Categorical
from tiltz.laws.closed_form import ClosedForm, above
from tiltz.laws.parameters import count, probabilities, store
from tiltz.laws.quantile_counts import TIES, rank_log_mass, ranks
from tiltz.laws.reference_counts import counted_atoms
from tiltz.laws.reference_spacings import uniform_spacings
from tiltz.laws.reference_spread import ReferenceSpread
from tiltz.laws.tilting import one_beta

Floats = npt.NDArray[np.float64]

_LARGE_BETA = 1e100  # the spread is 1/beta times a constant there, and its square still a float


@dataclass(frozen=True, slots=True)
class QuantileReward(ClosedForm):
    """The share of ``n_reference`` reference rewards that are at most the reward of one more outcome.

    Attributes
    ----------
    n_reference : int
        m, how many reference rewards the quantile is counted among.
    prob : tuple of float, optional
        Masses, under the reference, of the values that the original reward can take, in ascending order of these
        values: ``(1 - p, p)`` for a success rate p. None, the default, is a reward without ties.
    ties : str
        What equals count for: ``"at-most"`` counts them whole, ``"below"`` not at all, ``"mid-rank"`` half.

    Notes
    -----
    Over reference sets and outcomes together, the quantile of a reward without ties is uniform on 0, 1/m, ..., 1:

        log Z = log of the mean over k = 0..m of exp(k / (m beta)).

    The textbook's constant [1]_, of a quantile uniform on [0, 1], is log(beta (exp(1 / beta) - 1)); it is the limit
    for many references, and too low before. By so many nats:

    ==========  ========  ========  ========
    m           beta 1    beta 0.1  beta 0.01
    ==========  ========  ========  ========
    1           0.0788    1.6095    3.9120
    3           0.0271    0.9527    3.2189
    8           0.0102    0.4430    2.4079
    32          0.0026    0.1214    1.1536
    128         0.0006    0.0310    0.3575
    ==========  ========  ========  ========

    With ties, given the value of the outcome the count is binomial, and the quantile a mixture of binomials, which
    is summed exactly. The textbook's constant is not the limit then: for many references the values keep masses of
    their own, as in :class:`tiltz.laws.Categorical`. The three conventions are the kinds ``"weak"``, ``"strict"`` and
    ``"mean"`` of ``scipy.stats.percentileofscore``.

    These are constants over reference sets. Where one set is drawn and kept, the Z of that prompt is random:
    :meth:`log_z_mean` and :meth:`log_z_sd` are the mean and the spread of log Z over sets, exact to about 1e-12.

    References
    ----------
    .. [1] S. Matrenok, S. Moalla and C. Gulcehre, *Quantile reward policy optimization: alignment with pointwise
       regression and exact partition functions*, 2025, arXiv:2507.08068.

    Examples
    --------
    Three references at beta 0.1; the textbook's constant is 7.70:

    >>> from tiltz.laws import QuantileReward
    >>> law = QuantileReward(3)
    >>> law.log_z(0.1).__round__(4), law.log_z_mean(0.1).__round__(4), law.log_z_sd(0.1).__round__(4)
    (8.65, 8.2944, 0.9593)

    With one success in four and ties counted whole:

    >>> QuantileReward(3, (0.75, 0.25)).log_z(0.1).__round__(4)
    9.4515
    """

    n_reference: int
    prob: Sequence[float] | None = None
    ties: str = field(default="at-most", kw_only=True)
    _atoms: Atoms = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.ties not in TIES:
            raise InputError(f"ties must be one of {', '.join(map(repr, TIES))}; found {self.ties!r}.")
        n_reference = count("n_reference", self.n_reference)
        prob = None if self.prob is None else _masses(self.prob)
        store(self, n_reference=n_reference, prob=prob)
        store(self, _atoms=self._ranked())

    @property
    def mean(self) -> float:
        """Mean quantile."""
        return self._atoms.mean

    @property
    def reward_range(self) -> tuple[float, float]:
        """Lowest and highest possible quantile."""
        return float(self._atoms.reward[0]), self._atoms.top

    def log_z_mean(self, beta: npt.ArrayLike) -> Any:
        """Return the mean of log Z over frozen sets of reference rewards, in nats, for each beta.

        Parameters
        ----------
        beta : array_like
            KL coefficients, in units of quantile per nat.

        Returns
        -------
        float or array
            At most :meth:`log_z`, by Jensen's inequality.

        Raises
        ------
        InputError
            If ``prob`` has so many atoms that their counts cannot all be gone through.

        Notes
        -----
        For a reward without ties, Z is the sum of S_k exp(k / (m beta)) with spacings S uniform on the simplex, and
        the mean is the integral of one smooth function; with ties it is a sum over all counts of the atoms.

        Examples
        --------
        One reference: Z is uniform between 1 and exp(1 / beta).

        >>> import math
        >>> from tiltz.laws import QuantileReward
        >>> QuantileReward(1).log_z_mean(1.0).__round__(12) == (math.e / (math.e - 1) - 1).__round__(12)
        True
        """
        return above(0.0, beta, lambda b: self._atoms.log_z(b) - self._spread(b).below)

    def log_z_sd(self, beta: npt.ArrayLike) -> Any:
        """Return the standard deviation of log Z over frozen sets of reference rewards, in nats, for each beta.

        Parameters
        ----------
        beta : array_like
            KL coefficients, in units of quantile per nat.

        Returns
        -------
        float or array
            At a large beta, about 1 / (beta sqrt(12 m)) for a reward without ties.

        Raises
        ------
        InputError
            If ``prob`` has so many atoms that their counts cannot all be gone through.

        Examples
        --------
        >>> from tiltz.laws import QuantileReward
        >>> QuantileReward(8).log_z_sd([0.01, 0.1, 1.0]).round(4)
        array([1.2357, 0.6651, 0.1011])
        """

        def sd(b: Floats) -> Floats:
            held = np.minimum(b, _LARGE_BETA)
            return self._spread(held).sd * (held / b)

        return above(0.0, beta, sd)

    def tilted(self, beta: float) -> Categorical:
        """Return the law of the quantile under the tilted distribution."""
        return self._atoms.tilted(one_beta(self, beta))

    def sample(self, n: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Return independent quantiles under the reference, each among references of its own."""
        return self._atoms.sample(n, rng)

    def _ranked(self) -> Atoms:
        if self.prob is None:
            values = ranks(self.n_reference, "at-most")
            return Atoms(values, np.full(len(values), -np.log(len(values))))
        values = ranks(self.n_reference, self.ties)
        log_mass = rank_log_mass(self.n_reference, np.array(self.prob), self.ties)
        possible = log_mass > -np.inf
        return Atoms(values[possible], log_mass[possible])

    def _spread(self, beta: Floats) -> ReferenceSpread:
        if self.prob is None:
            return uniform_spacings(np.concatenate([self._atoms.tilt(b).x for b in beta[:, None]]))
        return counted_atoms(self.n_reference, np.array(self.prob), self.ties, beta)

    def _kl(self, beta: Floats) -> Floats:
        return self._atoms.kl(beta)

    def _kl_reverse(self, beta: Floats) -> Floats:
        return self._atoms.kl_reverse(beta)

    def _log_z(self, beta: Floats) -> Floats:
        return self._atoms.log_z(beta)


def _masses(prob: Any) -> tuple[float, ...]:
    if not np.iterable(prob) or isinstance(prob, str):
        raise InputError(
            f"prob must be the masses of the possible rewards, such as (1 - p, p); found {prob!r}."
        )
    return tuple(p for p in probabilities("prob", list(prob)) if p > 0)
