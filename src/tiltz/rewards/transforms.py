"""Rewards made of other rewards: shifted and scaled, clipped, summed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.rewards.batch import Batch, call_all
from tiltz.rewards.protocol import Reward, name_of, range_of
from tiltz.rewards.values import as_list, as_number

Floats = npt.NDArray[np.float64]
Range = tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A reward computed from those of its parts.

    Attributes
    ----------
    name : str
        Of the reward.
    parts : tuple of Reward
        Sync or async.
    combine : callable
        Takes the prompts and an array for each part, and returns an array. A row without a value (NaN) in one part
        has none.
    reward_range : (float, float) or None
        Where it follows from the parts.
    """

    name: str
    parts: tuple[Reward, ...]
    combine: Callable[[Sequence[Any], list[Floats]], Floats]
    reward_range: Range = None

    def __call__(self, prompts: list[Any], completions: list[Any], **columns: Any) -> list[float | None]:
        """Return the values of the completions; what a part raises is raised."""
        batch = Batch.of(prompts, completions, columns)
        arrays = []
        for returned in call_all([(part, batch) for part in self.parts]):
            if isinstance(returned, Exception):
                raise returned
            arrays.append(np.array([as_number(value) for value in as_list(returned, len(batch))]))
        with np.errstate(invalid="ignore"):  # infinities of both signs have no sum
            found = self.combine(batch.prompts, arrays)
        return [None if math.isnan(value) else value for value in found.tolist()]


def affine(reward: Reward, shift: float, scale: float) -> Composed:
    """Return the reward ``shift + scale * reward``.

    Parameters
    ----------
    reward : Reward
        Another reward.
    shift, scale : float
        What is added, and what is multiplied by before, not 0.

    Returns
    -------
    Composed
        Its range is the other's, shifted and scaled.

    Raises
    ------
    InputError
        If one is not finite, or the scale is 0.

    Notes
    -----
    log Z(beta) becomes shift / beta + log Z(beta / scale) for a positive scale; for a negative one, it is that of minus
    the reward. See :class:`tiltz.laws.Affine`.

    Examples
    --------
    >>> from tiltz.rewards import matches
    >>> reward = affine(matches("yes"), -1, 2)
    >>> reward(["?"] * 2, ["yes", "no"]), reward.reward_range
    ([1.0, -1.0], (-1.0, 1.0))
    """
    _check_finite("shift", shift)
    _check_finite("scale", scale, and_not_zero=True)
    ends = range_of(reward)
    return Composed(
        name=f"affine({name_of(reward)})",
        parts=(reward,),
        combine=partial(_affine, shift=float(shift), scale=float(scale)),
        reward_range=None if ends is None else _sorted(float(shift) + float(scale) * end for end in ends),
    )


def clip(reward: Reward, low: float, high: float) -> Composed:
    """Return a reward cut to lie between two numbers.

    Parameters
    ----------
    reward : Reward
        Another reward.
    low, high : float
        The ends; ``-inf`` and ``inf`` cut nothing.

    Returns
    -------
    Composed
        Its range is the part of the other's that lies between the ends; without one, the ends where both are finite.

    Raises
    ------
    InputError
        If ``low`` is not below ``high``.

    Notes
    -----
    log Z lies in [low / beta, high / beta]. Cutting at ``high`` alone never raises it, cutting at ``low`` alone never
    lowers it; a forbidden completion (``-inf``) is then worth ``low``, and no longer forbidden.

    Examples
    --------
    >>> def length(prompts, completions, **columns):
    ...     return [len(text) for text in completions]
    >>> clip(length, 2, 4)(["?"] * 3, ["a", "aaa", "aaaaa"])
    [2.0, 3.0, 4.0]
    """
    if not low < high:
        raise InputError(f"low must be below high; found {low!r} and {high!r}.")
    ends = range_of(reward) or (-math.inf, math.inf)
    first, last = (float(min(max(end, low), high)) for end in ends)
    return Composed(
        name=f"clip({name_of(reward)})",
        parts=(reward,),
        combine=partial(_clip, low=float(low), high=float(high)),
        reward_range=(first, last) if math.isfinite(first) and math.isfinite(last) else None,
    )


def weighted_sum(parts: Mapping[str, tuple[float, Reward]]) -> Composed:
    """Return a weighted sum of rewards.

    Parameters
    ----------
    parts : mapping of str to (float, Reward)
        A weight, not 0, and a reward for each name.

    Returns
    -------
    Composed
        Its range is the sum of the weighted ranges, where all are known. A completion for which one part has no value
        has none.

    Raises
    ------
    InputError
        If there is no part, or a weight is 0 or not finite.

    Notes
    -----
    log Z is convex in the weights, and the sum of the parts' only where they are independent under the reference.

    Examples
    --------
    >>> from tiltz.rewards import matches
    >>> reward = weighted_sum({"polite": (0.5, matches("please")), "short": (-2, matches("....."))})
    >>> reward(["?"] * 2, ["please", "no"]), reward.reward_range
    ([-1.5, 0.0], (-2.0, 0.5))
    """
    if not parts:
        raise InputError("a weighted sum must have at least one part; found none.")
    for name, (weight, _) in parts.items():
        _check_finite(f"the weight of {name!r}", weight, and_not_zero=True)
    weights = [float(weight) for weight, _ in parts.values()]
    declared = [range_of(reward) for _, reward in parts.values()]
    known = [ends for ends in declared if ends is not None]
    # Summed as the values are, so that rounding leaves them inside.
    ends = [pair if weight > 0 else pair[::-1] for weight, pair in zip(weights, known, strict=False)]
    return Composed(
        name=" + ".join(f"{weight:g}*{name}" for name, (weight, _) in parts.items()),
        parts=tuple(reward for _, reward in parts.values()),
        combine=partial(_sum, weights=weights),
        reward_range=(
            _sorted(_sum((), [np.array(pair) for pair in ends], weights=weights))
            if len(known) == len(weights)
            else None
        ),
    )


def _affine(prompts: Sequence[Any], arrays: list[Floats], *, shift: float, scale: float) -> Floats:
    return shift + scale * arrays[0]


def _clip(prompts: Sequence[Any], arrays: list[Floats], *, low: float, high: float) -> Floats:
    return np.clip(arrays[0], low, high)


def _sum(prompts: Sequence[Any], arrays: list[Floats], *, weights: list[float]) -> Floats:
    return reduce(add, (weight * array for weight, array in zip(weights, arrays, strict=True)))


def _sorted(ends: Any) -> tuple[float, float]:
    low, high = sorted(float(end) for end in ends)
    return low, high


def _check_finite(name: str, value: float, *, and_not_zero: bool = False) -> None:
    if not math.isfinite(value) or (and_not_zero and value == 0):
        raise InputError(f"{name} must be a finite number{', not 0' * and_not_zero}; found {value!r}.")
