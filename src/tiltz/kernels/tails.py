"""Compiled loops over the largest weights of every group: generalised-Pareto fits and smoothed sums.

Importing this module loads numba.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import boolean, float64, int64, types, void

from tiltz.kernels.compiled import compiled
from tiltz.kernels.resampling import log_near, push_larger

Floats = npt.NDArray[np.float64]

FEWEST = 25
"""Below this many samples the tail has fewer than five of them."""

_FEWEST_VALUES = 5
_LINEAR = 1e-9  # nats; below this expm1(x) is x + x^2 / 2 to the last digit
_SMALLEST = 1e-290  # of the largest exceedance: its inverse is still finite
_LOG_EPSILON = -40.0  # of the best: too little to count
_GRID = 30  # Zhang and Stephens: 20 + floor(sqrt(m)); PSIS takes 30
_PRIOR_SCALE = 3.0
_PRIOR_SHAPE, _PRIOR_SIZE = 0.5, 10.0  # the weakly informative prior of PSIS: ten more samples, of shape 1/2


@compiled()
def _tail_size(n: int) -> int:
    return min((n + 4) // 5, math.ceil(3.0 * math.sqrt(n)))


@compiled()
def _largest(values: Floats, n: int, heap: Floats, ordered: Floats) -> None:
    """Fill ``ordered`` with the largest values, ascending; ``-inf`` where there are too few."""
    for i in range(heap.size):
        heap[i] = -np.inf
    for i in range(n):
        push_larger(heap, values[i])
    for i in range(heap.size):
        ordered[i] = heap[0]
        push_larger(heap, np.inf)


@compiled()
def _exceedances(ordered: Floats, per: float, x: Floats) -> int:
    """Fill ``x`` with exp(value / per) less its threshold, over the largest of them; return how many there are.

    The threshold is the first of the ascending values, which are rewards (per beta) or log weights (per 1). Where fewer
    than five distinct values lie above it, 0 is returned.
    """
    cut, best = ordered[0], ordered[-1]
    m, distinct = 0, 0
    for i in range(1, ordered.size):
        if ordered[i] > cut:
            distinct += ordered[i] > ordered[i - 1]
            x[m] = ordered[i]
            m += 1
    if distinct < _FEWEST_VALUES:
        return 0
    height = (best - cut) / per
    for i in range(m):
        above, below = x[i] - cut, x[i] - best
        if height < _LINEAR:
            x[i] = above / (best - cut) * (1.0 + 0.5 * below / per)
        else:
            x[i] = math.exp(below / per) * (math.expm1(-above / per) / math.expm1(-height))
        x[i] = max(x[i], _SMALLEST)
    return m


@compiled(fastmath={"contract"})
def _multiply(theta: Floats, x: float, product: Floats, grid: int) -> None:
    for j in range(grid):
        product[j] *= 1.0 - theta[j] * x


@compiled(fastmath={"contract"})
def _add_logs(total: Floats, product: Floats, grid: int) -> None:
    for j in range(grid):
        total[j] += log_near(product[j], product[j] - 1.0)
        product[j] = 1.0


@compiled(fastmath={"contract"})
def _log_likelihoods(theta: Floats, total: Floats, grid: int, m: float, mean: float) -> None:
    """Turn sums of log(1 - theta x) into profile log-likelihoods, in place."""
    for j in range(grid):
        shape = total[j] / m
        # As theta goes to 0 so does the shape, and the scale to the mean.
        scale = -shape / theta[j] if shape != 0.0 else mean
        total[j] = m * (-log_near(scale, scale - 1.0) - shape - 1.0)


@compiled()
def _fit(x: Floats, m: int, theta: Floats, total: Floats, product: Floats) -> tuple[float, float]:
    """Return shape and scale of the generalised Pareto law of m ascending exceedances, the last of which is 1.

    Zhang and Stephens (2009): the posterior mean of theta = -shape / scale under a data-based prior, on a grid.
    """
    grid = _GRID + int(math.sqrt(m))
    quartile = x[int(m / 4 + 0.5) - 1]
    for j in range(grid):
        theta[j] = 1.0 + (1.0 - math.sqrt(grid / (j + 0.5))) / (_PRIOR_SCALE * quartile)
        total[j], product[j] = 0.0, 1.0
    # One log for several factors, as long as no product can overflow: they are of size 1 / quartile at most.
    together = 8 if quartile > 1e-30 else 1
    mean = 0.0
    for i in range(m):
        mean += x[i] / m
        _multiply(theta, x[i], product, grid)
        if i % together == together - 1 or i == m - 1:
            _add_logs(total, product, grid)
    _log_likelihoods(theta, total, grid, float(m), mean)
    best = -np.inf
    for j in range(grid):
        best = max(best, total[j])
    mass, average = 0.0, 0.0
    for j in range(grid):
        if total[j] > best + _LOG_EPSILON:
            weight = math.exp(total[j] - best)
            mass += weight
            average += weight * theta[j]
    average /= mass
    shape = 0.0
    for i in range(m):
        shape += math.log1p(-average * x[i]) / m
    return shape, -shape / average if shape != 0.0 else mean


@compiled()
def _smoothed_log_mean(
    values: Floats, n: int, per: float, ordered: Floats, fit: tuple[int, float, float]
) -> float:
    """Return the log mean of exp(values / per), its m largest replaced by quantiles of the fitted law.

    With m = 0 nothing is replaced. In units of the largest weight, a sum of weight - 1 keeps its digits where weights
    are nearly equal, a sum of weights where nearly all are nearly 0.
    """
    m, shape, scale = fit
    cut, best = ordered[0], ordered[-1]
    if best == -np.inf:
        return -np.inf
    less, total = 0.0, 0.0
    for i in range(n):
        if m == 0 or values[i] <= cut:
            below = (values[i] - best) / per
            less += math.expm1(below)
            total += math.exp(below)
    threshold, room = math.exp((cut - best) / per), math.expm1((cut - best) / per)
    for i in range(m):
        log_above = math.log1p(-(i + 0.5) / m)
        quantile = scale * (math.expm1(-shape * log_above) / shape if shape != 0.0 else -log_above)
        less += room * (1.0 - min(quantile, 1.0))
        total += threshold - room * min(quantile, 1.0)
    mean = math.log1p(less / n) if less > -0.5 * n else math.log(total / n)
    return best / per + mean


@compiled(
    void(
        types.Array(float64, 1, "C", readonly=True), types.Array(float64, 1, "C", readonly=True),
        types.Array(float64, 1, "C", readonly=True), types.Array(int64, 1, "C", readonly=True),
        types.Array(float64, 2, "C", readonly=True), boolean, boolean, int64, int64,
        types.Array(float64, 2, "C"), types.Array(float64, 2, "C"),
    ),
)  # fmt: skip
def fit_tails(
    reward: Floats,
    log_mass: Floats,
    log_count: Floats,
    start: npt.NDArray[np.int64],
    beta: Floats,
    normalised: bool,
    smooth: bool,
    first: int,
    last: int,
    khat: Floats,
    log_z: Floats,
) -> None:
    """Write the tail index of groups ``first`` to ``last - 1`` at every beta and, if ``smooth``, the smoothed log Z.

    ``normalised`` says that all log weights are 0: the order of the weights is then that of the rewards at every beta,
    and the tail is looked up once.
    """
    longest = 0
    for g in range(first, last):
        longest = max(longest, start[g + 1] - start[g])
    values, grid = np.empty(longest), _GRID + int(math.sqrt(longest))
    x, theta, total, product = np.empty(longest), np.empty(grid), np.empty(grid), np.empty(grid)
    for g in range(first, last):
        begin, n = start[g], start[g + 1] - start[g]
        heap, ordered = np.empty(_tail_size(n) + 1), np.empty(_tail_size(n) + 1)
        top = -np.inf
        for i in range(n):
            values[i] = reward[begin + i]
            if log_mass[begin + i] > -np.inf:
                top = max(top, reward[begin + i])
        if normalised:
            _largest(values, n, heap, ordered)
        for j in range(beta.shape[1]):
            at = beta[g if beta.shape[0] > 1 else 0, j]
            per, base = at, 0.0
            if not normalised:
                per, base = 1.0, top / at + log_count[g]
                for i in range(n):
                    possible = log_mass[begin + i] > -np.inf
                    values[i] = (reward[begin + i] - top) / at + log_mass[begin + i] if possible else -np.inf
                _largest(values, n, heap, ordered)
            m, shape, scale = _exceedances(ordered, per, x) if n >= FEWEST else 0, 0.0, 1.0
            khat[g, j] = np.nan
            if m > 0:
                shape, scale = _fit(x, m, theta, total, product)
                shape = (shape * m + _PRIOR_SHAPE * _PRIOR_SIZE) / (m + _PRIOR_SIZE)
                khat[g, j] = shape
            if smooth:
                m = m if shape < 1.0 else 0
                log_z[g, j] = base + _smoothed_log_mean(values, n, per, ordered, (m, shape, scale))
