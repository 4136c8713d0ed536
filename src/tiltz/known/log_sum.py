"""The log of a sum of exponentials."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def log_sum(logs: Floats) -> Floats:
    """Return the log of the sum of exponentials over the first axis; ``-inf`` for none."""
    top = np.max(logs, axis=0, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return shift + np.log(np.sum(np.exp(logs - shift), axis=0))
