"""Kronrod's rules, computed."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numpy.polynomial import legendre

Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=8)
def kronrod(n: int) -> tuple[Floats, Floats, Floats]:
    """Return the nodes of Kronrod's rule on [-1, 1], its weights, and those of Gauss's rule (0 at new nodes).

    Parameters
    ----------
    n : int
        Nodes of Gauss's rule; Kronrod's has 2 n + 1.

    Returns
    -------
    tuple of array, shape (2 n + 1,)
        Nodes in ascending order, weights, Gauss's weights.

    Notes
    -----
    The new nodes are the zeros of Stieltjes' polynomial E of degree n + 1, for which the integral of P_n E P_k is 0
    for every k up to n. Its Legendre coefficients solve a linear system.

    References
    ----------
    .. [1] G. Monegato, "Stieltjes polynomials and related quadrature rules", SIAM Review 24 (1982), 137-158.

    Examples
    --------
    >>> node, weight, gauss = kronrod(10)
    >>> round(float(weight @ node**30 * 31 / 2), 12), round(float(gauss @ node**18 * 19 / 2), 12)
    (1.0, 1.0)
    """
    at, exact = legendre.leggauss(2 * n + 2)
    values = legendre.legvander(at, n + 1)
    products = (values[:, : n + 1] * (exact * values[:, n])[:, None]).T @ values
    lower = np.linalg.lstsq(products[:, : n + 1], -products[:, n + 1], rcond=None)[0]
    new = legendre.legroots(np.append(lower, 1.0))
    gauss_node, gauss_weight = legendre.leggauss(n)
    order = np.argsort(np.concatenate([gauss_node, new]))
    node = np.concatenate([gauss_node, new])[order]
    node = (node - node[::-1]) / 2
    moments = np.zeros(2 * n + 1)
    moments[0] = 2.0
    weight = np.linalg.solve(legendre.legvander(node, 2 * n).T, moments)
    gauss = np.concatenate([gauss_weight, np.zeros(n + 1)])[order]
    return node, (weight + weight[::-1]) / 2, gauss
