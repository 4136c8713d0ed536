"""From a table to estimates: which interval each cell gets, and what it can promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.inference import intervals
from tiltz.inference.cells import Cells, flag_sets
from tiltz.inference.partial import partial_cells
from tiltz.inference.result import Estimate
from tiltz.inference.support import Support, support_of
from tiltz.kernels import Columns, Progress, Reduced, reduce_groups
from tiltz.outcomes import Outcomes
from tiltz.text import count

Floats = npt.NDArray[np.float64]

INTERVALS = ("auto", "clopper-pearson", "delta")
FEW = 25
"""Below this many samples neither a large-sample interval nor a look at the tail means much."""


def estimate(
    outcomes: Outcomes,
    beta: float | npt.ArrayLike,
    *,
    level: float = 0.95,
    interval: str | None = "auto",
    reward_range: tuple[float, float] | None = None,
    reward_values: Sequence[float] | None = None,
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
    interval : {"auto", "clopper-pearson", "delta"} or None
        How samples get their interval. ``"auto"`` takes Clopper-Pearson limits of the success rate where the
        rewards can take two values, else the delta interval; None gives points alone.
    reward_range : (float, float), optional
        Declares the lowest and highest possible reward; overrides what the table declares.
    reward_values : sequence of float, optional
        Declares all possible rewards; overrides what the table declares.
    progress : callable, optional
        Told the share of the work that is done, from 0 to 1.

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
    ``bias``). A group whose samples are all equal gets a lower bound alone unless possible rewards are known.

    Examples
    --------
    Eight failures out of eight bound the soft value; they do not make it 0:

    >>> import tiltz
    >>> failures = tiltz.Outcomes.sampled([0] * 8, reward_values=(0, 1))
    >>> est = tiltz.estimate(failures, beta=0.5)
    >>> print(est.kind[0, 0], est.soft_value[0, 0], (0.5 * est.hi[0, 0]).round(3))
    certified 0.0 0.606
    """
    betas = checked_betas(beta)
    checked_level(level)
    support = support_of(outcomes, reward_range, reward_values)
    reduced = reduce_groups(outcomes.columns(), betas[None, :], progress=progress)
    return assemble(outcomes, betas, reduced, level=level, interval=interval, support=support)


def assemble(
    outcomes: Outcomes,
    betas: Floats,
    reduced: Reduced,
    *,
    level: float,
    interval: str | None,
    support: Support,
) -> Estimate:
    """Return the estimate of a table at checked betas from its reduction."""
    cells = estimate_cells(outcomes, betas[None, :], reduced, level=level, interval=interval, support=support)
    return Estimate(
        prompt=outcomes.prompt,
        step=outcomes.step,
        beta=betas,
        n=outcomes.n,
        level=level,
        evidence=outcomes.evidence,
        notes=_notes(outcomes, support, interval),
        **cells.arrays(),
    )


def checked_betas(beta: float | npt.ArrayLike) -> Floats:
    """Return betas as a 1-D array, or refuse them."""
    try:
        betas = np.atleast_1d(np.array(beta, dtype=np.float64))
    except (TypeError, ValueError) as reason:
        raise InputError(f"beta must be a positive number or a sequence of them; found {beta!r}.") from reason
    if betas.ndim != 1 or betas.size == 0:
        raise InputError(
            f"beta must be a number or a 1-D sequence with at least one; found shape {betas.shape}."
        )
    wrong = ~((betas > 0) & np.isfinite(betas))
    if np.any(wrong):
        raise InputError(
            f"beta must be positive and finite; found {betas[np.argmax(wrong)]:g}. In the limit of large beta the soft "
            "value is the mean reward, in the limit of small beta the largest reward."
        )
    betas.setflags(write=False)
    return betas


def checked_level(level: float) -> None:
    """Refuse a confidence level that is not between 0 and 1."""
    if isinstance(level, bool) or not isinstance(level, float | int | np.number) or not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, such as 0.95; found {level!r}.")


