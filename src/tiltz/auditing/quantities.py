"""The audited quantities as functions of the totals, with their derivatives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tiltz.auditing.totals import N_TOTALS, RATIO, REF_REWARD, REWARD, SCORE, TILTED_REWARD

Floats = npt.NDArray[np.float64]

NAMES = (
    "reward",
    "kl",
    "achieved",
    "reference_reward",
    "ceiling",
    "gap",
    "share",
    "optimal_reward",
    "reward_gain",
    "achieved_gain",
    "room",
    "excess",
)
"""E_policy[r]; KL(policy || reference) in nats; J; E_ref[r]; V; beta KL(policy || tilted); (J - E_ref[r]) / room;
E_tilted[r]; E_policy[r] - E_ref[r]; J - E_ref[r]; V - E_ref[r]; E_policy[r] - E_tilted[r]."""

LEAST_RATIO = 1e-12
"""Of Z in a resample to its estimate; a smaller one is as good as none."""

AT = {name: i for i, name in enumerate(NAMES)}


def linear(beta: float) -> Floats:
    """Return the derivatives of the quantities by the totals where Z is as estimated; ``share`` is left 0."""
    rows = np.zeros((len(NAMES), N_TOTALS))
    rows[AT["reward"], REWARD] = 1
    rows[AT["kl"], [REWARD, SCORE]] = 1 / beta, -1
    rows[AT["achieved"], SCORE] = beta
    rows[AT["reference_reward"], REF_REWARD] = 1
    rows[AT["ceiling"], RATIO] = beta
    rows[AT["gap"]] = rows[AT["ceiling"]] - rows[AT["achieved"]]
    rows[AT["optimal_reward"], TILTED_REWARD] = 1
    for difference, name in (("reward_gain", "reward"), ("achieved_gain", "achieved"), ("room", "ceiling")):
        rows[AT[difference]] = rows[AT[name]] - rows[AT["reference_reward"]]
    rows[AT["excess"]] = rows[AT["reward"]] - rows[AT["optimal_reward"]]
    return rows


def quantities(totals: Floats, log_z: Floats, beta: float) -> Floats:
    """Return the quantities.

    Parameters
    ----------
    totals : array, shape (..., 5)
        Totals.
    log_z : array, shape (...)
        The estimate of log Z that the third total is relative to.
    beta : float
        KL coefficient.

    Returns
    -------
    array, shape (..., n_quantities)
        In the order of ``NAMES``.
    """
    with np.errstate(over="ignore"):
        relative = np.log(np.maximum(totals[..., RATIO], LEAST_RATIO))
    # At the point itself the last digits of log Z and of E[a] cancel in the gap.
    moved = totals.copy()
    moved[..., RATIO] = log_z + relative
    found = moved @ linear(beta).T
    with np.errstate(divide="ignore", invalid="ignore"):
        found[..., AT["share"]] = found[..., AT["achieved_gain"]] / found[..., AT["room"]]
    return found


PAIRS = np.triu_indices(N_TOTALS)
"""Covariances of the totals are held as one entry per pair of them."""


def covariances(totals: Floats, pairs: Floats) -> Floats:
    """Return covariances of the totals with log Z in the place of Z, as one entry per pair."""
    scale = np.ones(totals.shape)
    scale[..., RATIO] = 1 / np.maximum(totals[..., RATIO], LEAST_RATIO)
    return pairs * scale[..., PAIRS[0]] * scale[..., PAIRS[1]]


def variances(pairs: Floats, beta: float) -> Floats:
    """Return the variances of the quantities by the delta method, from :func:`covariances`; ``share`` is left 0."""
    slopes = linear(beta)
    return np.maximum(pairs @ _products(slopes, slopes).T, 0.0)


def share_terms(pairs: Floats, beta: float) -> tuple[Floats, Floats, Floats]:
    """Return the variance of the share's numerator, its covariance with the room, and the variance of the room."""
    slopes = linear(beta)
    top, bottom = slopes[[AT["achieved_gain"]]], slopes[[AT["room"]]]
    both = (_products(top, top), _products(top, bottom), _products(bottom, bottom))
    first, second, third = (pairs @ products[0] for products in both)
    return np.maximum(first, 0.0), second, np.maximum(third, 0.0)


def _products(a: Floats, b: Floats) -> Floats:
    """Return the weight of each pair of totals in the covariance of two linear functions."""
    first, second = PAIRS
    mixed = 0.5 * (a[:, first] * b[:, second] + a[:, second] * b[:, first])
    return np.where(first == second, mixed, 2 * mixed)
