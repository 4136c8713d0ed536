"""The normalization factor of a reward-weighted policy, computed properly."""

__version__ = "0.1.0"
