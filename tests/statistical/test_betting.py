"""Betting bounds on replicated draws: what they promise under optional stopping, and how wide they are."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from tests.oracles import covered_between
from tiltz.inference.betting import betting
from tiltz.kernels import Columns

LOOKS = (16, 32, 64, 128, 256, 512, 1024)
LEVEL, REPLICATIONS = 0.95, 1000


def drawn(rewards):
    """Equal groups of draws from the reference, shape (n_groups, n)."""
    n_groups, n = rewards.shape
    return Columns(
        reward=rewards.reshape(-1).copy(),
        log_mass=np.full(rewards.size, -math.log(n)),
        log_count=np.full(n_groups, math.log(n)),
        start=np.arange(n_groups + 1) * n,
        normalised=True,
    )


def betting_limits(rewards, beta, span):
    return betting(drawn(rewards), np.array([[beta]]), level=LEVEL, reward_range=span)


def delta_limits(rewards, beta, span):
    weights = np.exp(rewards / beta)
    mean, n = weights.mean(axis=1, keepdims=True), rewards.shape[1]
    half = 1.96 * weights.std(axis=1, ddof=1, keepdims=True) / mean / math.sqrt(n)
    return np.log(mean) - half, np.log(mean) + half


def beta_law(beta):
    density = stats.beta(2, 5).pdf
    return math.log(integrate.quad(lambda r: density(r) * math.exp(r / beta), 0, 1)[0])


CASES = {
    "beta": (lambda rng, shape: rng.beta(2, 5, size=shape), 0.1, (0.0, 1.0), beta_law(0.1)),
    "two values": (
        lambda rng, shape: (rng.random(shape) < 0.05).astype(float),
        0.2,
        (0.0, 1.0),
        math.log1p(0.05 * math.expm1(5)),
    ),
    "gauss": (lambda rng, shape: rng.normal(size=shape), 0.5, None, 2.0),
}


def ever_excluded(limits, name):
    """How many runs exclude the truth at any look: by the lower bound, by the upper bound."""
    draw, beta, span, truth = CASES[name]
    rewards = draw(np.random.default_rng(17), (REPLICATIONS, LOOKS[-1]))
    below, above = np.zeros((2, REPLICATIONS), dtype=bool)
    for look in LOOKS:
        lo, hi = limits(rewards[:, :look], beta, span)
        below |= lo[:, 0] > truth
        above |= hi[:, 0] < truth
    return int(below.sum()), int(above.sum())


@pytest.mark.parametrize("name", CASES)
def test_under_optional_stopping_each_bound_errs_as_seldom_as_promised(name):
    _, most = covered_between((1 - LEVEL) / 2, REPLICATIONS)
    assert max(ever_excluded(betting_limits, name)) <= most
    # The twin: an interval for a fixed n, looked at seven times.
    assert max(ever_excluded(delta_limits, name)) > most


def test_the_width_for_bounded_rewards():
    rewards = np.random.default_rng(5).beta(2, 5, size=(200, 1024))
    lo, hi = betting_limits(rewards, 0.1, (0.0, 1.0))
    assert np.mean(hi - lo) < 1.25
    # The twin: Hoeffding's interval for the same weights, whose lower end is rarely above the least weight.
    weights = np.exp(rewards / 0.1)
    half = math.expm1(10) * math.sqrt(math.log(40) / 2 / 1024)
    upper = np.log(weights.mean(axis=1) + half)
    lower = np.log(np.maximum(weights.mean(axis=1) - half, 1.0))
    assert np.mean(upper - lower) > 4


def test_the_slack_of_the_lower_bound_without_a_range():
    rewards = np.random.default_rng(6).normal(size=(1000, 64))
    lo, _ = betting_limits(rewards, 1.0, None)
    assert 0.40 < 0.5 - np.mean(lo) < 0.52


@pytest.mark.parametrize("beta", [100.0, 1e4])
def test_at_large_beta_a_range_turns_the_bounds_into_those_of_a_mean(beta):
    """Without the floor the slack would be log(1 / alpha) / n of a nat however little the weights differ."""
    rewards = np.random.default_rng(7).random((100, 256))
    lo, hi = betting_limits(rewards, beta, (0.0, 1.0))
    wide, _ = betting_limits(rewards, beta, None)
    half = 1.96 * math.sqrt(1 / 12 / 256)
    assert np.mean(beta * (hi - lo)) < 2.2 * 2 * half
    assert np.mean(beta * (0.5 / beta - wide)) > 1.0
