"""Rollouts on disk -> Outcomes: layouts recognised from the columns, and the way back to the rows."""

from tiltz.rollouts.reading import read
from tiltz.rollouts.source import Rollouts

__all__ = ["Rollouts", "read"]
