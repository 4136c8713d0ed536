"""Hall's interval and the jackknife bias: by the definitions, by enumeration, and what must not matter."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

import tiltz
from tests.oracles import binary_samples, precisely
from tiltz.inference.hall import Moments, hall
from tiltz.inference.jackknife import jackknife_bias

sampled = tiltz.Outcomes.sampled
LEVEL = 0.95
BETAS = np.array([[0.1, 0.5, 1.0, 3.0, 50.0]])


def moments(outcomes, beta=1.0):
    return Moments.of(outcomes.columns(), np.atleast_2d(np.asarray(beta, dtype=float)))


def hall_limits(outcomes, beta=1.0, level=LEVEL):
    return hall(moments(outcomes, beta), level=level)


def bias(outcomes, beta=1.0):
    return jackknife_bias(outcomes.columns(), np.atleast_2d(np.asarray(beta, dtype=float)))


def hall_by_the_book(weights, level=LEVEL):
    """Limits of the mean: the cubic of Hall (1992), inverted as printed there (a = 1/3, b = 1/6)."""
    n, mean, sd, skewness = len(weights), weights.mean(), weights.std(), stats.skew(weights)
    z = special.ndtri(1 - (1 - level) / 2)
    ends = []
    for x in (z, -z):
        inner = 1 + skewness * (x / math.sqrt(n) - skewness / (6 * n))
        ends.append(mean - sd / math.sqrt(n) * math.sqrt(n) * 3 / skewness * (np.cbrt(inner) - 1))
    return ends


# Moments


@pytest.mark.parametrize("n", [2, 3, 20, 500])
def test_moments_by_the_definitions(n):
    rewards = np.random.default_rng(n).normal(size=n)
    found = moments(sampled(rewards), BETAS)
    for j, beta in enumerate(BETAS[0]):
        weights = np.exp(rewards / beta)
        assert found.log_mean[0, j] == pytest.approx(math.log(weights.mean()), rel=1e-12, abs=1e-14)
        assert found.relative_sd[0, j] == precisely(weights.std() / weights.mean(), rel=1e-11)
        assert found.skewness[0, j] == pytest.approx(stats.skew(weights), rel=1e-8, abs=1e-10)


def test_moments_of_importance_weights_and_hard_constraints():
    rng = np.random.default_rng(1)
    rewards, log_ref, log_proposal = rng.normal(size=(3, 30))
    rewards[3], log_ref[5] = -np.inf, -np.inf
    found = moments(sampled(rewards, log_ref=log_ref, log_proposal=log_proposal), BETAS)
    for j, beta in enumerate(BETAS[0]):
        weights = np.exp(log_ref - log_proposal + rewards / beta)
        assert found.log_mean[0, j] == precisely(math.log(weights.mean()), rel=1e-11)
        assert found.relative_sd[0, j] == precisely(weights.std() / weights.mean(), rel=1e-11)
        assert found.skewness[0, j] == precisely(stats.skew(weights), rel=1e-10)


def test_moments_of_weights_nearly_equal_are_those_of_the_rewards():
    rewards = np.random.default_rng(2).exponential(size=50)
    found = moments(sampled(rewards), [1e9, 1e100, 1e200, 1e300])
    assert found.skewness == precisely(np.full((1, 4), stats.skew(rewards)), rel=1e-7)
    assert found.relative_sd == precisely(rewards.std() / np.array([[1e9, 1e100, 1e200, 1e300]]), rel=1e-7)


REWARD = st.floats(-30, 30).map(lambda x: round(x, 3))
HARD = st.one_of(REWARD, st.just(-math.inf))
ANY_BETA = st.floats(-300, 300).map(lambda x: 10.0**x)


@settings(max_examples=60)
@given(st.lists(HARD, min_size=2, max_size=25), st.floats(-1, 3).map(lambda x: 10.0**x), st.integers(1, 24))
def test_merged_moments_are_those_of_all(rewards, beta, cut):
    cut = min(cut, len(rewards) - 1)
    whole = moments(sampled(rewards), beta)
    for first, second in ((rewards[:cut], rewards[cut:]), (rewards[cut:], rewards[:cut])):
        merged = moments(sampled(first), beta).merge(moments(sampled(second), beta))
        assert merged.n == whole.n
        if whole.log_mean == -np.inf:
            assert merged.log_mean == -np.inf
            continue
        assert merged.log_mean == pytest.approx(whole.log_mean, rel=1e-12, abs=1e-12)
        assert merged.relative_sd == pytest.approx(whole.relative_sd, rel=1e-9, abs=1e-12)
        if whole.relative_sd > 1e-9:
            assert merged.skewness == pytest.approx(whole.skewness, rel=1e-6, abs=1e-6)


def test_moments_merge_one_row_at_a_time():
    rewards = np.random.default_rng(3).normal(size=200)
    stream = moments(sampled(rewards[:1]), BETAS)
    for reward in rewards[1:]:
        stream = stream.merge(moments(sampled([reward]), BETAS))
    whole = moments(sampled(rewards), BETAS)
    assert stream.log_mean == pytest.approx(whole.log_mean, rel=1e-12)
    assert stream.relative_sd == pytest.approx(whole.relative_sd, rel=1e-11)
    assert stream.skewness == pytest.approx(whole.skewness, rel=1e-10)


def test_the_moments_of_nothing_change_nothing():
    some = moments(sampled([0.0, 1.0, 5.0]))
    nothing = Moments(
        n=np.zeros((1, 1)),
        log_mean=np.full((1, 1), -np.inf),
        relative_sd=np.zeros((1, 1)),
        skewness=np.zeros((1, 1)),
    )
    for merged in (some.merge(nothing), nothing.merge(some)):
        for name in ("n", "log_mean", "relative_sd", "skewness"):
            assert getattr(merged, name) == pytest.approx(getattr(some, name), rel=1e-15)


# Hall's interval


@pytest.mark.parametrize("n", [3, 16, 100])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_hall_by_the_book(n, level):
    rewards = np.random.default_rng(n).normal(size=n)
    lo, hi = hall_limits(sampled(rewards), BETAS, level)
    for j, beta in enumerate(BETAS[0]):
        low, high = hall_by_the_book(np.exp(rewards / beta), level)
        assert hi[0, j] == pytest.approx(math.log(high), rel=1e-10, abs=1e-12)
        wanted = math.log(low) if low > 0 else -math.inf
        assert lo[0, j] == pytest.approx(wanted, rel=1e-9, abs=1e-11)


@settings(max_examples=60)
@given(st.lists(REWARD, min_size=3, max_size=30, unique=True), st.sampled_from([0.5, 0.9, 0.99]))
def test_the_cubic_at_the_limits_is_the_normal_quantile(rewards, level):
    found = moments(sampled(rewards), 20.0)
    n, g = len(rewards), found.skewness[0, 0]
    for limit, q in zip(hall(found, level=level), (1, -1), strict=True):
        with np.errstate(over="ignore"):
            t = math.sqrt(n) * -np.expm1(limit[0, 0] - found.log_mean[0, 0]) / found.relative_sd[0, 0]
        cubic = t + g * t**2 / (3 * math.sqrt(n)) + g**2 * t**3 / (27 * n) + g / (6 * math.sqrt(n))
        if np.isfinite(limit[0, 0]):
            assert cubic == pytest.approx(q * special.ndtri(1 - (1 - level) / 2), abs=1e-6)


def test_without_skewness_hall_is_the_normal_interval_of_the_mean():
    found = hall(
        Moments(
            n=np.array([[50.0]]),
            log_mean=np.array([[1.0]]),
            relative_sd=np.array([[0.3]]),
            skewness=np.array([[0.0]]),
        ),
        level=LEVEL,
    )
    half = 1.959963984540054 * 0.3 / math.sqrt(50)
    assert found[0][0, 0] == precisely(1 + math.log1p(-half), rel=1e-14)
    assert found[1][0, 0] == precisely(1 + math.log1p(half), rel=1e-14)


def test_a_lower_limit_that_is_not_positive_is_minus_infinity():
    rewards = np.random.default_rng(4).normal(size=10)
    low, high = hall_by_the_book(np.exp(rewards / 0.05))
    assert low < 0
    lo, hi = hall_limits(sampled(rewards), 0.05)
    assert lo[0, 0] == -np.inf
    assert hi[0, 0] == precisely(math.log(high), rel=1e-12)


@pytest.mark.parametrize("beta", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize("rewards", [[1.0], [0.0] * 8, [1e5] * 3, [-np.inf] * 2])
def test_equal_weights_have_no_hall_interval(rewards, beta):
    lo, hi = hall_limits(sampled(rewards), beta)
    assert (lo[0, 0], hi[0, 0]) == (-np.inf, np.inf)


@settings(max_examples=40)
@given(st.lists(REWARD, min_size=2, max_size=20), ANY_BETA)
def test_hall_is_ordered_around_the_point_at_any_beta(rewards, beta):
    lo, hi = hall_limits(sampled(rewards), beta)
    log_z = float(special.logsumexp(np.array(rewards) / beta)) - math.log(len(rewards))
    scale = 1e-13 * (max(map(abs, rewards)) / beta + 1.0)
    assert lo[0, 0] <= log_z + scale
    assert hi[0, 0] >= log_z - scale


# The jackknife


@pytest.mark.parametrize("beta", [1e-2, 0.3, 1.0, 40.0, 1e6, 1e100])
def test_the_jackknife_by_its_definition(beta):
    rewards = np.random.default_rng(5).normal(size=12)
    with mpmath.workdps(400):
        weights = [mpmath.exp(mpmath.mpf(r) / mpmath.mpf(beta)) for r in rewards]
        total: Any = mpmath.fsum(weights)
        n = len(weights)
        # Each term less the log mean of all; they sum to n times what leaving one out changes on average.
        change: Any = mpmath.fsum(mpmath.log((total - w) / total * n / (n - 1)) for w in weights)
        wanted = float(change) * (n - 1) / n
    assert bias(sampled(rewards), beta)[0, 0] == precisely(wanted, rel=1e-11)


def test_the_jackknife_of_importance_weights():
    rng = np.random.default_rng(6)
    rewards, log_ref, log_proposal = rng.normal(size=(3, 15))
    rewards[2] = -np.inf
    found = bias(sampled(rewards, log_ref=log_ref, log_proposal=log_proposal), BETAS)
    for j, beta in enumerate(BETAS[0]):
        weights = np.exp(log_ref - log_proposal + rewards / beta)
        left_out = np.log((weights.sum() - weights) / 14).mean()
        assert found[0, j] == precisely(14 * (left_out - math.log(weights.mean())), rel=1e-9)


def jackknife_removes_most_bias(sign):
    """Whether taking the estimated bias off leaves less than a third of it, over every sample of 12."""
    n, p, beta = 12, 0.5, 1.0
    draws, prob = binary_samples(n, p)
    log_mean = np.log(np.exp(draws / beta).mean(axis=1))
    truth = math.log(1 - p + p * math.exp(1 / beta))
    corrected = log_mean - sign * bias(sampled(draws), beta)[:, 0]
    return abs(prob @ corrected - truth) < abs(prob @ log_mean - truth) / 3


def test_the_jackknife_bias_is_the_bias_by_enumeration():
    assert jackknife_removes_most_bias(1)
    assert not jackknife_removes_most_bias(-1)


def test_where_the_jackknife_is_unknown():
    assert math.isnan(bias(sampled([1.0]))[0, 0])
    assert math.isnan(bias(sampled([-np.inf] * 3))[0, 0])
    # Leaving the only weight out leaves none.
    assert math.isnan(bias(sampled([0.0, -np.inf, -np.inf]))[0, 0])
    assert math.isnan(bias(sampled([0.0, 1.0]), 1e-300)[0, 0])
    assert np.isfinite(bias(sampled([0.0, 0.0, -np.inf]))[0, 0])
    assert bias(sampled([2.0] * 4))[0, 0] == 0.0


@settings(max_examples=60)
@given(st.lists(HARD, min_size=1, max_size=20), ANY_BETA)
def test_the_jackknife_bias_is_never_positive(rewards, beta):
    found = bias(sampled(rewards), beta)
    assert np.isnan(found) or found <= 0


# What must not matter


@pytest.mark.parametrize("weighted", [False, True])
def test_groups_alone_and_in_a_table_agree_bit_for_bit(weighted, monkeypatch):
    rng = np.random.default_rng(7)
    labels = np.repeat(np.arange(6), [1, 2, 30, 5, 64, 3])
    rewards, log_ref = rng.normal(size=(2, labels.size))

    def rows(keep):
        more = {"log_ref": log_ref[keep], "log_proposal": np.zeros(keep.sum())} if weighted else {}
        return sampled(rewards[keep], prompt=labels[keep], **more)

    table = rows(labels >= 0)
    answers = *hall_limits(table, BETAS), bias(table, BETAS)
    monkeypatch.setattr("tiltz.inference.relative_weights._ELEMENTS", 50)
    for g in range(6):
        alone = rows(labels == g)
        for whole, part in zip(answers, (*hall_limits(alone, BETAS), bias(alone, BETAS)), strict=True):
            assert np.array_equal(whole[g], part[0], equal_nan=True)


@pytest.mark.parametrize("offset", [0.0, 1e5, -1e5])
def test_extreme_betas_do_not_warn(offset):
    rewards = offset + np.random.default_rng(8).normal(size=20)
    betas = [1e-300, 1e-100, 1e-10, 1.0, 1e10, 1e100, 1e300]
    for outcomes in (sampled(rewards), sampled(rewards, log_ref=-rewards, log_proposal=np.zeros(20))):
        lo, hi = hall_limits(outcomes, betas)
        assert not np.any(np.isnan(lo) | np.isnan(hi))
        assert np.all(np.isnan(bias(outcomes, betas)) | (bias(outcomes, betas) <= 0))


def test_a_progress_is_told_up_to_one():
    columns = sampled(np.random.default_rng(9).normal(size=(40, 3))).columns()
    for work in (Moments.of, jackknife_bias):
        told = []
        work(columns, np.ones((1, 1)), progress=told.append)
        assert told[-1] == 1.0
