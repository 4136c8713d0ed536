"""Quantiles of mixtures of normal laws, many at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

_REACH = 30.0  # standard deviations of the mixture that surely hold the quantile
_ROUNDS = 40
_TOLERANCE = 1e-3  # of the probability on the smaller side


def mixture_quantiles(
    probabilities: tuple[float, ...], weight: Floats, mean: Floats, sd: Floats
) -> tuple[Floats, ...]:
    """Return quantiles of mixtures.

    Parameters
    ----------
    probabilities : tuple of float
        Between 0 and 1.
    weight, mean, sd : array, shape (..., n_parts)
        Weights, which sum to 1, means and standard deviations of the parts.

    Returns
    -------
    tuple of array, shape (...)
        Newton's steps from a shifted lognormal law with the same three moments, halving where they would leave the
        bracket, until the probability is right to a thousandth of itself.
    """
    shape = np.broadcast_shapes(weight.shape, mean.shape, sd.shape)
    weight, mean, sd = (np.broadcast_to(part, shape).reshape(-1, shape[-1]) for part in (weight, mean, sd))
    moments = _moments(weight, mean, sd)
    found = (_quantile(probability, weight, mean, sd, moments) for probability in probabilities)
    return tuple(quantiles.reshape(shape[:-1]) for quantiles in found)


def _moments(weight: Floats, mean: Floats, sd: Floats) -> tuple[Floats, Floats, Floats]:
    """Return mean, standard deviation and skewness of the mixtures."""
    centre = np.sum(weight * mean, axis=-1)
    off, square = mean - centre[:, None], sd**2
    variance = np.sum(weight * (off**2 + square), axis=-1)
    third = np.sum(weight * off * (off**2 + 3 * square), axis=-1)
    return centre, np.sqrt(variance), third / variance**1.5


def _quantile(
    probability: float, weight: Floats, mean: Floats, sd: Floats, moments: tuple[Floats, Floats, Floats]
) -> Floats:
    centre, spread, skewness = moments
    low, high = centre - _REACH * spread, centre + _REACH * spread
    found = centre + spread * _lognormal_score(special.ndtri(probability), skewness)
    tolerance = _TOLERANCE * min(probability, 1 - probability)
    open_ = np.arange(len(found))
    for _ in range(_ROUNDS):
        w, s, at = weight[open_], sd[open_], found[open_]
        score = (at[:, None] - mean[open_]) / s
        excess = np.sum(w * special.ndtr(score), axis=-1) - probability
        low[open_] = np.where(excess < 0, at, low[open_])
        high[open_] = np.where(excess < 0, high[open_], at)
        density = np.sum(w / s * np.exp(-0.5 * score**2), axis=-1) / np.sqrt(2 * np.pi)
        step = at - excess / np.maximum(density, np.finfo(float).tiny)
        within = (step > low[open_]) & (step < high[open_])
        found[open_] = np.where(within, step, (low[open_] + high[open_]) / 2)
        open_ = open_[np.abs(excess) > tolerance]
        if len(open_) == 0:
            break
    return found


def _lognormal_score(score: float, skewness: Floats) -> Floats:
    """Return the quantile of a shifted lognormal of mean 0 and variance 1 at a normal score."""
    size = np.maximum(np.abs(skewness), 1e-4)
    # The variance w - 1 of the lognormal solves (w + 2)^2 (w - 1) = skewness^2.
    root = np.cbrt(1 + size**2 / 2 + size * np.sqrt(1 + size**2 / 4))
    log_variance = np.log(root + 1 / root - 1)
    signed = np.where(skewness < 0, -score, score)
    quantile = np.expm1(np.sqrt(log_variance) * signed - log_variance / 2) / np.sqrt(np.expm1(log_variance))
    return np.where(skewness < 0, -quantile, quantile)
