"""The law of the best of n draws: exact for known masses, ties broken at random; unbiased from samples."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tiltz.facts import same_reward
from tiltz.kernels import Columns

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The distribution function of the reward of every group, a step for each distinct reward.

    Attributes
    ----------
    reward, mass : array, shape (n_steps,)
        Height and mass of each step, groups first, rewards ascending; no mass is 0.
    count : int array, shape (n_steps,)
        Rows of each step.
    log_up_to, log_below : array, shape (n_steps,)
        Log of the mass of this reward or a lower one, and of lower ones alone, in nats.
    start : int array, shape (n_groups + 1,)
        Group g is steps ``start[g]:start[g + 1]``.
    """

    reward: Floats
    mass: Floats
    count: Ints
    log_up_to: Floats
    log_below: Floats
    start: Ints

    @classmethod
    def of(cls, columns: Columns) -> Steps:
        """Return the steps of every group; rewards that differ by rounding are one."""
        reward, mass, group = _ascending(columns)
        new = np.concatenate([[True], (group[1:] != group[:-1]) | ~same_reward(reward[:-1], reward[1:])])
        first = np.flatnonzero(new)
        of_step = group[first]
        start = np.searchsorted(of_step, np.arange(len(columns.start)))
        step_mass = np.add.reduceat(mass, first)
        total = np.add.reduceat(step_mass, start[:-1])
        step_mass = step_mass / total[of_step]
        log_up_to, log_below = _log_cumulative(step_mass, start)
        return cls(
            reward=reward[first],
            mass=step_mass,
            count=np.diff(np.append(first, len(reward))),
            log_up_to=log_up_to,
            log_below=log_below,
            start=start,
        )

    def best_reward(self, n: int) -> Floats:
        """Return the expected reward of the best of n draws, shape (n_groups,).

        Notes
        -----
        Exact for these masses: the best is a step with probability F^n - F_^n, F the mass up to it and F_ below it.
        """
        chosen, _ = self._chosen(n)
        # Differences from the highest reward, so that a large constant costs no digits.
        highest = np.repeat(self.reward[self.start[1:] - 1], np.diff(self.start))
        with np.errstate(invalid="ignore", over="ignore"):
            short = np.where(chosen > 0, chosen * (self.reward - highest), 0.0)
        return self.reward[self.start[1:] - 1] + self._sum(short)

    def kl(self, n: int, *, smooth: npt.NDArray[np.bool_] | None = None) -> Floats:
        """Return KL(best of n || reference) in nats, shape (n_groups,).

        Parameters
        ----------
        n : int
            Draws.
        smooth : bool array, shape (n_steps,), optional
            Steps that are one draw from a law without ties rather than an outcome of that mass. Left out, none.

        Notes
        -----
        With ties broken at random, all outcomes of one reward have the density ratio (F^n - F_^n) / (F - F_). Where
        the law has no ties the ratio at quantile u is n u^(n-1), and its part of the KL is the integral over the step.
        """
        if n == 1:
            return np.zeros(len(self.start) - 1)
        chosen, log_ratio = self._chosen(n)
        tied = chosen * log_ratio - chosen + self.mass
        if smooth is not None:
            part = chosen * (np.log(n) - (n - 1) / n) - chosen + self.mass
            part += (n - 1) * (_power_log(self.log_up_to, n) - _power_log(self.log_below, n))
            tied = np.where(smooth, part, tied)
        return np.maximum(self._sum(tied), 0.0)

    def _chosen(self, n: int) -> tuple[Floats, Floats]:
        """Return each step's probability of holding the best of n draws, and the log of its ratio to the mass."""
        with np.errstate(divide="ignore", under="ignore"):
            share = np.minimum(self.mass * np.exp(-self.log_up_to), 1.0)
            missed = n * np.log1p(-share)
            log_chosen = n * self.log_up_to + np.log(-np.expm1(missed))
            return np.exp(log_chosen), log_chosen - np.log(self.mass)

    def _sum(self, values: Floats) -> Floats:
        return np.add.reduceat(values, self.start[:-1])


