"""The estimators of log Z that trainers ship, so that a column of theirs can be called by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tiltz.kernels import Columns, reduce_groups
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]

DIGITS = 2e-6
"""Numbers are the same if they differ by less than this, relative to the largest around: single precision leaves it."""

_LARGEST = 1e300  # nats, beyond which no difference means anything

SENTENCES = {
    "log_z": "the exact log Z",
    "log_mean_exp": (
        "the log-mean-exp of the group, the point that tiltz gives: unbiased for Z and too low for log Z, on average "
        "by the KL from the group's law to that of a group with one tilted draw among the others"
    ),
    "leave_one_out_log_mean_exp": (
        "the log-mean-exp of the other rows of the group, another number in every row; too low on average as the "
        "log-mean-exp of one row fewer is"
    ),
    "mean_reward": (
        "the mean reward over beta, which is log Z at infinite beta: log Z less it is KL(reference || tilted), the "
        "difference with its sign turned"
    ),
    "leave_one_out_mean": (
        "the mean reward of the other rows of the group over beta, another number in every row: on average log Z less "
        "KL(reference || tilted)"
    ),
    "mean_reward_of_policy": (
        "the mean reward of the policy over beta: log Z less it is KL(policy || tilted) - KL(policy || reference), of "
        "either sign"
    ),
    "vargrad": (
        "the mean of reward / beta + log_ref - log_policy (VarGrad, trajectory balance): log Z less it is "
        "KL(policy || tilted), so it is right only where training has arrived"
    ),
    "max": (
        "the largest reward over beta, which is log Z at beta 0: it less log Z is the log of how many times likelier "
        "the tilt makes the best outcomes"
    ),
    "uniform_quantile": (
        "the closed form log(beta (exp(1 / beta) - 1)) of uniform quantile rewards: right if rewards are quantiles "
        "without ties among infinitely many references, for m of them see tiltz.laws.QuantileReward(m)"
    ),
}
"""What each is and what its difference from log Z means, best known first."""


@dataclass(frozen=True, slots=True)
class Match:
    """How well a column fits one of the usual estimators.

    Attributes
    ----------
    name : str
        A key of ``SENTENCES``.
    n_prompts : int
        Prompts in which every row fits.
    """

    name: str
    n_prompts: int


def matches(outcomes: Outcomes, beta: float, claimed: Floats) -> list[Match]:
    """Return the usual estimators that a column equals in some prompts at least, the most fitting first.

    Parameters
    ----------
    outcomes : Outcomes
        The table.
    beta : float
        KL coefficient.
    claimed : array, shape (n_rows,)
        Claimed log Z in nats, in the order of the rows.
    """
    columns = outcomes.columns()
    grouped = outcomes.groups.gather(claimed)
    first, size = columns.start[:-1], np.diff(columns.start)
    scale = tolerance_scale(columns, beta)
    found = []
    for name, candidate in _candidates(outcomes, columns, beta).items():
        values = candidate()
        with np.errstate(invalid="ignore", over="ignore"):
            close = np.abs(grouped - values) <= DIGITS * np.maximum(np.abs(grouped), np.repeat(scale, size))
        found.append(Match(name, int(np.sum(np.logical_and.reduceat(close, first)))))
    return sorted((match for match in found if match.n_prompts), key=lambda match: -match.n_prompts)


def tolerance_scale(columns: Columns, beta: float) -> Floats:
    """Return the largest number, in nats, that an estimator sums up in each group: rounding is relative to it."""
    with np.errstate(over="ignore"):
        size = np.where(np.isfinite(columns.reward), np.abs(columns.reward), 0.0) / beta
    if not columns.normalised and columns.log_count is not None:
        log_weight = np.abs(columns.log_mass + np.repeat(columns.log_count, np.diff(columns.start)))
        size = np.maximum(size, np.where(np.isfinite(log_weight), log_weight, 0.0))
    return np.minimum(np.maximum.reduceat(size, columns.start[:-1]), _LARGEST)


def _candidates(outcomes: Outcomes, columns: Columns, beta: float) -> dict[str, Callable[[], Floats]]:
    """Return the estimators that a table like this allows, each as a value per row, group by group."""
    score = _Scores(columns, beta)
    usual = {"max": score.largest, "uniform_quantile": score.uniform_quantile}
    if outcomes.evidence == "partial":
        return usual
    if outcomes.evidence == "complete":
        return {"log_z": score.log_z, "mean_reward": score.mean, **usual}
    if outcomes.weighted:
        return {
            "log_mean_exp": score.log_z,
            "vargrad": score.mean_with_weight,
            "mean_reward_of_policy": score.mean,
            **usual,
        }
    return {
        "log_mean_exp": score.log_z,
        "mean_reward": score.mean,
        "leave_one_out_log_mean_exp": score.log_mean_exp_of_others,
        "leave_one_out_mean": score.mean_of_others,
        **usual,
    }


class _Scores:
    """Rewards over beta, and what the usual estimators make of them; one value per row, group by group."""

    def __init__(self, columns: Columns, beta: float) -> None:
        self.columns, self.beta = columns, beta
        self.first, self.size = columns.start[:-1], np.diff(columns.start)
        with np.errstate(over="ignore"):
            self.score = columns.reward / beta
        self.mass = np.exp(columns.log_mass) if columns.log_count is None else 1.0 / self._rows(self.size)

    def log_z(self) -> Floats:
        return self._rows(reduce_groups(self.columns, np.array([[self.beta]])).log_z[:, 0])

    def mean(self) -> Floats:
        occurs = np.where(self.mass > 0, self.score, 0.0)
        return self._rows(self._sum(self.mass * occurs))

    def mean_with_weight(self) -> Floats:
        log_weight = self.columns.log_mass + np.log(self._rows(self.size))
        return self._rows(self._sum(self.mass * (self.score + log_weight)))

    def mean_of_others(self) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self._rows(self._sum(self.score)) - self.score) / self._rows(self.size - 1.0)

    def log_mean_exp_of_others(self) -> Floats:
        """Return sums from both ends of each group, since the difference of two sums may keep no digits."""
        found = np.empty_like(self.score)
        with np.errstate(divide="ignore", invalid="ignore"):
            for first, last in pairwise(self.columns.start):
                rows = self.score[first:last]
                before = np.logaddexp.accumulate(np.append(-np.inf, rows[:-1]))
                after = np.logaddexp.accumulate(np.append(-np.inf, rows[:0:-1]))[::-1]
                found[first:last] = np.logaddexp(before, after) - np.log(last - first - 1.0)
        return np.where(self._rows(self.size) > 1, found, np.nan)

    def largest(self) -> Floats:
        occurs = np.where(self.columns.log_mass > -np.inf, self.score, -np.inf)
        return self._rows(np.maximum.reduceat(occurs, self.first))

    def uniform_quantile(self) -> Floats:
        from tiltz.laws import Uniform

        return np.full_like(self.score, float(Uniform(0.0, 1.0).log_z(self.beta)))

    def _sum(self, rows: Floats) -> Floats:
        return np.add.reduceat(rows, self.first)

    def _rows(self, per_group: npt.NDArray) -> Floats:
        return np.repeat(per_group.astype(np.float64), self.size)
