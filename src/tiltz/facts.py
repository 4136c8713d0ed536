"""What a whole table shows about its rewards: small, mergeable, and kept when prompts are selected."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.grouping import Groups

_ROUNDING = 4 * np.finfo(np.float64).eps
_MANY = 3  # more distinct values than this are not listed
IMPROBABLE = 0.01
"""Below this probability, the absence of groups with equal rewards is not put down to chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """Facts across prompts.

    Attributes
    ----------
    values : tuple of float
        The smallest distinct rewards, ascending, at most three: three stand for "three or more".
    counts : tuple of int
        Rows with each of them.
    n_prompts : int
        Groups.
    n_equal_groups : int
        Groups of at least two rows whose rewards are all equal.
    rate_cells : tuple of (int, int, int)
        Where at most two values were seen: samples n, samples with the higher value, and how many prompts have both,
        ascending. All that a prior on success rates needs.
    """

    values: tuple[float, ...]
    counts: tuple[int, ...]
    n_prompts: int
    n_equal_groups: int
    rate_cells: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, reward: npt.NDArray[np.float64], groups: Groups) -> TableFacts:
        """Return the facts of a table's rewards."""
        distinct, counts = _smallest_distinct(reward)
        grouped, start = groups.gather(reward), groups.start[:-1]
        high = np.maximum.reduceat(grouped, start)
        equal = same_reward(np.minimum.reduceat(grouped, start), high) & (groups.size > 1)
        cells: tuple[tuple[int, int, int], ...] = ()
        if 1 <= len(distinct) <= 2:
            higher = ~same_reward(np.float64(distinct[0]), grouped)
            cells = _rate_cells(groups.size, np.add.reduceat(higher.astype(np.int64), start))
        return cls(
            values=distinct,
            counts=counts,
            n_prompts=len(groups.size),
            n_equal_groups=int(np.count_nonzero(equal)),
            rate_cells=cells,
        )

    def merge(self, other: TableFacts) -> TableFacts:
        """Return the facts of two tables with different prompts, read as one."""
        counts: dict[float, int] = {}
        seen = [*zip(self.values, self.counts, strict=True), *zip(other.values, other.counts, strict=True)]
        for value, count in sorted(seen):
            last = next(reversed(counts), np.nan)
            value = last if same_reward(np.float64(last), np.float64(value)) else value
            counts[value] = counts.get(value, 0) + count
        values = tuple(counts)[:_MANY]
        return TableFacts(
            values=values,
            counts=tuple(counts[value] for value in values),
            n_prompts=self.n_prompts + other.n_prompts,
            n_equal_groups=self.n_equal_groups + other.n_equal_groups,
            rate_cells=_merged_cells(values, self, other) if len(values) <= 2 else (),
        )

    @property
    def two_valued(self) -> bool:
        """Whether exactly two distinct rewards were seen, each at least twice."""
        return len(self.values) == 2 and min(self.counts) >= 2

    @property
    def log_prob_none_equal(self) -> float:
        """Log-probability, in nats, that no group of equal rewards turns up; 0 unless at most two values were seen.

        Rates are the posterior means under Jeffreys' prior. Groups that survived a filter look more balanced than
        they are, which makes this probability too large and the verdict cautious.
        """
        n, higher, prompts = np.array(self.rate_cells, dtype=np.float64).reshape(-1, 3).T
        rate = (higher + 0.5) / (n + 1.0)
        equal = np.where(n > 1, rate**n + (1 - rate) ** n, 0.0)
        return float(prompts @ np.log1p(-equal))

    @property
    def equal_groups_missing(self) -> bool:
        """Whether groups with all rewards equal were probably filtered out before the table was written."""
        return self.n_equal_groups == 0 and self.log_prob_none_equal < math.log(IMPROBABLE)


def same_reward(low: Any, high: Any) -> Any:
    """Return where two rewards, the first not above the second, differ by no more than rounding in their last digits.

    Sums of weighted rewards differ so where their terms are equal; a spread of rounding errors is none.
    """
    size = np.maximum(
        np.abs(np.where(np.isneginf(low), 0.0, low)), np.abs(np.where(np.isneginf(high), 0.0, high))
    )
    return (low == high) | (high <= low + _ROUNDING * size)


def _smallest_distinct(reward: npt.NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return up to three of the smallest distinct values and how often each is there, in as many passes."""
    distinct: list[float] = []
    counts: list[int] = []
    rest = reward
    while len(distinct) < _MANY and len(rest):
        distinct.append(float(rest.min()))
        larger = rest[~same_reward(np.float64(distinct[-1]), rest)]
        counts.append(len(rest) - len(larger))
        rest = larger
    return tuple(distinct), tuple(counts)


def _rate_cells(n: npt.NDArray[np.int64], higher: npt.NDArray[np.int64]) -> tuple[tuple[int, int, int], ...]:
    pairs, prompts = np.unique(np.stack([n, higher], axis=1), axis=0, return_counts=True)
    return tuple((int(a), int(b), int(c)) for (a, b), c in zip(pairs, prompts, strict=True))


def _merged_cells(
    values: tuple[float, ...], one: TableFacts, two: TableFacts
) -> tuple[tuple[int, int, int], ...]:
    """Return the cells of two tables; of a table that saw the higher value alone, every sample has it."""
    prompts: Counter[tuple[int, int]] = Counter()
    for facts in (one, two):
        alone = len(values) == 2 and len(facts.values) == 1 and not same_reward(values[0], facts.values[0])
        for n, higher, count in facts.rate_cells:
            prompts[n, n if alone else higher] += count
    return tuple(sorted((n, higher, count) for (n, higher), count in prompts.items()))
