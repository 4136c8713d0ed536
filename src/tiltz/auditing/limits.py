"""Limits of every quantity by bootstrap-t: rows resampled within their sampler, so that correlations are carried."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.auditing.quantities import AT, PAIRS, covariances, quantities, share_terms, variances
from tiltz.auditing.totals import N_TOTALS, Totals

Floats = npt.NDArray[np.float64]

N_RESAMPLES = 999
_SEED = 0xA0D17
_ROUNDING = 1e-9  # of a quantity's size: a smaller standard error is none
_HALVINGS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Quantities of prompts with the same numbers of rows, arrays of shape (n_prompts, n_quantities).

    Attributes
    ----------
    value, error, lo, hi : array
        Points, standard errors by the delta method, and limits.
    bias : array
        Of the points, as the resamples show it.
    """

    value: Floats
    error: Floats
    lo: Floats
    hi: Floats
    bias: Floats


def limits_of(totals: Totals, beta: float, level: float) -> Limits:
    """Return the quantities of every prompt with bootstrap-t limits.

    Notes
    -----
    Consistent; holds at no finite n. The same resamples serve all prompts of the same sizes, so that a prompt's limits
    depend on its own rows alone. A resample without spread counts as an infinite t; 0 / 0 as what widens the interval.
    The share is a ratio: its limits are the values that the same resamples do not reject (Fieller), and infinite where
    the room may be nothing.
    """
    value = quantities(totals.mean, totals.log_z, beta)
    if min(n for n in (totals.policy.shape[1], totals.reference.shape[1]) if n) == 1:
        endless = np.full(value.shape, np.inf)
        return Limits(value=value, error=endless, lo=-endless, hi=endless, bias=np.full(value.shape, np.nan))
    pairs = covariances(totals.mean, _covariance(totals))
    error = np.sqrt(variances(pairs, beta))
    error[:, AT["share"]] = _share_error(value, pairs, beta)
    mean, spread = _resamples(totals)
    moved, spread = quantities(mean, totals.log_z[:, None], beta), covariances(mean, spread)
    tiny = _ROUNDING * (1 + np.abs(value))
    lo, hi = _pivoted(moved, np.sqrt(variances(spread, beta)), value, error, tiny, level)
    lo[:, AT["share"]], hi[:, AT["share"]] = _share_limits(value, pairs, moved, spread, beta, level)
    open_ = ~(lo[:, AT["room"]] > 0)
    lo[open_, AT["share"]], hi[open_, AT["share"]] = -np.inf, np.inf
    flat = error <= tiny
    lo, hi = np.where(flat, value - tiny, lo), np.where(flat, value + tiny, hi)
    with np.errstate(invalid="ignore"):
        bias = np.mean(moved, axis=1) - value
    return Limits(value=value, error=error, lo=lo, hi=hi, bias=bias)


def _covariance(totals: Totals) -> Floats:
    covariance = np.zeros((len(totals.mean), len(PAIRS[0])))
    for rows in (totals.policy, totals.reference):
        n = rows.shape[1]
        if n:
            covariance += np.einsum("gia,gia->ga", rows[..., PAIRS[0]], rows[..., PAIRS[1]]) / (n * (n - 1))
    return covariance


def _share_error(value: Floats, pairs: Floats, beta: float) -> Floats:
    top, both, bottom = share_terms(pairs, beta)
    share, room = value[:, AT["share"]], value[:, AT["room"]]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.maximum(top - 2 * share * both + share**2 * bottom, 0.0)) / np.abs(room)


