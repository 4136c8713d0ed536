"""Reductions over many prompts and betas at once: log Z, its moments and the spread of its weights.

Groups are runs of consecutive rows, betas vary fastest over whole groups.

Every quantity is a sum of terms of one sign in the log-ratio ``x = log(tilted / reference)``, so that a KL of 1e-16
at a huge beta keeps its digits:  KL(tilted || reference) = E_ref[x e^x - e^x + 1],  KL(reference || tilted) =
E_ref[e^x - 1 - x],  relative variance of the weights = E_ref[(e^x - 1)^2]. Of importance weights the self-normalised
ones are the reference in both divergences, so that these are never negative and vanish with the tilt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.polynomial.polynomial import polyval

Floats = npt.NDArray[np.float64]

_BLOCK = 1 << 18  # rows x betas worked on at once: a few megabytes, which stay in the cache
_SERIES_END = 20  # for |x| <= 1 the next term is below one unit in the last place


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Rows of one kind of evidence, grouped.

    Attributes
    ----------
    reward : array, shape (n_rows,)
        ``-inf`` is a weight of zero.
    log_mass : array, shape (n_rows,)
        Log of the reference mass that a row stands for, in nats: ``log_ref``, or log weight minus log n.
    log_count : array, shape (n_groups,) or None
        Log of the number of samples per group; None if the rows are outcomes with known mass.
    start : int array, shape (n_groups + 1,)
        Group g is rows ``start[g]:start[g + 1]``; none is empty.
    normalised : bool
        Whether the masses of every group sum to 1 by definition (all but importance weights).
    """

    reward: Floats
    log_mass: Floats
    log_count: Floats | None
    start: npt.NDArray[np.int64]
    normalised: bool

    def select(self, groups: npt.NDArray[np.bool_]) -> Columns:
        """Return the rows of some of the groups."""
        size = np.diff(self.start)
        rows = np.repeat(groups, size)
        return Columns(
            reward=self.reward[rows],
            log_mass=self.log_mass[rows],
            log_count=None if self.log_count is None else self.log_count[groups],
            start=np.concatenate([[0], np.cumsum(size[groups])]),
            normalised=self.normalised,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """What one pass returns; arrays of shape (n_groups, n_betas)."""

    log_z: Floats  # nats
    soft_value: Floats  # reward
    relative_sd: (
        Floats  # of the weights under the reference over their mean (samples: of the n weights, divisor n)
    )
    largest_share: Floats  # largest of the self-normalised weights
    mean_reward: Floats | None = None
    kl: Floats | None = None  # of the tilted from the (self-normalised) reference, nats
    kl_reverse: Floats | None = None  # of the reference from the tilted, nats


Progress = Callable[[float], None]
"""Told the share of the work that is done, from 0 to 1."""


def reduce_groups(
    columns: Columns, beta: Floats, *, moments: bool = False, progress: Progress | None = None
) -> Reduced:
    """Reduce every group at every beta.

    Parameters
    ----------
    columns : Columns
        The rows.
    beta : array, shape (1 or n_groups, n_betas)
        Positive and finite.
    moments : bool
        Whether to compute ``mean_reward``, ``kl`` and ``kl_reverse`` too.
    progress : callable, optional
        Told the share done after each block.
    """
    n_groups = len(columns.start) - 1
    beta = np.broadcast_to(beta, (n_groups, beta.shape[1]))
    names = ["log_z", "soft_value", "relative_sd", "largest_share"]
    names += ["mean_reward", "kl", "kl_reverse"] if moments else []
    out = {name: np.empty(beta.shape) for name in names}
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        for groups, block, block_beta in blocks(columns, beta, elements=_BLOCK):
            tilt = _Tilt(block, block_beta)
            for name in names:
                out[name][groups] = getattr(tilt, name)().T
            if progress is not None:
                progress(groups.stop / n_groups)
    return Reduced(**out)


def log_ratios(columns: Columns, beta: Floats) -> tuple[Floats, Floats]:
    """Return log tilted probabilities and ``log(tilted / reference)``, each of shape (n_rows, n_betas).

    The first sum to 1 over a group, whatever the total mass is.
    """
    n_groups = len(columns.start) - 1
    beta = np.broadcast_to(beta, (n_groups, beta.shape[1]))
    log_prob = np.empty((len(columns.reward), beta.shape[1]))
    log_ratio = np.empty_like(log_prob)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        for groups, block, block_beta in blocks(columns, beta, elements=_BLOCK):
            tilt = _Tilt(block, block_beta)
            rows = slice(columns.start[groups.start], columns.start[groups.stop])
            log_prob[rows], log_ratio[rows] = tilt.log_tilted.T, tilt.x.T
    return log_prob, log_ratio


def reward_spread(columns: Columns) -> Floats:
    """Return the largest minus the smallest finite reward of each group, 0 where there is none."""
    first = columns.start[:-1]
    highest = np.maximum.reduceat(columns.reward, first)
    lowest = np.minimum.reduceat(np.where(columns.reward > -np.inf, columns.reward, np.inf), first)
    return np.where(lowest < highest, highest - np.where(lowest < highest, lowest, 0.0), 0.0)


def blocks(
    columns: Columns, beta: Floats, *, elements: int, first: int = 0, last: int | None = None
) -> Iterator[tuple[slice, Columns, Floats]]:
    """Yield the groups from ``first`` to before ``last`` in pieces of at most so many elements, rows times betas.

    Each comes with its rows and betas, and holds one group at least.
    """
    last = len(columns.start) - 1 if last is None else last
    start, rows = columns.start, max(elements // beta.shape[1], 1)
    while first < last:
        end = min(max(int(np.searchsorted(start, start[first] + rows, side="right")) - 1, first + 1), last)
        groups, cut = slice(first, end), slice(start[first], start[end])
        block = Columns(
            reward=columns.reward[cut],
            log_mass=columns.log_mass[cut],
            log_count=None if columns.log_count is None else columns.log_count[groups],
            start=start[first : end + 1] - start[first],
            normalised=columns.normalised,
        )
        yield groups, block, beta if len(beta) == 1 else beta[groups]
        first = end


class _Tilt:
    """The tilted distributions of one block, as arrays of shape (n_betas, rows or groups).

    Two centres are in use. Where no reward lies more than one beta above the mean and most of the mass is possible,
    the mean is subtracted and log Z is a log1p: exact to the last digit for large beta. Elsewhere the reward of the
    largest score is subtracted.
    """

    def __init__(self, block: Columns, beta: Floats) -> None:
        self.block, self.beta = block, np.ascontiguousarray(beta.T)
        self.size = np.diff(block.start)
        self.occurs = block.log_mass > -np.inf
        self.possible = self.occurs & (block.reward > -np.inf)
        self.reward = np.where(self.possible, block.reward, 0.0)
        self.mass = np.exp(block.log_mass)
        highest = self._max(np.where(self.possible, block.reward, -np.inf))
        self.none_possible = highest == -np.inf
        highest = np.where(self.none_possible, 0.0, highest)
        self.centre = self._rewards_on_top(highest)
        small = np.False_
        if block.normalised:
            allowed = np.where(self.possible, self.mass, 0.0)
            below = allowed * (self.reward - self._rows(highest))
            total = self._sum(allowed)
            mean = highest + self._sum(below) / np.where(total > 0, total, 1.0)
            small = (highest - mean <= self.beta) & (total > 0.5)
            self.centre = np.where(small, mean, self.centre)
        gain = (self.reward - self._rows(self.centre)) / self._rows(self.beta)
        self.gain = np.where(self.possible, gain, -np.inf)
        self.log_gain = self._log_total()
        if np.any(small):
            self.log_gain = np.where(small, self._log1p_total(), self.log_gain)
        self.x = np.where(self.possible, self.gain - self._rows(self.log_gain), -np.inf)
        self.log_tilted = np.where(self.possible, block.log_mass + self.x, -np.inf)
        # Large scores carry large roundings, which the divergences would otherwise see as lost or won mass.
        top = self._max(self.log_tilted)
        tilted = np.exp(self.log_tilted - self._rows(np.where(np.isfinite(top), top, 0.0)))
        total = self._sum(tilted)
        self.tilted = tilted / self._rows(np.where(total > 0, total, 1.0))

    def _rewards_on_top(self, highest: Floats) -> Floats:
        """Return the reward of the row with the largest score: the highest one of all may have next to no mass."""
        if self.block.log_count is not None and self.block.normalised:
            return np.broadcast_to(highest, self.beta.shape)
        score = self.block.log_mass + (self.reward - self._rows(highest)) / self._rows(self.beta)
        score = np.where(self.possible, score, -np.inf)
        top = self._max(np.where(score == self._rows(self._max(score)), self.reward, -np.inf))
        return np.where(np.isfinite(top), top, highest)

    def log_z(self) -> Floats:
        return np.where(self.none_possible, -np.inf, self.centre / self.beta + self.log_gain)

    def soft_value(self) -> Floats:
        return np.where(self.none_possible, -np.inf, self.centre + self.beta * self.log_gain)

    def largest_share(self) -> Floats:
        return self._max(self.tilted)

    def relative_sd(self) -> Floats:
        if self.block.normalised or self.block.log_count is None:
            mass, x = self.mass, self.x
        else:
            log_count = self._rows(self.block.log_count)
            mass, x = np.exp(-log_count), self.log_tilted + log_count
        near = np.expm1(np.minimum(x, 1.0))
        # In units of the largest deviation, whose square may be too small for a float.
        unit = np.minimum(self._max(np.abs(near)), 1.0)
        unit = np.where(unit > 0, unit, 1.0)
        close = mass * (near / self._rows(unit)) ** 2
        far = np.exp(self.log_tilted + x) - 2 * self.tilted + mass
        total = unit * np.sqrt(self._sum(np.where(x < 1.0, close, far / self._rows(unit) ** 2)))
        return np.where(self.none_possible, np.inf, total)

    def mean_reward(self) -> Floats:
        offset = np.where(self.tilted > 0, self.reward - self._rows(self.centre), 0.0) * self.tilted
        return np.where(self.none_possible, np.nan, self.centre + self._sum(offset))

    def kl(self) -> Floats:
        mass, x = self._normalised()
        gain = np.where(self.tilted > 0, self.tilted * x, 0.0) - self.tilted + mass
        near = mass * _x_exp_minus_expm1(np.clip(x, -1.0, 1.0))
        gain = np.where(np.abs(x) < 1.0, near, gain)
        return np.where(self.none_possible, np.nan, self._sum(gain))

    def kl_reverse(self) -> Floats:
        # A mass too small for a float times infinity is infinity here, not NaN.
        mass, x = self._normalised()
        loss = np.where(self.occurs, np.where(x == -np.inf, np.inf, -mass * x), 0.0) + self.tilted - mass
        near = mass * _expm1_minus_x(np.clip(x, -1.0, 1.0))
        loss = np.where(np.abs(x) < 1.0, near, loss)
        return np.where(self.none_possible, np.nan, self._sum(loss))

    def _normalised(self) -> tuple[Floats, Floats]:
        """Return masses that sum to 1 and log(tilted / reference) with respect to them."""
        if self.block.normalised:
            return self.mass, self.x
        log_total = self._rows(self._log_sum(self.block.log_mass))
        return np.exp(self.block.log_mass - log_total), self.x + log_total

    def _log1p_total(self) -> Floats:
        """Log of the total weight, where no weight is far above the mean one."""
        return np.log1p(self._sum(self.mass * np.expm1(self.gain)))

    def _log_total(self) -> Floats:
        """Log of the total weight, for weights of any size."""
        return self._log_sum(self.block.log_mass + self.gain)

    def _log_sum(self, score: Floats) -> Floats:
        top = self._max(score)
        top = np.where(np.isfinite(top), top, 0.0)
        return top + np.log(self._sum(np.exp(score - self._rows(top))))

    def _rows(self, per_group: Any) -> Any:
        return np.repeat(per_group, self.size, axis=-1)

    def _sum(self, rows: Any) -> Any:
        return np.add.reduceat(rows, self.block.start[:-1], axis=-1, dtype=np.float64)

    def _max(self, rows: Any) -> Any:
        return np.maximum.reduceat(rows, self.block.start[:-1], axis=-1)


# Power series over x^2, for |x| <= 1, where the closed forms cancel.
_EXPM1_MINUS_X = np.array([1 / math.factorial(k) for k in range(2, _SERIES_END)])
_X_EXP_MINUS_EXPM1 = np.array([(k - 1) / math.factorial(k) for k in range(2, _SERIES_END)])


def _expm1_minus_x(x: Floats) -> Floats:
    """Return e^x - 1 - x for |x| <= 1."""
    return x * x * polyval(x, _EXPM1_MINUS_X)


def _x_exp_minus_expm1(x: Floats) -> Floats:
    """Return x e^x - e^x + 1 for |x| <= 1."""
    return x * x * polyval(x, _X_EXP_MINUS_EXPM1)
