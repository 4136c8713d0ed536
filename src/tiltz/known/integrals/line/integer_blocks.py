"""A rule for sums over blocks of consecutive integers: positive weights at few of them, exact for polynomials."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numpy.polynomial.legendre import legvander

from tiltz.known.integrals.line.panels import Panels, Rule

Floats = npt.NDArray[np.float64]

EXACT = 32  # integers in a block up to which every one is a node
_DEGREE, _LOWER_DEGREE = 20, 11
_SUMMED = 1 << 17  # block sizes up to which polynomials are summed term by term


def _place_on_lattice(panels: Panels) -> tuple[Floats, Floats, Floats]:
    """Place nodes in blocks of integers from ``low`` to before ``high``, whose numbers are powers of two."""
    size = panels.high - panels.low
    offset, weight, contrast = (np.empty((len(panels), EXACT)) for _ in range(3))
    for n in np.unique(size):
        chosen = size == n
        position, rule, difference = block_rule(float(n))
        offset[chosen] = panels.low[chosen, None] + position
        weight[chosen], contrast[chosen] = rule, difference
    return offset, weight, contrast


@lru_cache(maxsize=2048)
def block_rule(n: float) -> tuple[Floats, Floats, Floats]:
    """Return positions from 0 to n - 1, weights, and the difference to the weights of a lower rule.

    Notes
    -----
    The weights are those nearest to the numbers of integers around each node that sum every polynomial of degree 20
    exactly (the lower ones: degree 11, every second node).

    Examples
    --------
    >>> position, weight, contrast = block_rule(4096.0)
    >>> print(round(float(weight @ position**3 / (4095 * 4096 / 2) ** 2), 12), bool(weight.min() > 0))
    1.0 True
    """
    if n <= EXACT:
        present = np.arange(EXACT) < n
        return np.where(present, np.arange(EXACT), 0.0), present.astype(np.float64), np.zeros(EXACT)
    position = _positions(n)
    weight = _weights(position, n, _DEGREE)
    lower = np.zeros(EXACT)
    lower[::2] = _weights(position[::2], n, _LOWER_DEGREE)
    return position, weight, weight - lower


def _positions(n: float) -> Floats:
    """Return integers near Chebyshev's points, both ends among them, all different."""
    half = EXACT // 2
    ideal = np.rint((1.0 - np.cos(np.pi * np.arange(half) / (EXACT - 1))) / 2 * (n - 1))
    first = np.maximum.accumulate(ideal - np.arange(half)) + np.arange(half)
    return np.concatenate([first, n - 1 - first[::-1]]).astype(np.float64)


def _weights(position: Floats, n: float, degree: int) -> Floats:
    middle = (position[1:] + position[:-1]) / 2
    around = np.diff(np.concatenate([[-0.5], middle, [n - 0.5]])) / n
    basis = legvander((2 * position + 1) / n - 1, degree)
    gram = basis.T @ (around[:, None] * basis)
    correction = np.linalg.solve(gram, _mean_polynomials(n, degree) - basis.T @ around)
    return np.asarray(n * around * (1.0 + basis @ correction), dtype=np.float64)


def _mean_polynomials(n: float, degree: int) -> Floats:
    """Return the means of Legendre's polynomials over the integers, scaled to [-1, 1]."""
    if n <= _SUMMED:
        return legvander((2 * np.arange(n) + 1) / n - 1, degree).mean(axis=0)
    order = np.arange(degree + 1.0)
    # Euler and Maclaurin: the difference of the end slopes is order * (order + 1) for an even order.
    means = np.where(order % 2 == 0, -order * (order + 1) / (12 * n * n), 0.0)
    means[0] = 1.0
    return means


LATTICE = Rule(place=_place_on_lattice, at_ends=None, gap=0.0)
"""All of 32 integers or fewer, 32 nodes in larger blocks."""
