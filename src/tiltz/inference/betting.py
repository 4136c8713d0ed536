"""Betting bounds of log Z: they hold at every n at once, so under any rule for when to stop drawing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tiltz.kernels import Columns, Progress
from tiltz.kernels.threads import over_blocks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_FEW_COPIES = 32  # equal rows up to this many are multiplied out, which is cheaper than a logarithm
_SHORT_GROUP = 128  # and so are all those of a group of at most so many rows
_LEAST_SHARE = 0.01  # of the error; a smaller one buys no bound worth its time
_EPSILON = 2.0**-52


def betting(
    columns: Columns,
    beta: Floats,
    *,
    level: float,
    reward_range: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> tuple[Floats, Floats]:
    """Return two-sided betting limits of log Z; the error is split evenly.

    Parameters
    ----------
    columns : Columns
        Samples.
    beta : array, shape (1 or n_groups, n_betas)
        KL coefficients.
    level : float
        Confidence level.
    reward_range : (float, float), optional
        Lowest and highest reward that any outcome can have; without it there is no upper limit.
    progress : callable, optional
        Told the share done.

    Returns
    -------
    tuple of array, shape (n_groups, n_betas)
        Lower and upper limit, in nats.

    Notes
    -----
    Bounds: see :func:`betting_one_sided`.
    """
    alpha = (1 - level) / 2
    return betting_one_sided(
        columns, beta, alpha_lower=alpha, alpha_upper=alpha, reward_range=reward_range, progress=progress
    )


def betting_one_sided(
    columns: Columns,
    beta: Floats,
    *,
    alpha_lower: float,
    alpha_upper: float,
    reward_range: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> tuple[Floats, Floats]:
    """Return a lower and an upper betting bound of log Z, each with its own probability of error.

    Parameters
    ----------
    columns : Columns
        Samples.
    beta : array, shape (1 or n_groups, n_betas)
        KL coefficients.
    alpha_lower, alpha_upper : float
        Probabilities in [0, 1) that the lower, the upper bound is ever wrong; 0 asks for no more than is certain.
    reward_range : (float, float), optional
        Lowest and highest reward that any outcome can have, -inf allowed for the lowest; without it ``hi`` is infinite.
    progress : callable, optional
        Told the share done.

    Returns
    -------
    tuple of array, shape (n_groups, n_betas)
        Lower and upper bound, in nats; the lower is never above the upper one.

    Notes
    -----
    Bounds, at every n and for every beta: with probability at least ``1 - alpha_lower`` the lower one is below log Z
    at all sample sizes at once, likewise the upper one, whatever the law of the rewards. Nothing is asymptotic.

    Of non-negative weights v with mean m, the capital prod_i(1 + c (v_i / m - 1)) is a non-negative martingale that
    starts at 1 for each bet c in [0, 1), and so is its mean over 34 fixed bets, which ever reaches 1 / alpha with a
    probability of at most alpha (Ville). The capital falls with m; the bound is the m where it is 1 / alpha. The lower
    bound takes v = e^(r / beta) - e^(r_min / beta) (r_min = -inf if unknown), the upper one
    v = 1 - e^((r - r_max) / beta). Both lie within the range, and without importance weights on their own sides of the
    log-mean-exp.

    Importance weights rho = pi_ref / q multiply v. Neither bound then asks that the proposal reaches every outcome,
    since what it misses only makes E_q[rho v] smaller. A range does not bound rho; the lower bound spends
    e^((r_min - r_max) / beta) of its error on the v above, if that is at least 0.01, and the rest on
    v = e^(r / beta), which is better where q is near the tilted distribution. The larger one counts.

    A bound is never inside the exact solution, and outside it by at most 1e-9 of its distance from the sample mean of
    v, plus what rounding could do (1e-14 of log capital per sample, some units in the last place).

    Bets scale with the range: at large beta it narrows the lower bound tenfold, but where r_max - r_min is about beta
    knowing it may widen the bound by up to a quarter of its slack. Bets go down to 1e-4: where one row in 1e5 carries
    the weight, the lower bound holds but is poor.

    References
    ----------
    .. [1] I. Waudby-Smith, A. Ramdas, *Estimating means of bounded random variables by betting*, J. R. Statist. Soc. B
       86 (2024) 1-27.
    .. [2] J. Ville, *Etude critique de la notion de collectif*, 1939.
    """
    rows = _equal_rows(columns) if columns.normalised else _single_rows(columns)
    return _bounds(rows, beta, alpha=(alpha_lower, alpha_upper), reward_range=reward_range, progress=progress)


def betting_of_counts(
    value: npt.ArrayLike,
    count: npt.ArrayLike,
    start: npt.ArrayLike,
    *,
    beta: Floats,
    alpha_lower: float,
    alpha_upper: float,
    reward_range: tuple[float, float] | None = None,
    value_high: npt.ArrayLike | None = None,
    progress: Progress | None = None,
) -> tuple[Floats, Floats]:
    """Return a lower and an upper betting bound of log Z from counts of rewards drawn from the reference.

    Parameters
    ----------
    value : array_like, shape (n_values,)
        Rewards, not necessarily distinct; -inf is a weight of zero.
    count : array_like, shape (n_values,)
        How often each was drawn, 0 or more.
    start : array_like of int, shape (n_groups + 1,)
        Group g is values ``start[g]:start[g + 1]``.
    beta : array, shape (1 or n_groups, n_betas)
        KL coefficients.
    alpha_lower, alpha_upper : float
        Probabilities in [0, 1) that the lower, the upper bound is ever wrong; 0 asks for no more than is certain.
    reward_range : (float, float), optional
        Lowest and highest reward that any outcome can have; without it ``hi`` is infinite.
    value_high : array_like, shape (n_values,), optional
        Rewards rounded up, for the upper bound, where ``value`` holds them rounded down.
    progress : callable, optional
        Told the share done.

    Returns
    -------
    tuple of array, shape (n_groups, n_betas)
        Lower and upper bound, in nats; nothing drawn gives the range, or ``(-inf, inf)``.

    Notes
    -----
    Bounds, at every n: see :func:`betting_one_sided`, with which it agrees on the rows counted here. Rewards rounded
    outwards only widen them.
    """
    low = np.asarray(value, dtype=np.float64)
    rows = _laid_out(
        low=low,
        high=low if value_high is None else np.asarray(value_high, dtype=np.float64),
        count=np.asarray(count, dtype=np.float64),
        start=np.asarray(start, dtype=np.int64),
    )
    return _bounds(rows, beta, alpha=(alpha_lower, alpha_upper), reward_range=reward_range, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Rows of groups as the kernel takes them: in each group those that count once come first."""

    low: Floats  # rewards for the lower bound
    high: Floats  # rewards for the upper bound
    log_ratio: Floats
    count: Floats
    start: Ints
    n_once: Ints
    weighted: bool = False