def estimate_cells(
    outcomes: Outcomes,
    beta: Floats,
    reduced: Reduced,
    *,
    level: float,
    interval: str | None,
    support: Support,
) -> Cells:
    """Return the cells of every prompt at its betas, of shape (1 or n_prompts, n_betas).

    ``reduced`` is what :func:`reduce_groups` says of the table's rows at these betas.
    """
    if interval is not None and interval not in INTERVALS:
        known = ", ".join(repr(name) for name in INTERVALS)
        raise InputError(f"interval must be one of {known} or None; found {interval!r}.")
    if outcomes.evidence == "partial":
        rest = None
        if outcomes.remainder is not None:
            known = support_of(outcomes.remainder, support.range, None)
            rest_reduced = reduce_groups(outcomes.remainder.columns(), beta)
            rest = estimate_cells(
                outcomes.remainder, beta, rest_reduced, level=level, interval=interval, support=known
            )
        return partial_cells(outcomes, beta, reduced, rest, support=support, points_only=interval is None)
    if outcomes.evidence == "complete":
        return _complete_cells(outcomes, reduced, interval)
    return _SampledCells(
        outcomes, outcomes.columns(), np.broadcast_to(beta, reduced.log_z.shape), reduced
    ).cells(level, interval, support)


def _complete_cells(outcomes: Outcomes, reduced: Reduced, interval: str | None) -> Cells:
    return Cells.of(
        log_z=reduced.log_z,
        soft_value=reduced.soft_value,
        limits=None if interval is None else (reduced.log_z, reduced.log_z),
        ess=outcomes.n[:, None] / (1 + reduced.relative_variance),
        kind="exact",
        bias=np.zeros_like(reduced.log_z),
    )


