"""Spheres in angles: smooth coordinates, with the Jacobian in the log-density."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tiltz.known.integrals.integrand import Points, Space

Floats = npt.NDArray[np.float64]


def sphere_space(dim: int, log_density: Points | None) -> Space:
    """Return the unit sphere in ``dim`` dimensions, whose points are unit vectors of shape (m, dim).

    Parameters
    ----------
    dim : int
        Of the space around it, at least 2: a circle has 2.
    log_density : callable or None
        Unit vectors to log-densities per surface area, in nats; None is the uniform density.

    Notes
    -----
    The coordinates are ``dim - 2`` angles from 0 to pi and a last one from -pi to pi; the area element is the product
    of the k-th powers of the sines, k = dim - 2 ... 1.
    """
    log_area = math.log(2.0) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)
    powers = np.arange(dim - 2.0, 0.0, -1.0)

    def in_angles(at: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            jacobian = np.log(np.abs(np.sin(at[:, :-1]))) @ powers
        if log_density is None:
            return np.asarray(jacobian - log_area, dtype=np.float64)
        return np.asarray(jacobian + log_density(unit_vectors(at)), dtype=np.float64)

    return Space(
        log_density=in_angles,
        sides=(*((0.0, math.pi),) * (dim - 2), (-math.pi, math.pi)),
        embed=unit_vectors,
        near=np.array([[*(0.5 * math.pi,) * (dim - 2), 0.0]]),
    )


def unit_vectors(angles: Floats) -> Floats:
    """Return unit vectors of shape (m, d + 1) from angles of shape (m, d)."""
    sines = np.cumprod(np.sin(angles), axis=1)
    vectors = [np.cos(angles[:, :1]), sines[:, :-1] * np.cos(angles[:, 1:]), sines[:, -1:]]
    return np.asarray(np.concatenate(vectors, axis=1), dtype=np.float64)
