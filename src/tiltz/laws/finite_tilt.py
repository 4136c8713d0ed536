"""The tilt of finitely many rewards (or nodes, or parts of a mixture) with known masses, on the last axis.

Every quantity is a sum of terms of one sign in the log-ratio ``x = log(tilted / reference)``:
log E_ref[exp(gain)] = log1p(E_ref[e^gain - 1 - gain]) where the mean gain is 0, and
KL(tilted || reference) = E_ref[x e^x - e^x + 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.series import expm1_minus_x, x_exp_minus_expm1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FiniteTilt:
    """A tilt, measured from the mean and from the top.

    Attributes
    ----------
    near : bool array, shape (...)
        Whether the tilt is small, so that what is measured from the mean is the more precise.
    log_from_mean : array, shape (...)
        Log of the mean of ``exp(gain)``, in nats: KL(reference || tilted). May overflow where the tilt is not small.
    log_from_top : array, shape (...)
        Log of the mean of ``exp(drop)``, in nats.
    log_mass : array, shape (..., n_parts)
        Log of the reference mass, in nats.
    x : array, shape (..., n_parts)
        Log of tilted over reference mass.
    """

    near: npt.NDArray[np.bool_]
    log_from_mean: Floats
    log_from_top: Floats
    log_mass: Floats
    x: Floats

    @property
    def tilted(self) -> Floats:
        """Tilted masses, shape (..., n_parts)."""
        return np.exp(self.log_mass + self.x)

    def kl(self) -> Floats:
        """Return KL(tilted || reference) of the masses, in nats, shape (...)."""
        mass, tilted = np.exp(self.log_mass), self.tilted
        far = np.where(tilted > 0, tilted * (self.x - 1.0), 0.0) + mass
        near = mass * x_exp_minus_expm1(np.clip(self.x, -1.0, 1.0))
        return np.sum(np.where(np.abs(self.x) < 1.0, near, far), axis=-1)


def finite_tilt(
    log_mass: Floats, *, gain: Floats, drop: Floats, mean_gain: Floats | float = 0.0
) -> FiniteTilt:
    """Tilt masses by log-weights.

    Parameters
    ----------
    log_mass : array, shape (..., n_parts)
        Of total mass 1, in nats; ``-inf`` is a part that never occurs.
    gain, drop : array, shape (..., n_parts)
        The same log-weights measured from the mean reward and from the top, in nats.
    mean_gain : array, shape (...)
        Mean of ``gain`` under the reference, where it is not 0 by definition.
    """
    mass = np.exp(log_mass)
    far = np.exp(log_mass + gain) - mass * (1.0 + gain)
    excess = np.where(gain < 1.0, mass * expm1_minus_x(np.minimum(gain, 1.0)), far)
    surplus = np.sum(excess, axis=-1) + mean_gain
    near = surplus < 1.0
    log_from_mean, log_from_top = np.log1p(surplus), log_sum_exp(log_mass + drop)
    x = np.where(near[..., None], gain - log_from_mean[..., None], drop - log_from_top[..., None])
    return FiniteTilt(
        near=near, log_from_mean=log_from_mean, log_from_top=log_from_top, log_mass=log_mass, x=x
    )


def log_sum_exp(scores: Floats) -> Floats:
    """Return the log of the sum of exponentials over the last axis."""
    top = np.max(scores, axis=-1, keepdims=True)
    return np.squeeze(top, axis=-1) + np.log(np.sum(np.exp(scores - top), axis=-1))
