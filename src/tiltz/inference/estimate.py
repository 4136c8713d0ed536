"""From a table to estimates: which interval each cell gets, and what it can promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.cells import Cells
from tiltz.inference.notes import notes_of
from tiltz.inference.partial import partial_cells
from tiltz.inference.pooled import pooled_cells
from tiltz.inference.request import Request, check_table, checked_betas
from tiltz.inference.result import Estimate
from tiltz.inference.sampled import sampled_cells
from tiltz.inference.support import support_of
from tiltz.kernels import Progress, Reduced, reduce_groups
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]


def estimate(
    outcomes: Outcomes,
    beta: float | npt.ArrayLike,
    *,
    level: float = 0.95,
    interval: str | None = "auto",
    reward_range: tuple[float, float] | None = None,
    reward_values: Sequence[float] | None = None,
    shrink: bool = False,
    prior: str | None = None,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
) -> Estimate:
    """Estimate log Z of every prompt at every beta, with an interval and the reason to believe it.

    Parameters
    ----------
    outcomes : Outcomes
        The evidence.
    beta : float or array_like, shape (n_betas,)
        KL coefficients, > 0, in reward per nat.
    level : float, default 0.95
        Confidence level of the intervals.
    interval : str or None
        How samples get their interval: ``"auto"`` chooses by what is known and says in ``kind`` what it can promise;
        one method by name is ``"clopper-pearson"``, ``"band"``, ``"betting"``, ``"bootstrap-t"``, ``"hall"``,
        ``"delta"`` or ``"pareto-smoothed"`` (which smooths the point, too); None gives points alone.
    reward_range : (float, float), optional
        Declares the lowest and highest possible reward; overrides what the table declares.
    reward_values : sequence of float, optional
        Declares all possible rewards; overrides what the table declares.
    shrink : bool, default False
        Pool the prompts (empirical Bayes): posterior mean and limits of each prompt under a prior that the whole table
        shows, with kind "pooled". For few samples per prompt of many prompts.
    prior : {"atoms", "beta", "npmle"}, optional
        With ``shrink``, the law of success rates over prompts: a Beta law with possible masses at exactly 0 and 1 (the
        default), without them (which declares that no prompt is impossible), or the nonparametric one
        (whose limits are approximate: they leave out that it was estimated).
    rng : numpy.random.Generator, optional
        Moves the random stream that every prompt has for its bootstrap. Left out, the same table always gives the
        same interval.
    progress : callable, optional
        Told the share of the work that is done, from 0 to 1: the first pass over the rows counts as a tenth, the
        intervals that need loops of their own as the rest.

    Returns
    -------
    Estimate
        Arrays of shape (n_prompts, n_betas).

    Raises
    ------
    InputError
        If an argument is not legal, a reward contradicts a declaration, or the interval named does not apply.

    Notes
    -----
    Complete tables are exact. Partial ones have certified bounds, and the point is their middle in Z. For samples
    the point is the log-mean-exp, whose exponential is unbiased for Z and which is itself biased low (Jensen; see
    ``bias``). Where two-sided limits cannot be promised there is a lower bound alone, ``hi = inf``, and the notes say
    what would help.

    Examples
    --------
    Eight failures out of eight bound the soft value; they do not make it 0:

    >>> import tiltz
    >>> failures = tiltz.Outcomes.sampled([0] * 8, reward_values=(0, 1))
    >>> est = tiltz.estimate(failures, beta=0.5)
    >>> print(est.kind[0, 0], est.soft_value[0, 0], (0.5 * est.hi[0, 0]).round(3))
    certified 0.0 0.606
    """
    check_table(outcomes)
    betas = checked_betas(beta)
    support = support_of(outcomes, reward_range, reward_values)
    request = Request(level=level, interval=interval, support=support, rng=rng, progress=progress)
    if prior is not None and not shrink:
        raise InputError(f"prior={prior!r} says how prompts are pooled; it needs shrink=True.")
    reduced = reduce_groups(outcomes.columns(), betas[None, :], progress=request.first_pass)
    return assemble(outcomes, betas, reduced, request, prior=(prior or "atoms") if shrink else None)


def assemble(
    outcomes: Outcomes, betas: Floats, reduced: Reduced, request: Request, *, prior: str | None = None
) -> Estimate:
    """Return the estimate of a table at checked betas from its reduction; pooled if a prior is named."""
    if prior is None:
        cells = estimate_cells(outcomes, betas[None, :], reduced, request)
        notes = notes_of(outcomes, betas, cells, request)
    else:
        cells, fitted = pooled_cells(outcomes, betas, reduced, request, prior)
        notes = (
            f"pooled under a prior fitted to the table: {fitted}",
            *notes_of(outcomes, betas, cells, request),
        )
    request.intervals(1.0)
    return Estimate(
        prompt=outcomes.prompt,
        step=outcomes.step,
        beta=betas,
        n=outcomes.n,
        level=request.level,
        evidence=outcomes.evidence,
        sure=outcomes.evidence == "complete"
        or (outcomes.evidence == "partial" and outcomes.remainder is None),
        notes=notes,
        **cells.arrays(),
    )


def estimate_cells(outcomes: Outcomes, beta: Floats, reduced: Reduced, request: Request) -> Cells:
    """Return the cells of every prompt at its betas, of shape (1 or n_prompts, n_betas).

    ``reduced`` is what :func:`reduce_groups` says of the table's rows at these betas.
    """
    if outcomes.evidence == "complete":
        return _complete_cells(outcomes, reduced, request)
    if outcomes.evidence == "sampled":
        return sampled_cells(outcomes, beta, reduced, request)
    rest = None if outcomes.remainder is None else _remainder_cells(outcomes.remainder, beta, request)
    return partial_cells(
        outcomes,
        beta,
        reduced,
        rest,
        support=request.support,
        closed="certified" if request.interval in ("auto", "betting") else "approximate",
        points_only=request.interval is None,
    )


def _complete_cells(outcomes: Outcomes, reduced: Reduced, request: Request) -> Cells:
    return Cells.of(
        log_z=reduced.log_z,
        soft_value=reduced.soft_value,
        limits=None if request.interval is None else (reduced.log_z, reduced.log_z),
        ess=outcomes.n[:, None] / (1 + reduced.relative_sd**2),
        kind="exact",
        bias=np.zeros_like(reduced.log_z),
    )


def _remainder_cells(remainder: Outcomes, beta: Floats, request: Request) -> Cells:
    """Return the cells of draws from the unlisted outcomes, whose rewards lie in the range of all outcomes."""
    span = request.support.range if remainder.reward_values is None else None
    support = support_of(remainder, span, None)
    reduced = reduce_groups(remainder.columns(), beta)
    return estimate_cells(remainder, beta, reduced, replace(request, support=support))
