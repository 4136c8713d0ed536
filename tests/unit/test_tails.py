"""Tail index, bulk effective sample size, smoothed estimates: references, truths, and where they mean nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import tiltz
from tests.oracles import precisely
from tiltz.inference.tails import bulk_ess, khat, pareto_smoothed

sampled = tiltz.Outcomes.sampled
BETAS = np.array([[0.1, 0.4, 1.0, 3.0, 20.0]])


def index(outcomes, beta=1.0):
    return khat(outcomes.columns(), np.atleast_2d(np.asarray(beta, dtype=float)))


def smoothed(outcomes, beta=1.0):
    return pareto_smoothed(outcomes.columns(), np.atleast_2d(np.asarray(beta, dtype=float)))


def bulk(outcomes, beta=1.0):
    return bulk_ess(outcomes.columns(), np.atleast_2d(np.asarray(beta, dtype=float)))


def zhang_stephens(weights):
    """Shape (with the prior of PSIS), scale, threshold and number of exceedances, in the order of the papers."""
    n = len(weights)
    ordered = np.sort(weights)
    tail = min(math.ceil(n / 5), math.ceil(3 * math.sqrt(n)))
    threshold = ordered[-tail - 1]
    x = ordered[ordered > threshold] - threshold
    m = len(x)
    grid = 30 + math.floor(math.sqrt(m))
    theta = 1 / x[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (
        3 * x[math.floor(m / 4 + 0.5) - 1]
    )
    k = np.log1p(-theta[:, None] * x).mean(axis=1)
    likelihood = m * (np.log(-theta / k) - k - 1)
    theta = theta @ special.softmax(likelihood)
    k = np.log1p(-theta * x).mean()
    return (m * k + 10 * 0.5) / (m + 10), -k / theta, threshold, m


def psis(weights):
    """The log mean of Pareto-smoothed weights; where the fitted law has no mean, of the weights."""
    k, scale, threshold, m = zhang_stephens(weights)
    if k >= 1:
        return math.log(weights.mean())
    p = (np.arange(1, m + 1) - 0.5) / m
    tail = threshold + scale * np.expm1(-k * np.log1p(-p)) / k
    ordered = np.sort(weights)
    ordered[-m:] = np.minimum(tail, ordered[-1])
    return math.log(ordered.mean())


# The tail index


@pytest.mark.parametrize("n", [25, 26, 64, 225, 1000])
@pytest.mark.parametrize("law", ["normal", "exponential", "grid", "hard"])
def test_the_index_is_that_of_the_papers(n, law):
    rng = np.random.default_rng([n, len(law)])
    rewards = {
        "normal": rng.normal(size=n),
        "exponential": rng.exponential(size=n),
        "grid": rng.integers(0, 5 * n, size=n) / n,
        "hard": np.where(rng.random(n) < 0.3, -np.inf, rng.normal(size=n)),
    }[law]
    found = index(sampled(rewards), BETAS)
    for j, beta in enumerate(BETAS[0]):
        assert found[0, j] == pytest.approx(zhang_stephens(np.exp(rewards / beta))[0], abs=1e-8)


def test_the_index_of_importance_weights():
    rewards, log_ref, log_proposal = np.random.default_rng(1).normal(size=(3, 100))
    rewards[5], log_ref[6] = -np.inf, -np.inf
    found = index(sampled(rewards, log_ref=log_ref, log_proposal=log_proposal), BETAS)
    for j, beta in enumerate(BETAS[0]):
        weights = np.exp(log_ref - log_proposal + rewards / beta)
        assert found[0, j] == pytest.approx(zhang_stephens(weights)[0], abs=1e-8)


def test_most_weights_zero_leaves_a_threshold_of_zero():
    rewards = np.full(50, -np.inf)
    rewards[:8] = np.random.default_rng(2).normal(size=8)
    weights = np.exp(rewards)
    found = index(sampled(rewards))
    assert zhang_stephens(weights)[2] == 0.0
    assert found[0, 0] == precisely(zhang_stephens(weights)[0], rel=1e-10)


def index_is_right(method, k, replications=2000):
    """Whether the mean index of exactly Pareto weights is the truth, within its bias and five Monte Carlo errors."""
    n, m = 1024, 96
    rewards = np.random.default_rng([7, int(100 * k)]).exponential(size=(replications, n))
    found = method(rewards, 1 / k)
    truth = (m * k + 10 * 0.5) / (m + 10)
    # Bias of the estimator of Zhang and Stephens at m = 96, from 40,000 replications: .0109, .0069, -.0005 and -.0073
    # (each +-.0008) at k = .05, .25, .5 and .7.
    return abs(found.mean() - truth) <= 4.89 * found.std() / math.sqrt(replications) + 0.012


@pytest.mark.parametrize("k", [0.05, 0.25, 0.5, 0.7])
def test_exponential_rewards_have_pareto_weights(k):
    # P(exp(r / beta) > w) = w^-beta: above any threshold the excess is generalised Pareto with k = 1 / beta.
    assert index_is_right(lambda rewards, beta: index(sampled(rewards), beta)[:, 0], k)


@pytest.mark.parametrize("k", [0.25, 0.5, 0.7])
def test_the_index_of_log_weights_is_wrong(k):
    def of_log_weights(rewards, beta):
        return np.array([zhang_stephens(row / beta)[0] for row in rewards])

    assert not index_is_right(of_log_weights, k, replications=300)


def test_without_its_prior_the_index_is_wrong():
    def bare(rewards, beta):
        return (index(sampled(rewards), beta)[:, 0] * 106 - 5) / 96

    assert not index_is_right(bare, 0.05)


@pytest.mark.parametrize("n", [1, 2, 24])
def test_few_samples_have_no_index(n):
    assert np.all(np.isnan(index(sampled(np.random.default_rng(3).normal(size=n)), BETAS)))


@pytest.mark.parametrize("beta", [1e-300, 0.3, 1e300])
def test_few_values_have_no_index(beta):
    rng = np.random.default_rng(4)
    for rewards in (
        np.zeros(100),
        rng.integers(0, 2, size=100).astype(float),  # the threshold is the largest weight
        np.repeat([0.0, 1.0], [90, 10]),  # nothing but one value above it
        np.concatenate([np.zeros(60), np.repeat([1.0, 2.0, 3.0, 4.0], 3)]),
        np.full(40, -np.inf),
        np.where(np.arange(40) < 4, np.arange(40.0), -np.inf),
    ):
        assert math.isnan(index(sampled(rewards), beta)[0, 0])


def test_five_values_above_the_threshold_are_enough():
    rewards = np.concatenate([np.zeros(60), np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 2)])
    assert index(sampled(rewards))[0, 0] == precisely(zhang_stephens(np.exp(rewards))[0], rel=1e-10)


def test_ties_at_the_threshold_stay_below_it():
    rewards = np.concatenate([np.arange(20.0), np.full(10, 20.0), 20.5 + 0.1 * np.arange(5)])
    assert zhang_stephens(np.exp(rewards))[3] == 5
    assert index(sampled(rewards))[0, 0] == precisely(zhang_stephens(np.exp(rewards))[0], rel=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e5, -1e5])
def test_the_index_at_extreme_betas(offset):
    rewards = offset + np.random.default_rng(5).normal(size=100)
    betas = [1e-300, 1e-100, 1e-3, 0.1, 1.0, 1e3, 1e12, 1e100, 1e300]
    for outcomes in (
        sampled(rewards),
        sampled(rewards, log_ref=-0.7 * np.abs(rewards - offset), log_proposal=np.zeros(100)),
    ):
        found, log_z = index(outcomes, betas)[0], smoothed(outcomes, betas)[0]
        assert not np.any(np.isnan(found) | np.isnan(log_z))
        assert np.all(found[:3] > 5)  # a handful of weights carries everything
        assert np.all(np.diff(found[:6]) <= 1e-9)
    # In the limit of large beta the weights are the rewards.
    limit = zhang_stephens(rewards - rewards.min())[0]
    assert index(sampled(rewards), betas)[0, -3:] == precisely(np.full(3, limit), rel=1e-6)


REWARDS = st.lists(st.integers(-4000, 4000), min_size=25, max_size=60)


@settings(max_examples=60)
@given(REWARDS, st.floats(-2, 4).map(lambda x: 10.0**x), st.integers(-1000, 1000), st.randoms())
def test_shifts_and_order_change_no_index(thousandths, beta, shift, order):
    rewards = np.array(thousandths) / 1024
    shuffled = list(rewards + shift)
    order.shuffle(shuffled)
    one, two = index(sampled(rewards), beta)[0, 0], index(sampled(shuffled), beta)[0, 0]
    assert one == two or (math.isnan(one) and math.isnan(two))
    few = len(set(thousandths)) < 6
    assert not (few and not math.isnan(one))


# Pareto-smoothed estimates


@pytest.mark.parametrize("n", [25, 64, 1000])
def test_the_smoothed_estimate_is_that_of_the_papers(n):
    rewards = np.random.default_rng(n).normal(size=n)
    found = smoothed(sampled(rewards), BETAS)
    for j, beta in enumerate(BETAS[0]):
        assert found[0, j] == pytest.approx(psis(np.exp(rewards / beta)), rel=1e-9, abs=1e-11)


def test_the_smoothed_estimate_of_importance_weights():
    rewards, log_ref, log_proposal = np.random.default_rng(6).normal(size=(3, 100))
    rewards[5], log_ref[6] = -np.inf, -np.inf
    found = smoothed(sampled(rewards, log_ref=log_ref, log_proposal=log_proposal), BETAS)
    for j, beta in enumerate(BETAS[0]):
        weights = np.exp(log_ref - log_proposal + rewards / beta)
        assert found[0, j] == pytest.approx(psis(weights), rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("rewards", [[0.0, 1.0, 3.0], [2.0] * 50, [0.0] * 30 + [1.0], [-np.inf] * 30])
def test_without_an_index_nothing_is_smoothed(rewards):
    with np.errstate(divide="ignore"):
        wanted = np.log(np.mean(np.exp(rewards)))
    assert smoothed(sampled(rewards))[0, 0] == pytest.approx(wanted, rel=1e-14)


def errors_of_log_z(k, replications=2000, n=1024):
    """Errors of smoothed and plain estimates where Z = 1 / (1 - k) and the weights are Pareto."""
    rewards = np.random.default_rng([8, int(100 * k)]).exponential(size=(replications, n))
    plain = np.log(np.exp(rewards * k).mean(axis=1))
    truth = -math.log1p(-k)
    return smoothed(sampled(rewards), 1 / k)[:, 0] - truth, plain - truth


def test_smoothing_light_tails_costs_no_bias():
    found, plain = errors_of_log_z(0.25)
    # Jensen: log-mean-exp is low by half its variance, and so is any estimate of that variance with the right mean.
    wanted = -0.5 * found.var()
    assert abs(found.mean() - wanted) <= 4.89 * found.std() / math.sqrt(found.size)
    assert found.std() <= plain.std()
    # The same test refuses an estimate of the mean without its largest weights.
    rewards = np.sort(np.random.default_rng(9).exponential(size=(2000, 1024)), axis=1)[:, :-20]
    cut = np.log(np.exp(rewards * 0.25).sum(axis=1) / 1024) + math.log1p(-0.25)
    assert abs(cut.mean() + 0.5 * cut.var()) > 4.89 * cut.std() / math.sqrt(cut.size)


@pytest.mark.parametrize("k", [0.5, 0.7])
def test_smoothing_heavy_tails_trades_bias_for_spread(k):
    found, plain = errors_of_log_z(k)
    assert found.mean() < plain.mean() < 0.0
    assert np.mean(found**2) < 0.8 * np.mean(plain**2)


@settings(max_examples=40)
@given(REWARDS, st.floats(-300, 300).map(lambda x: 10.0**x))
def test_smoothed_estimates_stay_within_the_rewards(thousandths, beta):
    rewards = np.array(thousandths) / 1024
    found = smoothed(sampled(rewards), beta)[0, 0]
    scale = 1e-13 * (np.abs(rewards).max() / beta + 1.0)
    assert rewards.min() / beta - scale <= found <= rewards.max() / beta + scale


# The bulk


def test_the_bulk_by_its_definition():
    rewards = np.random.default_rng(10).normal(size=(3, 40))
    wanted = 40 * np.exp(-rewards.var(axis=1, ddof=1)[:, None] / BETAS**2)
    assert bulk(sampled(rewards), BETAS) == precisely(wanted, rel=1e-12)
    assert bulk(sampled(rewards + 1e5), BETAS) == pytest.approx(wanted, rel=1e-6)


def test_the_bulk_of_importance_weights():
    rewards, log_ref, log_proposal = np.random.default_rng(11).normal(size=(3, 40))
    found = bulk(sampled(rewards, log_ref=log_ref, log_proposal=log_proposal), BETAS)
    for j, beta in enumerate(BETAS[0]):
        variance = (log_ref - log_proposal + rewards / beta).var(ddof=1)
        assert found[0, j] == precisely(40 * math.exp(-variance), rel=1e-10)
    # A proposal that is the tilted distribution has equal weights.
    ideal = bulk(sampled(rewards, log_ref=-rewards / 0.4, log_proposal=np.zeros(40)), 0.4)
    assert ideal[0, 0] == precisely(40, rel=1e-12)


def test_rows_without_weight_are_no_part_of_the_bulk():
    rewards = np.random.default_rng(12).normal(size=30)
    with_them = np.concatenate([rewards, np.full(10, -np.inf)])
    assert bulk(sampled(with_them), BETAS) == precisely(bulk(sampled(rewards), BETAS), rel=1e-13)


def test_a_bulk_needs_two_weights():
    assert bulk(sampled([1.0]))[0, 0] == 0.0
    assert bulk(sampled([1.0, -np.inf]))[0, 0] == 0.0
    assert bulk(sampled([-np.inf] * 3))[0, 0] == 0.0
    assert bulk(sampled([1.0, 1.0, -np.inf]))[0, 0] == 2.0


@settings(max_examples=60)
@given(
    st.lists(st.one_of(st.floats(-1e5, 1e5), st.just(-math.inf)), min_size=1, max_size=20),
    st.floats(-300, 300).map(lambda x: 10.0**x),
    st.booleans(),
)
def test_the_bulk_lies_between_0_and_n_at_any_beta(rewards, beta, weighted):
    more = (
        {"log_ref": np.arange(float(len(rewards))), "log_proposal": np.zeros(len(rewards))}
        if weighted
        else {}
    )
    assert 0.0 <= bulk(sampled(rewards, **more), beta)[0, 0] <= len(rewards)


# What must not matter


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("method", [index, smoothed, bulk])
def test_groups_alone_and_in_a_table_agree_bit_for_bit(method, weighted):
    rng = np.random.default_rng(13)
    labels = np.repeat(np.arange(7), [1, 200, 30, 5, 64, 25, 64])
    rewards, log_ref = rng.normal(size=(2, labels.size))

    def rows(keep):
        more = {"log_ref": log_ref[keep], "log_proposal": np.zeros(keep.sum())} if weighted else {}
        return sampled(rewards[keep], prompt=labels[keep], **more)

    whole = method(rows(labels >= 0), BETAS)
    for g in range(7):
        assert np.array_equal(whole[g], method(rows(labels == g), BETAS)[0], equal_nan=True)


@pytest.mark.parametrize("method", [index, smoothed, bulk])
def test_betas_may_differ_between_groups(method):
    rewards = np.random.default_rng(14).normal(size=(3, 40))
    betas = np.array([[0.5, 1.0], [1.0, 2.0], [3.0, 4.0]])
    whole = method(sampled(rewards), betas)
    for g in range(3):
        assert np.array_equal(whole[g], method(sampled(rewards[g]), betas[g])[0])


def test_a_progress_is_told_up_to_one():
    columns = sampled(np.random.default_rng(15).normal(size=(40, 30))).columns()
    for work in (khat, pareto_smoothed):
        told = []
        work(columns, np.ones((1, 1)), progress=told.append)
        assert told[-1] == 1.0
