"""What must hold for best-of-n of any finite set: bounds, shifts, splits, and the tilt at the same KL."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tiltz
from tests.property.test_invariants import complete, domains, near
from tiltz.curves.order_statistics import Steps

COUNTS = st.integers(1, 40)


def steps(log_ref, reward):
    return Steps.of(complete(log_ref, reward).columns())


@settings(max_examples=25)
@given(domains(), COUNTS)
def test_the_tilt_spends_the_same_kl_and_reaches_no_less(domain, n):
    table = complete(*domain)
    found = tiltz.best_of_n(table, n)
    kl, beta = found.kl[0, 0], found.beta[0, 0]
    assert 0 <= kl <= math.log(n) - 1 + 1 / n + 1e-12
    assert found.tilted_reward[0, 0] >= found.reward[0, 0] - 1e-7
    if np.isfinite(beta):
        assert near(tiltz.tilt(table, beta).kl[0, 0], kl, tolerance=1e-7)


@given(domains(), COUNTS, st.floats(0.01, 0.99), st.integers(-50, 50))
def test_splits_of_an_outcome_and_shifts_of_rewards_change_no_kl(domain, n, share, shift):
    log_ref, reward = domain
    pieces = [log_ref[0] + math.log(share), log_ref[0] + math.log1p(-share)]
    split = np.append(log_ref[1:], pieces), np.append(reward[1:], [reward[0]] * 2)
    one, two, moved = steps(*domain), steps(*split), steps(log_ref, 64.0 * reward + shift)
    assert near(one.kl(n)[0], two.kl(n)[0])
    assert near(one.best_reward(n)[0], two.best_reward(n)[0], 50)
    assert near(one.kl(n)[0], moved.kl(n)[0])
    assert near(64.0 * one.best_reward(n)[0] + shift, moved.best_reward(n)[0], 3300)


@given(domains(), COUNTS, COUNTS)
def test_more_draws_are_never_worse(domain, n, more):
    found = steps(*domain)
    assert found.best_reward(n + more)[0] >= found.best_reward(n)[0] - 1e-12 * 50
