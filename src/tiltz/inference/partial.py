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
    points_only : bool
        Leave the limits out.
    """
    if rest is None:
        lo, hi = (_log_z_with_missing_at(outcomes, reward, beta) for reward in support.range or ())
        hi = np.maximum(lo, hi)  # two sums that differ by less than their rounding
        log_z = np.clip(_log_mean(lo, hi), lo, hi)
    else:
        lo, log_z, hi = (_joined(outcomes, listed.log_z, part) for part in (rest.lo, rest.log_z, rest.hi))
    return Cells.of(
        log_z=log_z,
        soft_value=log_z * beta,
        limits=None if points_only else (lo, hi),
        ess=outcomes.n[:, None] / (1 + listed.relative_variance),
        kind="certified" if rest is None else rest.kind,
        bias=np.full_like(log_z, np.nan),
        flags=None if rest is None else rest.flags,
    )


def _log_z_with_missing_at(outcomes: Outcomes, reward: float, beta: Floats) -> Floats:
    """Return log Z if every unlisted outcome had this reward: an exact sum with one more outcome."""
    columns, ends = outcomes.columns(), outcomes.columns().start[1:]
    log_missing = np.asarray(outcomes.log_missing)
    completed = Columns(
        reward=np.insert(columns.reward, ends, np.full(len(ends), reward)),
        log_mass=np.insert(columns.log_mass + np.repeat(outcomes.log_listed, outcomes.n), ends, log_missing),
        log_count=None,
        start=columns.start + np.arange(len(columns.start)),
        normalised=True,
    )
    return reduce_groups(completed, beta).log_z


def _joined(outcomes: Outcomes, log_z_listed: Floats, log_z_missing: Floats) -> Floats:
    """Return the log of listed mass times its Z plus missing mass times its Z."""
    log_missing = np.asarray(outcomes.log_missing)[:, None]
    return np.logaddexp(outcomes.log_listed[:, None] + log_z_listed, log_missing + log_z_missing)


def _log_mean(lo: Floats, hi: Floats) -> Floats:
    """Return log((e^lo + e^hi) / 2), to the last digit where the two are close."""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = hi - lo
        near = lo + np.log1p(0.5 * np.expm1(np.minimum(apart, 1.0)))
        return np.where(apart < 1.0, near, np.logaddexp(lo, hi) - np.log(2.0))
