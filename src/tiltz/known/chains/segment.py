"""Stretches of a chain: the law of the reward on the paths between two states, and how two stretches join.

Everything that is asked of a chain of fixed length is the join of its steps: one at a time, or by repeated squaring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.laws.series import expm1_minus_x, x_exp_minus_expm1

Floats = npt.NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What a stretch of a chain does to the paths from state i to state k, for every beta.

    The leading axes ``...`` are stretches side by side. What is large is kept apart from what differs between paths:
    each of the arrays is a deviation, and the ``base`` of its kind, a pair of numbers that sum to it, comes on top.

    Attributes
    ----------
    log_prob : array, shape (..., i, k)
        Log-probability of k at the end, given i at the beginning.
    mean : array, shape (..., i, k)
        Mean reward under the reference of the paths from i to k.
    top : array, shape (..., i, k)
        Largest reward of a path from i to k; ``-inf`` where there is none.
    log_tilt : array, shape (..., beta, i, k)
        Log of the mean of exp((reward - top) / beta) over those paths, in nats.
    sums : array, shape (..., 3, beta, i, k)
        Of those paths: how far the tilted mean reward is below ``top``, KL(tilted || reference),
        KL(reference || tilted).
    base : array, shape (..., 2, 6, beta)
        Bases of mean, top, log_tilt and the three sums.
    error : array, shape (..., beta)
        Bound on the rounding of ``log_tilt``, in nats.
    """

    log_prob: Floats
    mean: Floats
    top: Floats
    log_tilt: Floats
    sums: Floats
    base: Floats
    error: Floats


def single(prob: Floats, reward: Floats, n_betas: int) -> Segment:
    """Return single steps with these probabilities and rewards, shape (..., i, k)."""
    prob, reward = np.broadcast_arrays(prob, reward)
    *steps, n, m = prob.shape
    occurs = prob > 0
    forbidden = occurs & (reward == -np.inf)
    sums = np.zeros((*steps, 3, n_betas, n, m))
    sums[..., 2, :, :, :] = np.where(forbidden, np.inf, 0.0)[..., None, :, :]
    with np.errstate(divide="ignore"):
        log_prob = np.log(prob)
    log_tilt = np.where(occurs & ~forbidden, 0.0, -np.inf)[..., None, :, :]
    return Segment(
        log_prob=log_prob,
        mean=np.where(occurs, reward, 0.0),
        top=np.where(occurs, reward, -np.inf),
        log_tilt=np.broadcast_to(log_tilt, (*steps, n_betas, n, m)),
        sums=sums,
        base=np.zeros((*steps, 2, 6, n_betas)),
        error=np.zeros((*steps, n_betas)),
    )


def joined(left: Segment, right: Segment, t: Floats) -> Segment:
    """Return the stretch that is ``left`` and then ``right``; ``t`` is 1 / beta, shape (n_betas,).

    Notes
    -----
    The state j in between has a distribution given i and k. It is tilted by the mean of exp(reward / beta) on either
    side; each divergence is that of this distribution plus the mean of the divergences on either side, all terms
    of one sign.
    """
    log_weight, log_prob = _between(left.log_prob, right.log_prob)
    weight = np.exp(log_weight)
    mean = _weighted(weight, _outer(left.mean, right.mean))
    reward = _outer(left.top, right.top)
    top = np.max(reward, axis=-2)
    drop = reward - np.where(top > -np.inf, top, 0.0)[..., None, :]
    y = tilt_exponent(drop, _outer(left.log_tilt, right.log_tilt), t)
    log_tilt, x, rounding = tilt(log_weight[..., None, :, :, :], y)
    tilted = np.where(x > -np.inf, np.exp(log_weight[..., None, :, :, :] + x), 0.0)
    inside = _outer(left.sums, right.sums)
    inside[..., 0, :, :, :, :] -= np.where(drop > -np.inf, drop, 0.0)[..., None, :, :, :]
    masses = weight[..., None, :, :, :]
    sums = np.stack(
        [
            _weighted(tilted, inside[..., 0, :, :, :, :]),
            np.sum(kl_terms(masses, tilted, x), axis=-2) + _weighted(tilted, inside[..., 1, :, :, :, :]),
            np.sum(kl_reverse_terms(masses, tilted, x), axis=-2)
            + _weighted(masses, inside[..., 2, :, :, :, :]),
        ],
        axis=-4,
    )
    return _centred(
        log_prob,
        mean,
        top,
        log_tilt,
        sums,
        _added(left.base, right.base),
        left.error + right.error + rounding,
    )


def tilt_exponent(drop: Floats, log_tilt: Floats, t: Floats) -> Floats:
    """Return drop / beta + log_tilt with an axis of betas before (i, j, k)."""
    scaled = t[:, None, None, None] * drop[..., None, :, :, :]
    return np.where(np.isneginf(log_tilt) | np.isneginf(scaled), -np.inf, scaled + log_tilt)


