"""Cells of sampled tables: which interval each gets, and what it can promise.

What is declared decides first, then what was seen over the whole table; where nothing is known about rewards that
were not drawn, the sample itself must look harmless (number, bulk effective size, tail index), and the promise is the
joint one: that a cell is called calibrated AND misses is rare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.facts import same_reward
from tiltz.inference import intervals
from tiltz.inference.band import range_band, values_band
from tiltz.inference.cells import Cells, flag_sets
from tiltz.inference.request import Request
from tiltz.inference.streams import stream_seeds
from tiltz.kernels import Columns, Reduced
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Limits = tuple[Floats, Floats]
Method = Callable[[Columns, Floats, Flags], Limits]
"""From the rows, the betas and the mask of some of the groups to their limits."""

FEW = 25
"""Below this many samples neither a large-sample interval nor a look at the tail means much."""
FEW_VALUES = 16
"""Up to this many declared rewards their tails are bounded one by one; beyond, the error per tail gets too small."""
THIN, BROAD = 10.0, 100.0
"""Bulk effective sample sizes: below the first there is no upper limit, from the second on the promise is kept."""
HEAVY, LIGHT = 0.7, 0.35
"""Tail indices: from the first on there is no upper limit, below the second the promise is kept."""


def sampled_cells(outcomes: Outcomes, beta: Floats, reduced: Reduced, request: Request) -> Cells:
    """Return the cells of draws at their betas, of shape (1 or n_prompts, n_betas)."""
    if outcomes.sampler is not None:
        from tiltz.inference.several import PooledSamples

        return PooledSamples(outcomes, np.broadcast_to(beta, reduced.log_z.shape), reduced, request).cells()
    return SampledCells(outcomes, np.broadcast_to(beta, reduced.log_z.shape), reduced, request).cells()


def spread_in_nats(outcomes: Outcomes, beta: Floats) -> Floats:
    """Return the standard deviation of the log weights at each beta, shape (n_prompts, n_betas)."""
    bulk = bulk_of(outcomes, beta)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.sqrt(np.maximum(np.log(outcomes.n[:, None] / bulk), 0.0))


def bulk_of(outcomes: Outcomes, beta: Floats) -> Floats:
    """Return the bulk effective sample size; of several samplers, that of the one which is best on its own.

    Pooled rows do no worse than the best sampler alone, while the spread of their weights says nothing: rows that are
    rightly next to weightless have the largest.
    """
    from tiltz.inference.tails import bulk_ess

    if outcomes.sampler is None:
        return bulk_ess(outcomes.columns(), beta)
    from tiltz.inference.controls import columns_of_samplers

    best = np.zeros((len(outcomes.n), beta.shape[1]))
    for prompts, columns in columns_of_samplers(outcomes):
        betas = beta if len(beta) == 1 else beta[prompts]
        best[prompts] = np.maximum(best[prompts], bulk_ess(columns, betas))
    return best


@dataclass(frozen=True, slots=True)
class Look:
    """What the samples of each cell show of their weights, shape (n_prompts, n_betas)."""

    khat: Floats
    bulk: Floats


class SampledCells:
    """Cells of draws from one sampler."""

    def __init__(self, outcomes: Outcomes, beta: Floats, reduced: Reduced, request: Request) -> None:
        self.outcomes, self.beta, self.reduced, self.request = outcomes, beta, reduced, request
        self.columns = outcomes.columns()
        self.support = request.support
        self.seeds: npt.NDArray[np.uint64] | None = None
        self.filled = 0  # cells
        self.shape = reduced.log_z.shape
        self.n = outcomes.n[:, None].astype(np.float64)
        self.adaptive = outcomes.stopping == "adaptive"
        self.equal = np.broadcast_to(_all_equal(self.columns), self.shape)
        # Limits that hold for one beta hold for J betas together if each spends a J-th of the error.
        self.level_each = 1 - (1 - request.level) / (self.shape[1] if request.simultaneous else 1)

    def cells(self) -> Cells:
        """Return the cells of every prompt and beta."""
        look = self._look()
        limits, kind, log_z = self._answer(look)
        soft_value = self.reduced.soft_value if log_z is self.reduced.log_z else self.beta * log_z
        return Cells.of(
            log_z=log_z,
            soft_value=soft_value,
            limits=limits,
            ess=self.n / (1 + self.reduced.relative_sd**2),
            khat=look.khat,
            kind=kind,
            bias=self._bias(),
            flags=self._flags(look),
        )

    def _answer(self, look: Look) -> tuple[Limits | None, Any, Floats]:
        """Return limits, kinds and points."""
        log_z = self.reduced.log_z
        name = self.request.interval
        if name is None:
            return None, "point", log_z
        if name == "pareto-smoothed":
            log_z, limits = self._pareto_smoothed()
            return limits, _open_ended(limits, "approximate"), log_z
        limits, kind = self._known() if name == "auto" else self._named(name)
        if limits is None:
            limits, kind = self._unknown(look)
        lo, hi = limits
        return (np.minimum(lo, log_z), np.maximum(hi, log_z)), _open_ended(limits, kind), log_z

    def _known(self) -> tuple[Limits | None, str]:
        """Return limits and kind where possible rewards are known, or None."""
        if self._few_values() and not self.adaptive and not self.outcomes.weighted:
            return self._values_band(), self._certainty()
        if self.support.range is not None:
            return self._betting(), self._certainty()
        return None, ""

    def _certainty(self, *, fixed_n: bool = False) -> str:
        """Return what limits that rest on possible rewards promise, those for a fixed number of draws if so."""
        filtered = self.outcomes.facts.equal_groups_missing and self.support.two_valued
        if filtered or (fixed_n and self.adaptive):
            return "approximate"
        return "certified" if self.support.known == "declared" else "calibrated"

    def _few_values(self) -> bool:
        return self.support.values is not None and len(self.support.values) <= FEW_VALUES

    def _unknown(self, look: Look) -> tuple[Limits, npt.NDArray[Any]]:
        """Return limits and kinds where nothing is known about rewards that were not drawn."""
        harmless = (self.n >= FEW) & (look.bulk >= THIN) & ~(look.khat >= HEAVY) & ~self.equal
        two_sided = harmless & np.bool_(not self.adaptive and not self.request.simultaneous)
        promised = two_sided & (look.bulk >= BROAD) & (look.khat < LIGHT)
        lo, hi = np.full(self.shape, -np.inf), np.full(self.shape, np.inf)
        self._fill((lo, hi), two_sided, self._bootstrap_t)
        self._fill_below((lo, hi), ~two_sided)
        kind = np.where(promised, "calibrated", "approximate").astype(object)
        return (lo, hi), kind

    def _named(self, name: str) -> tuple[Limits, str]:
        """Return the limits of the method that the caller names, and what it can promise at best."""
        if name == "clopper-pearson":
            self._needs(self.support.two_valued, name, "rewards that can take two values")
            return self._values_band(), self._certainty(fixed_n=True)
        if name == "band":
            self._needs(self.support.range is not None, name, "declared reward_values or a reward_range")
            limits = self._values_band() if self._few_values() else self._range_band()
            return limits, self._certainty(fixed_n=True)
        if name == "betting":
            return self._betting(), self._certainty()
        by_name = {"bootstrap-t": self._bootstrap_t_of_all, "hall": self._hall, "delta": self._delta}
        return self._without_zero_width(by_name[name]()), "approximate"

    def _needs(self, there: bool, name: str, what: str) -> None:
        if self.outcomes.weighted:
            there, why = False, "the rows carry importance weights"
        else:
            why = "more are possible, or nothing is declared"
        if not there:
            raise InputError(f"interval={name!r} needs {what}, drawn from the reference; {why}.")

    def _values_band(self) -> Limits:
        assert self.support.values is not None
        return values_band(self.columns, self.beta, level=self.request.level, values=self.support.values)

    def _range_band(self) -> Limits:
        assert self.support.range is not None
        return range_band(self.columns, self.beta, level=self.request.level, reward_range=self.support.range)

    def _betting(self) -> Limits:
        from tiltz.inference.betting import betting

        return betting(self.columns, self.beta, level=self.level_each, reward_range=self.support.range)

    def _betting_below(self, columns: Columns, beta: Floats, groups: Flags) -> Limits:
        from tiltz.inference.betting import betting

        return betting(columns, beta, level=self.level_each)

    def _bootstrap_t(self, columns: Columns, beta: Floats, groups: Flags) -> Limits:
        from tiltz.inference.bootstrap import bootstrap_t

        return bootstrap_t(columns, beta, level=self.request.level, seed=self._seeds()[groups])

    def _bootstrap_t_of_all(self) -> Limits:
        return self._bootstrap_t(self.columns, self.beta, np.ones(len(self.outcomes.n), np.bool_))

    def _seeds(self) -> npt.NDArray[np.uint64]:
        if self.seeds is None:
            self.seeds = stream_seeds(self.outcomes.groups, self.request.rng)
        return self.seeds

    def _hall(self) -> Limits:
        from tiltz.inference.hall import Moments, hall

        return hall(Moments.of(self.columns, self.beta), level=self.request.level)

    def _delta(self) -> Limits:
        reduced = self.reduced
        return intervals.delta(reduced.log_z, reduced.relative_sd, self.n, self.request.level)

    def _pareto_smoothed(self) -> tuple[Floats, Limits]:
        from tiltz.inference.tails import pareto_smoothed

        log_z = pareto_smoothed(self.columns, self.beta)
        limits = intervals.delta(log_z, self.reduced.relative_sd, self.n, self.request.level)
        return log_z, self._without_zero_width(limits)

    def _fill(self, limits: Limits, wanted: Flags, method: Method) -> None:
        """Write a method's limits into the cells where they are wanted, groups that want the same betas together."""
        patterns, which = np.unique(np.packbits(wanted, axis=1), axis=0, return_inverse=True)
        for i in range(len(patterns)):
            groups = which.reshape(-1) == i
            betas = wanted[int(np.argmax(groups))]
            if not np.any(betas):
                continue
            found = method(self.columns.select(groups), self.beta[np.ix_(groups, betas)], groups)
            for into, part in zip(limits, found, strict=True):
                into[np.ix_(groups, betas)] = part
            self.filled += int(groups.sum() * betas.sum())
            self.request.intervals(min(self.filled / self.beta.size, 1.0))

    def _without_zero_width(self, limits: Limits) -> Limits:
        """Give cells whose weights show no spread a lower limit alone, since a spread of 0 is no certainty."""
        flat = (self.equal & np.bool_(not self.outcomes.weighted)) | (self.reduced.relative_sd == 0)
        lo, hi = (np.array(limit) for limit in limits)
        self._fill_below((lo, hi), flat)
        hi[flat] = np.inf
        return lo, hi

    def _fill_below(self, limits: Limits, wanted: Flags) -> None:
        """Write lower limits that need no upper one: by the chance of a run of equal rewards, else by betting.

        That chance is one of a fixed number of draws from the reference.
        """
        run = wanted & self.equal & np.bool_(not self.adaptive and not self.outcomes.weighted)
        below = (limits[0], np.empty_like(limits[1]))
        self._fill(below, wanted & ~run, self._betting_below)
        least = self.reduced.log_z + np.log(intervals.repeated_value(self.n, self.level_each))
        limits[0][run] = least[run]

    def _look(self) -> Look:
        unknown = np.full(self.shape, np.nan)
        if self.request.interval is None:
            return Look(khat=unknown, bulk=unknown)
        from tiltz.inference.tails import khat

        # A few samples have no tail to look at, and the compiled code for it need not be loaded.
        many = np.any(self.n >= FEW)
        return Look(
            khat=khat(self.columns, self.beta) if many else unknown,
            bulk=np.broadcast_to(bulk_of(self.outcomes, self.beta), self.shape),
        )

    def _bias(self) -> Floats:
        bias = intervals.delta_bias(self.reduced.relative_sd, self.n)
        unknown = self.equal & (self.reduced.relative_sd == 0) | np.isinf(self.reduced.log_z)
        return np.where(unknown, np.nan, bias)

    def _flags(self, look: Look) -> npt.NDArray[Any]:
        facts, two_valued = self.outcomes.facts, self.support.two_valued
        # Where possible rewards are known the limits do not rest on how the sample looks.
        looked_at = np.bool_(self.support.range is None)
        return flag_sets(
            self.shape,
            all_equal=self.equal,
            too_few=self.n < FEW,
            saturated=self.reduced.largest_share > 0.5,
            thin=looked_at & (self.n >= FEW) & (look.bulk < THIN),
            heavy_tail=looked_at & (look.khat >= HEAVY),
            two_valued=np.bool_(two_valued),
            no_equal_groups=np.bool_(two_valued and facts.equal_groups_missing),
            adaptive=np.bool_(self.adaptive),
            **self._more_flags(),
        )

    def _more_flags(self) -> dict[str, Flags]:
        return {}


def _all_equal(columns: Columns) -> Flags:
    """Whether the rewards of a group are all equal, up to rounding, shape (n_groups, 1)."""
    first = columns.start[:-1]
    low, high = np.minimum.reduceat(columns.reward, first), np.maximum.reduceat(columns.reward, first)
    return same_reward(low, high)[:, None]


def _open_ended(limits: Limits, kind: Any) -> npt.NDArray[Any]:
    """Return kinds, "lower-only" where there is no upper limit."""
    return np.where(np.isposinf(limits[1]), "lower-only", kind).astype(object)
