"""The nonparametric maximum-likelihood law of success rates, on a grid of rates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from tiltz.inference.shrinkage.histogram import Histogram
from tiltz.inference.shrinkage.logit_grid import RateMasses

Floats = npt.NDArray[np.float64]

LOGIT: Floats = np.linspace(-16.0, 16.0, 321)
"""Logits of the rates between 0 and 1: even in the middle, geometric towards both ends."""

_GAP = 1e-9  # log-likelihood per prompt that a better law could still gain, in nats
_MOST_ROUNDS = 200
_EVERYWHERE = 1e-12  # mass spread over the whole grid


def likelihoods(n: Floats, k: Floats) -> Floats:
    """Return the probability of k among n at rates 0, those of the grid, and 1; shape (n_cells, n_rates)."""
    log_rate, log_other = -np.logaddexp(0.0, -LOGIT), -np.logaddexp(0.0, LOGIT)
    log_choose = -(special.betaln(k + 1, n - k + 1) + np.log(n + 1))[:, None]
    inner = np.exp(log_choose + k[:, None] * log_rate + (n - k)[:, None] * log_other)
    return np.column_stack([k == 0, inner, k == n])


def fit_masses(table: Histogram) -> Floats:
    """Return the masses at rates 0, those of the grid, and 1 that make the table most likely.

    Notes
    -----
    The log-likelihood is concave. Each round minimises its quadratic expansion over non-negative masses (constrained
    Newton), then steps back until it rises; it stops when the gradient shows that no law on the grid is better by
    more than 1e-9 nats per prompt.

    References
    ----------
    .. [1] Y. Wang, Journal of the Royal Statistical Society B 69 (2007) 185-198.
    .. [2] R. Koenker, I. Mizera, Journal of the American Statistical Association 109 (2014) 674-685.
    """
    likelihood = likelihoods(table.n, table.k)
    share = table.weight / table.weight.sum()
    mass: Floats = np.full(likelihood.shape[1], 1.0 / likelihood.shape[1])
    for _ in range(_MOST_ROUNDS):
        relative = likelihood / (likelihood @ mass)[:, None]
        gradient = share @ relative
        if gradient.max() - 1.0 <= _GAP:
            break
        newton = _newton_masses(relative, share)
        mass = _climb(likelihood, share, mass, newton - mass, float(gradient @ (newton - mass)))
    # Counts that the table did not show must have a probability too.
    return (1 - _EVERYWHERE) * mass + _EVERYWHERE / len(mass)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridLaw:
    """A law of success rates that sits on the nodes of the grid.

    Attributes
    ----------
    prior : array, shape (n_rates,)
        Masses at rates 0, those of the grid, and 1.
    """

    prior: Floats
    logit: Floats = field(default_factory=lambda: LOGIT)
    smooth: bool = False

    def masses(self, n: float, k: float) -> RateMasses:
        """Return the posterior of the rate of a prompt with k successes among n."""
        joint = likelihoods(np.array([n]), np.array([k]))[0] * self.prior
        posterior = joint / joint.sum()
        return RateMasses(mass=posterior[1:-1], at_zero=float(posterior[0]), at_one=float(posterior[-1]))


def _newton_masses(relative: Floats, share: Floats) -> Floats:
    """Return the masses that minimise the quadratic expansion of minus the log-likelihood."""
    root = np.sqrt(share)[:, None]
    # A heavy row makes the masses sum to 1; dividing makes it exact.
    heavy = 1e3
    matrix = np.vstack([root * relative, np.full((1, relative.shape[1]), heavy)])
    masses = optimize.nnls(matrix, np.append(2.0 * root[:, 0], heavy), maxiter=50 * matrix.shape[1])[0]
    return masses / masses.sum()


def _climb(likelihood: Floats, share: Floats, mass: Floats, step: Floats, slope: float) -> Floats:
    """Return masses a part of the step away, where the log-likelihood has risen by a third of the slope's promise."""
    start, moved = likelihood @ mass, likelihood @ step
    length = 1.0
    for _ in range(60):
        with np.errstate(invalid="ignore", divide="ignore"):
            rise = share @ np.log1p(length * moved / start)
        if rise >= length * slope / 3:
            break
        length /= 2
    return np.maximum(mass + length * step, 0.0)