def tilt(log_weight: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the log of the mean of e^y over the axis before the last, x = y less that, and the rounding of it.

    Where y is small the mean is measured from 1, so that its log keeps its digits.
    """
    occurs = log_weight > -np.inf
    y = np.where(occurs, y, -np.inf)
    highest = np.max(y, axis=-2)
    excess = np.sum(np.where(occurs, np.exp(log_weight) * np.expm1(np.minimum(y, 1.0)), 0.0), axis=-2)
    near = (highest < 1.0) & (excess > -0.5)
    summand = log_weight + y
    peak = np.max(summand, axis=-2, keepdims=True)
    scaled = np.exp(summand - np.where(peak > -np.inf, peak, 0.0))
    far = peak[..., 0, :] + np.log(np.sum(scaled, axis=-2))
    log_mean = np.where(near, np.log1p(np.where(near, excess, 0.0)), far)
    x = np.where(y > -np.inf, y - np.where(log_mean > -np.inf, log_mean, 0.0)[..., None, :], -np.inf)
    size = np.max(np.where(y > -np.inf, np.abs(y), 0.0), axis=-2)
    size = np.where(near, size, 4.0 + np.log(y.shape[-2]) + np.where(far > -np.inf, np.abs(far), 0.0))
    return log_mean, x, 4 * _EPS * np.max(size, axis=(-2, -1))


def kl_terms(weight: Floats, tilted: Floats, x: Floats) -> Floats:
    """Return the terms w (x e^x - e^x + 1) of KL(tilted || reference), none of them negative."""
    near = weight * x_exp_minus_expm1(np.clip(x, -1.0, 1.0))
    far = np.where(tilted > 0, tilted * (np.where(tilted > 0, x, 0.0) - 1.0), 0.0) + weight
    return np.where(np.abs(x) < 1.0, near, far)


def kl_reverse_terms(weight: Floats, tilted: Floats, x: Floats) -> Floats:
    """Return the terms w (e^x - 1 - x) of KL(reference || tilted), none of them negative."""
    near = weight * expm1_minus_x(np.clip(x, -1.0, 1.0))
    far = tilted - weight - np.where(weight > 0, weight * np.where(weight > 0, x, 0.0), 0.0)
    return np.where(np.abs(x) < 1.0, near, far)


def _between(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Return log-probabilities of the state in between, shape (..., i, j, k), and of the ends, shape (..., i, k)."""
    both = _outer(left, right)
    peak = np.max(both, axis=-2, keepdims=True)
    scaled = np.exp(both - np.where(peak > -np.inf, peak, 0.0))
    total = peak + np.log(np.sum(scaled, axis=-2, keepdims=True))
    return np.where(both > -np.inf, both - np.where(total > -np.inf, total, 0.0), -np.inf), total[..., 0, :]


def _outer(left: Floats, right: Floats) -> Floats:
    return left[..., :, :, None] + right[..., None, :, :]


def _weighted(weight: Floats, values: Floats) -> Floats:
    return np.sum(np.where(weight > 0, weight * np.where(weight > 0, values, 0.0), 0.0), axis=-2)


def _added(left: Floats, right: Floats) -> Floats:
    """Return the sum of two bases, each a number and what rounding left of it."""
    return carried(left[..., 0, :, :], right[..., 0, :, :], left[..., 1, :, :] + right[..., 1, :, :])


def carried(a: Floats, b: Floats, rest: Floats) -> Floats:
    """Return a + b and, added to ``rest``, what the sum lost to rounding, stacked on the axis before the last two."""
    total = a + b
    part = total - a
    lost = (a - (total - part)) + (b - part)
    return np.stack(np.broadcast_arrays(total, np.where(np.isfinite(lost), rest + lost, 0.0)), axis=-3)


def _centred(
    log_prob: Floats,
    mean: Floats,
    top: Floats,
    log_tilt: Floats,
    sums: Floats,
    base: Floats,
    error: Floats,
) -> Segment:
    """Return a segment after moving what its paths have in common into the base."""
    occurs = (log_prob > -np.inf) & (top > -np.inf)
    centres = [
        np.broadcast_to(_lowest(mean, occurs)[..., None], error.shape),
        np.broadcast_to(-_lowest(-top, occurs)[..., None], error.shape),
        _middle(log_tilt),
        *np.moveaxis(_lowest(sums, occurs[..., None, None, :, :]), -2, 0),
    ]
    common = np.stack(centres, axis=-2)
    return Segment(
        log_prob=log_prob,
        mean=mean - common[..., 0, 0, None, None],
        top=top - common[..., 1, 0, None, None],
        log_tilt=log_tilt - common[..., 2, :, None, None],
        sums=sums - common[..., 3:, :, None, None],
        base=carried(base[..., 0, :, :], common, base[..., 1, :, :]),
        error=error,
    )


def _lowest(values: Floats, occurs: npt.NDArray[np.bool_]) -> Floats:
    lowest = np.min(np.where(occurs & np.isfinite(values), values, np.inf), axis=(-2, -1))
    return np.where(lowest < np.inf, lowest, 0.0)


def _middle(values: Floats) -> Floats:
    finite = values > -np.inf
    low = np.min(np.where(finite, values, np.inf), axis=(-2, -1))
    high = np.max(np.where(finite, values, -np.inf), axis=(-2, -1))
    return np.where(low <= high, 0.5 * low + 0.5 * high, 0.0)
