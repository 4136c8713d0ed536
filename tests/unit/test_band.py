"""Bands on the law of the reward: exact coverage over every sample, for all betas together."""

import numpy as np
import pytest

import tiltz
from tests.oracles import compositions, covered_between, multinomial
from tiltz.inference.band import range_band, values_band
from tiltz.kernels import Columns

BETAS = np.geomspace(0.02, 50, 13)[None, :]


def columns_of(rewards) -> Columns:
    return tiltz.Outcomes.sampled(rewards).columns()


def log_z(prob, values):
    with np.errstate(divide="ignore"):
        terms = np.log(prob)[:, None] + np.asarray(values)[:, None] / BETAS
    return np.logaddexp.reduce(terms, axis=0)


def outside(limits, truth):
    """Whether the curve leaves its band at some beta."""
    lo, hi = limits
    slack = 1e-12 * np.maximum(1.0, np.abs(truth))
    return np.any((truth < lo - slack) | (truth > hi + slack), axis=1)


def test_two_values_are_clopper_pearson():
    rewards = np.tril(np.ones((9, 8)), -1)
    est = tiltz.estimate(tiltz.Outcomes.sampled(rewards, reward_values=(0, 1)), BETAS[0])
    lo, hi = values_band(columns_of(rewards), BETAS, level=0.95, values=(0.0, 1.0))
    np.testing.assert_allclose(lo, est.lo, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(hi, est.hi, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("prob", [(0.6, 0.3, 0.1), (0.9, 0.05, 0.05), (0.02, 0.9, 0.08), (0.98, 0.0, 0.02)])
@pytest.mark.parametrize("n", [4, 12])
def test_three_values_exactly(n, prob):
    values = (-0.5, 0.0, 1.0)
    counts = list(compositions(n, 3))
    rewards = np.array([np.repeat(values, c) for c in counts])
    chance = np.array([multinomial(c, prob) for c in counts])
    band = values_band(columns_of(rewards), BETAS, level=0.95, values=values)
    assert chance.sum() == pytest.approx(1.0)
    assert chance[outside(band, log_z(prob, values))].sum() <= 0.05


def test_samples_counted_three_times_would_not_hold():
    values, prob = tuple(np.arange(6.0)), np.full(6, 1 / 6)
    rewards = np.random.default_rng(3).choice(values, p=prob, size=(1000, 100))
    least, _ = covered_between(0.95, 1000)
    for times, holds in ((1, True), (3, False)):
        band = values_band(columns_of(np.repeat(rewards, times, axis=1)), BETAS, level=0.95, values=values)
        assert (np.sum(~outside(band, log_z(prob, values))) >= least) == holds


@pytest.mark.parametrize("n", [1, 5, 64])
def test_bounded_rewards_for_all_betas_together(n):
    values, prob = np.array([0.0, 0.2, 0.7, 1.0]), np.array([0.5, 0.3, 0.15, 0.05])
    rewards = np.random.default_rng(n).choice(values, p=prob, size=(1000, n))
    band = range_band(columns_of(rewards), BETAS, level=0.95, reward_range=(0.0, 1.0))
    assert np.sum(~outside(band, log_z(prob, values))) >= covered_between(0.95, 1000)[0]


def test_a_band_of_a_quarter_of_the_width_would_not_hold():
    values, prob = np.linspace(0, 1, 21), np.full(21, 1 / 21)
    rewards = np.random.default_rng(1).choice(values, p=prob, size=(1000, 64))
    least, _ = covered_between(0.95, 1000)
    for times, holds in ((1, True), (16, False)):
        columns = columns_of(np.repeat(rewards, times, axis=1))
        band = range_band(columns, BETAS, level=0.95, reward_range=(0, 1))
        assert (np.sum(~outside(band, log_z(prob, values))) >= least) == holds


def test_the_extreme_laws_by_hand():
    rewards, n = np.array([[0.5, 0.1, 0.9, 0.3]]), 4
    moved = np.sqrt(np.log(2 / 0.5) / (2 * n))
    assert 0.25 < moved < 0.5
    lo, hi = range_band(columns_of(rewards), BETAS, level=0.5, reward_range=(0.0, 1.0))
    upper = np.array([0.5 - moved, 0.25, 0.25, moved])
    np.testing.assert_allclose(hi[0], log_z(upper, [0.3, 0.5, 0.9, 1.0]), rtol=1e-12, atol=1e-14)
    lower = np.array([moved, 0.25, 0.25, 0.5 - moved])
    np.testing.assert_allclose(lo[0], log_z(lower, [0.0, 0.1, 0.3, 0.5]), rtol=1e-12, atol=1e-14)


def test_a_group_alone_gives_the_same_bits():
    rng = np.random.default_rng(0)
    outcomes = tiltz.Outcomes.sampled(rng.choice([-np.inf, 0.0, 1.0], size=60), prompt=rng.integers(0, 7, 60))
    values = (-np.inf, 0.0, 1.0)
    whole = values_band(outcomes.columns(), BETAS, level=0.9, values=values)
    for i, label in enumerate(outcomes.prompt):
        alone = values_band(outcomes.select([label]).columns(), BETAS, level=0.9, values=values)
        assert all(a[i].tobytes() == b[0].tobytes() for a, b in zip(whole, alone, strict=True))
