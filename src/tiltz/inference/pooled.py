"""Cells that pool prompts (empirical Bayes): a prior from the whole table, a posterior for each prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.facts import same_reward
from tiltz.inference.cells import Cells
from tiltz.inference.request import Request
from tiltz.inference.sampled import sampled_cells
from tiltz.inference.support import higher_counts
from tiltz.kernels import Reduced
from tiltz.outcomes import Outcomes

if TYPE_CHECKING:
    from tiltz.inference.shrinkage import PooledRates

Floats = npt.NDArray[np.float64]

PRIORS = ("atoms", "beta", "npmle")
_RESTS = 0.01
"""Share of a posterior at an atom from which an answer is said to rest on it."""


def pooled_cells(
    outcomes: Outcomes, betas: Floats, reduced: Reduced, request: Request, prior: str
) -> tuple[Cells, str]:
    """Return the cells of prompts that are pooled, and the fitted prior in words.

    Parameters
    ----------
    outcomes : Outcomes
        Draws from the reference.
    betas : array, shape (n_betas,)
        KL coefficients.
    reduced : Reduced
        Of the rows at these betas.
    request : Request
        Level, and what is known of the rewards.
    prior : {"atoms", "beta", "npmle"}
        On success rates, where the rewards take two values.
    """
    if prior not in PRIORS:
        raise InputError(f"prior must be one of {', '.join(map(repr, PRIORS))}; found {prior!r}.")
    if outcomes.evidence != "sampled" or outcomes.weighted:
        what = "importance weights" if outcomes.weighted else f"a {outcomes.evidence} table"
        raise InputError(f"shrink=True pools draws from the reference; found {what}. Leave shrink out.")
    if request.interval != "auto":
        raise InputError(f"shrink=True has intervals of its own; leave interval={request.interval!r} out.")
    if request.support.two_valued:
        return _pooled_rates(outcomes, betas, reduced, request, prior)
    if prior != "atoms":
        raise InputError(
            f"prior={prior!r} is a law of success rates; declare reward_values=(low, high) if only two are possible."
        )
    return _pooled_rewards(outcomes, betas, reduced, request)


def _pooled_rates(
    outcomes: Outcomes, betas: Floats, reduced: Reduced, request: Request, prior: str
) -> tuple[Cells, str]:
    from tiltz.inference.shrinkage import LARGEST_N, fit_rates

    low, high = request.support.range or (0.0, 0.0)
    if not np.isfinite(low) or low == high:
        raise InputError(
            f"pooling success rates needs two finite rewards; possible here are {request.support.values}."
        )
    n, k, prompts = np.array(outcomes.facts.rate_cells, dtype=np.float64).T
    if len(outcomes.facts.values) == 1 and same_reward(outcomes.facts.values[0], high):
        k = n  # what was seen alone is the higher of the two
    # Prompts of so many samples need no pooling, and say little of others that all of them do not.
    fitted = fit_rates(n[n <= LARGEST_N], k[n <= LARGEST_N], prompts[n <= LARGEST_N], prior=prior)
    small = outcomes.n <= LARGEST_N
    found = fitted.posterior(
        np.minimum(outcomes.n, LARGEST_N),
        np.where(small, higher_counts(outcomes, request.support), 0.0),
        betas,
        low=low,
        high=high,
        level=request.level,
    )
    alone = sampled_cells(
        outcomes, betas[None, :], reduced, replace(request, interval=None) if small.all() else request
    )
    answered = np.broadcast_to(small[:, None], alone.log_z.shape)
    # Groups that a filter left are not draws, and a law fitted to them is not that of the prompts. The nonparametric
    # law is taken for known, so that its limits are too short.
    short = outcomes.facts.equal_groups_missing or prior == "npmle"
    kind = "approximate" if short else "pooled"
    cells = _overlaid(
        alone, betas, found, request, kind=kind, answered=answered, on_atom=_on_atom(found) & answered
    )
    return cells, fitted.sentence()


def _on_atom(found: PooledRates) -> npt.NDArray[np.bool_]:
    share = np.maximum(found.at_zero, found.at_one)
    return np.broadcast_to((share > _RESTS)[:, None], found.soft_value.shape)


def _pooled_rewards(
    outcomes: Outcomes, betas: Floats, reduced: Reduced, request: Request
) -> tuple[Cells, str]:
    from tiltz.inference.shrinkage import fit_rewards

    columns = outcomes.columns()
    if outcomes.facts.n_prompts != len(outcomes.n):
        raise InputError(
            "pooling continuous rewards fits a law to the rows at hand, and this table is a selection of "
            f"{len(outcomes.n)} of {outcomes.facts.n_prompts} prompts. Estimate the whole table, then pick prompts."
        )
    if np.any(np.isneginf(outcomes.reward)):
        raise InputError("pooling continuous rewards needs finite ones; some are -inf (hard constraints).")
    fitted = fit_rewards(columns.reward, columns.start)
    found = fitted.posterior(columns.reward, columns.start, betas, level=request.level)
    alone = sampled_cells(outcomes, betas[None, :], reduced, request)
    return _overlaid(alone, betas, found, request, answered=found.answered), fitted.sentence()


def _overlaid(
    cells: Cells,
    betas: Floats,
    found: Any,
    request: Request,
    *,
    kind: str = "pooled",
    answered: npt.NDArray[np.bool_] | None = None,
    on_atom: npt.NDArray[np.bool_] | None = None,
) -> Cells:
    """Return cells with pooled answers where there are any, within what is declared."""
    where = np.ones(cells.log_z.shape, np.bool_) if answered is None else answered
    lowest, highest = request.support.range or (-np.inf, np.inf)
    soft_value, lo, hi = (np.clip(part, lowest, highest) for part in (found.soft_value, found.lo, found.hi))

    def pick(pooled: Any, alone: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.where(where, pooled, alone)

    flags = cells.flags
    if on_atom is not None:
        flags = cells.flags.copy()
        for at in zip(*np.nonzero(on_atom), strict=True):
            flags[at] = (*flags[at], "on_atom")
    return replace(
        cells,
        log_z=pick(soft_value / betas, cells.log_z),
        soft_value=pick(soft_value, cells.soft_value),
        lo=pick(lo / betas, cells.lo),
        hi=pick(hi / betas, cells.hi),
        kind=pick(kind, cells.kind).astype(object),
        bias=pick(np.nan, cells.bias),
        flags=flags,
    )
