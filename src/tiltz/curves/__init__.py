"""Curves over beta, the beta to choose, and the samples that a beta takes."""

from tiltz.curves.best_of import BestOfN, best_of_n
from tiltz.curves.choose import BetaChoice, beta_for_kl, beta_for_reward
from tiltz.curves.curve import Sweep, sweep
from tiltz.curves.needed import SamplesNeeded, samples_needed
from tiltz.curves.smallest import smallest_beta

__all__ = [
    "BestOfN",
    "BetaChoice",
    "SamplesNeeded",
    "Sweep",
    "best_of_n",
    "beta_for_kl",
    "beta_for_reward",
    "samples_needed",
    "smallest_beta",
    "sweep",
]
