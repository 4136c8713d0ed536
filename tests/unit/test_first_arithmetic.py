"""The arithmetic that everyone meets first, with numbers small enough for paper."""

import math

import numpy as np
import pytest

import tiltz

REFERENCE = np.log([0.6, 0.4])
REWARDS = np.array([2.0, 1.0])


def table(reward=REWARDS):
    return tiltz.Outcomes.complete(REFERENCE, reward)


def log_z(beta, reward=REWARDS):
    return float(tiltz.estimate(table(reward), beta))


def test_scores_become_probabilities():
    # A, B and C score 12, 7 and 1: together 20, so P(B) = 7 / 20.
    assert tiltz.normalize([12, 7, 1]) == pytest.approx([0.6, 0.35, 0.05], rel=1e-15)


def test_z_of_two_outcomes():
    z = 0.6 * math.e**2 + 0.4 * math.e
    assert z == pytest.approx(5.5207, abs=5e-5)
    assert math.exp(log_z(1.0)) == pytest.approx(z, rel=1e-14)
    assert math.exp(tiltz.log_partition(REFERENCE, REWARDS, 1.0)) == pytest.approx(z, rel=1e-14)


def test_the_tilted_policy_of_two_outcomes():
    first = 0.6 * math.e**2 / (0.6 * math.e**2 + 0.4 * math.e)
    assert tiltz.tilt(table(), 1.0).prob == pytest.approx([first, 1 - first], rel=1e-14)
    assert np.exp(tiltz.tilted_log_prob(REFERENCE, REWARDS, 1.0)) == pytest.approx(
        [first, 1 - first], rel=1e-14
    )


def test_rewards_of_zero_change_nothing():
    tilted = tiltz.tilt(table(np.zeros(2)), 0.7)
    assert log_z(0.7, np.zeros(2)) == 0.0
    assert tilted.prob == pytest.approx([0.6, 0.4], rel=1e-15)
    assert tilted.kl[0, 0] == tilted.kl_reverse[0, 0] == 0.0


@pytest.mark.parametrize("c", [3.0, -7.25, 1e5])
@pytest.mark.parametrize("beta", [0.1, 1.0, 50.0])
def test_equal_rewards_scale_z_and_leave_the_reference(c, beta):
    # Z = sum of pi_ref(y) exp(c / beta) = exp(c / beta)
    assert log_z(beta, np.full(2, c)) == pytest.approx(c / beta, rel=1e-15)
    tilted = tiltz.tilt(table(np.full(2, c)), beta)
    assert tilted.prob == pytest.approx([0.6, 0.4], rel=1e-14)
    assert tilted.kl[0, 0] == pytest.approx(0.0, abs=1e-30)


def test_half_of_beta_squares_the_odds():
    one, half = (tiltz.tilt(table(), beta).prob for beta in (1.0, 0.5))
    # The odds of the first outcome are 0.6 / 0.4 * exp(1 / beta).
    assert one[0] / one[1] == pytest.approx(1.5 * math.e, rel=1e-13)
    assert half[0] / half[1] == pytest.approx(1.5 * math.e**2, rel=1e-13)
    assert half[0] > one[0] > 0.6


def test_half_and_double_beta_move_z_and_v():
    z = {beta: math.exp(log_z(beta)) for beta in (0.5, 1.0, 2.0)}
    assert z[0.5] == pytest.approx(0.6 * math.e**4 + 0.4 * math.e**2, rel=1e-14)
    assert z[2.0] == pytest.approx(0.6 * math.e + 0.4 * math.sqrt(math.e), rel=1e-14)
    soft_value = {beta: beta * math.log(z[beta]) for beta in z}
    # V falls from the largest reward, 2, to the mean reward, 1.6, as beta grows.
    assert 2.0 > soft_value[0.5] > soft_value[1.0] > soft_value[2.0] > 1.6


def test_the_limits_of_beta():
    assert tiltz.estimate(table(), 1e-9).soft_value[0, 0] == pytest.approx(2.0, abs=1e-8)
    assert tiltz.estimate(table(), 1e9).soft_value[0, 0] == pytest.approx(1.6, abs=1e-8)


@pytest.mark.parametrize("beta", [1e-3, 0.1, 1.0, 10.0, 1e6])
def test_tilted_probabilities_sum_to_one(beta):
    assert tiltz.tilt(table(), beta).prob.sum() == pytest.approx(1.0, abs=1e-15)


def test_kl_is_reward_over_beta_minus_log_z():
    tilted = tiltz.tilt(table(), 1.0)
    assert tilted.kl[0, 0] == pytest.approx(tilted.mean_reward[0, 0] / 1.0 - log_z(1.0), rel=1e-13)
    assert tilted.kl_reverse[0, 0] == pytest.approx(log_z(1.0) - 1.6, rel=1e-13)


def test_a_mean_of_samples_is_not_the_soft_value():
    # One success in ten, beta = 0.001: eight samples are all failures 43% of the time, and the three usual lines say 0.
    truth = 0.001 * (1000 + math.log(0.1))
    plug_in = sum(
        math.comb(8, k) * 0.1**k * 0.9 ** (8 - k)
        * float(tiltz.estimate(tiltz.Outcomes.sampled([1] * k + [0] * (8 - k)), 0.001).soft_value[0, 0])
        for k in range(9)
    )  # fmt: skip
    assert truth == pytest.approx(0.9977, abs=5e-5)
    assert plug_in == pytest.approx(0.57, abs=5e-3)
