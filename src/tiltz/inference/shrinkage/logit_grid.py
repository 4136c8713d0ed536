"""A grid of success rates on the logit scale, and soft values of a posterior on it.

A Beta density in the logit is smooth and falls off exponentially, and so is the soft value there down to rates of
exp(-1/beta): the trapezoid rule is then exact to rounding, and small beta needs nothing but a grid that reaches far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

LARGEST_N = 10_000
"""Posteriors of more samples are narrower than the grid is fine."""

_STEP = 0.025
_BEND = 5.0  # the logit runs as _BEND * sinh(x / _BEND): even near 0, geometric far out
_LOWEST, _HIGHEST = -1e6, 20.0  # below, no beta of note can tell the rate from 0; above, it is 1


def _nodes() -> tuple[Floats, Floats]:
    first, last = (np.rint(np.arcsinh(end / _BEND) * _BEND / _STEP) for end in (_LOWEST, _HIGHEST))
    x = np.arange(first, last + 1) * _STEP
    return _BEND * np.sinh(x / _BEND), _STEP * np.cosh(x / _BEND)


LOGIT, WIDTH = _nodes()
LOG_RATE = -np.logaddexp(0.0, -LOGIT)
LOG_OTHER = -np.logaddexp(0.0, LOGIT)


def share_of_gain(logit: Floats, gain: Floats) -> Floats:
    """Return (V - low) / (high - low) of a two-valued reward, for a logit of its rate and (high - low) / beta.

    Notes
    -----
    log(1 + rate (exp(gain) - 1)) / gain, which neither overflows for large gains nor cancels for small ones.
    """
    gain = np.clip(gain, 1e-12, 1e300)
    with np.errstate(over="ignore", under="ignore"):
        near = np.log1p(special.expit(logit) * np.expm1(np.minimum(gain, 1.0)))
        far = np.logaddexp(0.0, logit + gain) - np.logaddexp(0.0, logit)
    return np.where(gain < 1.0, near, far) / gain


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateMasses:
    """A distribution of one success rate.

    Attributes
    ----------
    mass : array, shape (n_nodes,)
        Mass that each node of a grid stands for.
    at_zero, at_one : float
        Mass at a rate of exactly 0, and exactly 1.
    """

    mass: Floats
    at_zero: float
    at_one: float


class RateLaw(Protocol):
    """A law of success rates on a grid of ascending logits, whose nodes stand for a stretch (smooth) or themselves."""

    @property
    def logit(self) -> Floats:
        """The nodes between a rate of 0 and of 1."""
        ...

    @property
    def smooth(self) -> bool:
        """Whether the mass of a node is spread around it."""
        ...

    def masses(self, n: float, k: float) -> RateMasses:
        """Return the posterior of the rate of a prompt with k successes among n."""
        ...


def quantile(law: RateLaw, posterior: RateMasses, probability: float) -> float:
    """Return the logit below which this share of a posterior lies, infinite at the ends."""
    if posterior.at_zero >= probability:
        return -np.inf
    if 1 - posterior.at_one <= probability:
        return np.inf
    below = posterior.at_zero + np.cumsum(posterior.mass)
    if not law.smooth:
        return float(law.logit[min(int(np.sum(below < probability)), len(law.logit) - 1)])
    # The trapezoid rule up to a node takes half of its mass, and a derivative (Euler and Maclaurin).
    below = below - posterior.mass / 2 - np.gradient(posterior.mass) / 12
    before = min(max(int(np.sum(below < probability)) - 1, 0), len(below) - 2)
    start, end = posterior.mass[before : before + 2]
    missing = probability - below[before]
    # Between nodes the density is a line.
    root = np.sqrt(max(start**2 + 2 * (end - start) * missing, 0.0))
    part = min(max(2 * missing / max(start + root, np.finfo(float).tiny), 0.0), 1.0)
    return float(law.logit[before] + part * (law.logit[before + 1] - law.logit[before]))