def unbiased_best(columns: Columns, n: int) -> tuple[Floats, Floats]:
    """Return the mean of the largest reward over all subsets of n rows, and its jackknife standard error.

    Parameters
    ----------
    columns : Columns
        Draws from the reference, n at least in every group.
    n : int
        Draws that the best is taken of.

    Returns
    -------
    tuple of array, shape (n_groups,)
        In units of reward. The error is NaN where a group has no more than n rows.

    Notes
    -----
    Unbiased for the expected reward of best-of-n, as a U-statistic is. The jackknife variance is too large on average
    (Efron and Stein), never too small.

    References
    ----------
    .. [1] B. Efron, C. Stein, "The jackknife estimate of variance", Ann. Statist. 9 (1981).
    """
    reward = _ascending(columns)[0]
    size = np.diff(columns.start)
    value, error = np.empty(len(size)), np.full(len(size), np.nan)
    for m in np.unique(size).tolist():
        groups = np.flatnonzero(size == m)
        rows = reward[columns.start[groups][:, None] + np.arange(m)]
        # Differences from the highest reward in units of the largest: a constant costs no digits, no square overflows.
        with np.errstate(over="ignore"):
            below = np.maximum(rows - rows[:, -1:], -np.finfo(np.float64).max)
        unit = np.where(below[:, 0] < 0, -below[:, 0], 1.0)
        below /= unit[:, None]
        value[groups] = rows[:, -1] + unit * (below @ _share_of_subsets(m, n))
        if m > n:
            left_out = _each_left_out(below, _share_of_subsets(m - 1, n))
            error[groups] = unit * np.sqrt((m - 1) * np.var(left_out, axis=1))
    return value, error


def _share_of_subsets(m: int, n: int) -> Floats:
    """Return in which share of the subsets of n of m ranks each rank is the highest: C(i-1, n-1) / C(m, n)."""
    rank = np.arange(m, 1, -1, dtype=np.float64)
    falling = np.cumprod(np.maximum(rank - n, 0.0) / (rank - 1))
    return (n / m) * np.concatenate([[1.0], falling])[::-1]


def _each_left_out(rows: Floats, share: Floats) -> Floats:
    """Return the weighted sum of ascending rows without the i-th one, for every i."""
    before = np.cumsum(rows[:, :-1] * share, axis=1)
    after = np.cumsum((rows[:, 1:] * share)[:, ::-1], axis=1)[:, ::-1]
    none = np.zeros((len(rows), 1))
    return np.hstack([none, before]) + np.hstack([after, none])


def _ascending(columns: Columns) -> tuple[Floats, Floats, Ints]:
    """Return reward, mass and group of the rows that can occur, rewards ascending within each group."""
    group = np.repeat(np.arange(len(columns.start) - 1), np.diff(columns.start))
    order = np.lexsort((columns.reward, group))
    order = order[columns.log_mass[order] > -np.inf]
    return columns.reward[order], np.exp(columns.log_mass[order]), group[order]


def _log_cumulative(mass: Floats, start: Ints) -> tuple[Floats, Floats]:
    """Return the log of the mass up to each step and below it; sums run from the nearer end, so none cancels."""
    up_to, above = np.empty_like(mass), np.empty_like(mass)
    for first, last in pairwise(start):
        up_to[first:last] = np.cumsum(mass[first:last])
        above[first:last] = np.append(np.cumsum(mass[first + 1 : last][::-1])[::-1], 0.0)
    with np.errstate(divide="ignore"):
        log_up_to = np.where(up_to > 0.5, np.log1p(-np.minimum(above, 1.0)), np.log(up_to))
    log_below = np.concatenate([[-np.inf], log_up_to[:-1]])
    log_below[start[:-1]] = -np.inf
    return log_up_to, log_below


def _power_log(log_u: Floats, n: int) -> Floats:
    """Return u^n log u, which is 0 at u = 0."""
    return np.where(log_u > -np.inf, np.exp(n * log_u) * np.maximum(log_u, -1e300), 0.0)
