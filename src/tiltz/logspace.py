"""Arrays in, arrays out: normalised scores and log-sums, for any array-API namespace.

Nothing here knows about prompts, samples or intervals.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_jax_array
from array_api_compat import device as device_of

from tiltz.errors import InputError

Array = Any


def normalize(scores: Array, axis: int = -1) -> Array:
    """Turn non-negative scores into probabilities.

    Parameters
    ----------
    scores : array_like
        Non-negative finite scores of any shape; nested lists are read as NumPy arrays.
    axis : int, default -1
        The axis over which the result sums to 1.

    Returns
    -------
    array
        Same shape, namespace and floating type as ``scores`` (integers become the default float).

    Raises
    ------
    InputError
        If the axis is empty, a score is negative, NaN or infinite, or all scores along the axis are 0.

    Examples
    --------
    >>> import tiltz
    >>> tiltz.normalize([12, 7, 1])
    array([0.6 , 0.35, 0.05])
    """
    xp, (scores,) = _as_floats(scores)
    axis = _checked_axis(scores, axis)
    if not bool(xp.all(xp.isfinite(scores))) or bool(xp.any(scores < 0)):
        raise InputError(
            "scores must be finite and not negative; found a negative, NaN or infinite score. "
            "Scores on a log scale belong in tilted_log_prob."
        )
    if bool(xp.any(xp.all(scores == 0, axis=axis))):
        raise InputError(f"scores along axis {axis} must not all be 0; there is nothing to normalise there.")
    tiny = xp.finfo(scores.dtype).smallest_normal
    with _quiet():
        total = xp.sum(scores, axis=axis, keepdims=True)
        # A total that overflows, or subnormal scores, are brought into range first; else one division is exact.
        in_range = xp.isfinite(total) & (total > tiny)
        scaled = scores / xp.where(in_range, xp.ones_like(total), xp.max(scores, axis=axis, keepdims=True))
        return scaled / xp.sum(scaled, axis=axis, keepdims=True)


def log_partition(log_ref: Array, reward: Array, beta: Array | float, axis: int = -1) -> Array:
    """Return log Z, the log of the sum over an axis of ``exp(log_ref + reward / beta)``.

    Parameters
    ----------
    log_ref : array_like
        Log-probabilities under the reference, in nats; ``-inf`` is an outcome that never occurs.
    reward : array_like
        Rewards, broadcast against ``log_ref``; ``-inf`` is a hard constraint (weight zero).
    beta : float or array
        KL coefficient, > 0, in reward per nat. An array broadcasts against the reduced shape.
    axis : int, default -1
        The axis of outcomes, counted in the broadcast shape of ``log_ref`` and ``reward``.

    Returns
    -------
    array
        In nats, the broadcast shape without ``axis``; ``-inf`` where every outcome has weight zero.
        NaN inputs give NaN.

    Raises
    ------
    InputError
        If the axis is empty, or ``beta`` is not a positive finite number of the arrays' floating type.

    Notes
    -----
    Exact for the values given: no outcome is normalised, none is left out. Differentiable in ``log_ref``,
    ``reward`` and ``beta`` (the last wherever reward / beta**2 is representable); the derivative by 1/beta is the
    tilted mean reward.

    Examples
    --------
    The reference (0.6, 0.4) with rewards (2, 1) at beta 1 has Z = 0.6 e^2 + 0.4 e:

    >>> import numpy as np, tiltz
    >>> log_z = tiltz.log_partition(np.log([0.6, 0.4]), np.array([2.0, 1.0]), 1.0)
    >>> round(float(np.exp(log_z)), 4)
    5.5207
    """
    scores = _Scores(log_ref, reward, beta, axis)
    return scores.log_scale + scores.log_total


def tilted_log_prob(log_ref: Array, reward: Array, beta: Array | float, axis: int = -1) -> Array:
    """Return the log-probabilities of the tilted policy, ``log_ref + reward / beta - log Z``.

    Parameters
    ----------
    log_ref, reward, beta, axis
        As in :func:`log_partition`.

    Returns
    -------
    array
        In nats, the broadcast shape of the inputs (leading axes of an array ``beta`` come first);
        ``-inf`` for outcomes of weight zero, NaN where every outcome has weight zero.

    Raises
    ------
    InputError
        As in :func:`log_partition`.

    Examples
    --------
    >>> import numpy as np, tiltz
    >>> log_prob = tiltz.tilted_log_prob(np.log([0.6, 0.4]), np.array([2.0, 1.0]), 1.0)
    >>> np.exp(log_prob).round(4)
    array([0.803, 0.197])
    """
    scores = _Scores(log_ref, reward, beta, axis)
    with _quiet():
        log_prob = scores.log_weight - scores.xp.expand_dims(scores.log_total, axis=-1)
    return scores.xp.moveaxis(log_prob, -1, scores.axis)


class _Scores:
    """Shifted log-weights with the outcomes on the last axis, and the log of their sum.

    The largest possible reward is subtracted before the division by beta, so that no exponent overflows and
    large common offsets cost no digits; outcomes of weight zero are masked on both sides of every ``where``
    because ``inf * 0`` would turn their gradients into NaN.
    """

    def __init__(self, log_ref: Array, reward: Array, beta: Array | float, axis: int) -> None:
        xp, (log_ref, reward) = _as_floats(log_ref, reward)
        log_ref, reward = xp.broadcast_arrays(log_ref, reward)
        axis = _checked_axis(reward, axis)
        beta = _checked_beta(xp, beta, reward)
        self.xp, self.axis = xp, axis - reward.ndim
        log_ref, reward = xp.moveaxis(log_ref, axis, -1), xp.moveaxis(reward, axis, -1)
        beta = xp.expand_dims(beta, axis=-1)

        minus_inf = xp.asarray(-math.inf, dtype=reward.dtype, device=device_of(reward))
        possible = (reward != minus_inf) & (log_ref != minus_inf)
        shift = xp.max(xp.where(possible, reward, minus_inf), axis=-1, keepdims=True)
        shift = xp.where(shift == minus_inf, xp.zeros_like(shift), shift)
        # Whole sequences have log-probabilities of -1e3 and less, which would leave few digits to their differences.
        base = xp.max(xp.where(possible, log_ref, minus_inf), axis=-1, keepdims=True)
        base = xp.where(base == minus_inf, xp.zeros_like(base), base)
        with _quiet():
            gain = (xp.where(possible, reward, shift) - shift) / beta
            score = xp.where(possible, xp.where(possible, log_ref, base) - base + gain, minus_inf)
            top = xp.max(score, axis=-1, keepdims=True)
            top = xp.where(top == minus_inf, xp.zeros_like(top), top)
            self.log_weight = score - top
            total = xp.sum(xp.exp(self.log_weight), axis=-1)
            empty = total == 0
            self.log_total = xp.where(empty, minus_inf, xp.log(xp.where(empty, xp.ones_like(total), total)))
            self.log_scale = xp.squeeze(shift / beta + base + top, axis=-1)


def _as_floats(*values: Array) -> tuple[Any, list[Array]]:
    """Return the arrays' namespace and the arrays, in one common floating type."""
    arrays = [value for value in values if is_array_api_obj(value)]
    xp = _one_namespace(arrays) if arrays else array_namespace(np.empty(0))
    like = arrays[0] if arrays else None
    where = None if like is None else device_of(like)
    converted = [v if is_array_api_obj(v) else xp.asarray(v, device=where) for v in values]
    dtype = xp.result_type(*converted)
    if not xp.isdtype(dtype, "real floating"):
        if not xp.isdtype(dtype, ("integral", "bool")):
            raise InputError(
                f"scores, log-probabilities and rewards must be real numbers; found type {dtype}."
            )
        dtype = xp.asarray(0.0).dtype
    return xp, [xp.astype(array, dtype, copy=False) for array in converted]


