"""Lobatto-Kronrod rules on boxes: products with positive weights, and their difference along each axis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numpy.polynomial import legendre

Floats = npt.NDArray[np.float64]

_INSIDE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRule:
    """A rule on the box [-1, 1]^d.

    Attributes
    ----------
    node : array, shape (n_nodes, d)
        Points.
    log_weight : array, shape (n_nodes,)
        Logs of the weights.
    contrast : array, shape (n_nodes, d + 1)
        Sums of weighted values times a column are the rule (first column), and the rule less the one that uses
        Lobatto's nodes alone along one axis.
    """

    node: Floats
    log_weight: Floats
    contrast: Floats

    @classmethod
    def of(cls, d: int, n_inner: int) -> TensorRule:
        """Return the product of d rules with 2 n_inner + 3 nodes each."""
        node, weight, coarse = lobatto_kronrod(n_inner)
        grids = np.meshgrid(*[np.arange(len(node))] * d, indexing="ij")
        index = np.stack([grid.ravel() for grid in grids], axis=1)
        difference = (1.0 - coarse / weight)[index]
        return cls(
            node=node[index],
            log_weight=np.log(weight)[index].sum(axis=1),
            contrast=np.concatenate([np.ones((len(index), 1)), difference], axis=1),
        )


@lru_cache(maxsize=8)
def lobatto_kronrod(n: int) -> tuple[Floats, Floats, Floats]:
    """Return the nodes of a Lobatto-Kronrod rule on [-1, 1], its weights, and those of Lobatto's (0 at new nodes).

    Parameters
    ----------
    n : int
        Inner nodes of Lobatto's rule.

    Returns
    -------
    tuple of arrays
        Shapes (2 n + 3,).

    Notes
    -----
    Both ends are nodes, because a kink that hides between an end and the first node inside is seen by no other. They
    are moved inwards by 1e-10, to the side of a step at the face that the box is on. Inner nodes of Lobatto's rule are
    zeros of P', P the Legendre polynomial of degree n + 1; new ones are zeros of the polynomial E of degree n + 1 for
    which the integral of (1 - x^2) P' E x^k is 0 for every k up to n. Its Legendre coefficients solve a linear system.

    References
    ----------
    .. [1] W. Gander, W. Gautschi, "Adaptive quadrature - revisited", BIT 40 (2000), 84-101.
    .. [2] G. Monegato, "Stieltjes polynomials and related quadrature rules", SIAM Review 24 (1982), 137-158.
    """
    inner = legendre.legder(np.append(np.zeros(n + 1), 1.0))
    at, exact = legendre.leggauss(2 * n + 4)
    values = legendre.legvander(at, n + 1)
    weighted = exact * (1 - at**2) * legendre.legval(at, inner)
    products = (values[:, : n + 1] * weighted[:, None]).T @ values
    lower = np.linalg.lstsq(products[:, : n + 1], -products[:, n + 1], rcond=None)[0]
    lobatto = np.concatenate([[-1.0], legendre.legroots(inner), [1.0]])
    new = legendre.legroots(np.append(lower, 1.0))
    order = np.argsort(np.concatenate([lobatto, new]))
    node = np.concatenate([lobatto, new])[order]
    node = np.clip((node - node[::-1]) / 2, -1 + _INSIDE, 1 - _INSIDE)
    coarse = np.zeros(len(node))
    old = np.flatnonzero(order < n + 2)
    coarse[old] = _weights(node[old])
    return node, _weights(node), coarse


def _weights(node: Floats) -> Floats:
    """Return the weights with which a rule at these symmetric nodes is exact for polynomials as far as it can be."""
    moments = np.zeros(len(node))
    moments[0] = 2.0
    weight = np.linalg.solve(legendre.legvander(node, len(node) - 1).T, moments)
    return (weight + weight[::-1]) / 2
