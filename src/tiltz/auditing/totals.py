"""Five totals of each prompt, linear in its rows, of which all audited quantities are smooth functions.

Totals: E_policy[r]; E_policy[a], where a = r / beta - log(policy / reference) is log Z less the log-ratio of policy to
tilted; Z over its estimate; E_ref[r]; E_tilted[r] (linearised).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.auditing.evidence import Batch

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

REWARD, SCORE, RATIO, REF_REWARD, TILTED_REWARD = range(5)
N_TOTALS = 5
THIN = 10.0
"""Bulk effective sample size, n exp(-variance of log weights), below which a mean of weights says little."""
LEAST_BRIDGE, LEAST_SHARED = 4.0, 0.03
"""Rows, counted by how evenly they may have come from either sampler, below which the two share too little; of few
rows, this share of them."""
_DISAGREE = 3.3  # standard errors between two estimates of log Z: one in a thousand
_MASS_ERRORS, _MASS_SPREAD = 2.5, 0.3  # of the reference's mass under the policy's rows
_LEAST_ROWS = 5  # of either sampler, for a control whose coefficient is not noise
_DEGENERATE = 1e-12  # of the squared mean: a control that does not vary


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Points, and each row's part in them, centred within its sampler.

    Attributes
    ----------
    log_z : array, shape (n_prompts,)
        In nats.
    mean : array, shape (n_prompts, 5)
        The totals.
    policy, reference : array, shape (n_prompts, n_rows, 5)
        What the rows of each sampler add to the totals, less its mean.
    log_share : array, shape (n_prompts, n_policy + n_reference)
        Log of each row's share in Z.
    reaches : array of bool, shape (n_prompts,)
        Whether the rows show that nothing lies between or beside what policy and reference visit.
    """

    log_z: Floats
    mean: Floats
    policy: Floats
    reference: Floats
    log_share: Floats
    reaches: Flags


