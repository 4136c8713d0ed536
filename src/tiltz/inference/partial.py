"""Bounds for partial tables: listed mass, plus missing mass times what its rewards can be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.inference.cells import Cells
from tiltz.inference.support import Support
from tiltz.kernels import Columns, Reduced, reduce_groups
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]


def partial_cells(
    outcomes: Outcomes,
    beta: Floats,
    listed: Reduced,
    rest: Cells | None,
    *,
    support: Support,
    closed: str,
    points_only: bool,
) -> Cells:
    """Return the cells of a partial table.

    Parameters
    ----------
    outcomes : Outcomes
        Partial evidence.
    beta : array, shape (1 or n_prompts, n_betas)
        KL coefficients.
    listed : Reduced
        Of the listed outcomes.
    rest : Cells or None
        What draws from the unlisted outcomes say of their Z; without them the reward range bounds it.
    support : Support
        What is declared of all rewards.
    closed : str
        Kind of a lower limit from draws together with the upper one that the range gives.
    points_only : bool
        Leave the limits out.
    """
    floor, ceiling = (_with_missing_at(outcomes, reward, beta) for reward in support.range or ())
    if rest is None:
        lo, hi, log_z, soft_value = _middle(floor, ceiling, beta)
    else:
        (lo, _), (log_z, soft_value), (hi, _) = (
            _joined(outcomes, listed, part, beta) for part in (rest.lo, rest.log_z, rest.hi)
        )
        # What the range allows holds for sure, whatever the draws show.
        lo, log_z, hi = (np.clip(z, floor.log_z, ceiling.log_z) for z in (lo, log_z, hi))
        soft_value = np.clip(soft_value, floor.soft_value, ceiling.soft_value)
    return Cells.of(
        log_z=log_z,
        soft_value=soft_value,
        limits=None if points_only else (lo, hi),
        ess=outcomes.n[:, None] * np.exp(outcomes.log_listed)[:, None] / (1 + listed.relative_sd**2),
        kind="certified" if rest is None else np.where(rest.kind == "lower-only", closed, rest.kind),
        bias=np.full_like(log_z, np.nan),
        flags=None if rest is None else rest.flags,
    )


def _with_missing_at(outcomes: Outcomes, reward: float, beta: Floats) -> Reduced:
    """Return what holds if every unlisted outcome had this reward: an exact sum with one more outcome."""
    columns, ends = outcomes.columns(), outcomes.columns().start[1:]
    log_missing = np.asarray(outcomes.log_missing)
    completed = Columns(
        reward=np.insert(columns.reward, ends, np.full(len(ends), reward)),
        log_mass=np.insert(columns.log_mass + np.repeat(outcomes.log_listed, outcomes.n), ends, log_missing),
        log_count=None,
        start=columns.start + np.arange(len(columns.start)),
        normalised=True,
    )
    return reduce_groups(completed, beta)


def _middle(floor: Reduced, ceiling: Reduced, beta: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return limits of log Z, and log Z and the soft value in the middle of them in Z."""
    lo, hi = (
        floor.log_z,
        np.maximum(floor.log_z, ceiling.log_z),
    )  # sums that may differ by less than their rounding
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.maximum(ceiling.soft_value - floor.soft_value, 0.0) / beta
        step = np.log1p(0.5 * np.expm1(np.minimum(apart, 1.0)))
        far = np.logaddexp(lo, hi) - np.log(2.0)
        log_z = np.clip(np.where(apart < 1.0, lo + step, far), lo, hi)
        soft_value = np.where(apart < 1.0, floor.soft_value + beta * step, beta * log_z)
    return lo, hi, log_z, soft_value


def _joined(
    outcomes: Outcomes, listed: Reduced, log_z_missing: Floats, beta: Floats
) -> tuple[Floats, Floats]:
    """Return log Z and the soft value of listed mass times its Z plus missing mass times its Z."""
    log_missing = np.asarray(outcomes.log_missing)[:, None]
    with np.errstate(invalid="ignore", over="ignore"):
        apart = log_z_missing - listed.log_z
        step = np.log1p(np.exp(log_missing) * np.expm1(np.clip(apart, -1.0, 1.0)))
        far = np.logaddexp(outcomes.log_listed[:, None] + listed.log_z, log_missing + log_z_missing)
        near = np.abs(apart) < 1.0
        return np.where(near, listed.log_z + step, far), np.where(
            near, listed.soft_value + beta * step, beta * far
        )
