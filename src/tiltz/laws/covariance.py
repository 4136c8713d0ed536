"""The normal law of several variables: what its mean and covariance must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.laws.array_parameters import floats

Floats = npt.NDArray[np.float64]

_TOLERANCE = 1e-10  # on the scale of correlations: what rounding makes of a singular covariance
_EPS = float(np.finfo(np.float64).eps)


def vector(name: str, value: Any, n_variables: int | None = None) -> Floats:
    """Return a vector, to which a scalar is one entry, or refuse what has another shape."""
    found = floats(name, value)
    found = found.reshape(1) if found.ndim == 0 else found
    if found.ndim != 1 or n_variables not in (None, len(found)):
        wanted = "(n_variables,)" if n_variables is None else f"({n_variables},), as long as loc"
        raise InputError(f"{name} must have shape {wanted}; found {found.shape}.")
    return found


def matrix(name: str, value: Any, n_variables: int) -> Floats:
    """Return a square matrix, to which a scalar is one entry, or refuse what has another shape."""
    found = floats(name, value)
    found = found.reshape(1, 1) if found.ndim == 0 else found
    if found.shape != (n_variables, n_variables):
        raise InputError(
            f"{name} must have shape ({n_variables}, {n_variables}), one row per entry of loc; found {found.shape}."
        )
    return found


def covariance(name: str, value: Any, n_variables: int) -> Floats:
    """Return a covariance matrix, or refuse what is not symmetric."""
    found = matrix(name, value, n_variables)
    gap = np.abs(found - found.T)
    if np.max(gap) > _TOLERANCE * np.max(np.abs(found)):
        i, j = np.unravel_index(np.argmax(gap), gap.shape)
        raise InputError(
            f"{name} must be symmetric; found {found[i, j]:g} in row {i}, column {j} and {found[j, i]:g} opposite."
        )
    return found


def root_of(cov: Floats) -> Floats:
    """Return a matrix ``root`` with ``root @ root.T == cov``, or refuse what is no covariance.

    Parameters
    ----------
    cov : array, shape (n_variables, n_variables)
        Symmetric.

    Returns
    -------
    array, shape (n_variables, rank)
        Without the directions in which nothing varies.

    Raises
    ------
    InputError
        If ``cov`` has a negative eigenvalue.

    Notes
    -----
    Taken on the scale of correlations, so that variables in very different units keep their digits.
    """
    variance = np.diag(cov)
    sd = np.sqrt(np.maximum(variance, 0.0))
    unit = np.where(sd > 0, sd, 1.0)
    correlation = cov / unit[:, None] / unit
    values, vectors = np.linalg.eigh(0.5 * (correlation + correlation.T))
    if values[0] < -_TOLERANCE or np.any(variance < 0):
        raise InputError(
            "cov must be positive semi-definite; found the eigenvalue "
            f"{np.linalg.eigvalsh(0.5 * (cov + cov.T))[0]:.6g}. Covariances that were rounded or put together from "
            "pairs often are not: take the nearest one that is, or estimate it from whole rows."
        )
    varies = values > len(values) * _EPS * max(values[-1], 1.0)
    return sd[:, None] * vectors[:, varies] * np.sqrt(values[varies])


def is_diagonal(square: Floats) -> bool:
    """Whether every entry off the diagonal is 0."""
    return not np.any(square - np.diag(np.diag(square)))
