"""Two possible rewards: coverage is a finite sum over the number of successes, so it is computed, not simulated."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import tiltz

RATES = np.concatenate([[1e-6, 1e-3], np.linspace(0.01, 0.99, 99), [0.999]])


def every_count(n, beta, **options):
    """Estimates of log Z for 0, 1, ..., n successes."""
    rewards = np.tril(np.ones((n + 1, n)), -1)
    table = tiltz.Outcomes.sampled(rewards, reward_values=(0, 1))
    return tiltz.estimate(table, beta, **options)


def miss_rates(est, n, beta):
    """Exact probabilities that log Z lies below and above the interval, one per rate."""
    log_z = np.log1p(RATES * np.expm1(1 / beta))
    chance = stats.binom.pmf(np.arange(n + 1)[:, None], n, RATES)
    slack = 1e-12 * np.maximum(1.0, np.abs(log_z))
    below = (chance * (log_z < est.lo - slack)).sum(axis=0)
    above = (chance * (log_z > est.hi + slack)).sum(axis=0)
    return below, above


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("beta", [0.1, 0.5, 5.0])
@pytest.mark.parametrize("n", [1, 4, 8, 16, 64])
def test_each_limit_misses_at_most_half_of_the_rest(n, beta, level):
    est = every_count(n, beta, level=level)
    assert set(est.kind[:, 0]) == {"certified"}
    for missed in miss_rates(est, n, beta):
        assert np.all(missed <= (1 - level) / 2 + 1e-12)


@pytest.mark.parametrize("n", [8, 64])
def test_plus_and_minus_two_standard_errors_would_not_pass(n):
    beta, rate = 0.5, np.arange(n + 1) / n
    z = 1 + rate * np.expm1(1 / beta)
    error = np.sqrt(rate * (1 - rate) / (n - 1)) * np.expm1(1 / beta) / z
    careless = SimpleNamespace(lo=(np.log(z) - 1.96 * error)[:, None], hi=(np.log(z) + 1.96 * error)[:, None])
    _, above = miss_rates(careless, n, beta)
    assert np.max(above) > 0.9


def test_a_rare_success_that_is_seldom_seen():
    # p = .01 and n = 16: 85 of 100 samples hold no success, and their spread is zero.
    rare = np.argmin(np.abs(RATES - 0.01))
    below, above = miss_rates(every_count(16, 0.1), 16, 0.1)
    assert below[rare] + above[rare] <= 0.05


@pytest.mark.parametrize("n", [1, 2, 8, 25])
def test_a_run_of_equal_samples_without_a_declaration_bounds_from_below(n):
    table = tiltz.Outcomes.sampled(np.ones((1, n)))
    est = tiltz.estimate(table, 0.5)
    assert est.kind[0, 0] == "lower-only"
    assert est.hi[0, 0] == np.inf
    # The worst law puts mass q on the value drawn and the rest at weight zero: a run has probability q ** n.
    with np.errstate(divide="ignore"):
        mass = np.linspace(0.001, 0.999, 999)
        missed = np.where(np.log(mass) + 2.0 < est.lo[0, 0], mass**n, 0.0)
    assert np.max(missed) <= 0.025
    assert np.max(missed) > 0.02
