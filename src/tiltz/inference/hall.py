"""Hall's interval for the mean weight, mapped to log Z: closed form in three moments that merge over streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tiltz.inference.intervals import normal_quantile
from tiltz.inference.relative_weights import RelativeWeights, over_weights
from tiltz.kernels import Columns, Progress

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Three moments of the weights of some samples; arrays broadcast to (n_groups, n_betas).

    Attributes
    ----------
    n : array
        Samples.
    log_mean : array
        Log of their mean weight, in nats: log-mean-exp.
    relative_sd : array
        Standard deviation (divisor n) over the mean.
    skewness : array
        Third central moment over the cube of the standard deviation; 0 where that is 0.

    Notes
    -----
    Both shape numbers are free of the scale of the weights, so nothing overflows or underflows whatever beta is.
    """

    n: Floats
    log_mean: Floats
    relative_sd: Floats
    skewness: Floats

    @classmethod
    def of(cls, columns: Columns, beta: Floats, *, progress: Progress | None = None) -> Self:
        """Return the moments of every group at every beta, of shape (1 or n_groups, n_betas)."""
        shape = len(columns.start) - 1, beta.shape[1]
        log_mean, relative_sd, skewness = (np.empty(shape) for _ in range(3))

        def work(groups: slice, relative: RelativeWeights) -> None:
            sd, skew = _shape(relative)
            log_mean[groups], relative_sd[groups], skewness[groups] = relative.log_z.T, sd.T, skew.T

        over_weights(work, columns, beta, progress=progress)
        n = np.diff(columns.start)[:, None].astype(np.float64)
        return cls(n=n, log_mean=log_mean, relative_sd=relative_sd, skewness=skewness)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of samples together, equal to those of one pass up to rounding."""
        swap = other.log_mean > self.log_mean
        a = _choose(swap, other, self)
        b = _choose(swap, self, other)
        n = a.n + b.n
        with np.errstate(invalid="ignore", divide="ignore", under="ignore"):
            # In units of the larger mean: means 1 and 1 + gap, with gap in [-1, 0].
            gap = np.where(a.log_mean == -np.inf, 0.0, np.expm1(b.log_mean - a.log_mean))
            sd_a, sd_b = a.relative_sd, b.relative_sd * (1 + gap)
            unit = np.maximum(np.maximum(sd_a, sd_b), np.abs(gap))
            unit = np.where(unit > 0, unit, 1.0)
            sd_a, sd_b, step = sd_a / unit, sd_b / unit, gap / unit
            share_a, share_b = a.n / n, b.n / n
            second = share_a * sd_a**2 + share_b * sd_b**2 + share_a * share_b * step**2
            third = share_a * a.skewness * sd_a**3 + share_b * b.skewness * sd_b**3
            third += share_a * share_b * step * ((share_a - share_b) * step**2 + 3 * (sd_b**2 - sd_a**2))
            return Moments(
                n=n,
                log_mean=a.log_mean + np.log1p(gap * share_b),
                relative_sd=unit * np.sqrt(second) / (1 + gap * share_b),
                skewness=np.where(second > 0, third / second**1.5, 0.0),
            )


def hall(moments: Moments, *, level: float) -> tuple[Floats, Floats]:
    """Return Hall's limits of log Z.

    Parameters
    ----------
    moments : Moments
        Of the weights.
    level : float
        Nominal level.

    Returns
    -------
    tuple of array, shape (n_groups, n_betas)
        Lower and upper limit, in nats. ``lo = -inf`` where the lower limit of the mean is not positive; both are
        infinite where the weights do not vary or n is 1.

    Notes
    -----
    Consistent, second-order correct for light tails; holds at no finite n. With T = sqrt(n) (mean - Z) / sd (divisor n)
    and skewness g, Hall's cubic

        q(T) = T + g T^2 / (3 sqrt n) + g^2 T^3 / (27 n) + g / (6 sqrt n)

    is standard normal up to 1 / n and, unlike its first two terms, monotone, so that it is inverted for every sample:
    1 + g y / sqrt n = (1 + g T / (3 sqrt n))^3 with y = q - g / (6 sqrt n). The limits are mean - sd T / sqrt n at the
    two normal quantiles q. They are further up than those of the delta interval where weights are skewed to the right.

    References
    ----------
    .. [1] P. Hall, "On the removal of skewness by transformation", Journal of the Royal Statistical Society B 54
       (1992) 221-228.
    """
    quantile = normal_quantile(level)
    root = np.sqrt(moments.n)
    skewness = moments.skewness / root
    known = (moments.relative_sd > 0) & (moments.n > 1) & np.isfinite(moments.log_mean)
    limits = []
    for end in (quantile, -quantile):
        t = studentized(skewness, end)
        with np.errstate(divide="ignore", invalid="ignore"):
            limits.append(moments.log_mean + np.log1p(np.maximum(-moments.relative_sd * t / root, -1.0)))
    return np.where(known, limits[0], -np.inf), np.where(known, limits[1], np.inf)


def studentized(skewness: Floats | float, end: float) -> Floats:
    """Return where Hall's cubic reaches a quantile: by how many standard errors a limit lies below the mean.

    Parameters
    ----------
    skewness : array or float
        Of the mean: that of one sample over the root of n.
    end : float
        Quantile of a standardized mean without skewness.
    """
    y = end - skewness / 6
    c = np.cbrt(1 + skewness * y)
    return 3 * y / (c * c + c + 1)  # (c - 1) 3 / skewness, without cancellation where that is small


def _shape(relative: RelativeWeights) -> tuple[Floats, Floats]:
    """Return standard deviation over mean, and skewness, of shape (n_betas, n_groups)."""
    weight, unit, _ = relative.scaled()
    first, size = relative.start[:-1], np.diff(relative.start)
    mean = np.add.reduceat(weight, first, axis=1) / size
    deviation = weight - np.repeat(mean, size, axis=1)
    second = np.add.reduceat(deviation**2, first, axis=1) / size
    third = np.add.reduceat(deviation**3, first, axis=1) / size
    varied = relative.varied
    skewness = third / np.where(varied, second, 1.0) ** 1.5
    return np.where(varied, unit * np.sqrt(second), 0.0), np.where(varied, skewness, 0.0)


def _choose(swap: npt.NDArray[np.bool_], left: Moments, right: Moments) -> Moments:
    """Return the left moments where ``swap``, else the right ones."""
    return Moments(
        n=np.where(swap, left.n, right.n),
        log_mean=np.where(swap, left.log_mean, right.log_mean),
        relative_sd=np.where(swap, left.relative_sd, right.relative_sd),
        skewness=np.where(swap, left.skewness, right.skewness),
    )
