"""The normalization factor of a reward-weighted policy: exact, certified, or with an interval that covers."""

from tiltz.curves import BetaChoice, Sweep, beta_for_kl, beta_for_reward, smallest_beta, sweep
from tiltz.inference import Estimate, Overall, estimate
from tiltz.logspace import log_partition, normalize, tilted_log_prob
from tiltz.outcomes import Outcomes
from tiltz.rollouts import read
from tiltz.tilted import Tilted, tilt

__version__ = "0.1.0"
__all__ = [
    "BetaChoice",
    "Estimate",
    "Outcomes",
    "Overall",
    "Sweep",
    "Tilted",
    "beta_for_kl",
    "beta_for_reward",
    "estimate",
    "log_partition",
    "normalize",
    "read",
    "smallest_beta",
    "sweep",
    "tilt",
    "tilted_log_prob",
]
