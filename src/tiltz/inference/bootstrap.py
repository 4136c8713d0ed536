"""Bootstrap-t on the log scale, and the weights of every group relative to their mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.kernels import Columns, Progress, log_ratios
from tiltz.kernels.threads import over_blocks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

N_RESAMPLES = 999
"""The default: 1000 times alpha / 2 is then a whole number for every usual level."""

_ELEMENTS = 1 << 17  # rows x betas whose weights are held at once
_ROUNDING = 1e-12  # importance weights that differ by less, in nats, are taken to be equal
_NEAR = math.log(0.5)
_NOTHING = 1e-150  # of the mean weight: its square is still a normal number


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

    def work(first: int, last: int) -> None:
        for groups, block, betas in blocks(columns, beta, first, last):
            lo[groups], hi[groups] = _t_limits(block, betas, seed[groups], n_resamples, k)

    over_blocks(work, columns.start, progress=progress)
    return lo, hi


def blocks(columns: Columns, beta: Floats, first: int, last: int) -> Iterator[tuple[slice, Columns, Floats]]:
    """Yield groups ``first`` to ``last - 1`` in pieces of bounded size, each with its rows and betas."""
    start, rows = columns.start, max(_ELEMENTS // beta.shape[1], 1)
    while first < last:
        end = min(max(int(np.searchsorted(start, start[first] + rows, side="right")) - 1, first + 1), last)
        groups, cut = slice(first, end), slice(start[first], start[end])
        block = Columns(
            reward=columns.reward[cut],
            log_mass=columns.log_mass[cut],
            log_count=None if columns.log_count is None else columns.log_count[groups],
            start=start[first : end + 1] - start[first],
            normalised=columns.normalised,
        )
        yield groups, block, np.ascontiguousarray(beta if len(beta) == 1 else beta[groups])
        first = end


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeWeights:
    """Weights of a block of groups, over the mean weight of their group, at every beta.

    Attributes
    ----------
    log_weight : array, shape (n_betas, n_rows)
        In nats.
    varied : bool array, shape (n_betas, n_groups)
        Whether the weights of a group differ by more than rounding.
    log_z : array, shape (n_betas, n_groups)
        Log-mean-exp, in nats.
    start : int array, shape (n_groups + 1,)
        Group g is rows ``start[g]:start[g + 1]``.
    """

    log_weight: Floats
    varied: Flags
    log_z: Floats
    start: Ints

    @classmethod
    def of(cls, block: Columns, beta: Floats) -> RelativeWeights:
        """Return the relative weights of samples; those of one group depend on no other."""
        log_tilted, log_ratio = log_ratios(block, beta)
        first, size = block.start[:-1], np.diff(block.start)
        per_row = np.repeat(np.broadcast_to(beta, (len(size), beta.shape[1])), size, axis=0).T
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            score = block.reward / per_row
            log_weight = np.ascontiguousarray(log_ratio.T)
            if not block.normalised and block.log_count is not None:
                log_count = np.repeat(block.log_count, size)
                log_weight = np.ascontiguousarray(log_tilted.T) + log_count
                score += block.log_mass + log_count
            high = np.maximum.reduceat(log_weight, first, axis=1)
            low = np.minimum.reduceat(log_weight, first, axis=1)
            heaviest = np.where(log_weight == np.repeat(high, size, axis=1), score, -np.inf)
            log_z = np.maximum.reduceat(heaviest, first, axis=1) - high
            varied = high - low > (0.0 if block.normalised else _ROUNDING)
        return cls(
            log_weight=log_weight,
            varied=varied,
            log_z=np.where(high == -np.inf, -np.inf, log_z),
            start=block.start,
        )

    def scaled(self) -> tuple[Floats, Floats, Flags]:
        """Return weights of a size near 1 whatever beta is, their unit, and whether they are deviations.

        A weight over the mean weight is ``1 + unit * weight`` where all weights of a group are at least half the mean,
        else ``unit * weight``; so no variance underflows or cancels. Unit 0 marks groups that do not vary.
        """
        first, size = self.start[:-1], np.diff(self.start)
        near = np.minimum.reduceat(self.log_weight, first, axis=1) >= _NEAR
        near_rows = np.repeat(near, size, axis=1)
        with np.errstate(under="ignore"):
            weight = np.exp(self.log_weight)
            np.expm1(self.log_weight, out=weight, where=near_rows)
            unit = np.where(near, np.maximum.reduceat(np.abs(weight), first, axis=1), 1.0)
            weight /= np.repeat(np.where(self.varied, unit, 1.0), size, axis=1)
        weight[~near_rows & (weight < _NOTHING)] = 0.0
        return weight, np.where(self.varied, unit, 0.0), near


def _t_limits(
    block: Columns, beta: Floats, seed: npt.NDArray[np.uint64], n_resamples: int, k: int
) -> tuple[Floats, Floats]:
    """Return the limits of every group of a block at every beta."""
    from tiltz.kernels.resampling import studentized_extremes

    relative = RelativeWeights.of(block, beta)
    weight, unit, near = relative.scaled()
    first, size = block.start[:-1], np.diff(block.start)
    smallest, largest = np.empty(unit.T.shape), np.empty(unit.T.shape)
    even, n_sums = len(unit) + len(unit) % 2, n_resamples + n_resamples % 2
    studentized_extremes(
        weight,
        np.ascontiguousarray(unit.T),
        np.ascontiguousarray(near.T),
        block.start,
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
