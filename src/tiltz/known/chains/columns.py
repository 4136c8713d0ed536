"""Long chains whose rewards depend on the state reached alone: one matrix product per step for all betas.

Faster than segments, and less careful: each way says for which betas its digits can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.chains.fixed import Answer
from tiltz.known.chains.walk import Walk, forbids
from tiltz.laws.series import expm1_minus_x, x_minus_log1p

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_EPS = float(np.finfo(np.float64).eps)
_AT_ONCE = 400_000  # exponentials held at once
_DIGITS = 1e-12  # relative, of both divergences
_LEAST = 1e-250  # below this, messages are about to underflow
_CANCELS = 300.0  # times what is left may be what was subtracted


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What the steps of a chain sum to: rewards less a common ``centre``, which is the sum of those of the steps.

    Attributes
    ----------
    log_z, mean_reward : array, shape (n_betas,)
        Of the rewards less the centre.
    mean_ref, centre : float
        Mean reward under the reference, less the centre; the centre.
    """

    log_z: Floats
    mean_reward: Floats
    mean_ref: float
    centre: float

    def answer(self, beta: Floats, n_steps: int) -> tuple[Answer, Bools]:
        """Return the answer, and where its divergences keep their digits: they are differences."""
        t = 1.0 / beta
        kl = t * self.mean_reward - self.log_z
        kl_reverse = self.log_z - t * self.mean_ref
        error = 4 * _EPS * (n_steps + np.abs(self.log_z) + np.abs(t * self.mean_reward))
        least = np.minimum(kl, np.where(np.isfinite(kl_reverse), kl_reverse, kl))
        answer = Answer(
            log_z=self.log_z + t * self.centre,
            mean_reward=self.mean_reward + self.centre,
            kl=kl,
            kl_reverse=kl_reverse,
            error=error + 4 * _EPS * np.abs(t * self.centre),
        )
        return answer, error <= _DIGITS * least


def from_top(walk: Walk, beta: Floats) -> tuple[Answer, Bools]:
    """Return the answer from scaled sums of exponentials, and where it can be trusted: where the tilt is not small.

    Notes
    -----
    Backwards over the steps, with h the mean of exp(reward to come / beta) and m the tilted mean of that reward:
    h <- P (e h), m <- P (e h (r + m)) / P (e h). KL(tilted || reference) is mean reward / beta - log Z, which
    cancels where it is small.
    """
    t, n_betas, n = 1.0 / beta, len(beta), len(walk.last)
    rows = np.empty((2 * n_betas + 1, n))
    y, z = rows[:n_betas], rows[n_betas:-1]
    last = float(np.max(walk.last))
    h, mean, mean_ref = np.exp(t[:, None] * (walk.last - last)), _finite(walk.last), _finite(walk.last)
    log_z, mean_total = t * np.longdouble(last), np.zeros(n_betas, dtype=np.longdouble)
    ref_total, centre, least = np.longdouble(0), np.longdouble(0), np.inf
    for block in _blocks(walk, t):
        size = len(block.step)
        scales, shifts, ref_shifts = np.empty((size, n_betas)), np.empty((size, n_betas)), np.empty(size)
        for i in range(size):
            np.multiply(block.weight[block.at[i]], h, out=y)
            np.multiply(y, mean + block.finite[block.at[i]], out=z)
            np.add(block.finite[block.at[i]], mean_ref, out=rows[-1])
            product = rows @ _transposed(walk, block.step[i])
            total, mean_ref = product[:n_betas], product[-1]
            scale = scales[i] = total.max(axis=1)
            mean = product[n_betas:-1] / total
            shifts[i], ref_shifts[i] = mean[:, 0], mean_ref[0]
            mean -= shifts[i][:, None]
            mean_ref = mean_ref - ref_shifts[i]
            h = total / scale[:, None]
            least = min(least, float(h.min()))
        log_z = log_z + np.sum(np.log(scales), axis=0, dtype=np.longdouble) + t * block.sum(block.high)
        mean_total += np.sum(shifts, axis=0, dtype=np.longdouble)
        ref_total += np.sum(ref_shifts, dtype=np.longdouble)
        centre += block.sum(block.centre)
    sums = Sums(
        log_z=log_z.astype(np.float64),
        mean_reward=mean_total.astype(np.float64),
        mean_ref=-np.inf if forbids(walk) else float(ref_total),
        centre=float(centre),
    )
    answer, sound = sums.answer(beta, _length(walk))
    return answer, sound & (least > _LEAST)


