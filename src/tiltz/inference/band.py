"""One band on the law of the reward, and what it says of log Z at every beta at once.

log Z grows when mass moves to higher rewards, so the two extreme laws of a band bound it: for all betas together,
since the band is one event. Only for draws from the reference whose number was fixed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.inference.intervals import clopper_pearson
from tiltz.kernels import Columns, reduce_groups

Floats = npt.NDArray[np.float64]


def values_band(
    columns: Columns, beta: Floats, *, level: float, values: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """Return limits of log Z from Clopper-Pearson limits of the probability of each reward or a higher one.

    Parameters
    ----------
    columns : Columns
        Draws from the reference.
    beta : array, shape (1 or n_groups, n_betas)
        KL coefficients.
    level : float
        Confidence level.
    values : tuple of float
        All possible rewards, ascending.

    Returns
    -------
    tuple of array
        Lower and upper limit, in nats, shape (n_groups, n_betas).

    Notes
    -----
    Bound: holds at ``level`` or more for a fixed n, simultaneously for all betas (Bonferroni over the values but the
    lowest). With two values it is the Clopper-Pearson interval of the success rate. Intervals for several cells of a
    multinomial would bound each probability; those of its upper tails lose less when mapped to log Z.
    """
    lo, hi = (_log_z(law, beta) for law in laws_of_values(columns, level=level, values=values))
    return lo, np.maximum(lo, hi)


def range_band(
    columns: Columns, beta: Floats, *, level: float, reward_range: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Return limits of log Z from the Dvoretzky-Kiefer-Wolfowitz band of the reward's distribution function.

    Parameters
    ----------
    columns : Columns
        Draws from the reference.
    beta : array, shape (1 or n_groups, n_betas)
        KL coefficients.
    level : float
        Confidence level.
    reward_range : (float, float)
        Lowest and highest possible reward.

    Returns
    -------
    tuple of array
        Lower and upper limit, in nats, shape (n_groups, n_betas).

    Notes
    -----
    Bound: holds at ``level`` or more for a fixed n, simultaneously for all betas. The band allows a mass of
    sqrt(log(2 / alpha) / 2n) at the ends of the range, which at small beta is all that the limits say.

    References
    ----------
    .. [1] P. Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Ann. Probab. 18 (1990).
    """
    lo, hi = (_log_z(law, beta) for law in laws_in_range(columns, level=level, reward_range=reward_range))
    return lo, np.maximum(lo, hi)


def laws_of_values(columns: Columns, *, level: float, values: tuple[float, ...]) -> tuple[Columns, Columns]:
    """Return the lowest and the highest law of the reward in the band of :func:`values_band`, for every group."""
    size = np.diff(columns.start)
    n_cuts = max(len(values) - 1, 1)
    # Between values, so that a reward that differs from one by rounding still counts as it.
    between = 0.5 * np.asarray(values)[:-1] + 0.5 * np.asarray(values)[1:]
    reward = np.searchsorted(between, columns.reward)
    group = np.repeat(np.arange(len(size)), size)
    n_cells = len(size) * len(values)
    counts = np.bincount(group * len(values) + reward, minlength=n_cells).reshape(len(size), len(values))
    at_least = np.cumsum(counts[:, :0:-1], axis=1)[:, ::-1].astype(np.float64)
    low, high = clopper_pearson(at_least, size[:, None].astype(np.float64), 1 - (1 - level) / n_cuts)
    return _law_of_tails(low, np.asarray(values)), _law_of_tails(high, np.asarray(values))


def laws_in_range(
    columns: Columns, *, level: float, reward_range: tuple[float, float]
) -> tuple[Columns, Columns]:
    """Return the lowest and the highest law of the reward in the band of :func:`range_band`, for every group."""
    size = np.diff(columns.start)
    moved = np.minimum(np.sqrt(np.log(2 / (1 - level)) / (2 * size)), 1.0)
    ascending = np.lexsort((columns.reward, np.repeat(np.arange(len(size)), size)))
    reward = columns.reward[ascending]
    rank = np.arange(len(reward)) - np.repeat(columns.start[:-1], size)
    n, cut = np.repeat(size, size), np.repeat(moved, size)
    low, high = reward_range
    # Of the row with the i-th smallest reward, the part of its mass i/n .. (i+1)/n that lies beyond the cut stays.
    above = np.clip((rank + 1) / n - cut, 0.0, 1.0 / n)
    below = np.clip(1.0 - cut - rank / n, 0.0, 1.0 / n)
    return (
        _law_with_mass_at(low, moved, columns=columns, reward=reward, mass=below),
        _law_with_mass_at(high, moved, columns=columns, reward=reward, mass=above),
    )


def _law_of_tails(tail: Floats, values: Floats) -> Columns:
    """Return laws given by P(reward >= value) for each value but the lowest, groups first."""
    ones, zeros = np.ones((len(tail), 1)), np.zeros((len(tail), 1))
    mass = np.maximum(-np.diff(np.hstack([ones, tail, zeros])), 0.0)
    return _law(np.tile(values, len(tail)), mass.reshape(-1), len(values) * np.arange(len(tail) + 1))


def _law_with_mass_at(
    end: float, moved: Floats, *, columns: Columns, reward: Floats, mass: Floats
) -> Columns:
    """Return laws of rows with these masses and the rest of the mass at one reward more."""
    ends = columns.start[1:]
    return _law(
        np.insert(reward, ends, np.full(len(ends), end)),
        np.insert(mass, ends, moved),
        columns.start + np.arange(len(columns.start)),
    )


def _law(reward: Floats, mass: Floats, start: npt.NDArray[np.int64]) -> Columns:
    with np.errstate(divide="ignore"):
        log_mass = np.log(mass)
    return Columns(reward=reward, log_mass=log_mass, log_count=None, start=start, normalised=True)


def _log_z(law: Columns, beta: Floats) -> Floats:
    return reduce_groups(law, beta).log_z