def _single_rows(columns: Columns) -> _Rows:
    """Return the rows as they are, with their importance weights."""
    size = np.diff(columns.start)
    return _Rows(
        low=columns.reward,
        high=columns.reward,
        log_ratio=columns.log_mass + np.repeat(np.asarray(columns.log_count, dtype=np.float64), size),
        count=np.ones(len(columns.reward)),
        start=columns.start,
        n_once=size,
        weighted=True,
    )


def _equal_rows(columns: Columns) -> _Rows:
    """Return the rewards of each group in ascending order, equal ones counted."""
    reward, first = columns.reward.copy(), np.ones(len(columns.reward), dtype=np.bool_)
    for begin, end in pairwise(columns.start.tolist()):
        reward[begin:end].sort()
    first[1:] = reward[1:] != reward[:-1]
    first[columns.start[:-1]] = True
    at = np.flatnonzero(first)
    value, count = reward[at], np.diff(at, append=len(reward)).astype(np.float64)
    return _laid_out(low=value, high=value, count=count, start=np.searchsorted(at, columns.start))


def _laid_out(*, low: Floats, high: Floats, count: Floats, start: Ints) -> _Rows:
    """Repeat rows of small whole counts, leave out those of none, and put those that count once first."""
    n_groups = len(start) - 1
    group = np.repeat(np.arange(n_groups), np.diff(start))
    short = np.bincount(group, weights=count, minlength=n_groups) <= _SHORT_GROUP
    once = (count == np.floor(count)) & (short[group] | (count <= _FEW_COPIES))
    copies = np.where(once, count, 1.0).astype(np.int64)
    order = np.argsort(2 * group + ~once, kind="stable")
    row = np.repeat(order, copies[order])
    size = np.bincount(group, weights=copies, minlength=n_groups).astype(np.int64)
    n_once = np.bincount(group, weights=np.where(once, copies, 0), minlength=n_groups)
    return _Rows(
        low=low[row],
        high=high[row],
        log_ratio=np.zeros(len(row)),
        count=np.where(once[row], 1.0, count[row]),
        start=np.concatenate([[0], np.cumsum(size)]),
        n_once=n_once.astype(np.int64),
    )


