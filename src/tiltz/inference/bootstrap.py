"""Bootstrap-t on the log scale."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tiltz.inference.relative_weights import RelativeWeights, over_weights
from tiltz.kernels import Columns, Progress

Floats = npt.NDArray[np.float64]

N_RESAMPLES = 999
"""The default: 1000 times alpha / 2 is then a whole number for every usual level."""


def bootstrap_t(
    columns: Columns,
    beta: Floats,
    *,
    level: float,
    seed: npt.NDArray[np.uint64],
    n_resamples: int = N_RESAMPLES,
    progress: Progress | None = None,
) -> tuple[Floats, Floats]:
    """Return bootstrap-t limits of log Z.

    Parameters
    ----------
    columns : Columns
        Samples.
    beta : array, shape (1 or n_groups, n_betas)
        KL coefficients.
    level : float
        Nominal level.
    seed : uint64 array, shape (n_groups,)
        One stream per group; the limits of a group depend on its own rows and seed alone.
    n_resamples : int, default 999
        Resamples; one set per group serves every beta.
    progress : callable, optional
        Told the share done.

    Returns
    -------
    tuple of array, shape (n_groups, n_betas)
        Lower and upper limit, in nats; ``(-inf, inf)`` where all weights are equal or n is 1.

    Notes
    -----
    Consistent, second-order correct for light tails; holds at no finite n. With w* drawn with replacement from the n
    weights, t* = (log mean w* - log mean w) / se*, where se = sd / mean / sqrt(n) by the delta method, the divisor of
    the variance being n - 1. The limits are log mean w minus the k-th largest and the k-th smallest t* times se,
    k = floor((n_resamples + 1) (1 - level) / 2); if that is 0, the resamples cannot tell and both limits are infinite.

    A resample of equal weights has se* = 0. Its t* is then the limit for a vanishing spread, plus or minus infinity by
    the sign of its numerator (all weights zero: minus infinity); 0 / 0 counts as whichever widens the interval. So two
    possible rewards with a single success, which 37% of the resamples miss, have ``hi = inf``; dropping those resamples
    would make them look certain. Weights below 1e-150 of the mean count as zero, and importance weights
    within 1e-12 nats of each other as equal.

    Draws come from splitmix64 [2]_ started at the scrambled seed, two to a word.

    References
    ----------
    .. [1] P. Hall, *The bootstrap and Edgeworth expansion*, 1992, ch. 3.
    .. [2] G. L. Steele, D. Lea, C. H. Flood, OOPSLA 2014.
    """
    n_groups, n_betas = len(columns.start) - 1, beta.shape[1]
    lo, hi = np.full((n_groups, n_betas), -np.inf), np.full((n_groups, n_betas), np.inf)
    k = math.floor((n_resamples + 1) * (1 - level) / 2 + 1e-9)
    if k == 0:
        return lo, hi
    seed = np.ascontiguousarray(seed, dtype=np.uint64)

    def work(groups: slice, relative: RelativeWeights) -> None:
        lo[groups], hi[groups] = _t_limits(relative, seed[groups], n_resamples, k)

    over_weights(work, columns, beta, progress=progress)
    return lo, hi


def _t_limits(
    relative: RelativeWeights, seed: npt.NDArray[np.uint64], n_resamples: int, k: int
) -> tuple[Floats, Floats]:
    """Return the limits of every group of a block at every beta."""
    from tiltz.kernels.resampling import studentized_extremes

    weight, unit, near = relative.scaled()
    first, size = relative.start[:-1], np.diff(relative.start)
    smallest, largest = np.empty(unit.T.shape), np.empty(unit.T.shape)
    even, n_sums = len(unit) + len(unit) % 2, n_resamples + n_resamples % 2
    studentized_extremes(
        weight,
        np.ascontiguousarray(unit.T),
        np.ascontiguousarray(near.T),
        relative.start,
        seed,
        n_resamples,
        np.empty(k),
        np.zeros((even, size.max())),
        np.zeros((even, size.max())),
        np.empty((2, size.max())),
        np.empty((even, n_sums)),
        np.empty((even, n_sums)),
        smallest,
        largest,
    )
    deviation = weight - np.repeat(np.where(near, 0.0, 1.0), size, axis=1)
    squares = np.add.reduceat(deviation * deviation, first, axis=1)
    known = (relative.varied & np.isfinite(relative.log_z)).T
    with np.errstate(invalid="ignore", divide="ignore"):
        error = (unit * np.sqrt(squares / (size * (size - 1.0)))).T
        lo, hi = relative.log_z.T - largest * error, relative.log_z.T - smallest * error
    lo = np.where(known & np.isfinite(largest), lo, -np.inf)
    hi = np.where(known & np.isfinite(smallest), hi, np.inf)
    return lo, hi
