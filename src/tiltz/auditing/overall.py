"""One audit over prompts: means, with the correlation of what they share, widened by the estimated bias."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.auditing.limits import Limits
from tiltz.auditing.quantities import AT
from tiltz.inference.intervals import normal_quantile

Floats = npt.NDArray[np.float64]


def over_prompts(each: Limits, open_: npt.NDArray[np.bool_], beta: float, level: float) -> Limits:
    """Return means over the population that the prompts stand for, arrays of shape (n_quantities,).

    Parameters
    ----------
    each : Limits
        Of the prompts.
    open_ : array of bool, shape (n_prompts,)
        Prompts whose ceiling no number of prompts would make known.
    beta : float
        KL coefficient.
    level : float
        Confidence level.

    Notes
    -----
    Approximate. Points have both sources of variance in their spread; errors are taken as no smaller than what the rows
    of the prompts say of one of the two. The bias of log Z, which is downward and does not average out, is added where
    the ceiling is above. The ceiling has no upper limit where most prompts are open.
    """
    m = len(each.value)
    if m == 1:
        return Limits(
            **{name: getattr(each, name)[0] for name in ("value", "error", "lo", "hi", "bias")},
        )
    value = each.value.mean(axis=0)
    finite = np.where(np.isfinite(each.error), each.error, np.nan)
    with np.errstate(invalid="ignore"):
        within = np.sqrt(np.nan_to_num(_mean(finite**2)) / m)
    error = np.maximum(each.value.std(axis=0, ddof=1) / np.sqrt(m), within)
    reach = _t_quantile(level, m)
    lo, hi = value - reach * error, value + reach * error
    bias = _bias(each, beta)
    for name in ("ceiling", "gap", "room"):
        hi[AT[name]] += bias
    top, room, share = AT["achieved_gain"], AT["room"], AT["share"]
    rows = each.value[:, [top, room]]
    value[share] = value[top] / value[room]
    plain, moved = (_ratio_limits(rows + np.array([0.0, up]), reach) for up in (0.0, bias))
    lo[share], hi[share] = min(plain[0], moved[0]), max(plain[1], moved[1])
    if 2 * np.count_nonzero(open_) > m:
        hi[[AT["ceiling"], AT["gap"], room]] = np.inf
        lo[share] = min(lo[share], 0.0)
        hi[share] = max(hi[share], 0.0)
    return Limits(value=value, error=error, lo=lo, hi=hi, bias=np.full(len(value), -bias))


def _bias(each: Limits, beta: float) -> float:
    """Return by how much the mean ceiling is too low, in units of reward; infinite where no prompt shows it."""
    error, seen = each.error[:, AT["ceiling"]], -each.bias[:, AT["ceiling"]]
    with np.errstate(invalid="ignore"):
        bias = np.fmax(0.5 * error**2 / beta, seen)
    known = np.isfinite(bias)
    return float(bias[known].mean()) if known.any() else np.inf


def _mean(values: Floats) -> Floats:
    n = np.count_nonzero(~np.isnan(values), axis=0)
    return np.nansum(values, axis=0) / np.maximum(n, 1)


def _ratio_limits(rows: Floats, reach: float) -> tuple[float, float]:
    """Return Fieller's limits of the ratio of the means of two columns; infinite where the second may be nothing."""
    if not np.all(np.isfinite(rows)):
        return -np.inf, np.inf
    (top, room), m = rows.mean(axis=0), len(rows)
    spread = reach**2 * np.cov(rows, rowvar=False) / m
    a, b, c = room**2 - spread[1, 1], top * room - spread[0, 1], top**2 - spread[0, 0]
    if a <= 0 or room <= 0:
        return -np.inf, np.inf
    half = np.sqrt(max(b**2 - a * c, 0.0))
    return (b - half) / a, (b + half) / a


def _t_quantile(level: float, m: int) -> float:
    from scipy import special

    return max(-float(special.stdtrit(m - 1, (1 - level) / 2)), normal_quantile(level))
