"""Compiled loops of the bootstrap: counter-based draws, sums over resamples, studentized statistics.

Importing this module loads numba. Nothing here knows of levels, threads or promises; ``tiltz.inference`` does.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import boolean, float64, int64, types, uint64, void

from tiltz.kernels.compiled import compiled

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_LOW_HALF = np.uint64(0xFFFFFFFF)

_SQRT_HALF = 0x3FE6A09E667F3BCD  # bits of the square root of 1/2
_TO_EXPONENT = np.uint64(0x3FF0000000000000 - _SQRT_HALF)
_FROM_EXPONENT = np.uint64(_SQRT_HALF)
_FRACTION = np.uint64(0x000FFFFFFFFFFFFF)
_TWO_TO_52 = np.uint64(0x4330000000000000)
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10

_LINEAR = 1e-9  # below this log1p(x) is x - x^2 / 2 to the last digit
_BUCKETS = 256
_SAME = 1e-12  # a log mean that differs by less, in units of the spread, does not differ


@compiled(fastmath={"contract"})
def log_near(y: float, u: float) -> float:
    """Return log(y) for a positive normal y, where ``u`` is y - 1 to its last digit if y is near 1.

    Branch-free, so that loops over it become vector code; right to two units in the last place. The steps are those of
    fdlibm, with the series of 2 atanh(f / (2 + f)) written out.
    """
    bits = np.float64(y).view(np.uint64) + _TO_EXPONENT
    exponent = np.uint64((bits >> np.uint64(52)) | _TWO_TO_52).view(np.float64) - (2.0**52 + 1023.0)
    fraction = np.uint64((bits & _FRACTION) + _FROM_EXPONENT).view(np.float64) - 1.0
    f = u if exponent == 0.0 else fraction
    s = f / (2.0 + f)
    z = s * s
    tail = 1 / 13 + z * (1 / 15 + z * (1 / 17 + z * (1 / 19 + z * (1 / 21))))
    tail = 1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * tail))))
    return exponent * _LN2_HIGH + (2.0 * s + (2.0 * s * (z * tail) + exponent * _LN2_LOW))


@compiled()
def push_larger(heap: Floats, value: float) -> None:
    """Replace the least entry of a heap, which is its first, if ``value`` is larger."""
    if not value > heap[0]:
        return
    size, hole, child = heap.size, 0, 1
    while child < size:
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if value <= heap[child]:
            break
        heap[hole] = heap[child]
        hole, child = child, 2 * child + 1
    heap[hole] = value


@compiled()
def _mixed(x: np.uint64) -> np.uint64:
    """Return the scramble of splitmix64: a bijection of 64 bits without visible structure."""
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    return x ^ (x >> np.uint64(31))


@compiled()
def _draw_twice(counter: np.uint64, counts: Floats, n: int) -> np.uint64:
    """Fill ``counts[:, :n]`` with how often each row comes up in n draws, twice; return the next counter.

    Two draws from each word: the high 32 bits of 32 random bits times n. No row's probability is off by more than
    2**-32.
    """
    for q in range(2):
        for i in range(n):
            counts[q, i] = 0.0
        for i in range(0, n, 2):
            counter += _GOLDEN
            word = _mixed(counter)
            counts[q, ((word >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)] += 1.0
            if i + 1 < n:
                counts[q, ((word & _LOW_HALF) * np.uint64(n)) >> np.uint64(32)] += 1.0
    return counter


# The order of these sums depends on the number of rows alone, so reassociation keeps every promise.
@compiled(fastmath={"reassoc", "contract", "nsz"})
def _sum_twice(
    counts: Floats, weight: Floats, square: Floats, n: int, r: int, sums: Floats, squares: Floats
) -> None:
    """Write the sums of weights and of their squares over two resamples, at columns r and r + 1.

    Two resamples by two betas at once: eight sums in registers, six loads for eight multiply-adds.
    """
    for j in range(0, weight.shape[0], 2):
        a0 = a1 = b0 = b1 = 0.0
        c0 = c1 = d0 = d1 = 0.0
        for i in range(n):
            m0, m1 = counts[0, i], counts[1, i]
            a0 += m0 * weight[j, i]
            a1 += m1 * weight[j, i]
            b0 += m0 * weight[j + 1, i]
            b1 += m1 * weight[j + 1, i]
            c0 += m0 * square[j, i]
            c1 += m1 * square[j, i]
            d0 += m0 * square[j + 1, i]
            d1 += m1 * square[j + 1, i]
        sums[j, r], sums[j, r + 1], sums[j + 1, r], sums[j + 1, r + 1] = a0, a1, b0, b1
        squares[j, r], squares[j, r + 1], squares[j + 1, r], squares[j + 1, r + 1] = c0, c1, d0, d1


@compiled()
def _gather(weight: Floats, begin: int, n: int, unit: Floats, g: int, tile: Floats, square: Floats) -> bool:
    """Copy the weights of one group to a tile that stays in the cache, with squares; return whether any vary."""
    some = False
    for j in range(weight.shape[0]):
        some = some or unit[g, j] > 0.0
        for i in range(n):
            tile[j, i] = weight[j, begin + i]
            square[j, i] = tile[j, i] * tile[j, i]
    return some


@compiled(fastmath={"contract"})
def _studentize(
    sums: Floats, squares: Floats, j: int, n_resamples: int, n: float, near: bool, unit: float
) -> None:
    """Turn the sums of one beta into t = (log mean* - log mean) / se*, in place.

    se* = 0 makes t infinite, with the sign of its numerator; 0 / 0 is NaN.
    """
    origin = 1.0 if near else 0.0
    per_n, per_unit, factor = 1.0 / n, 1.0 / unit, math.sqrt(n * (n - 1.0))
    linear = near and unit < _LINEAR
    rounding = 2.0 * (n + 16.0) * 2.0**-52
    for r in range(n_resamples):
        mean = sums[j, r] * per_n
        gain = unit * mean
        relative = origin + gain
        log = log_near(relative, gain if near else gain - 1.0) * per_unit
        log = mean * (1.0 - 0.5 * gain) if linear else log
        left = squares[j, r] - sums[j, r] * mean
        t = log * relative * factor / math.sqrt(left)
        endless = np.nan if abs(log) <= _SAME else math.copysign(np.inf, log)
        sums[j, r] = endless if left <= rounding * squares[j, r] else t


@compiled()
def _bucket(t: float) -> int:
    """Return the class of a statistic, in order, among ``_BUCKETS``; the first and the last have no outer end."""
    return int((min(max(t, -7.99), 7.99) + 8.0) * (_BUCKETS / 16))


@compiled()
def _extreme(values: Floats, j: int, n_resamples: int, sign: float, heap: Floats, histogram: Ints) -> float:
    """Return ``sign`` times the k-th largest of ``sign * values[j]``, k the size of the heap.

    NaN counts as the largest. Only the values in the bucket of the answer are compared with each other.
    """
    for b in range(_BUCKETS):
        histogram[b] = 0
    rank = heap.size
    for r in range(n_resamples):
        if math.isnan(values[j, r]):
            rank -= 1
        else:
            histogram[_bucket(sign * values[j, r])] += 1
    if rank <= 0:
        return sign * np.inf
    b = _BUCKETS - 1
    while histogram[b] < rank:
        rank -= histogram[b]
        b -= 1
    best = heap[:rank]
    for i in range(rank):
        best[i] = -np.inf
    for r in range(n_resamples):
        value = sign * values[j, r]
        if _bucket(value) == b:  # also of a NaN perhaps, which is larger than nothing
            push_larger(best, value)
    return sign * best[0]


_TABLE, _FLAGS = types.Array(float64, 2, "C"), types.Array(boolean, 2, "C")
_STARTS, _SEEDS = types.Array(int64, 1, "C", readonly=True), types.Array(uint64, 1, "C", readonly=True)
_SIGNATURE = void(
    _TABLE, _TABLE, _FLAGS, _STARTS, _SEEDS, int64, types.Array(float64, 1, "C"), *[_TABLE] * 7
)  # fmt: skip


@compiled(_SIGNATURE)
def studentized_extremes(
    weight: Floats,
    unit: Floats,
    near: Flags,
    start: Ints,
    seed: npt.NDArray[np.uint64],
    n_resamples: int,
    heap: Floats,
    tile: Floats,
    square: Floats,
    counts: Floats,
    sums: Floats,
    squares: Floats,
    smallest: Floats,
    largest: Floats,
) -> None:
    """Write the k-th smallest and k-th largest studentized resample of every group and beta.

    Parameters
    ----------
    weight : array, shape (n_betas, n_rows)
        A weight over the group's mean weight is ``1 + unit * weight`` where ``near``, else ``unit * weight``.
    unit, near : array, shape (n_groups, n_betas)
        How to read ``weight``. Unit 0: weights that do not vary; what is written there means nothing.
    start : int array, shape (n_groups + 1,)
        Group g is rows ``start[g]:start[g + 1]``.
    seed : uint64 array, shape (n_groups,)
        Where the stream of each group begins.
    n_resamples : int
        Resamples.
    heap : array, shape (k,)
        Room for the k largest.
    tile, square : array, shape (n_betas rounded up to even, rows of the largest group)
        Room for the weights of a group, zero at first.
    counts : array, shape (2, rows of the largest group)
        Room for two resamples.
    sums, squares : array, shape (n_betas rounded up to even, n_resamples rounded up to even)
        Room for the sums of a group.
    smallest, largest : array, shape (n_groups, n_betas)
        Filled.
    """
    histogram = np.empty(_BUCKETS, np.int64)
    for g in range(start.size - 1):
        n = start[g + 1] - start[g]
        if not _gather(weight, start[g], n, unit, g, tile, square):
            continue
        counter = _mixed(seed[g])
        for r in range(0, n_resamples, 2):
            counter = _draw_twice(counter, counts, n)
            _sum_twice(counts, tile, square, n, r, sums, squares)
        for j in range(unit.shape[1]):
            _studentize(sums, squares, j, n_resamples, float(n), near[g, j], unit[g, j])
            largest[g, j] = _extreme(sums, j, n_resamples, 1.0, heap, histogram)
            smallest[g, j] = _extreme(sums, j, n_resamples, -1.0, heap, histogram)
