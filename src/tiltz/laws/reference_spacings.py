"""log Z given one frozen set of continuous reference rewards: its mean and spread over such sets."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tiltz.laws.reference_spread import ReferenceSpread
from tiltz.laws.series import x_minus_log1p

Floats = npt.NDArray[np.float64]

_STEP = 1 / 6
_MOST_CELLS = 1_000_000  # nodes times parts held at once


def uniform_spacings(log_ratio: Floats) -> ReferenceSpread:
    """Return the spread of log sum_k S_k c_k for S uniform on the simplex.

    Parameters
    ----------
    log_ratio : array, shape (n_betas, n_parts)
        log c_k, in nats, less the log of the mean of the c_k.

    Notes
    -----
    With c_k of mean 1 and E exponential, the spacings being gamma variables G_k over their sum,
    P(E > s sum_k G_k c_k) = phi(s) = prod_k 1 / (1 + s c_k), whose logarithm's mean and variance are integrals of phi
    over u = log s; those of the sum of the G_k alone are known, from phi_0(s) = (1 + s)^-n with n parts. With
    D = phi - phi_0, which is above 0,

        E log Z = log mean(c) - integral of D du,
        var log Z = integral of 2 (u - u_0) D du - (integral of D du)^2,   u_0 = -(1 + 1/2 + ... + 1/(n - 1)).

    D keeps its digits where all c_k are near 1, so that nothing cancels at a large beta. The trapezoidal rule in u
    converges geometrically: D is analytic and bounded up to a distance of pi / 2 from the real line.
    """
    n = log_ratio.shape[-1]
    u = _STEP * np.arange(-150.0, 271.0) - math.log(n)
    from_centre = 2.0 * (u + math.fsum(1.0 / k for k in range(1, n)))
    below, sd = np.empty(len(log_ratio)), np.empty(len(log_ratio))
    for k, ratio in enumerate(log_ratio):
        surplus = np.concatenate([_surplus(np.expm1(ratio), block) for block in _blocks(u, n)])
        below[k] = _STEP * np.sum(surplus)
        sd[k] = math.sqrt(max(0.0, _STEP * np.sum(from_centre * surplus) - below[k] ** 2))
    return ReferenceSpread(below=below, sd=sd)


def _blocks(u: Floats, n: int) -> list[Floats]:
    size = max(1, _MOST_CELLS // n)
    return [u[start : start + size] for start in range(0, len(u), size)]


def _surplus(excess: Floats, u: Floats) -> Floats:
    """Return D at exp(u) for parts 1 + ``excess``, whose excesses sum to 0."""
    s = np.exp(u)[:, None]
    log_flat = -len(excess) * np.logaddexp(0.0, u)
    exponent = np.sum(x_minus_log1p(excess * (s / (1.0 + s))), axis=-1)
    phi = np.exp(-np.sum(np.log1p(s * (1.0 + excess)), axis=-1))
    near = np.exp(log_flat) * np.expm1(np.minimum(exponent, 1.0))
    return np.where(exponent < 1.0, near, phi - np.exp(log_flat))
