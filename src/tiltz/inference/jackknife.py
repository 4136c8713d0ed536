"""Jackknife estimate of the bias of log-mean-exp."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.inference.relative_weights import RelativeWeights, over_weights
from tiltz.kernels import Columns, Progress

Floats = npt.NDArray[np.float64]

_LAST_POWER = 14
"""Of the series of log(1 - x) + x for |x| <= 0.05; the next term is below one unit in the last place."""


def jackknife_bias(columns: Columns, beta: Floats, *, progress: Progress | None = None) -> Floats:
    """Return the jackknife estimate of E[log-mean-exp] - log Z.

    Parameters
    ----------
    columns : Columns
        Samples.
    beta : array, shape (1 or n_groups, n_betas)
        KL coefficients.
    progress : callable, optional
        Told the share done.

    Returns
    -------
    array, shape (n_groups, n_betas)
        In nats, never positive; 0 where all weights are equal. NaN where n is 1, and where leaving one sample out
        leaves no weight (in double precision), since the log mean of the rest is then -inf.

    Notes
    -----
    Consistent for the leading term of the bias. (n - 1) (mean of the log means that leave one out - log mean) is a
    closed form in d = weight / mean - 1:

        (n - 1) mean(log(1 - d / (n - 1))) = (n - 1) mean(log(1 - d / (n - 1)) + d / (n - 1)),

    as d sums to 0; the terms on the right have one sign, so nothing cancels.

    References
    ----------
    .. [1] B. Efron, R. J. Tibshirani, *An introduction to the bootstrap*, 1993, ch. 10.
    """
    bias = np.empty((len(columns.start) - 1, beta.shape[1]))

    def work(groups: slice, relative: RelativeWeights) -> None:
        bias[groups] = _bias(relative).T

    over_weights(work, columns, beta, progress=progress)
    return bias


def _bias(relative: RelativeWeights) -> Floats:
    first, size = relative.start[:-1], np.diff(relative.start)
    n = np.repeat(size, size).astype(np.float64)
    with np.errstate(under="ignore", divide="ignore", invalid="ignore"):
        share = np.exp(relative.log_weight) / n
        left_out = np.expm1(relative.log_weight) / (n - 1)
        terms = _log1p_less(left_out)
        # A row with most of the weight: log of what the others add up to, not of the total less nearly all of it.
        most = share > 0.75
        rest = np.repeat(np.add.reduceat(np.where(most, 0.0, share), first, axis=1), size, axis=1)
        terms = np.where(most, np.log(rest * n / (n - 1)) + left_out, terms)
        bias = (size - 1) * (np.add.reduceat(terms, first, axis=1) / size)
    bias = np.where(relative.varied, bias, 0.0)
    return np.where(np.isfinite(bias) & (size > 1) & np.isfinite(relative.log_z), bias, np.nan)


def _log1p_less(x: Floats) -> Floats:
    """Return log(1 - x) + x, which is never positive."""
    near = np.clip(x, -0.05, 0.05)
    series = np.zeros_like(x)
    for power in range(_LAST_POWER, 1, -1):
        series = series * near + 1.0 / power
    return np.where(np.abs(x) <= 0.05, -x * x * series, np.log1p(-x) + x)
