"""Where Z of a chain without a limit to its length is infinite: the growth of the sum per step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)


def longest(weight: Floats, tolerance: float) -> Floats | None:
    """Return the largest weight of a path from each state to the last, or None if a cycle gains.

    Parameters
    ----------
    weight : array, shape (n, n)
        Of steps; ``-inf`` where there is none. The last state is the end.
    tolerance : float
        What a cycle may gain by rounding alone.
    """
    n = len(weight)
    best = np.full(n, -np.inf)
    best[-1] = 0.0
    gained = 0.0
    for _ in range(n + 1):
        longer = np.maximum(best, np.max(weight + best, axis=1))
        if not np.any(longer > best):
            return best
        gained = float(np.max((longer - best)[longer > best]))
        best = longer
    return best if gained <= tolerance else None


def log_radius(log_prob: Floats, reward: Floats, t: float) -> float:
    """Return the log of the spectral radius of P exp(t reward), from its strongly connected parts.

    Each part is irreducible, so that its largest eigenvalue is simple, which it is not in the whole.
    """
    from scipy.sparse.csgraph import connected_components

    weight = np.where(log_prob > -np.inf, t * np.where(log_prob > -np.inf, reward, 0.0) + log_prob, -np.inf)
    _, part = connected_components(weight > -np.inf, directed=True, connection="strong")
    found = -np.inf
    for label in np.unique(part):
        inside = np.flatnonzero(part == label)
        block = weight[np.ix_(inside, inside)]
        peak = float(np.max(block))
        if peak > -np.inf:
            with np.errstate(under="ignore"):
                eigenvalues = np.linalg.eigvals(np.exp(block - peak))
            found = max(found, peak + float(np.log(np.max(np.abs(eigenvalues)))))
    return found


def least_beta(log_prob: Floats, reward: Floats, gains: bool) -> float:
    """Return the beta at and below which Z is infinite; 0 if no cycle gains.

    Notes
    -----
    The log of the radius is convex in 1 / beta and below 0 at 1 / beta = 0. If no cycle has a positive reward it never
    rises above; if one has, it grows without limit and meets 0 once.
    """
    if not gains:
        return 0.0
    from scipy.optimize import brentq

    high = 1.0 / max(float(np.max(np.abs(reward[log_prob > -np.inf]))), 1e-300)
    while log_radius(log_prob, reward, high) <= 0:
        high *= 2.0
        if high > 1e300:
            return 0.0

    def at(t: float) -> float:
        return max(log_radius(log_prob, reward, t), -1e3)

    return 1.0 / float(brentq(at, 0.0, high, xtol=1e-300, rtol=4 * _EPS))  # pyright: ignore[reportArgumentType]