def _one_namespace(arrays: list[Array]) -> Any:
    """Return the namespace of arrays; refuse those of several libraries."""
    try:
        return array_namespace(*arrays)
    except TypeError as reason:
        kinds = ", ".join(sorted({type(value).__module__.split(".")[0] for value in arrays}))
        raise InputError(f"all arrays of one call must come from one library; found {kinds}.") from reason


def _checked_axis(array: Array, axis: int) -> int:
    """Return ``axis`` counted from the front; refuse one that is absent or empty."""
    if not -array.ndim <= axis < array.ndim:
        raise InputError(f"axis {axis} does not exist in an array of shape {tuple(array.shape)}.")
    axis %= array.ndim
    if array.shape[axis] == 0:
        raise InputError(
            f"axis {axis} of shape {tuple(array.shape)} is empty; a sum over outcomes needs at least one."
        )
    return axis


def _checked_beta(xp: Any, beta: Array | float, like: Array) -> Array:
    """Return ``beta`` as an array of the type and device of ``like``."""
    if isinstance(beta, np.generic):
        beta = beta.item()
    if is_array_api_obj(beta):
        _one_namespace([like, beta])
        converted = xp.astype(beta, like.dtype, copy=False)
    else:
        with _quiet():
            converted = xp.asarray(beta, dtype=like.dtype, device=device_of(like))
    # A traced JAX array has no values yet, so it cannot be looked at.
    if not is_jax_array(converted) and not bool(xp.all((converted > 0) & xp.isfinite(converted))):
        raise InputError(f"beta must be positive and finite in {like.dtype}; found {beta!r}.")
    return converted


def _quiet() -> AbstractContextManager[Any]:
    """Silence NumPy where an overflow to ``-inf`` or an underflow to 0 is the right answer."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
