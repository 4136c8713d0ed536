"""Log-densities that were taken as the log of a density: continued to where the density is below the smallest float."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CONTINUED = 1e-13  # relative error of a continued log-density
_LEAST_LOG = -745.2  # log of the smallest float
_FULL_DIGITS = -700.0  # below this the log of a density loses digits
_NEXT = -680.0  # a density whose next log would be below this may have underflowed
_FITTED = 64  # points that a tail law is fitted to
_RESIDUAL = 1e-10
_POWERS = (("log",), ("log", 1), ("log", "log2"), ("log", 1, -1), ("log", 1, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """A tail law that a log-density follows to rounding: a sum of few powers of the distance and its log.

    Attributes
    ----------
    start : float
        Distance from which on it stands for the log-density.
    terms : tuple
        Powers of the distance, "log" and "log2" for the log and its square; before them a constant.
    coefficients : array
        One per term, the constant's first.
    unit : float
        Distances are divided by this.
    """

    start: float
    terms: tuple[str | int, ...]
    coefficients: Floats
    unit: float

    def __call__(self, distance: Floats) -> Floats:
        """Return log-densities at distances from ``start`` on."""
        with np.errstate(over="ignore"):
            return _basis(distance / self.unit, self.terms) @ self.coefficients


def underflowed(out: Floats, log_density: Floats) -> bool:
    """Whether the density becomes 0 only because it would be below the smallest float.

    Parameters
    ----------
    out : array, shape (n + 1,)
        Log distances, that of the first density of 0 last.
    log_density : array, shape (n,)
        Finite at its end.
    """
    if len(log_density) < 3 or log_density.min() < _LEAST_LOG or log_density[-1] > _FULL_DIGITS / 10:
        return False
    power = np.log(log_density[-1] / log_density[-2]) / (out[-2] - out[-3])
    return bool(log_density[-1] * np.exp(power * (out[-1] - out[-2])) < _NEXT)


def continuation(distance: Floats, log_density: Floats) -> Continuation | None:
    """Return the simplest tail law that the last log-densities follow, or None.

    Examples
    --------
    >>> distance = np.exp2(np.arange(0, 9.5, 1 / 16))
    >>> law = continuation(distance, -2.0 * distance + 3.0)
    >>> round(float(law(np.array([1e4]))[0]), 6)
    -19997.0
    """
    sound = log_density > _FULL_DIGITS
    distance, log_density = distance[sound][-_FITTED:], log_density[sound][-_FITTED:]
    if len(distance) < _FITTED // 2 or not np.all(np.isfinite(log_density)):
        return None
    unit = float(distance[-1])
    for terms in _POWERS:
        basis = _basis(distance / unit, terms)
        coefficients = np.asarray(np.linalg.lstsq(basis, log_density, rcond=None)[0], dtype=np.float64)
        if np.max(np.abs(basis @ coefficients - log_density)) < _RESIDUAL:
            return Continuation(start=unit, terms=terms, coefficients=coefficients, unit=unit)
    return None


def _basis(x: Floats, terms: tuple[str | int, ...]) -> Floats:
    """Return the terms of a tail law at each distance, one per column, a constant first."""
    log = np.log(x)
    named = {"log": log, "log2": log**2}
    return np.stack(
        [np.ones_like(x), *(named[term] if isinstance(term, str) else x**term for term in terms)], axis=-1
    )
