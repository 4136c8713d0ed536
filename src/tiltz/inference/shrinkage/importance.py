"""Integrals over a few parameters: fixed points of a Student t, drawn in to the posterior and reweighted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
LogDensities = Callable[[Floats], tuple[Floats, Floats]]

_DEGREES = 5.0
_LEAST, _MOST = 0.04, 1 / 6  # share of the points that must still count when the likelihood is let in further
_WIDER = 1.1  # a proposal a little wider than the posterior costs little; one that is narrower costs much
_ROUNDS_IN_FULL = 5.0  # the best of these is kept


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightedPoints:
    """A posterior as points with weights.

    Attributes
    ----------
    points : array, shape (n_points, n_parameters)
        Parameters.
    weight : array, shape (n_points,)
        Weights, which sum to 1.
    log_evidence : float
        Log of the integral of likelihood times prior, in nats.
    """

    points: Floats
    weight: Floats
    log_evidence: float


def posterior_points(
    log_densities: LogDensities, centre: Floats, covariance: Floats, *, n_points: int
) -> WeightedPoints:
    """Return points and weights that stand for a posterior.

    Parameters
    ----------
    log_densities : callable
        Takes parameters of shape (n_points, n_parameters), returns log-likelihood and log prior density of each;
        ``-inf`` prior density where a point is not legal.
    centre : array, shape (n_parameters,)
        Where to begin.
    covariance : array, shape (n_parameters, n_parameters)
        How far around: that of the prior, or of a posterior that is near.
    n_points : int
        Points.

    Notes
    -----
    Annealed importance sampling with a fixed low-discrepancy sequence instead of draws, so that the same table gives
    the same answer: the power of the likelihood is raised as far as half of the points that counted before still do,
    the proposal is moved to the weighted mean and covariance, and so on to the full likelihood. Consistent in
    ``n_points``.

    References
    ----------
    .. [1] R. M. Neal, Statistics and Computing 11 (2001) 125-139.
    .. [2] O. Cappe et al., Statistics and Computing 18 (2008) 447-459.
    """
    standard, log_standard = _student_points(n_points, len(centre))
    mean, root = centre, _wider_root(covariance)
    power, rounds_in_full, best = 0.0, 0, (-1.0, standard, log_standard)
    while rounds_in_full < _ROUNDS_IN_FULL:
        points = mean + standard @ root.T
        log_likelihood, log_prior = log_densities(points)
        log_weight = log_prior - log_standard + np.log(np.diag(root)).sum()
        power = _next_power(log_weight, log_likelihood, power)
        weight = _normalised(log_weight + power * log_likelihood)
        mean = weight @ points
        root = _wider_root(((points - mean).T * weight) @ (points - mean))
        log_weight = log_weight + log_likelihood
        best = max(best, (_counting(log_weight), points, log_weight), key=lambda found: found[0])
        # A likelihood that will not be let in fully counts as well, or there would be no end.
        rounds_in_full += 1 if power == 1.0 else 1 / 16
    _, points, log_weight = best
    top = np.max(log_weight)
    return WeightedPoints(
        points=points,
        weight=_normalised(log_weight),
        log_evidence=float(top + np.log(np.mean(np.exp(log_weight - top)))),
    )


def _student_points(n_points: int, dim: int) -> tuple[Floats, Floats]:
    """Return points spread evenly over a multivariate t, and its log-density there.

    Notes
    -----
    The additive sequence whose steps are powers of the root of x^(d+1) = x + 1 (M. Roberts), one coordinate for
    the common divisor.
    """
    root = 2.0
    for _ in range(60):
        root = (1.0 + root) ** (1.0 / (dim + 2))
    uniform = (0.5 + np.outer(np.arange(1, n_points + 1), root ** -np.arange(1.0, dim + 2))) % 1.0
    divisor = np.sqrt(special.chdtri(_DEGREES, uniform[:, dim]) / _DEGREES)
    points: Floats = special.ndtri(uniform[:, :dim]) / divisor[:, None]
    constant = (
        special.gammaln((_DEGREES + dim) / 2)
        - special.gammaln(_DEGREES / 2)
        - dim / 2 * np.log(_DEGREES * np.pi)
    )
    distance = np.sum(points**2, axis=1) / _DEGREES
    return points, np.asarray(constant - (_DEGREES + dim) / 2 * np.log1p(distance), dtype=np.float64)


def _next_power(log_weight: Floats, log_likelihood: Floats, power: float) -> float:
    """Return the largest power of the likelihood, at most 1, at which enough points count."""
    kept = np.clip(_counting(log_weight + power * log_likelihood) / 2, _LEAST, _MOST)
    lowest, highest = 0.0, 1.0
    if _counting(log_weight + log_likelihood) >= kept:
        return 1.0
    for _ in range(30):
        middle = (lowest + highest) / 2
        if _counting(log_weight + middle * log_likelihood) >= kept:
            lowest = middle
        else:
            highest = middle
    return lowest


def _counting(log_weight: Floats) -> float:
    """Return the effective share of points (Kish)."""
    return 1.0 / (len(log_weight) * float(np.sum(_normalised(log_weight) ** 2)))


def _normalised(log_weight: Floats) -> Floats:
    weight = np.exp(log_weight - np.max(log_weight))
    return weight / np.sum(weight)


def _wider_root(covariance: Floats) -> Floats:
    """Return a triangular root of a covariance that is made a little wider."""
    wider = _WIDER * covariance + 1e-12 * np.eye(len(covariance))
    return np.asarray(np.linalg.cholesky(wider), dtype=np.float64)
