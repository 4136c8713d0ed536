"""Draws from the tilted distribution: rejection, resampling, Metropolis and sequential Monte Carlo, and their price."""

from tiltz.sampling.acceptance import Acceptance, expected_acceptance
from tiltz.sampling.choices import Choices
from tiltz.sampling.cost import CostCurve, cost_curve
from tiltz.sampling.rejection import RejectionSample, reject
from tiltz.sampling.rows import RowSample, metropolis_rows, reject_rows, resample_rows
from tiltz.sampling.smc import SMCSample, smc

__all__ = [
    "Acceptance",
    "Choices",
    "CostCurve",
    "RejectionSample",
    "RowSample",
    "SMCSample",
    "cost_curve",
    "expected_acceptance",
    "metropolis_rows",
    "reject",
    "reject_rows",
    "resample_rows",
    "smc",
]
