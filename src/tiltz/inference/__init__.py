"""From a table to estimates of log Z with intervals, kinds and flags."""

from tiltz.inference.contributions import Contributions, contributions
from tiltz.inference.estimate import estimate
from tiltz.inference.monitor import Monitor
from tiltz.inference.overall import Overall
from tiltz.inference.result import Estimate

__all__ = ["Contributions", "Estimate", "Monitor", "Overall", "contributions", "estimate"]
