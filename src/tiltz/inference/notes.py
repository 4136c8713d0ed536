"""Sentences of a summary: what was taken for granted, and what would help where there is no upper limit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tiltz.inference.cells import Cells
from tiltz.inference.contributions import contributions
from tiltz.inference.request import Request
from tiltz.inference.sampled import FEW, HEAVY, THIN, spread_in_nats
from tiltz.outcomes import Outcomes
from tiltz.text import count, number

Floats = npt.NDArray[np.float64]

_AT_MOST = 3  # betas for which help is spelt out


def notes_of(outcomes: Outcomes, betas: Floats, cells: Cells, request: Request) -> tuple[str, ...]:
    """Return what a summary must say beside its numbers."""
    if outcomes.evidence == "complete":
        return ()
    if outcomes.evidence == "partial":
        return tuple(_partial_notes(outcomes, request))
    return (
        *_sampled_notes(outcomes, request),
        *_parts(outcomes, betas),
        *_help(outcomes, betas, cells, request),
    )


def _partial_notes(outcomes: Outcomes, request: Request) -> Iterator[str]:
    if outcomes.remainder is None:
        yield "bounds: listed mass, plus missing mass times the declared reward range"
        return
    yield "limits: listed mass, plus missing mass times what draws from it show of its Z"
    yield request.support.sentence()


def _sampled_notes(outcomes: Outcomes, request: Request) -> Iterator[str]:
    yield f"{count(len(outcomes), 'row')} drawn from the {outcomes.drawn_from}"
    if outcomes.sampler is not None:
        yield "importance weights against the mixture of the samplers (balance heuristic)"
    elif outcomes.weighted:
        yield "importance weights exp(log_ref - log_proposal)"
    if request.interval is not None:
        yield request.support.sentence()
    if outcomes.facts.equal_groups_missing and request.support.two_valued:
        yield (
            "no group has all rewards equal, which chance does not explain: such groups were probably filtered out "
            "before the file was written, and Z is then biased"
        )
    if outcomes.stopping == "adaptive":
        yield "the number of samples depended on the rewards: only betting limits hold then, others are approximate"
    if request.simultaneous:
        yield "the limits of a prompt hold for all its betas together"


def _parts(outcomes: Outcomes, betas: Floats) -> Iterator[str]:
    """Say what each sampler contributed, averaged over prompts, at the least and the greatest beta."""
    if outcomes.sampler is None:
        return
    found = contributions(outcomes, np.unique([betas.min(), betas.max()]))
    for j, beta in enumerate(found.beta):
        some = ~np.isnan(found.weight[:, j, 0])
        if not some.any():
            continue
        parts = zip(found.sampler, found.weight[some, j].mean(axis=0), strict=True)
        shares = ", ".join(f"{name} {share:.0%}" for name, share in parts)
        yield f"share of the weight at beta {number(float(beta))}, mean over prompts: {shares}"


def _help(outcomes: Outcomes, betas: Floats, cells: Cells, request: Request) -> Iterator[str]:
    """Say, for betas at which prompts lack an upper limit, how many samples or which beta would give them one."""
    open_ended = cells.kind == "lower-only"
    if outcomes.sampler is not None:
        return
    if request.interval != "auto" or not np.any(open_ended):
        return
    if request.support.range is None:
        yield "an upper limit needs the largest possible reward, or samples that look harmless at this beta"
    if outcomes.stopping == "adaptive" or request.simultaneous:
        return
    spread = spread_in_nats(outcomes, betas[None, :])
    n = outcomes.n[:, None].astype(np.float64)
    equal = np.broadcast_to(spread == 0, open_ended.shape)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        n_wanted = np.where(cells.khat >= HEAVY, np.inf, np.ceil(np.maximum(FEW, THIN * np.exp(spread**2))))
        # With fewer samples no beta gives an upper limit.
        thin = spread / np.sqrt(np.log(np.where(n >= FEW, n / THIN, np.nan)))
        beta_wanted = betas * np.maximum(thin, np.fmax(cells.khat / HEAVY, 1.0))
    lacking = np.flatnonzero(np.any(open_ended, axis=0))
    for j in lacking[:_AT_MOST]:
        some = open_ended[:, j] & ~equal[:, j]
        parts = [f"{count(int(open_ended[:, j].sum()), 'prompt')} of {len(n):,} without an upper limit"]
        if np.any(some):
            parts += [_wanted(n_wanted[some, j], beta_wanted[some, j])]
        yield f"beta {number(float(betas[j]))}: {'; '.join(part for part in parts if part)}"
    if len(lacking) > _AT_MOST:
        yield f"and so at {count(len(lacking) - _AT_MOST, 'more beta')}"


def _wanted(n_wanted: Floats, beta_wanted: Floats) -> str:
    """Return how many samples, or which beta, half of the prompts would need."""
    n, betas = float(np.median(n_wanted)), beta_wanted[np.isfinite(beta_wanted)]
    parts = [f"about {n:,.0f} samples"] if n < 1e9 else []
    parts += [f"a beta of at least {number(float(np.median(betas)), 2)}"] if len(betas) else []
    return f"half of them would get one from {' or '.join(parts)}" if parts else ""
