"""Intervals for log Z: each a pure function of sufficient statistics, with its promise.

All are two-sided at ``level`` with the rest split evenly, unless they say otherwise. Arrays broadcast.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def delta(log_z: Floats, relative_sd: Floats, n: Floats, level: float) -> tuple[Floats, Floats]:
    """Return log Z plus and minus a normal quantile times its standard error.

    Parameters
    ----------
    log_z : array
        Log-mean-exp, in nats.
    relative_sd : array
        Standard deviation of the n weights (divisor n) over their mean.
    n : array
        Samples.
    level : float
        Nominal level.

    Returns
    -------
    tuple of array
        Lower and upper limit, in nats.

    Notes
    -----
    Asymptotic: holds at no finite n, and misses on the low side where weights are skewed. The variance of the weights
    is taken with divisor n - 1.

    References
    ----------
    .. [1] A. B. Owen, *Monte Carlo theory, methods and examples*, ch. 2 and 9.
    """
    half = normal_quantile(level) * relative_sd / np.sqrt(np.maximum(n - 1, 1))
    # Samples of no weight at all show nothing about the weights of others.
    none = np.isneginf(log_z)
    return log_z - half, np.where(none, np.inf, np.where(none, 0.0, log_z) + half)


def delta_bias(relative_sd: Floats, n: Floats) -> Floats:
    """Return the leading term of E[log-mean-exp] - log Z, in nats; never positive.

    Notes
    -----
    Jensen: -variance of the mean weight over twice its square. NaN for a single sample, whose variance is unknown.
    """
    return np.where(n > 1, -0.5 * relative_sd**2 / np.maximum(n - 1, 1), np.nan)


def clopper_pearson(successes: Floats, n: Floats, level: float) -> tuple[Floats, Floats]:
    """Return Clopper-Pearson limits of a success rate.

    Notes
    -----
    Covers at ``level`` or more for every rate, if n was fixed in advance.

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404-413.
    """
    from scipy import special  # a quarter of a second that importing tiltz does not need

    alpha = 1 - level
    low = special.betaincinv(np.maximum(successes, 1), n - successes + 1, alpha / 2)
    high = special.betaincinv(successes + 1, np.maximum(n - successes, 1), 1 - alpha / 2)
    return np.where(successes == 0, 0.0, low), np.where(successes == n, 1.0, high)


def two_point_log_z(rate: Floats, low: Floats | float, high: Floats | float, beta: Floats) -> Floats:
    """Return log Z of a reward that is ``high`` with probability ``rate`` and else ``low``, in nats.

    Notes
    -----
    Exact at both ends: a log1p for large beta, no overflow for small. Monotone in ``rate``, so limits of a rate map to
    limits of log Z, at every beta at once.
    """
    with np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore"):
        gain = (np.asarray(high) - low) / beta
        near = np.log1p(rate * np.expm1(np.minimum(gain, 30.0)))
        # The high reward is split off, since the low one may be so low that a sum with it has no digits left.
        far = np.asarray(high) / beta + np.logaddexp(np.log1p(-rate) - gain, np.log(rate))
        return np.where(gain < 30.0, low / beta + near, far)


def repeated_value(n: Floats, level: float) -> Floats:
    """Return the lower limit of the probability of an outcome that was drawn n times out of n.

    Notes
    -----
    Exact, one-sided at 1 - (1 - level) / 2, for a fixed n.
    """
    return np.exp(np.log((1 - level) / 2) / n)


def normal_quantile(level: float) -> float:
    """Return the quantile of the standard normal that leaves half of 1 - level above."""
    from statistics import NormalDist  # with fractions and decimals, which importing tiltz does not need

    return -NormalDist().inv_cdf((1 - level) / 2)


def t_quantile(level: float, degrees: Floats | float) -> Floats:
    """Return the quantile of Student's t that leaves half of 1 - level above."""
    from scipy import special

    return -special.stdtrit(degrees, (1 - level) / 2)