def totals_of(batch: Batch, beta: float) -> Totals:
    """Return the totals of every prompt of a batch.

    Notes
    -----
    With the policy's score of the reference's rows known, rows of both are weighted by the reference over their mixture
    (balance heuristic) and corrected by regression on the policy over the mixture, whose mean is 1: where the policy is
    the tilted one, Z is then exact. Without that score Z is that of the reference's rows, or of the policy's where only
    those have weights of a mild spread. Without rows of the reference, Z and E_ref[r] rest on importance weights alone.
    """
    score = batch.reward / beta - batch.log_ratio
    if batch.ref_log_ratio is not None:
        weights = _mixed(batch, beta)
    elif batch.n_reference:
        weights = _apart(batch, score, beta)
    else:
        weights = _alone(score, batch.log_ratio)
    return _assembled(batch, score, weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    """Rows' parts in Z over its estimate, before (for shares) and after the control; per sampler."""

    log_z: Floats
    log_share: Floats
    policy: Floats
    reference: Floats
    reaches: Flags


def _mixed(batch: Batch, beta: float) -> _Weights:
    assert batch.ref_log_ratio is not None
    n_policy, n_all = batch.n_policy, batch.n_policy + batch.n_reference
    log_ratio = np.concatenate([batch.log_ratio, batch.ref_log_ratio], axis=1)
    reward = np.concatenate([batch.reward, batch.ref_reward], axis=1)
    log_mix = np.logaddexp(np.log(n_policy / n_all) + log_ratio, np.log(batch.n_reference / n_all))
    log_weight = reward / beta - log_mix
    log_plain, share = _normalised(log_weight)
    weight = share * n_all
    control = np.exp(log_ratio - log_mix)
    slope = _slope(weight, control, n_policy)
    mean = 1 - slope * (control.mean(axis=1) - 1)
    slope = np.where(mean > 0.2, slope, 0.0)[:, None]
    mean = np.where(mean > 0.2, mean, 1.0)[:, None]
    part = (weight - slope * (control - 1)) / mean / n_all
    posterior = control * n_policy / n_all
    bridging = np.sum(posterior * (1 - posterior), axis=1)
    return _Weights(
        log_z=log_plain + np.log(mean[:, 0]),
        log_share=np.log(np.maximum(share, np.finfo(float).tiny)),
        policy=part[:, :n_policy] * n_policy,
        reference=part[:, n_policy:] * batch.n_reference,
        reaches=bridging >= min(LEAST_BRIDGE, LEAST_SHARED * min(n_policy, batch.n_reference)),
    )


def _slope(weight: Floats, control: Floats, n_policy: int) -> Floats:
    """Return the coefficient that leaves the least variance within samplers, 0 where it would be noise."""
    n_reference = weight.shape[1] - n_policy
    if min(n_policy, n_reference) < _LEAST_ROWS:
        return np.zeros(len(weight))
    both = square = np.zeros(len(weight))
    for some in (slice(None, n_policy), slice(n_policy, None)):
        away = control[:, some] - control[:, some].mean(axis=1, keepdims=True)
        both = both + np.sum(away * weight[:, some], axis=1)
        square = square + np.sum(away**2, axis=1)
    varies = square > _DEGENERATE * np.sum(control**2, axis=1)
    return np.where(varies, both / np.where(varies, square, 1.0), 0.0)


def _apart(batch: Batch, score: Floats, beta: float) -> _Weights:
    n_policy, n_reference = batch.n_policy, batch.n_reference
    ref_score = batch.ref_reward / beta
    log_own, log_theirs = _normalised(score)[0], _normalised(ref_score)[0]
    error = np.sqrt(_relative_variance(score) + _relative_variance(ref_score))
    own, theirs = n_policy * np.exp(-score.var(axis=1)), n_reference * np.exp(-ref_score.var(axis=1))
    # An average by variances would favour what missed something, since a mean and its error are low together.
    trust = np.where((score.std(axis=1) < 1e-12) | ((theirs < THIN) & (own >= THIN)), 1.0, 0.0)
    with np.errstate(invalid="ignore"):
        low = np.where(trust == 1, log_theirs - log_own, log_own - log_theirs) > _DISAGREE * error + 1e-9
    # Weights that were missed are positive: of two estimates that disagree, the larger one is less wrong.
    trust = np.where(low, 1 - trust, trust)
    with np.errstate(divide="ignore"):
        log_own_parts = score + np.log(trust / n_policy)[:, None]
        log_their_parts = ref_score + np.log((1 - trust) / n_reference)[:, None]
    log_mean, shares = _normalised(np.concatenate([log_own_parts, log_their_parts], axis=1))
    return _Weights(
        log_z=log_mean + np.log(n_policy + n_reference),
        log_share=np.log(np.maximum(shares, np.finfo(float).tiny)),
        policy=shares[:, :n_policy] * n_policy,
        reference=shares[:, n_policy:] * n_reference,
        reaches=~low & ((trust == 0) | _holds_the_reference(batch.log_ratio)),
    )


def _alone(score: Floats, log_ratio: Floats) -> _Weights:
    log_z, share = _normalised(score)
    return _Weights(
        log_z=log_z,
        log_share=np.log(np.maximum(share, np.finfo(float).tiny)),
        policy=share * score.shape[1],
        reference=np.zeros((len(share), 0)),
        reaches=_holds_the_reference(log_ratio),
    )


def _holds_the_reference(log_ratio: Floats) -> Flags:
    """Whether the policy's rows reach all of the reference's mass, as far as they can tell."""
    log_mass, share = _normalised(-log_ratio)
    spread = np.sqrt(_relative_variance(-log_ratio))
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.abs(np.expm1(-log_mass)) <= _MASS_ERRORS * spread
    return (whole & (spread < _MASS_SPREAD) & (share.max(axis=1) < 0.5)) | np.all(log_ratio == 0, axis=1)


def _assembled(batch: Batch, score: Floats, weights: _Weights) -> Totals:
    n_policy, n_reference = batch.n_policy, batch.n_reference
    policy = np.zeros((*batch.reward.shape, N_TOTALS))
    reference = np.zeros((*batch.ref_reward.shape, N_TOTALS))
    mean = np.zeros((len(score), N_TOTALS))
    policy[:, :, REWARD], policy[:, :, SCORE] = batch.reward, score
    policy[:, :, RATIO], reference[:, :, RATIO] = weights.policy, weights.reference
    mean[:, REWARD], mean[:, SCORE], mean[:, RATIO] = batch.reward.mean(axis=1), score.mean(axis=1), 1.0
    if n_reference:
        reference[:, :, REF_REWARD] = batch.ref_reward
        mean[:, REF_REWARD] = batch.ref_reward.mean(axis=1)
    else:
        _, ratio = _normalised(-batch.log_ratio)
        mean[:, REF_REWARD] = np.sum(ratio * batch.reward, axis=1)
        policy[:, :, REF_REWARD] = n_policy * ratio * (batch.reward - mean[:, [REF_REWARD]])
    share = np.exp(weights.log_share)
    own, theirs = share[:, :n_policy], share[:, n_policy:]
    tilted = np.sum(own * batch.reward, axis=1) + np.sum(theirs * batch.ref_reward, axis=1)
    mean[:, TILTED_REWARD] = tilted
    policy[:, :, TILTED_REWARD] = n_policy * own * (batch.reward - tilted[:, None])
    reference[:, :, TILTED_REWARD] = n_reference * theirs * (batch.ref_reward - tilted[:, None])
    for rows in (policy, reference):
        if rows.size:
            rows -= rows.mean(axis=1, keepdims=True)
    return Totals(
        log_z=weights.log_z,
        mean=mean,
        policy=policy,
        reference=reference,
        log_share=weights.log_share,
        reaches=weights.reaches,
    )


def _normalised(log_weight: Floats) -> tuple[Floats, Floats]:
    """Return the log of the mean weight and each row's share."""
    top: Floats = np.asarray(log_weight.max(axis=1, keepdims=True))
    weight = np.exp(log_weight - top)
    total = weight.sum(axis=1, keepdims=True)
    return (top + np.log(total / weight.shape[1]))[:, 0], weight / total


def _relative_variance(log_weight: Floats) -> Floats:
    """Return the variance of the mean weight over its square; infinite for fewer than two rows."""
    n = log_weight.shape[1]
    if n < 2:
        return np.full(len(log_weight), np.inf)
    spread = (n * _normalised(log_weight)[1]).var(axis=1, ddof=1)
    return np.where(spread < 1e-24, 0.0, spread) / n
