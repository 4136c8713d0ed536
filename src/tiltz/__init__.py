"""The normalization factor of a reward-weighted policy: exact, certified, or with an interval that covers."""

from tiltz.curves import (
    BetaChoice,
    SamplesNeeded,
    Sweep,
    beta_for_kl,
    beta_for_reward,
    samples_needed,
    smallest_beta,
    sweep,
)
from tiltz.inference import Estimate, Monitor, Overall, estimate
from tiltz.logspace import log_partition, normalize, tilted_log_prob
from tiltz.outcomes import Outcomes
from tiltz.rollouts import read
from tiltz.tilted import Tilted, tilt

__version__ = "0.1.0"
__all__ = [
    "BetaChoice",
    "Estimate",
    "Monitor",
    "Outcomes",
    "Overall",
    "SamplesNeeded",
    "Sweep",
    "Tilted",
    "beta_for_kl",
    "beta_for_reward",
    "estimate",
    "log_partition",
    "normalize",
    "read",
    "samples_needed",
    "smallest_beta",
    "sweep",
    "tilt",
    "tilted_log_prob",
]


def __getattr__(name: str) -> object:
    """Load the larger rooms on first use."""
    if name in ("known", "laws", "testbeds"):
        import importlib

        return importlib.import_module(f"tiltz.{name}")
    raise AttributeError(f"module 'tiltz' has no attribute {name!r}")
