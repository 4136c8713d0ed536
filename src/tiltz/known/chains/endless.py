"""log Z of a chain that runs until it ends, with nothing to bound its length: a linear system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.chains.fixed import Answer
from tiltz.known.chains.process import expected_visits
from tiltz.known.chains.radius import least_beta, log_radius, longest
from tiltz.known.chains.segment import kl_reverse_terms, kl_terms
from tiltz.known.chains.walk import Walk

Floats = npt.NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The steps of a chain, from the start, at index n, to the end, at column n.

    Attributes
    ----------
    prob : array, shape (n + 1, n + 1)
        Row n: the first step; column n: the end.
    reward : array, shape (n + 1, n + 1)
        Of the steps; ``-inf`` where they are forbidden, or lead to where every end is.
    top : array, shape (n + 1,)
        Largest reward of a path from each state to the end (zeros if there is none).
    drop : array, shape (n + 1, n + 1)
        Reward of a step, and ``top`` after it less ``top`` before it: at most 0 where no cycle gains.
    gains : bool
        Whether a cycle has a positive reward.
    beta_min : float
        Z is infinite at and below this beta.
    """

    prob: Floats
    reward: Floats
    top: Floats
    drop: Floats
    gains: bool
    beta_min: float

    @property
    def nothing(self) -> bool:
        """Whether every sequence is forbidden."""
        return bool(np.all(np.isneginf(self.reward[-1])))

    @property
    def forbids(self) -> bool:
        """Whether a sequence of positive probability is forbidden."""
        return bool(np.any((self.prob > 0) & np.isneginf(self.reward)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The tilt of every step at one beta.

    Attributes
    ----------
    log_tilt : array, shape (n + 1,)
        Log of the mean of exp((reward to come - top) / beta), in nats; the start last.
    x : array, shape (n + 1, n + 1)
        Log of tilted over reference probability of each step.
    near : bool
        Whether the tilt is small.
    """

    log_tilt: Floats
    x: Floats
    near: bool


def graph(walk: Walk) -> Graph:
    """Return the steps of a chain that are of use: to states that are reached."""
    process, n = walk.process, len(walk.first)
    prob, reward = np.zeros((n + 1, n + 1)), np.full((n + 1, n + 1), -np.inf)
    prob[:n, :n], prob[:n, n] = process.transition, process.end_at(0)
    prob[n, :n], prob[n, n] = process.initial, process.empty
    reward[:n, :n], reward[:n, n] = walk.gain[0], walk.last
    reward[n, :n], reward[n, n] = walk.first, walk.empty
    prob = np.where(_follows(prob > 0, from_start=True)[:, None], prob, 0.0)
    ends = _follows((prob > 0) & (reward > -np.inf), from_start=False)
    reward = np.where((prob > 0) & np.append(ends[:n], True), reward, -np.inf)
    allowed = reward > -np.inf
    used = _follows(allowed, from_start=True)
    log_inside = np.where(allowed & used[:, None] & used, _log(prob), -np.inf)[:n, :n]
    rounding = 4 * n * _EPS * float(np.max(np.abs(reward[allowed]), initial=0.0))
    best = longest(_to_end(np.where(used[:, None], reward, -np.inf)), rounding)
    gains = best is None
    top = np.zeros(n + 1) if best is None else best[: n + 1]
    top = np.where(top > -np.inf, top, 0.0)
    drop = reward + np.append(top[:n], 0.0) - top[:, None]
    if not gains:
        # A path that is the best but for rounding must stay so at every beta.
        drop = np.where(drop >= -rounding, 0.0, drop)
    return Graph(
        prob=prob,
        reward=reward,
        top=top,
        drop=drop,
        gains=gains,
        beta_min=least_beta(log_inside, reward[:n, :n], gains),
    )


def solve(steps: Graph, beta: float) -> Solution | None:
    """Return the tilt of every step, or None where Z is infinite."""
    t, n = 1.0 / beta, len(steps.prob) - 1
    if beta <= steps.beta_min:
        return None
    gain = np.where(steps.drop > -np.inf, t * np.where(steps.drop > -np.inf, steps.drop, 0.0), -np.inf)
    excess = _excess(steps.prob, gain) if np.max(gain) < 1.0 else None
    near = excess is not None and bool(np.all(np.abs(excess) < 0.5))
    log_tilt = np.log1p(excess) if excess is not None and near else _log_means(gain + _log(steps.prob))
    if log_tilt is None:
        return None
    after = np.append(log_tilt[:n], 0.0)
    known = (gain > -np.inf) & (after > -np.inf)
    x = np.where(
        known,
        np.where(known, gain + after, 0.0) - np.where(log_tilt > -np.inf, log_tilt, 0.0)[:, None],
        -np.inf,
    )
    return Solution(log_tilt=log_tilt, x=x, near=near)


def answer(steps: Graph, beta: Floats) -> tuple[Answer, list[str]]:
    """Return what is known at every beta, and why Z is infinite where it is."""
    if steps.nothing:
        minus, unknown = np.full(len(beta), -np.inf), np.full(len(beta), np.nan)
        nothing = Answer(log_z=minus, mean_reward=unknown, kl=unknown, kl_reverse=unknown, error=0 * beta)
        return nothing, [""] * len(beta)
    n = len(steps.prob) - 1
    reference = np.append(expected_visits(steps.prob[n, :n], steps.prob[:n, :n], steps.prob[:n, n]), 1.0)
    found, reasons = [], []
    for b in beta:
        solution = solve(steps, float(b))
        reasons.append(_reason(steps, float(b)) if solution is None else "")
        found.append(
            [np.inf] + [np.nan] * 4 if solution is None else _at(steps, solution, float(b), reference)
        )
    log_z, mean_reward, kl, kl_reverse, error = np.array(found).T
    return (
        Answer(log_z=log_z, mean_reward=mean_reward, kl=kl, kl_reverse=kl_reverse, error=error),
        reasons,
    )


def _at(steps: Graph, solution: Solution, beta: float, reference: Floats) -> list[float]:
    """Return log_z, mean_reward, kl, kl_reverse and error at one beta."""
    t, n, x = 1.0 / beta, len(steps.prob) - 1, solution.x
    tilted = steps.prob * np.exp(x)
    visits = np.append(expected_visits(tilted[n, :n], tilted[:n, :n], tilted[:n, n]), 1.0)
    kl = float(np.sum(visits[:, None] * kl_terms(steps.prob, tilted, x)))
    kl_reverse, mean = np.inf, -np.inf
    if not steps.forbids:
        kl_reverse = float(np.sum(reference[:, None] * kl_reverse_terms(steps.prob, tilted, x)))
        mean = float(np.sum(reference[:, None] * steps.prob * np.where(steps.prob > 0, steps.reward, 0.0)))
    drop = np.where(tilted > 0, steps.drop, 0.0)
    deficit = -float(np.sum(visits[:, None] * tilted * drop))
    top, log_tilt = float(steps.top[n]), float(solution.log_tilt[n])
    from_mean = t * abs(mean) + kl_reverse < t * abs(top) + abs(log_tilt)
    log_z = t * mean + kl_reverse if from_mean else t * top + log_tilt
    reach = beta * (kl + kl_reverse)
    mean_reward = mean + reach if abs(mean) + reach < abs(top) + abs(deficit) else top - deficit
    size = np.where(tilted > 0, t * np.abs(drop), 0.0)
    per_visit = np.sum(visits[:, None] * tilted * size) + (0.0 if solution.near else (4 + n) * np.sum(visits))
    return [log_z, mean_reward, kl, kl_reverse, 4 * _EPS * float(per_visit + abs(t * top) + abs(log_z))]


def _excess(prob: Floats, gain: Floats) -> Floats | None:
    """Return the mean of exp(gain to come) less 1, to full digits where it is small."""
    n = len(prob) - 1
    right = np.sum(prob * np.expm1(gain), axis=1)
    onward = prob[:, :n] * np.exp(gain[:, :n])
    try:
        inside = np.linalg.solve(np.eye(n) - onward[:n], right[:n])
    except np.linalg.LinAlgError:
        return None
    return np.append(inside, right[n] + onward[n] @ inside)


def _log_means(weight: Floats) -> Floats | None:
    """Return the log of the sum over all paths to the end of exp(weight), or None where it diverges."""
    n = len(weight) - 1
    best = longest(_to_end(weight), 64 * n * _EPS)
    if best is None:
        return None
    ends = best[:n] > -np.inf
    level = np.where(ends, best[:n], 0.0)
    start = best[n]
    if start == -np.inf:
        return np.append(best[:n], -np.inf)
    scaled = np.exp(weight[:n] + np.append(level, 0.0) - level[:, None])
    scaled[:, :n][:, ~ends] = 0.0
    scaled[~ends] = 0.0
    try:
        inside = np.linalg.solve(np.eye(n) - scaled[:, :n], scaled[:, n])
    except np.linalg.LinAlgError:
        return None
    if not np.all(inside[ends] > 0):
        return None
    first = np.exp(weight[n] + np.append(level, 0.0) - start)
    whole = first[n] + np.sum(np.where(ends, first[:n] * inside, 0.0))
    return np.append(
        np.where(ends, level + np.log(np.where(ends, inside, 1.0)), -np.inf), start + np.log(whole)
    )


def _to_end(weight: Floats) -> Floats:
    """Return a matrix of steps between n states, the start and the end, in which the end is last."""
    n = len(weight) - 1
    square = np.full((n + 2, n + 2), -np.inf)
    square[: n + 1, :n], square[: n + 1, n + 1] = weight[:, :n], weight[:, n]
    return square


def _follows(edge: npt.NDArray[np.bool_], *, from_start: bool) -> npt.NDArray[np.bool_]:
    """Return which rows are reached from the start, or from which rows the end is."""
    n = len(edge) - 1
    found = edge[:, n].copy() if not from_start else np.append(np.zeros(n, dtype=bool), True)
    for _ in range(n + 1):
        inner = found[:n]
        more = found | (edge[:, :n] @ inner if not from_start else np.append(found @ edge[:, :n], True))
        if np.array_equal(more, found):
            break
        found = more
    return found


def _log(prob: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.log(prob)


def _reason(steps: Graph, beta: float) -> str:
    n = len(steps.prob) - 1
    log_prob = np.where(steps.reward[:n, :n] > -np.inf, _log(steps.prob[:n, :n]), -np.inf)
    radius = np.exp(min(log_radius(log_prob, steps.reward[:n, :n], 1.0 / beta), 700.0))
    return (
        f"every sequence has a finite reward, yet Z is infinite at and below beta = {steps.beta_min:.6g}: going on "
        f"pays more than it costs (at beta {beta:.6g} each step multiplies the sum by {radius:.4g})"
    )
