"""log Z and the divergences of a chain of fixed length, whatever its rewards: joined step by step or by squaring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.chains.segment import Segment, joined, single
from tiltz.known.chains.walk import Walk

Floats = npt.NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_AT_ONCE = 4_000_000  # numbers in one array
_SMALL = 8  # states up to which squares of many steps side by side are faster than one step after another


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is known of one chain, each an array of shape (n_betas,)."""

    log_z: Floats
    mean_reward: Floats
    kl: Floats
    kl_reverse: Floats
    error: Floats


def by_segments(walk: Walk, beta: Floats) -> Answer:
    """Return the answer by joining segments, in relative digits at every beta."""
    n = len(walk.first)
    if n <= _SMALL or squares(walk):
        per_beta = n**3 * (1 if walk.homogeneous else 64)
        block = max(1, _AT_ONCE // per_beta)
        whole = _squared if walk.homogeneous else _paired
    else:
        block, whole = max(1, _AT_ONCE // n**2), _stepwise
    parts = [answer(whole(walk, 1.0 / b), b) for b in np.split(beta, range(block, len(beta), block))]
    return Answer(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in Answer.__slots__})


def squares(walk: Walk) -> bool:
    """Whether repeated squaring is less work than the steps one by one."""
    assert walk.process.length is not None
    n, length = len(walk.first), walk.process.length
    return walk.homogeneous and n * 2 * np.log2(max(length, 2)) < length


def first_step(walk: Walk, n_betas: int) -> Segment:
    """Return the segment from before the beginning to the first state."""
    return single(walk.process.initial[None, :], walk.first[None, :], n_betas)


def end(walk: Walk, n_betas: int) -> Segment:
    """Return the segment from the last state to the end."""
    return single(np.ones((len(walk.last), 1)), walk.last[:, None], n_betas)


def step_after(walk: Walk, step: int, n_betas: int) -> Segment:
    """Return the segment that follows step ``step``."""
    return single(walk.process.transition_at(step), walk.gain_at(step), n_betas)


def answer(whole: Segment, beta: Floats) -> Answer:
    """Return what a segment from before the beginning to the end says.

    Notes
    -----
    log Z is measured from the largest reward or from the mean reward, mean reward / beta + KL(reference || tilted),
    whichever sum has the smaller terms; so is the mean reward.
    """
    t = 1.0 / beta
    deviation = np.stack(
        [
            np.broadcast_to(whole.mean[0], t.shape),
            np.broadcast_to(whole.top[0], t.shape),
            whole.log_tilt[:, 0, 0],
            *whole.sums[:, :, 0, 0],
        ]
    )
    deviation[1] = np.where(whole.top[0, 0] > -np.inf, deviation[1], 0.0)
    mean, top, log_tilt, deficit, kl, kl_reverse = whole.base[0] + (whole.base[1] + deviation)
    if whole.top[0, 0] == -np.inf:
        nothing = np.full(t.shape, np.nan)
        return Answer(
            log_z=np.full(t.shape, -np.inf),
            mean_reward=nothing,
            kl=nothing,
            kl_reverse=nothing,
            error=np.zeros(t.shape),
        )
    low, high = t * mean, t * top
    from_mean = np.abs(low) + kl_reverse < np.abs(high) + np.abs(log_tilt)
    log_z = np.where(from_mean, low + kl_reverse, high + log_tilt)
    size = np.where(from_mean, np.abs(low) + kl_reverse, np.abs(high) + np.abs(log_tilt))
    reach = beta * (kl + kl_reverse)
    reward_from_mean = np.abs(mean) + reach < np.abs(top) + deficit
    return Answer(
        log_z=log_z,
        mean_reward=np.where(reward_from_mean, mean + reach, top - deficit),
        kl=kl,
        kl_reverse=kl_reverse,
        error=whole.error + 4 * _EPS * size,
    )


def _stepwise(walk: Walk, t: Floats) -> Segment:
    assert walk.process.length is not None
    tail = end(walk, len(t))
    for step in range(walk.process.length - 2, -1, -1):
        tail = joined(step_after(walk, step, len(t)), tail, t)
    return joined(first_step(walk, len(t)), tail, t)


def _squared(walk: Walk, t: Floats) -> Segment:
    """Return the whole by repeated squaring of the one step."""
    assert walk.process.length is not None
    tail, power = end(walk, len(t)), step_after(walk, 0, len(t))
    left = walk.process.length - 1
    while left:
        if left % 2:
            tail = joined(power, tail, t)
        left //= 2
        if left:
            power = joined(power, power, t)
    return joined(first_step(walk, len(t)), tail, t)


def _paired(walk: Walk, t: Floats) -> Segment:
    """Return the whole from blocks of steps, each joined in pairs, then in pairs of pairs."""
    process = walk.process
    assert process.length is not None
    n, n_steps = len(walk.first), process.length - 1
    tail = end(walk, len(t))
    block = max(1, _AT_ONCE // (n**3 * len(t)))
    for last in range(n_steps, 0, -block):
        steps = np.arange(max(last - block, 0), last)
        prob = process.transition[steps] if process.varies else process.transition
        gain = walk.gain[steps] if len(walk.gain) > 1 else walk.gain
        prob, gain = np.broadcast_arrays(prob, gain, np.empty((len(steps), n, n)))[:2]
        tail = joined(_one(_halved(single(prob, gain, len(t)), t)), tail, t)
    return joined(first_step(walk, len(t)), tail, t)


def _halved(steps: Segment, t: Floats) -> Segment:
    while len(steps.error) > 1:
        n = len(steps.error) // 2
        pairs = joined(_some(steps, slice(0, 2 * n, 2)), _some(steps, slice(1, 2 * n, 2)), t)
        steps = pairs if 2 * n == len(steps.error) else _appended(pairs, _some(steps, slice(2 * n, None)))
    return steps


def _some(steps: Segment, which: slice | int) -> Segment:
    return Segment(**{name: getattr(steps, name)[which] for name in Segment.__slots__})


def _one(steps: Segment) -> Segment:
    return _some(steps, 0)


def _appended(steps: Segment, more: Segment) -> Segment:
    return Segment(
        **{name: np.concatenate([getattr(steps, name), getattr(more, name)]) for name in Segment.__slots__}
    )
