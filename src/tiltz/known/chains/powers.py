"""Constant transitions and rewards for very many steps: powers of one matrix by repeated squaring, for all betas.

Faster than segments, and less careful: it says for which betas its digits can be trusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.chains.columns import Sums
from tiltz.known.chains.fixed import Answer
from tiltz.known.chains.walk import Walk, forbids

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_LEAST = 1e-140  # products of two larger numbers do not underflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Steps in a row, for every beta.

    Attributes
    ----------
    weight : array, shape (n_betas, n, m)
        Sum of the products of P exp(reward / beta) over the paths between two states, over exp(``log_scale``).
    mean : array, shape (n_betas, n, m)
        Mean reward of those paths under the tilted law, less ``shift``.
    log_scale, shift : array, shape (n_betas,)
        What the two have in common.
    least : array, shape (n_betas,)
        The smallest positive weight in any factor.
    """

    weight: Floats
    mean: Floats
    log_scale: npt.NDArray[np.longdouble]
    shift: npt.NDArray[np.longdouble]
    least: Floats


def from_powers(walk: Walk, beta: Floats) -> tuple[Answer, Bools]:
    """Return the answer from powers of P exp(reward / beta), and where it can be trusted: at tilts not small."""
    t = np.append(1.0 / beta, 0.0)  # at 0 the tilted mean is that of the reference
    rewards = walk.first[None, :], walk.gain[0], walk.last[:, None]
    centre = [_centre(r) for r in rewards]
    assert walk.process.length is not None
    n_steps = walk.process.length - 1
    probs = walk.process.initial[None, :], walk.process.transition_at(0), np.ones((len(walk.last), 1))
    first, step, whole = (_single(p, r - c, t) for p, r, c in zip(probs, rewards, centre, strict=True))
    left = n_steps
    while left:
        whole = _product(step, whole) if left % 2 else whole
        left //= 2
        step = _product(step, step) if left else step
    whole = _product(first, whole)
    mean = (whole.mean[:, 0, 0] + whole.shift).astype(np.float64)
    sums = Sums(
        log_z=(np.log(whole.weight[:-1, 0, 0]) + whole.log_scale[:-1]).astype(np.float64),
        mean_reward=mean[:-1],
        mean_ref=-np.inf if forbids(walk) else float(mean[-1]),
        centre=float(
            np.longdouble(centre[0]) + n_steps * np.longdouble(centre[1]) + np.longdouble(centre[2])
        ),
    )
    answer, sound = sums.answer(beta, n_steps + 1)
    return answer, sound & (whole.least[:-1] > _LEAST)


def _single(prob: Floats, reward: Floats, t: Floats) -> Power:
    prob, reward = np.broadcast_arrays(prob, reward)
    allowed = (prob > 0) & (reward > -np.inf)
    finite = np.where(allowed, reward, 0.0)
    high = np.max(finite, initial=-np.inf, where=allowed)
    weight = np.where(allowed, prob * np.exp(t[:, None, None] * (finite - high)), 0.0)
    return _scaled(
        weight,
        np.broadcast_to(finite, weight.shape),
        (t * high).astype(np.longdouble),
        np.zeros(len(t), dtype=np.longdouble),
        np.where(np.any(allowed & (weight == 0), axis=(-2, -1)), 0.0, np.inf),
    )


def _product(left: Power, right: Power) -> Power:
    weight = left.weight @ right.weight
    total = (left.weight * left.mean) @ right.weight + left.weight @ (right.weight * right.mean)
    return _scaled(
        weight,
        np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), 0.0),
        left.log_scale + right.log_scale,
        left.shift + right.shift,
        np.minimum(left.least, right.least),
    )


def _scaled(
    weight: Floats,
    mean: Floats,
    log_scale: npt.NDArray[np.longdouble],
    shift: npt.NDArray[np.longdouble],
    least: Floats,
) -> Power:
    scale = np.max(weight, axis=(-2, -1), keepdims=True)
    weight = weight / scale
    occurs = weight > 0
    middle = np.sum(weight * mean, axis=(-2, -1), keepdims=True) / np.sum(
        weight, axis=(-2, -1), keepdims=True
    )
    return Power(
        weight=weight,
        mean=np.where(occurs, mean - middle, 0.0),
        log_scale=log_scale + np.log(scale[:, 0, 0]),
        shift=shift + middle[:, 0, 0],
        least=np.minimum(least, np.min(np.where(occurs, weight, np.inf), axis=(-2, -1))),
    )


def _centre(reward: Floats) -> float:
    """Return the middle of the rewards that are allowed."""
    finite = reward[reward > -np.inf]
    return 0.5 * float(np.min(finite)) + 0.5 * float(np.max(finite)) if finite.size else 0.0