@dataclass(frozen=True, slots=True)
class _SampledCells:
    """Intervals for draws."""

    outcomes: Outcomes
    columns: Columns
    beta: Floats
    reduced: Reduced

    def cells(self, level: float, interval: str | None, support: Support) -> Cells:
        n = self._n()
        two_point = self._use_two_point(interval, support)
        limits = self._limits(level, interval, support, two_point)
        bias = intervals.delta_bias(self.reduced.relative_variance, n)
        return Cells.of(
            log_z=self.reduced.log_z,
            soft_value=self.reduced.soft_value,
            limits=limits,
            ess=n / (1 + self.reduced.relative_variance),
            kind="point" if limits is None else self._kind(support, two_point, limits[1]),
            bias=np.where(self._unvaried(), np.nan, bias),
            flags=self._flags(two_point, support),
        )

    def _use_two_point(self, interval: str | None, support: Support) -> bool:
        """Whether Clopper-Pearson limits apply, or refuse them where they were asked for and do not."""
        applies = support.values is not None and not self.outcomes.weighted
        if interval == "clopper-pearson" and not applies:
            why = (
                "the rows carry importance weights"
                if self.outcomes.weighted
                else "more than two rewards are possible"
            )
            raise InputError(
                f"interval='clopper-pearson' needs rewards that can take two values, drawn from the reference; {why}."
            )
        return applies and interval != "delta"

    def _limits(
        self, level: float, interval: str | None, support: Support, two_point: bool
    ) -> tuple[Floats, Floats] | None:
        if interval is None:
            return None
        if two_point and support.values is not None:
            low, high = support.values
            is_high = (self.columns.reward == high).astype(np.float64)
            successes = np.add.reduceat(is_high, self.columns.start[:-1])[:, None]
            rates = intervals.clopper_pearson(successes, self._n(), level)
            lo, hi = (intervals.two_point_log_z(rate, low, high, self.beta) for rate in rates)
        else:
            lo, hi = intervals.delta(self.reduced.log_z, self.reduced.relative_variance, self._n(), level)
            lo, hi = self._without_zero_width(lo, hi, level, support)
        return np.minimum(lo, self.reduced.log_z), np.maximum(hi, self.reduced.log_z)

    def _without_zero_width(
        self, lo: Floats, hi: Floats, level: float, support: Support
    ) -> tuple[Floats, Floats]:
        """Bound groups of equal samples by the chance of such a run, and clip to a declared range."""
        equal = self._all_equal()
        run = intervals.repeated_value(self._n(), level)
        run_lo, run_hi = lo + np.log(run), np.full_like(hi, np.inf)
        if support.range is not None and not self.outcomes.weighted:
            value = self.columns.reward[self.columns.start[:-1], None]
            lowest, highest = support.range
            run_lo = intervals.two_point_log_z(run, lowest, value, self.beta)
            run_hi = intervals.two_point_log_z(1 - run, value, highest, self.beta)
            with np.errstate(over="ignore"):
                lo, hi = np.maximum(lo, lowest / self.beta), np.minimum(hi, highest / self.beta)
        return np.where(equal, run_lo, lo), np.where(equal, run_hi, hi)

    def _kind(self, support: Support, two_point: bool, hi: Floats) -> npt.NDArray[Any]:
        kind = np.full(self.beta.shape, "approximate", dtype=object)
        if two_point:
            certified = support.known == "declared"
            kind[:] = "certified" if certified else "calibrated"
            if self.outcomes.stopping == "adaptive":
                kind[:] = "approximate"
            return kind
        bounded = support.range is not None and not self.outcomes.weighted
        if bounded:
            kind[np.broadcast_to(self._all_equal(), kind.shape)] = "certified"
        kind[np.isposinf(hi)] = "lower-only"
        return kind

    def _flags(self, two_point: bool, support: Support) -> npt.NDArray[Any]:
        facts = self.outcomes.facts
        return flag_sets(
            self.beta.shape,
            all_equal=self._all_equal(),
            too_few=self._n() < FEW,
            saturated=self.reduced.largest_share > 0.5,
            two_valued=np.bool_(two_point),
            no_equal_groups=np.bool_(two_point and facts.equal_groups_missing),
            adaptive=np.bool_(self.outcomes.stopping == "adaptive"),
        )

    def _n(self) -> Floats:
        return self.outcomes.n[:, None].astype(np.float64)

    def _all_equal(self) -> npt.NDArray[np.bool_]:
        """Whether the rewards of a group are all equal, shape (n_prompts, 1)."""
        first = self.columns.start[:-1]
        reward = self.columns.reward
        return (np.minimum.reduceat(reward, first) == np.maximum.reduceat(reward, first))[:, None]

    def _unvaried(self) -> npt.NDArray[np.bool_]:
        """Whether the weights of a group show no spread from which a bias could be estimated."""
        return self._all_equal() & (self.reduced.relative_variance == 0) | np.isinf(self.reduced.log_z)


def _notes(outcomes: Outcomes, support: Support, interval: str | None) -> tuple[str, ...]:
    """Return what a summary must say about assumptions."""
    if outcomes.evidence == "complete":
        return ()
    if outcomes.evidence == "partial":
        what = (
            "the declared reward range" if outcomes.remainder is None else "what draws from it show of its Z"
        )
        return (f"bounds: listed mass, plus missing mass times {what}",)
    notes = [f"{count(len(outcomes), 'row')} drawn from the {outcomes.drawn_from}"]
    if outcomes.weighted:
        notes.append(
            "importance weights exp(log_ref - log_proposal): large-sample intervals, approximate at best"
        )
    elif interval == "auto" or (interval is not None and support.known == "declared"):
        notes.append(support.sentence())
    if outcomes.facts.equal_groups_missing and support.values is not None:
        notes.append(
            "no group has all rewards equal, which chance does not explain: such groups were probably filtered out "
            "before the file was written, and Z is then biased"
        )
    if outcomes.stopping == "adaptive":
        notes.append("the number of samples depended on the rewards: fixed-n intervals are approximate")
    return tuple(notes)