def from_mean(walk: Walk, beta: Floats) -> tuple[Answer, Bools]:
    """Return the answer in differences from 1, and where it can be trusted: where the tilt is small.

    Notes
    -----
    With x the reward of a step and what is to come, in nats and less their common part, a = P (e^x - 1) and
    l = log(1 + a): KL(tilted || reference) of a step is (P (x e^x - e^x + 1) + a) / (1 + a) - l, and
    KL(reference || tilted) is P (e^x - 1 - x) - (a - l), of terms of second order that hardly cancel.
    """
    t, n_betas = 1.0 / beta[:, None], len(beta)
    message = t * (walk.last - walk.last[0])
    kl, kl_reverse = np.zeros_like(message), np.zeros_like(message)
    mean_ref, reference = walk.last - walk.last[0], np.longdouble(walk.last[0])
    total, removed = np.zeros((2, n_betas), dtype=np.longdouble), np.zeros((2, n_betas))
    largest = np.zeros(n_betas)
    for block in _blocks(walk, t[:0, 0]):
        for i, step in enumerate(block.step):
            reward = block.reward[block.at[i]]
            x = t * reward + message
            largest = np.maximum(largest, np.abs(x).max(axis=1))
            e, excess = np.expm1(x), expm1_minus_x(x)
            rows = [e, e * x - excess + (1.0 + e) * kl, excess + kl_reverse, (reward + mean_ref)[None]]
            product = np.concatenate(rows) @ _transposed(walk, step)
            a, kl, kl_reverse = (product[j * n_betas : (j + 1) * n_betas] for j in range(3))
            beyond = x_minus_log1p(a)
            less = a * a / (1.0 + a) - beyond
            kl, kl_reverse = kl / (1.0 + a) - less, kl_reverse - beyond
            removed += less.max(axis=1), beyond.max(axis=1)
            common = kl.min(axis=1), kl_reverse.min(axis=1)
            kl, kl_reverse = kl - common[0][:, None], kl_reverse - common[1][:, None]
            total += common
            message = a - beyond
            message = message - message[:, :1]
            mean_ref = product[-1] - product[-1, 0]
            reference += product[-1, 0]
        reference += block.sum(block.centre)
    answer = _small(total.astype(np.float64), float(reference), largest * _length(walk), beta)
    return answer, (largest < 1.0) & np.all(removed <= _CANCELS * total, axis=0)


def _small(total: Floats, reference: float, rounding: Floats, beta: Floats) -> Answer:
    kl, kl_reverse = total
    return Answer(
        log_z=reference / beta + kl_reverse,
        mean_reward=reference + beta * (kl + kl_reverse),
        kl=kl,
        kl_reverse=kl_reverse,
        error=4 * _EPS * (rounding + np.abs(reference / beta) + kl_reverse),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """The rewards of some steps, the last first.

    Attributes
    ----------
    step : list of int
        The state is reached after this step; -1 for the first state.
    at : list of int
        Row of each step in the arrays below, which hold one row where all steps earn alike.
    centre, high : array, shape (n_rows,)
        Middle of the rewards, and the largest less that.
    reward, finite : array, shape (n_rows, n)
        Rewards less the middle, and the same with 0 for ``-inf``.
    weight : array, shape (n_rows, n_betas, n)
        exp((reward - largest) / beta).
    """

    step: list[int]
    at: list[int]
    centre: Floats
    high: Floats
    reward: Floats
    finite: Floats
    weight: Floats

    def sum(self, values: Floats) -> np.longdouble:
        """Return the sum over the steps."""
        return np.sum(values[self.at], dtype=np.longdouble)


def _blocks(walk: Walk, t: Floats) -> Iterator[_Block]:
    """Cut the steps of a chain into blocks.

    Yields
    ------
    _Block
        The last steps first.
    """
    n, length = len(walk.first), _length(walk)
    block = max(1, _AT_ONCE // (n * max(len(t), 1)))
    alike = _block(walk.gain[0], t) if len(walk.gain) == 1 else None
    for last in range(length - 1, 0, -block):
        steps = list(range(last - 1, max(last - block, 0) - 1, -1))
        if alike is None:
            yield _with_steps(_block(walk.gain[steps, 0], t), steps, list(range(len(steps))))
        else:
            yield _with_steps(alike, steps, [0] * len(steps))
    yield _with_steps(_block(walk.first[None], t), [-1], [0])


def _block(reward: Floats, t: Floats) -> _Block:
    allowed = reward > -np.inf
    high = np.max(reward, axis=1)
    low = np.min(np.where(allowed, reward, high[:, None]), axis=1)
    centre = np.where(high > -np.inf, 0.5 * low + 0.5 * high, 0.0)
    above = reward - centre[:, None]
    return _Block(
        step=[],
        at=[],
        centre=centre,
        high=high - centre,
        reward=above,
        finite=_finite(above),
        weight=np.exp(t[:, None] * (reward - high[:, None])[:, None, :]),
    )


def _with_steps(block: _Block, step: list[int], at: list[int]) -> _Block:
    return _Block(
        step=step,
        at=at,
        centre=block.centre,
        high=block.high,
        reward=block.reward,
        finite=block.finite,
        weight=block.weight,
    )


def _transposed(walk: Walk, step: int) -> Floats:
    """Return the probabilities of what follows a step as columns of where it comes from."""
    return walk.process.initial[:, None] if step < 0 else walk.process.transition_at(step).T


def _finite(reward: Floats) -> Floats:
    return np.where(reward > -np.inf, reward, 0.0)


def _length(walk: Walk) -> int:
    assert walk.process.length is not None
    return walk.process.length
