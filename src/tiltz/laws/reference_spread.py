"""How log Z varies with a set of reference rewards that was drawn once and kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSpread:
    """log Z over sets of reference rewards.

    Attributes
    ----------
    below : array, shape (n_betas,)
        How far the mean of log Z over the sets is below the log of the mean of Z, in nats, at least 0.
    sd : array, shape (n_betas,)
        Standard deviation of log Z over the sets, in nats.
    """

    below: Floats
    sd: Floats
