"""One number over prompts: the mean soft value, of the prompt population or of these prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.inference.intervals import normal_quantile, t_quantile

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overall:
    """Mean soft value over prompts, per beta.

    Attributes
    ----------
    soft_value, lo, hi : array, shape (n_betas,)
        In units of reward.
    n_prompts : int
        Prompts averaged over.
    n_unbounded : int array, shape (n_betas,)
        Prompts without an upper bound; one is enough to make ``hi`` infinite.
    kind : array of str, shape (n_betas,)
        What the interval can promise.
    over : {"population", "these prompts"}
        Whether the prompts stand for others like them.
    """

    soft_value: Floats
    lo: Floats
    hi: Floats
    n_prompts: int
    n_unbounded: npt.NDArray[np.int64]
    kind: npt.NDArray[Any]
    over: str


def over_population(
    soft_value: Floats,
    points: Floats,
    lower: Floats,
    upper: Floats,
    *,
    kind: npt.NDArray[Any],
    level: float,
) -> Overall:
    """Return the mean soft value of the population that the prompts are drawn from.

    Parameters
    ----------
    soft_value : array, shape (n_prompts, n_betas)
        Points, in units of reward.
    points : array, shape (n_prompts, n_betas)
        What the lower limit may rest on: points that are right or biased downward.
    lower, upper : array, shape (n_prompts, n_betas)
        Limits, in units of reward.
    kind : array of str, shape (n_prompts, n_betas)
        Kinds of the cells.
    level : float
        Confidence level.

    Notes
    -----
    Approximate. The lower limit rests on the points: their spread already holds both sources of variance, and it is
    taken as no smaller than what the prompts' own limits say of one of the two, since a few equal points would show
    none. The upper limit rests on the upper limits, because the bias of the points does not average out. Quantiles are
    those of Student's t. Skewed points of fewer than ten prompts leave the lower limit short: for success rates from
    Beta(.5, 1.5), n = 8, beta = .1, it misses 4 to 8% of the time at 2 to 5 prompts (nominal 2.5%). One prompt says
    nothing about others: its interval is infinite.
    """
    m, mean = _mean(soft_value)
    mean_points, mean_upper = _mean(points)[1], _mean(upper)[1]
    reach = _t_quantile(level, m) / np.sqrt(m)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        within = _root_mean_square(points - lower) / normal_quantile(level)
        lo = mean_points - reach * np.fmax(_spread(points), within)
        hi = mean_upper + reach * _spread(upper)
    unbounded = np.isposinf(upper).sum(axis=0)
    hi = np.where(unbounded > 0, np.inf, np.where(np.isneginf(mean_upper), -np.inf, hi))
    lo = np.where(np.isnan(lo), -np.inf, lo)
    known = np.all(kind == "point", axis=0)
    pooled = np.all(kind == "pooled", axis=0)
    return Overall(
        soft_value=mean,
        lo=np.where(known, np.nan, lo),
        hi=np.where(known, np.nan, hi),
        n_prompts=m,
        n_unbounded=unbounded,
        kind=_kinds(np.logical_or(known, pooled), kind[0], np.isposinf(hi)),
        over="population",
    )


def over_these(
    soft_value: Floats, lower: Floats, upper: Floats, kind: npt.NDArray[Any], *, sure: bool
) -> Overall:
    """Return the mean soft value of just these prompts.

    Parameters
    ----------
    soft_value, lower, upper : array, shape (n_prompts, n_betas)
        Points and limits, in units of reward.
    kind : array of str, shape (n_prompts, n_betas)
        Kinds of the cells.
    sure : bool
        Whether limits hold for sure, not with some probability, so that all of them hold together.

    Notes
    -----
    The limits are the means of the cells' limits: exact or certified for complete and partial tables, and conservative
    for many sampled prompts, whose errors partly cancel.
    """
    m, mean = _mean(soft_value)
    (_, lo), (_, hi) = _mean(lower), _mean(upper)
    unbounded = np.isposinf(upper).sum(axis=0)
    alike = np.all(kind == kind[:1], axis=0) & (sure | (kind[0] == "point") | (m == 1))
    return Overall(
        soft_value=mean,
        lo=lo,
        hi=hi,
        n_prompts=m,
        n_unbounded=unbounded,
        kind=_kinds(alike, kind[0], unbounded > 0),
        over="these prompts",
    )


def _t_quantile(level: float, m: int) -> float:
    return np.inf if m == 1 else float(t_quantile(level, m - 1.0))


def _root_mean_square(values: Floats) -> Floats:
    """Return the root of the mean square over prompts of what is finite; 0 where nothing is."""
    finite = np.isfinite(values)
    unit = np.max(np.abs(values), axis=0, where=finite, initial=np.finfo(float).tiny)
    with np.errstate(invalid="ignore"):
        squares = np.where(finite, values / unit, 0.0) ** 2
    return unit * np.sqrt(squares.sum(axis=0) / np.maximum(finite.sum(axis=0), 1))


def _kinds(known: npt.NDArray[np.bool_], kind: Any, unbounded: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    otherwise = np.where(unbounded, "lower-only", "approximate").astype(object)
    return np.where(known, np.asarray(kind, dtype=object), otherwise)


def _mean(values: Floats) -> tuple[int, Floats]:
    with np.errstate(invalid="ignore"):
        return len(values), np.sum(values / len(values), axis=0)


def _spread(values: Floats) -> Floats:
    """Return the standard deviation over prompts; infinite for one prompt."""
    if len(values) == 1:
        return np.full(values.shape[1], np.inf)
    with np.errstate(invalid="ignore"):
        # Squares of huge values overflow, so they are taken in units of the largest.
        unit = np.max(np.abs(values), axis=0, where=np.isfinite(values), initial=np.finfo(float).tiny)
        return unit * np.std(values / unit, axis=0, ddof=1)