def _resamples(totals: Totals) -> tuple[Floats, Floats]:
    """Return totals and their covariances in each resample, shape (n_prompts, n_resamples, ...)."""
    n_prompts = len(totals.mean)
    mean = np.repeat(totals.mean[:, None], N_RESAMPLES, axis=1)
    covariance = np.zeros((n_prompts, N_RESAMPLES, len(PAIRS[0])))
    for which, rows in enumerate((totals.policy, totals.reference)):
        n = rows.shape[1]
        if not n:
            continue
        features = np.concatenate([rows, rows[..., PAIRS[0]] * rows[..., PAIRS[1]]], axis=-1)
        sums = (_times(n, which) / n) @ features.transpose(1, 0, 2).reshape(n, -1)
        sums = sums.reshape(N_RESAMPLES, n_prompts, -1).transpose(1, 0, 2)
        first, second = sums[..., :N_TOTALS], sums[..., N_TOTALS:]
        mean += first
        covariance += (second - first[..., PAIRS[0]] * first[..., PAIRS[1]]) / (n - 1)
    return mean, covariance


def _times(n: int, which: int) -> Floats:
    """Return how often each of n rows is drawn in each resample."""
    rng = np.random.default_rng([_SEED, which, n])
    drawn = rng.integers(n, size=(N_RESAMPLES, n)) + n * np.arange(N_RESAMPLES)[:, None]
    return (
        np.bincount(drawn.reshape(-1), minlength=N_RESAMPLES * n).reshape(N_RESAMPLES, n).astype(np.float64)
    )


def _pivoted(
    moved: Floats, spread: Floats, value: Floats, error: Floats, tiny: Floats, level: float
) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (moved - value[:, None]) / np.where(spread > 1e-3 * tiny[:, None], spread, 0.0)
        low, high = _tails(t, level)
        lo, hi = value - high * error, value - low * error
    return np.where(np.isnan(lo), -np.inf, lo), np.where(np.isnan(hi), np.inf, hi)


def _tails(t: Floats, level: float) -> tuple[Floats, Floats]:
    """Return the two quantiles of t over resamples (axis 1); what is no number widens them."""
    k = math.floor((N_RESAMPLES + 1) * (1 - level) / 2 + 1e-9)
    if k == 0:
        return np.full_like(t[:, 0], -np.inf), np.full_like(t[:, 0], np.inf)
    low = np.partition(np.where(np.isnan(t), -np.inf, t), k - 1, axis=1)[:, k - 1]
    high = np.partition(np.where(np.isnan(t), np.inf, t), N_RESAMPLES - k, axis=1)[:, N_RESAMPLES - k]
    return low, high


def _share_limits(
    value: Floats, pairs: Floats, moved: Floats, spread: Floats, beta: float, level: float
) -> tuple[Floats, Floats]:
    """Return the least and the largest share that numerator - share * room does not reject."""
    terms, terms_moved = share_terms(pairs, beta), share_terms(spread, beta)
    top, room = value[:, AT["achieved_gain"]], value[:, AT["room"]]
    top_moved = moved[..., AT["achieved_gain"]] - top[:, None]
    room_moved = moved[..., AT["room"]] - room[:, None]
    share = value[:, AT["share"]]
    scale = np.maximum(_share_error(value, pairs, beta), 1e-12)

    def rejected(at: Floats, below: bool) -> npt.NDArray[np.bool_]:
        error = np.sqrt(np.maximum(terms[0] - 2 * at * terms[1] + at**2 * terms[2], 0.0))
        s = at[:, None]
        error_moved = np.sqrt(
            np.maximum(terms_moved[0] - 2 * s * terms_moved[1] + s**2 * terms_moved[2], 0.0)
        )
        low, high = _tails((top_moved - s * room_moved) / error_moved, level)
        t = (top - at * room) / error
        return t > high if below else t < low

    ends = []
    for below in (True, False):
        inside, outside = np.zeros(len(value)), np.ones(len(value))
        for _ in range(_HALVINGS):
            middle = 0.5 * (inside + outside)
            away = scale * middle / (1 - middle)
            with np.errstate(divide="ignore", invalid="ignore"):
                out = rejected(share - away if below else share + away, below)
            inside, outside = np.where(out, inside, middle), np.where(out, middle, outside)
        with np.errstate(over="ignore"):
            away = np.where(outside == 1, np.inf, scale * outside / np.maximum(1 - outside, 1e-300))
        ends.append(share - away if below else share + away)
    return ends[0], ends[1]
