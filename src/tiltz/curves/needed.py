"""How many samples a narrow interval would take: a projection from those that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference.estimate import estimate_cells
from tiltz.inference.intervals import clopper_pearson, normal_quantile, two_point_log_z
from tiltz.inference.request import Request, check_table, checked_betas, checked_width
from tiltz.inference.sampled import FEW, HEAVY, THIN, spread_in_nats
from tiltz.inference.support import higher_counts, support_of
from tiltz.kernels import reduce_groups
from tiltz.outcomes import Outcomes
from tiltz.text import count, number, one_line

Floats = npt.NDArray[np.float64]

_MOST = 1e15  # beyond this, no number of samples is worth naming
_BISECTIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SamplesNeeded:
    """Projected samples per prompt; a projection, not a promise.

    Attributes
    ----------
    n : array, shape (n_prompts, n_betas)
        Samples in all, those that are there included; ``inf`` where no number is in sight.
    have : int array, shape (n_prompts,)
        Samples that are there.
    prompt : array, shape (n_prompts,)
        Labels.
    beta : array, shape (n_betas,)
        KL coefficients, in reward per nat.
    width : float
        Widest interval asked for, in nats.
    """

    n: Floats
    have: npt.NDArray[np.int64]
    prompt: npt.NDArray[Any]
    beta: Floats
    width: float

    def __repr__(self) -> str:
        lines = [f"Projected samples for an interval of at most {number(self.width)} nats"]
        for i in range(min(len(self.prompt), 10)):
            cells = [
                f"beta {number(float(beta))}: {number(float(n))}"
                for beta, n in zip(self.beta[:3], self.n[i, :3], strict=True)
            ]
            lines.append(f"  {one_line(self.prompt[i])[:40]}: " + "; ".join(cells) + f" (has {self.have[i]})")
        more = len(self.prompt) - 10
        return "\n".join(lines + ([f"  ... {count(more, 'more prompt')}"] if more > 0 else []))


def samples_needed(
    outcomes: Outcomes,
    beta: float | npt.ArrayLike,
    *,
    width: float = 1.0,
    level: float = 0.95,
    reward_range: tuple[float, float] | None = None,
    reward_values: Sequence[float] | None = None,
) -> SamplesNeeded:
    """Project how many samples per prompt a narrow two-sided interval takes.

    Parameters
    ----------
    outcomes : Outcomes
        Draws.
    beta : float or array_like, shape (n_betas,)
        KL coefficients, > 0, in reward per nat.
    width : float, default 1.0
        Widest interval, in nats.
    level, reward_range, reward_values
        As in :func:`tiltz.estimate`.

    Returns
    -------
    SamplesNeeded
        Whose ``n`` has shape (n_prompts, n_betas).

    Raises
    ------
    InputError
        If the table is not sampled, or an argument is not legal.

    Notes
    -----
    A projection: it takes the success rate, the spread and the tail that the samples show to be the true ones. Where
    two rewards are possible and a fixed number was drawn from the reference, it inverts the Clopper-Pearson interval.
    Elsewhere widths shrink like n^-1/2, and where nothing is declared n must reach what a two-sided answer needs (25,
    and a bulk effective sample size of 10); ``inf`` where all samples are then equal, or the tail index is 0.7 or more.

    Examples
    --------
    >>> import tiltz
    >>> draws = tiltz.Outcomes.sampled([1, 0, 0, 1, 0, 0, 0, 0], reward_values=(0, 1))
    >>> tiltz.samples_needed(draws, [0.1, 1.0])
    Projected samples for an interval of at most 1 nats
      0: beta 0.1: 54; beta 1: 1 (has 8)
    """
    check_table(outcomes)
    if outcomes.evidence != "sampled":
        raise InputError(f"samples can be added to draws; this table is {outcomes.evidence}.")
    betas = checked_betas(beta)
    checked_width(width)
    support = support_of(outcomes, reward_range, reward_values)
    request = Request(level=level, interval="auto", support=support)
    if support.two_valued and not outcomes.weighted and outcomes.stopping == "fixed":
        needed = _by_rate(outcomes, betas, request, width)
    else:
        needed = _by_root_n(outcomes, betas, request, width)
    return SamplesNeeded(
        n=np.where(needed <= _MOST, np.ceil(needed), np.inf),
        have=outcomes.n,
        prompt=outcomes.prompt,
        beta=betas,
        width=float(width),
    )


def _by_rate(outcomes: Outcomes, betas: Floats, request: Request, width: float) -> Floats:
    """Return the n at which the Clopper-Pearson interval at the same share of successes is narrow enough."""
    low, high = request.support.range or (0.0, 0.0)
    n = outcomes.n.astype(np.float64)
    rate = higher_counts(outcomes, request.support) / n

    def wide(size: Floats) -> npt.NDArray[np.bool_]:
        limits = clopper_pearson(rate[:, None] * size, size, request.level)
        # Less high / beta, which would leave no digits to the width where beta is tiny.
        lo, hi = (two_point_log_z(limit, low - high, 0.0, betas[None, :]) for limit in limits)
        with np.errstate(invalid="ignore"):
            return ~(hi - lo <= width)

    few, many = np.full((len(n), len(betas)), 0.0), np.full((len(n), len(betas)), np.log(10 * _MOST))
    for _ in range(_BISECTIONS):
        middle = 0.5 * (few + many)
        more = wide(np.exp(middle))
        few, many = np.where(more, middle, few), np.where(more, many, middle)
    return np.exp(many)


def _by_root_n(outcomes: Outcomes, betas: Floats, request: Request, width: float) -> Floats:
    """Return the n that widths proportional to n^-1/2 project, at least what a two-sided answer needs."""
    reduced = reduce_groups(outcomes.columns(), betas[None, :])
    cells = estimate_cells(outcomes, betas[None, :], reduced, request)
    n = outcomes.n[:, None].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        answered = n * ((cells.hi - cells.lo) / width) ** 2
        by_spread = (2 * normal_quantile(request.level) * reduced.relative_sd / width) ** 2
        spread = spread_in_nats(outcomes, betas[None, :])
        least = np.maximum(FEW, THIN * np.exp(spread**2))
        projected = np.where(np.isfinite(answered), answered, np.maximum(by_spread, least))
    unclear = (cells.khat >= HEAVY) | np.isnan(projected)
    equal = np.array([["all_equal" in flags for flags in row] for row in cells.flags])
    hopeless = (cells.kind == "lower-only") & (unclear | equal)
    if request.support.range is None:
        projected = np.maximum(projected, least)
    return np.where(hopeless, np.inf, projected)
