"""Pooling over prompts (empirical Bayes): posteriors of soft values under a prior that the whole table shows.

Needs SciPy's special functions, which ``import tiltz`` does not load: import this package inside functions.
"""

from tiltz.inference.shrinkage.logit_grid import LARGEST_N
from tiltz.inference.shrinkage.rates import RatePrior, fit_rates
from tiltz.inference.shrinkage.result import PooledRates, PooledRewards
from tiltz.inference.shrinkage.rewards import RewardPrior, fit_rewards

__all__ = [
    "LARGEST_N",
    "PooledRates",
    "PooledRewards",
    "RatePrior",
    "RewardPrior",
    "fit_rates",
    "fit_rewards",
]
