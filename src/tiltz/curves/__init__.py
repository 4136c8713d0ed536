"""Curves over beta, and the beta to choose."""

from tiltz.curves.choose import BetaChoice, beta_for_kl, beta_for_reward
from tiltz.curves.curve import Sweep, sweep
from tiltz.curves.smallest import smallest_beta

__all__ = ["BetaChoice", "Sweep", "beta_for_kl", "beta_for_reward", "smallest_beta", "sweep"]
