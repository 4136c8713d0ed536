"""Curves of a law from the derivatives of its log Z, by integrals of one sign that never cancel.

With K(t) = log Z at beta = 1 / t, KL(tilted || reference) is the integral of s K''(s) from 0 to t, and
KL(reference || tilted) that of (t - s) K''(s); both have positive integrands.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(14)


def panels(t: float, *, below: float, above: float) -> tuple[Floats, Floats]:
    """Return nodes and weights for integrals from 0 to ``t`` of a function with singularities beyond both ends.

    Parameters
    ----------
    t : float
        Upper end of the integral, above 0.
    below, above : float
        Distances from 0 of the nearest singularity at a negative argument, and at one above ``t``; infinite if there is
        none.

    Returns
    -------
    s, weight : array, shape (n_nodes,)
        Gauss-Legendre rules on panels no longer than their distance from ``-below``, nor than half of that from
        ``above``: each converges at least like 5.8^-28.
    """
    edges = [0.0]
    while edges[-1] < t:
        step = min(below + edges[-1], 0.5 * (above - edges[-1]))
        edges.append(t if t - edges[-1] <= step or edges[-1] + step == edges[-1] else edges[-1] + step)
    left, half = np.array(edges[:-1])[:, None], 0.5 * np.diff(edges)[:, None]
    return (left + half * (1.0 + _POINTS)).ravel(), (half * _WEIGHTS).ravel()


def divergences(
    variance: Callable[[Floats], Floats], t: float, *, below: float = math.inf, above: float = math.inf
) -> tuple[float, float]:
    """Return both divergences at beta = 1 / t.

    Parameters
    ----------
    variance : callable
        K'', the variance of the reward under the tilted distribution, at an array of arguments.
    t : float
        One over beta.
    below, above : float
        Distances from 0 of the nearest singularities, as in :func:`panels`.

    Returns
    -------
    kl, kl_reverse : float
        KL(tilted || reference) and KL(reference || tilted), in nats.

    Examples
    --------
    An exponential reward of rate 1, whose variance is 1 / (1 - s)^2:

    >>> kl, kl_reverse = divergences(lambda s: (1 - s) ** -2, 0.5, above=1.0)
    >>> np.isclose([kl, kl_reverse], [1 - np.log(2), np.log(2) - 0.5], rtol=1e-14)
    array([ True,  True])
    """
    s, weight = panels(t, below=below, above=above)
    spread = weight * variance(s)
    return float(spread @ s), float(spread @ (t - s))
