"""What a whole table shows about its rewards: small, mergeable, and kept when prompts are selected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.grouping import Groups

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
    n_equal_groups : int
        Groups of at least two rows whose rewards are all equal.
    log_prob_none_equal : float
        Log-probability, in nats, that no such group turns up, at success rates estimated from each group; 0 unless
        the rewards take two values.
    """

    values: tuple[float, ...]
    counts: tuple[int, ...]
    n_equal_groups: int
    log_prob_none_equal: float

    @classmethod
    def of(cls, reward: npt.NDArray[np.float64], groups: Groups) -> TableFacts:
        """Return the facts of a table's rewards."""
        distinct = _smallest_distinct(reward)
        counts = tuple(int(np.count_nonzero(reward == value)) for value in distinct)
        grouped, start = groups.gather(reward), groups.start[:-1]
        high = np.maximum.reduceat(grouped, start)
        equal = (np.minimum.reduceat(grouped, start) == high) & (groups.size > 1)
        log_none = 0.0
        if len(distinct) == 2:
            successes = np.add.reduceat((grouped == distinct[1]).astype(np.float64), start)
            log_none = _log_prob_none_equal(successes, groups.size.astype(np.float64))
        return cls(
            values=distinct,
            counts=counts,
            n_equal_groups=int(np.count_nonzero(equal)),
            log_prob_none_equal=log_none,
        )

    def merge(self, other: TableFacts) -> TableFacts:
        """Return the facts of two tables with different prompts, read as one."""
        counts: dict[float, int] = {}
        for facts in (self, other):
            for value, count in zip(facts.values, facts.counts, strict=True):
                counts[value] = counts.get(value, 0) + count
        values = tuple(sorted(counts)[:_MANY])
        two = len(values) == 2
        return TableFacts(
            values=values,
            counts=tuple(counts[value] for value in values),
            n_equal_groups=self.n_equal_groups + other.n_equal_groups,
            log_prob_none_equal=two * (self.log_prob_none_equal + other.log_prob_none_equal),
        )

    @property
    def two_valued(self) -> bool:
        """Whether exactly two distinct rewards were seen, each at least twice."""
        return len(self.values) == 2 and min(self.counts) >= 2

    @property
    def equal_groups_missing(self) -> bool:
        """Whether groups with all rewards equal were probably filtered out before the table was written."""
        return self.n_equal_groups == 0 and self.log_prob_none_equal < np.log(IMPROBABLE)


def _smallest_distinct(reward: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Return up to three of the smallest distinct values, in as many passes."""
    distinct: list[float] = []
    rest = reward
    while len(distinct) < _MANY and len(rest):
        distinct.append(float(rest.min()))
        rest = rest[rest > distinct[-1]]
    return tuple(distinct)


def _log_prob_none_equal(successes: npt.NDArray[np.float64], n: npt.NDArray[np.float64]) -> float:
    """Return the log-probability that no group of draws comes out all equal.

    Rates are the posterior means under Jeffreys' prior. Groups that survived a filter look more balanced than
    they are, which makes this probability too large and the verdict cautious.
    """
    rate = (successes + 0.5) / (n + 1.0)
    equal = np.where(n > 1, rate**n + (1 - rate) ** n, 0.0)
    return float(np.sum(np.log1p(-equal)))
