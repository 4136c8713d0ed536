"""What pooling says of each cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PooledRates:
    """Posteriors of soft values under a prior on success rates.

    Attributes
    ----------
    soft_value, lo, hi : array, shape (n_cells, n_betas)
        Posterior mean and equal-tailed limits, widened where needed to hold the mean, in units of reward.
    at_zero, at_one : array, shape (n_cells,)
        Share of the posterior at a success rate of exactly 0, and exactly 1.
    """

    soft_value: Floats
    lo: Floats
    hi: Floats
    at_zero: Floats
    at_one: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PooledRewards:
    """Posteriors of soft values under a prior on the mean and spread of continuous rewards.

    Attributes
    ----------
    soft_value, lo, hi : array, shape (n_prompts, n_betas)
        Posterior mean and limits, in units of reward; where ``answered`` is False, nan, a lower limit and ``inf``.
    answered : bool array, shape (n_prompts, n_betas)
        Whether the table shows enough of the shape of the rewards at that beta.
    """

    soft_value: Floats
    lo: Floats
    hi: Floats
    answered: npt.NDArray[np.bool_]
