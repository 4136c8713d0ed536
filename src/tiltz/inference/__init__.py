"""From a table to estimates of log Z with intervals, kinds and flags."""

from tiltz.inference.bridge import bridge
from tiltz.inference.contributions import Contributions, contributions
from tiltz.inference.estimate import estimate
from tiltz.inference.mbar import States, mbar
from tiltz.inference.monitor import Monitor
from tiltz.inference.overall import Overall
from tiltz.inference.result import Estimate
from tiltz.inference.sandwich import Sandwich, sandwich

__all__ = [
    "Contributions",
    "Estimate",
    "Monitor",
    "Overall",
    "Sandwich",
    "States",
    "bridge",
    "contributions",
    "estimate",
    "mbar",
    "sandwich",
]
