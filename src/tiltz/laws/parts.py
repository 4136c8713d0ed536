"""A distribution in parts: the curves of a mixture from the curves of its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.finite_tilt import FiniteTilt, finite_tilt, log_sum_exp

Floats = npt.NDArray[np.float64]

CURVES = ("soft_value", "mean_reward", "kl", "kl_reverse")
"""The arrays of :class:`Curves`, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Curves of one distribution, or of several on the last axis.

    Attributes
    ----------
    mean : float, or array of shape (n_parts,)
        Mean reward under the reference.
    soft_value, mean_reward, kl, kl_reverse : array, shape (n_betas,) or (n_betas, n_parts)
        As in :class:`tiltz.laws.Law`; finite soft values.
    """

    mean: Floats | float
    soft_value: Floats
    mean_reward: Floats
    kl: Floats
    kl_reverse: Floats


def joined(log_mass: Floats, parts: Curves, beta: Floats) -> tuple[Curves, FiniteTilt]:
    """Return the curves of a mixture, and the tilt of its masses, shape (n_betas, n_parts).

    Parameters
    ----------
    log_mass : array, shape (n_parts,)
        Log of the probability of each part, in nats; they sum to 1.
    parts : Curves
        Of the parts.
    beta : array, shape (n_betas,)
        KL coefficients.

    Notes
    -----
    The tilted mixture is the mixture of the tilted parts with masses tilted by their log Z, and each divergence is that
    of the masses plus the mean of those inside: sums of terms of one sign.
    """
    mass, means, b = np.exp(log_mass), np.asarray(parts.mean), beta[:, None]
    mean = float(means[0]) + math.fsum(mass * (means - means[0]))
    top = np.max(parts.soft_value, axis=-1, keepdims=True)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        gain = (means - mean) / b + parts.kl_reverse
        inside = np.sum(mass * parts.kl_reverse, axis=-1)
        tilt = finite_tilt(log_mass, gain=gain, drop=(parts.soft_value - top) / b, mean_gain=inside)
        from_mean = np.where(tilt.near, tilt.log_from_mean, log_sum_exp(log_mass + gain))
        soft_value = np.where(
            tilt.near, mean + beta * tilt.log_from_mean, top[:, 0] + beta * tilt.log_from_top
        )
        tilted = tilt.tilted
        centre = np.where(
            tilt.near, mean, parts.mean_reward[np.arange(len(beta)), np.argmax(tilted, axis=-1)]
        )
        offset = np.where(tilted > 0, tilted * (parts.mean_reward - centre[:, None]), 0.0)
        kl = tilt.kl() + np.sum(np.where(tilted > 0, tilted * parts.kl, 0.0), axis=-1)
        # Beyond the largest float, differences are meaningless.
        beyond, log_beyond = np.isposinf(top[:, 0]), np.isposinf(top[:, 0] / beta)
    whole = Curves(
        mean=mean,
        soft_value=np.where(beyond, np.inf, soft_value),
        mean_reward=np.where(beyond, np.inf, centre + np.sum(offset, axis=-1)),
        kl=np.where(beyond, np.inf, kl),
        kl_reverse=np.where(log_beyond, np.inf, from_mean),
    )
    return whole, tilt
