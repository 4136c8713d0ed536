"""Compiled betting bounds: the largest mean of non-negative weights that bets against it still refute.

Importing this module loads numba. Nothing here knows of levels, threads or promises; ``tiltz.inference`` does.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import boolean, float64, int64, types, void

from tiltz.kernels.compiled import compiled

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FRACTIONS = np.concatenate([np.geomspace(1e-4, 0.5, 17), 1 - np.geomspace(0.45, 1e-3, 17)])
"""Shares of the capital that are bet; the capital that counts is the mean over them."""

WITHIN = 1e-9
"""A bound lies outside the exact one by at most this share of its distance from the sample mean, in nats."""

_STEPS = 200  # a handful suffice; the limit guards against what rounding could do
_PATIENCE = 10  # after so many steps every other one halves the bracket
_ROUNDING = 1e-14  # of a log capital, per sample: many times the half units that a factor and a product lose
_OUTWARD = 1e-13  # nats: many times what the exponentials are off by
_EPSILON = 2.0**-52
_FLOAT_RANGE = 690.0  # nats of a product of normal numbers, with room for one more factor
_LEAST_LOG = -700.0  # nats below the largest weight at which a weight is nothing

_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_TO_WHOLE = 1.5 * 2.0**52  # added to a number it rounds it, and leaves the whole in the last bits
_BIAS, _FRACTION_BITS, _FRACTION_MASK = 1023, 52, (1 << 52) - 1
_WHOLE_BITS = 0x4338000000000000  # of _TO_WHOLE
_SQRT_HALF = 0x3FE6A09E667F3BCD  # bits of the square root of 1/2
_F2, _F3, _F4, _F5, _F6, _F7, _F8, _F9, _F10, _F11, _F12, _F13 = (1 / math.factorial(k) for k in range(2, 14))
_L3, _L5, _L7, _L9, _L11, _L13, _L15, _L17, _L19, _L21 = (1 / k for k in range(3, 22, 2))

_column = types.Array(float64, 1, "C", readonly=True)
_index = types.Array(int64, 1, "C", readonly=True)
_betas = types.Array(float64, 2, "C", readonly=True)
_result = float64[:, ::1]

_FUSED = {"contract"}
_SUMS = {"reassoc", "contract"}  # in an order that depends on their length alone


@compiled(fastmath=_FUSED)
def _exp_parts(x: float) -> tuple[float, float]:
    """Return s and p with e^x = s + s p, where s is a power of 2, for x in [-700, 0]; right to the last digit."""
    shifted = x * _LOG2_E + _TO_WHOLE
    whole = shifted - _TO_WHOLE
    y = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    y2 = y * y
    y4 = y2 * y2
    low = ((_F2 + _F3 * y) + (_F4 + _F5 * y) * y2) + ((_F6 + _F7 * y) + (_F8 + _F9 * y) * y2) * y4
    high = (_F10 + _F11 * y) + (_F12 + _F13 * y) * y2
    bits = (np.float64(shifted).view(np.int64) + _BIAS) << _FRACTION_BITS
    return np.int64(bits).view(np.float64), y + y2 * (low + high * (y4 * y4))


@compiled(fastmath=_FUSED)
def _exp_times_shortfall(x: Floats, y: Floats) -> None:
    """Replace x by e^x (1 - e^y), for x and y at most 0."""
    for i in range(x.size):
        s, p = _exp_parts(x[i] if x[i] > _LEAST_LOG else _LEAST_LOG)
        t, q = _exp_parts(y[i] if y[i] > _LEAST_LOG else _LEAST_LOG)
        x[i] = (s + s * p) * ((1.0 - t) - t * q) if x[i] > _LEAST_LOG else 0.0


@compiled()
def _weigh(
    reward: Floats, log_ratio: Floats, beta: float, end: float, above: bool, weight: Floats, scratch: Floats
) -> tuple[float, float]:
    """Fill ``weight`` with weights over the largest; return the log of the largest in two parts."""
    top, largest = -math.inf, -math.inf
    for i in range(weight.size):
        if log_ratio[i] > -math.inf and reward[i] > top:
            top = reward[i]
    for i in range(weight.size):
        weight[i] = log_ratio[i]
        if above and weight[i] > -math.inf:
            weight[i] += (reward[i] - top) / beta
        if weight[i] > largest:
            largest = weight[i]
    if largest == -math.inf or (above and top == -math.inf):
        return 0.0, -math.inf
    for i in range(weight.size):
        beyond = reward[i] - end if above else end - reward[i]
        scratch[i] = -beyond / beta if beyond > 0.0 else 0.0
        weight[i] -= largest
    _exp_times_shortfall(weight, scratch)
    unit = 0.0
    for i in range(weight.size):
        if weight[i] > unit:
            unit = weight[i]
    if unit == 0.0:
        return 0.0, -math.inf
    for i in range(weight.size):
        weight[i] /= unit
    return (top / beta + largest if above else largest), math.log(unit)


@compiled(fastmath=_FUSED)
def _log(x: float) -> float:
    """Return the log of a positive normal number, in steps that make vector code; right to the last digit."""
    bits = np.float64(x).view(np.int64) - _SQRT_HALF
    whole = np.int64((bits >> _FRACTION_BITS) + _WHOLE_BITS).view(np.float64) - _TO_WHOLE
    f = np.int64((bits & _FRACTION_MASK) + _SQRT_HALF).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    z2 = z * z
    z4 = z2 * z2
    low = ((_L3 + _L5 * z) + (_L7 + _L9 * z) * z2) + ((_L11 + _L13 * z) + (_L15 + _L17 * z) * z2) * z4
    tail = z * (low + (_L19 + _L21 * z) * (z4 * z4))
    return whole * _LN2_HIGH + (2.0 * s + (2.0 * s * tail + whole * _LN2_LOW))


@compiled()
def _scaled(number: float, exponent: int | np.int64) -> float:
    """Return a normal number times a power of 2, where that is normal too."""
    bits = np.float64(number).view(np.int64) + (exponent << _FRACTION_BITS)
    return np.int64(bits).view(np.float64)


@compiled(fastmath=_SUMS)
def _product(weight: Floats, kept: float, bet: float) -> float:
    product = 1.0
    for i in range(weight.size):
        product *= kept + bet * weight[i]
    return product


@compiled(fastmath=_SUMS)
def _log_capital(
    weight: Floats, count: Floats, n_once: int, log_ratio: float, capital: Floats, exponent: Ints
) -> float:
    """Return the log of the capital of bets against the mean weight ``exp(-log_ratio)``.

    Where some rows could lift a capital out of the range of floats on the way to the last one, capitals are kept as
    ``capital * 2**exponent``.
    """
    ratio = math.exp(log_ratio)
    step = math.floor(_FLOAT_RANGE / max(log_ratio, -math.log(1.0 - FRACTIONS[-1])))
    total = 0.0
    if n_once == weight.size <= step:
        for k in range(FRACTIONS.size):
            total += _product(weight, 1.0 - FRACTIONS[k], FRACTIONS[k] * ratio)
        return math.log(total / FRACTIONS.size)
    step = max(step - step % 16, 1)  # whole vectors
    often, times = weight[n_once:], count[n_once:]
    top = -(1 << 62)
    for k in range(FRACTIONS.size):
        kept, bet = 1.0 - FRACTIONS[k], FRACTIONS[k] * ratio
        capital[k], exponent[k] = 1.0, 0
        for first in range(0, n_once, step):
            capital[k] *= _product(weight[first : min(first + step, n_once)], kept, bet)
            shift = (np.float64(capital[k]).view(np.int64) >> _FRACTION_BITS) - _BIAS
            capital[k] = _scaled(capital[k], -shift)
            exponent[k] += shift
        if often.size:
            log_rest = 0.0
            for i in range(often.size):
                log_rest += times[i] * _log(kept + bet * often[i])
            whole = math.floor(log_rest * _LOG2_E)
            capital[k] *= math.exp((log_rest - whole * _LN2_HIGH) - whole * _LN2_LOW)
            exponent[k] += whole
        top = max(top, exponent[k])
    for k in range(FRACTIONS.size):
        if exponent[k] > top - 1000:
            total += _scaled(capital[k], exponent[k] - top)
    return math.log(total / FRACTIONS.size) + top * (_LN2_HIGH + _LN2_LOW)


@compiled()
def _refuted_log_mean(
    weight: Floats, count: Floats, n_once: int, threshold: float, capital: Floats, exponent: Ints
) -> float:
    """Return the largest log mean of the weights against which the log capital reaches ``threshold``.

    The log capital is convex and increasing in minus the log mean, and at most 0 at the sample mean (Jensen). So its
    slope beyond the root is at least that of the chord from the sample mean to the root, and where it exceeds the
    threshold by a share of it, the root is within that share of the way: a secant method may stop there.
    """
    n, total, square = 0.0, 0.0, 0.0
    for i in range(weight.size):
        n += count[i]
        total += count[i] * weight[i]
        square += count[i] * (weight[i] * weight[i])
    spread = max(square * n / (total * total) - 1.0, 0.0) / n
    origin = math.log(n / total)
    target = threshold + _ROUNDING * n
    slack = max(WITHIN * threshold, _ROUNDING * n)
    aim = target + 0.5 * slack
    reach = threshold + 2.0
    gap = math.sqrt(2.0 * reach * spread) + reach * (0.2 * spread + 0.8 / n)  # within a factor 2, as a rule
    low, high = origin, math.inf
    before, before_capital, here = origin, 0.0, origin + gap
    for step in range(_STEPS):
        if here > -_LEAST_LOG:
            return -math.inf
        found = _log_capital(weight, count, n_once, here, capital, exponent)
        if found >= target:
            high = here
        else:
            low = here
        if target <= found <= target + slack or (high < math.inf and not low < 0.5 * (low + high) < high):
            break
        if step == 0 and found > 0.0:
            guess = origin + gap * (aim / found) ** 0.4
        else:
            guess = here + (aim - found) * (here - before) / (found - before_capital)
        before, before_capital = here, found
        if not low < guess < high or (step > _PATIENCE and step % 2 and high < math.inf):
            guess = 0.5 * (low + high) if high < math.inf else 2.0 * low - origin
        here = guess
    return -high


@compiled(
    void(_column, _column, _column, _index, _index, _betas, _betas, float64, boolean, int64, int64, _result),
)
def bound_means(
    reward: Floats,
    log_ratio: Floats,
    count: Floats,
    start: Ints,
    n_once: Ints,
    beta: Floats,
    threshold: Floats,
    end: float,
    above: bool,
    first_group: int,
    last_group: int,
    out: Floats,
) -> None:
    """Fill ``out`` with log lower bounds of the mean of non-negative weights, in nats, for a block of groups.

    Parameters
    ----------
    reward, log_ratio : array, shape (n_rows,)
        Rewards, and logs of factors of the weights; ``-inf`` allowed.
    count : array, shape (n_rows,)
        How often each row counts; above 0, not necessarily whole.
    start : int array, shape (n_groups + 1,)
        Group g is rows ``start[g]:start[g + 1]``; it may be empty.
    n_once : int array, shape (n_groups,)
        How many rows of each group, its first ones, have count 1 and are multiplied out without a logarithm.
    beta, threshold : array, shape (n_groups, n_betas)
        KL coefficients, and the log capital that refutes a mean.
    end : float
        The floor or ceiling.
    above : bool
        Whether a weight is ``e^(reward / beta) - e^(end / beta)`` (``end`` may be ``-inf``), or else
        ``1 - e^((reward - end) / beta)``, times its factor.
    first_group, last_group : int
        The block.
    out : array, shape (n_groups, n_betas)
        ``-inf`` where no mean above 0 is refuted.

    Notes
    -----
    Rounding is outwards: what arithmetic may be off by is added to the threshold and taken from the bound.
    """
    capital, exponent = np.empty(FRACTIONS.size), np.empty(FRACTIONS.size, np.int64)
    for group in range(first_group, last_group):
        rows = slice(start[group], start[group + 1])
        weight, scratch = np.empty(rows.stop - rows.start), np.empty(rows.stop - rows.start)
        for j in range(beta.shape[1]):
            out[group, j] = -math.inf
            refuting = threshold[group, j]
            if refuting == math.inf:
                continue
            offset, unit = _weigh(reward[rows], log_ratio[rows], beta[group, j], end, above, weight, scratch)
            if unit == -math.inf or math.isinf(offset):
                out[group, j] = offset + unit
                continue
            log_mean = _refuted_log_mean(weight, count[rows], n_once[group], refuting, capital, exponent)
            off = _OUTWARD + 4 * _EPSILON * (abs(offset) + abs(unit) + abs(log_mean))
            out[group, j] = offset + (unit + log_mean - off)