def _bounds(
    rows: _Rows,
    beta: Floats,
    *,
    alpha: tuple[float, float],
    reward_range: tuple[float, float] | None,
    progress: Progress | None,
) -> tuple[Floats, Floats]:
    """Return both bounds of every group at every beta."""
    from tiltz.kernels.betting import bound_means  # loads numba

    lowest, highest = reward_range or (-np.inf, np.inf)
    shape = (len(rows.start) - 1, beta.shape[1])
    beta = np.ascontiguousarray(np.broadcast_to(beta, shape), dtype=np.float64)
    whole, excess, shortfall = np.empty(shape), np.empty(shape), np.empty(shape)
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        log_lower, log_upper = -np.log(alpha)
        share, rest = _shares(rows.weighted, (lowest - highest) / beta, lowest)
        passes = [
            (rows.low, log_lower - np.log(rest), -np.inf, True, whole),
            (rows.low, log_lower - np.log(share), lowest, True, excess),
            (rows.high, np.full(shape, log_upper if highest < np.inf else np.inf), highest, False, shortfall),
        ]
    shared = (rows.log_ratio, rows.count, rows.start, rows.n_once, beta)

    def work(first: int, last: int) -> None:
        for reward, needed, end, above, out in passes:
            bound_means(reward, *shared, needed, end, above, first, last, out)

    over_blocks(work, rows.start, progress=progress)
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        floor, ceiling = lowest / beta, highest / beta
        lo = np.logaddexp(floor, excess)
        part = np.exp(np.where(np.isfinite(floor), floor - lo, 0.0))
        lo = np.maximum(whole, lo - _rounding(lo) - part * _rounding(floor))
        hi = ceiling + _log1mexp(shortfall)
        hi = hi + _rounding(hi) + _rounding(ceiling)
    lo = np.clip(lo, floor, ceiling)
    return lo, np.maximum(np.clip(hi, floor, ceiling), lo)


def _shares(weighted: bool, log_share: Floats, lowest: float) -> tuple[Floats, Floats]:
    """Return which shares of the error the lower bound spends on the weights above the floor and on whole weights."""
    if not weighted:
        known = np.full_like(log_share, lowest > -np.inf)
        return known, 1 - known
    worth = log_share >= np.log(_LEAST_SHARE)
    return np.where(worth, np.exp(log_share), 0.0), np.where(worth, -np.expm1(log_share), 1.0)


def _log1mexp(x: Floats) -> Floats:
    """Return log(1 - e^x), -inf for x >= 0."""
    inner = np.minimum(x, 0.0)
    return np.where(inner > -np.log(2.0), np.log(-np.expm1(inner)), np.log1p(-np.exp(inner)))


def _rounding(x: Floats) -> Floats:
    """Return more than what the last operation on a number is off by, 0 for infinite ones."""
    return np.where(np.isfinite(x), 2 * _EPSILON * np.abs(x), 0.0)
