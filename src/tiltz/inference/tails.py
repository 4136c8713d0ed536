"""What the largest weights and the bulk of them say about whether a sample can be trusted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.kernels import Columns, Progress
from tiltz.kernels.threads import over_blocks

Floats = npt.NDArray[np.float64]


def khat(columns: Columns, beta: Floats, *, progress: Progress | None = None) -> Floats:
    """Return the tail index of the weights of every group.

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
        The shape k of a generalised Pareto law fitted to the largest weights. NaN where it would mean nothing: fewer
        than 25 samples, or fewer than five distinct weights above the threshold (so also where that is the largest).

    Notes
    -----
    Consistent for the tail index: weights have a mean if it is below 1 and a variance if it is below 1/2. As in
    Pareto-smoothed importance sampling [1]_: of n weights exp(log_weight + reward / beta), over their largest, the
    M = min(ceil(n / 5), ceil(3 sqrt n)) largest less the next largest one, by the estimator of Zhang and Stephens [2]_
    on a grid of 30 + floor(sqrt m), with the weakly informative prior that counts as ten more samples of shape 1/2:
    k = (m k' + 5) / (m + 10), where m <= M weights lie above the threshold.

    A reward of -inf is a weight of 0, and one of the n. For few-valued rewards the index is NaN or means little: it
    knows nothing of rewards larger than those drawn.

    References
    ----------
    .. [1] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance sampling", Journal of
       Machine Learning Research 25 (2024) 1-58.
    .. [2] J. Zhang, M. A. Stephens, "A new and efficient estimation method for the generalized Pareto distribution",
       Technometrics 51 (2009) 316-325.
    """
    return _fitted(columns, beta, smooth=False, progress=progress)[0]


def pareto_smoothed(columns: Columns, beta: Floats, *, progress: Progress | None = None) -> Floats:
    """Return the Pareto-smoothed estimate of log Z.

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
        In nats; log-mean-exp where :func:`khat` is NaN, or 1 or more: a law without a mean smooths nothing.

    Notes
    -----
    Biased, consistent: the m largest weights are replaced by the quantiles (i - 1/2) / m of the fitted law, none above
    the largest weight, before the mean is taken. Less variable than log-mean-exp where tails are heavy, and lower on
    average; it never exceeds the largest score.

    References
    ----------
    .. [1] A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto smoothed importance sampling", Journal of
       Machine Learning Research 25 (2024) 1-58.
    """
    return _fitted(columns, beta, smooth=True, progress=progress)[1]


def bulk_ess(columns: Columns, beta: Floats) -> Floats:
    """Return the effective sample size that the spread of the log weights suggests.

    Parameters
    ----------
    columns : Columns
        Samples.
    beta : array, shape (1 or n_groups, n_betas)
        KL coefficients.

    Returns
    -------
    array, shape (n_groups, n_betas)
        The number m of rows whose weight is not 0 (reward above -inf) times exp(-variance of log_weight + reward / beta
        over them), the variance with divisor m - 1. 0 where m is below 2, since nothing then shows a spread.

    Notes
    -----
    Exact in the limit for lognormal weights, rows of weight 0 apart. Blind to heavy tails, which :func:`khat` sees.
    """
    rows = _Possible(columns)
    (reward, sd_reward), (log_mass, sd_mass) = (
        rows.standardised(values) for values in (columns.reward, columns.log_mass)
    )
    correlation = np.clip(rows.covariance(reward, log_mass), -1.0, 1.0)
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        # The variance of a sum, as two squares: neither of them can be infinity less infinity.
        along = sd_reward / beta + correlation * sd_mass
        variance = along**2 + (1 - correlation**2) * sd_mass**2
        return np.where(rows.m > 1, rows.m * np.exp(-variance), 0.0)


class _Possible:
    """The rows of positive weight, group by group."""

    def __init__(self, columns: Columns) -> None:
        self.possible = (columns.reward > -np.inf) & (columns.log_mass > -np.inf)
        self.first, self.size = columns.start[:-1], np.diff(columns.start)
        self.m = self._sum(self.possible)

    def standardised(self, values: Floats) -> tuple[Floats, Floats]:
        """Return values less their mean over their standard deviation, 0 for rows without weight, and the latter.

        In units of the largest value, whose square may be too large for a float.
        """
        kept = np.where(self.possible, values, 0.0)
        unit = np.maximum.reduceat(np.abs(kept), self.first)
        unit = np.where(unit > 0, unit, 1.0)
        kept = kept / np.repeat(unit, self.size)
        mean = self._sum(kept) / np.maximum(self.m, 1)
        deviation = np.where(self.possible, kept - np.repeat(mean[:, 0], self.size), 0.0)
        sd = np.sqrt(self.covariance(deviation, deviation))
        return deviation / np.repeat(np.where(sd > 0, sd, 1.0)[:, 0], self.size), unit[:, None] * sd

    def covariance(self, a: Floats, b: Floats) -> Floats:
        """Return the sum of products over m - 1, of shape (n_groups, 1)."""
        return self._sum(a * b) / np.maximum(self.m - 1, 1)

    def _sum(self, rows: npt.NDArray[np.generic]) -> Floats:
        return np.add.reduceat(rows, self.first, dtype=np.float64)[:, None]


def _fitted(
    columns: Columns, beta: Floats, *, smooth: bool, progress: Progress | None
) -> tuple[Floats, Floats]:
    """Return tail indices and, if ``smooth``, smoothed estimates of log Z."""
    from tiltz.kernels.tails import fit_tails

    shape = len(columns.start) - 1, beta.shape[1]
    index, log_z = np.empty(shape), np.empty(shape if smooth else (0, 0))
    log_count = np.zeros(shape[0]) if columns.log_count is None else columns.log_count
    betas = np.ascontiguousarray(beta)

    def work(first: int, last: int) -> None:
        fit_tails(
            columns.reward,
            columns.log_mass,
            log_count,
            columns.start,
            betas,
            columns.normalised,
            smooth,
            first,
            last,
            index,
            log_z,
        )

    over_blocks(work, columns.start, progress=progress)
    return index, log_z
