"""Projected samples: what they project is what one gets if the samples repeat themselves."""

import numpy as np
import pytest

import tiltz
from tiltz.errors import InputError

sampled = tiltz.Outcomes.sampled


def width_of(outcomes, beta):
    est = tiltz.estimate(outcomes, beta)
    return est.hi[0, 0] - est.lo[0, 0]


@pytest.mark.parametrize("beta", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("rewards", [[0] * 8, [1] + [0] * 7, [1, 0] * 4, [1] * 8])
def test_two_values_repeated_so_often_are_narrow_enough_and_fewer_are_not(rewards, beta):
    needed = tiltz.samples_needed(sampled(rewards, reward_values=(0, 1)), beta).n[0, 0]
    times = int(np.ceil(needed / 8))
    if needed > 1e6:
        pytest.fail(f"{needed} samples are not in sight")
    assert width_of(sampled(rewards * times, reward_values=(0, 1)), beta) <= 1.0
    if times > 2:
        assert width_of(sampled(rewards * (times - 2), reward_values=(0, 1)), beta) > 1.0


def test_widths_of_other_rewards_shrink_with_the_root_of_n():
    rewards = np.random.default_rng(0).normal(size=200)
    found = tiltz.samples_needed(sampled(rewards), 1.0, width=0.1).n[0, 0]
    assert found == pytest.approx(200 * (width_of(sampled(rewards), 1.0) / 0.1) ** 2, rel=0.01)


def test_what_a_two_sided_answer_needs():
    few = sampled(np.random.default_rng(0).normal(size=10))
    assert tiltz.samples_needed(few, 100.0).n[0, 0] == 25
    rewards = np.random.default_rng(0).normal(size=200)
    spread = rewards.std(ddof=1) / 0.3
    assert tiltz.samples_needed(sampled(rewards), 0.3).n[0, 0] >= 10 * np.exp(spread**2) * 0.99


def test_no_number_helps_where_nothing_varies_or_the_tail_is_heavy():
    needed = tiltz.samples_needed(sampled([[0.5] * 40, [0.1, 0.1, 0.2, 0.3] * 10]).select([0]), 0.1)
    assert np.all(np.isinf(needed.n))
    heavy = sampled(np.random.default_rng(0).exponential(size=2000))
    assert np.isinf(tiltz.samples_needed(heavy, 1.0).n[0, 0])
    assert "inf" in repr(needed)


def test_only_draws_can_be_added_to():
    with pytest.raises(InputError, match="complete"):
        tiltz.samples_needed(tiltz.Outcomes.complete([0.0], [1.0]), 1.0)
    with pytest.raises(InputError, match="width"):
        tiltz.samples_needed(sampled([0, 1]), 1.0, width=0)


def test_shape_and_repr():
    found = tiltz.samples_needed(sampled(np.eye(12), reward_values=(0, 1)), [0.1, 1.0])
    assert found.n.shape == (12, 2)
    assert found.have.tolist() == [12] * 12
    assert len(repr(found).splitlines()) == 12


@pytest.mark.parametrize("beta", [1e-14, 1e-17, 1e-300])
def test_tiny_betas_need_as_many_as_small_ones(beta):
    draws = sampled([1, 0, 0, 1, 0, 0, 0, 0], reward_values=(0, 1))
    wanted = tiltz.samples_needed(draws, 0.01).n[0, 0]
    assert tiltz.samples_needed(draws, beta).n[0, 0] == pytest.approx(wanted, abs=1)
