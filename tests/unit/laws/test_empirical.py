"""The law of a list of rewards against sums over the list."""

import math
import time

import numpy as np
import pytest

from tests.oracles import close, exact, precisely
from tests.unit.laws.definitions import CURVES, assert_right
from tiltz.errors import InputError
from tiltz.laws import Categorical, Constrained, Empirical, check_law

LISTS = [
    [0.3],
    [0, 1, 0, 0],
    [2.5, -1.0, 2.5, 0.125, 7.0],
    [1e5 + 0.25, 1e5, 1e5 + 0.5, 1e5],
    [1e6 + 0.1, 1e6 + 0.3, 1e6 + 0.7],
    np.random.default_rng(0).normal(size=40).tolist(),
]


@pytest.mark.parametrize("reward", LISTS, ids=str)
@pytest.mark.parametrize("beta", [1e-6, 0.01, 0.3, 2.0, 1e8])
def test_curves_are_sums_over_the_list(reward, beta):
    assert_right(Empirical(reward), beta, exact([1] * len(reward), reward, beta))


@pytest.mark.parametrize("reward", LISTS, ids=str)
def test_the_law_keeps_its_promises(reward):
    check_law(Empirical(reward))


def test_log_z_is_the_log_mean_exp_of_the_list():
    reward = np.random.default_rng(1).normal(size=1000)
    assert Empirical(reward).log_z(0.7) == precisely(np.log(np.mean(np.exp(reward / 0.7))), rel=1e-13)


def test_ties_are_merged_and_order_does_not_matter():
    law, same = Empirical([1, 0, 1, -2]), Empirical(np.array([-2.0, 1.0, 1.0, 0.0]))
    assert np.array_equal(law.reward, [-2, 0, 1])
    assert law.count.tolist() == [1, 1, 2]
    assert law.log_z(0.3) == same.log_z(0.3)
    assert law.reward_range == (-2.0, 1.0)
    assert law.mean == 0.0
    assert repr(law) == "Empirical(n=4, n_distinct=3, mean=0)"


def test_the_list_of_the_caller_is_left_alone():
    reward = np.array([3.0, 1.0, 2.0])
    law = Empirical(reward)
    assert reward.tolist() == [3.0, 1.0, 2.0]
    reward[:] = 0.0
    assert law.reward_range == (1.0, 3.0)
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(law.reward)[0] = 9.0


def test_a_million_rewards_are_fast():
    reward = np.random.default_rng(2).normal(size=1_000_000)
    start = time.process_time()
    law = Empirical(reward)
    found = law.kl(np.array([0.5, 1.0, 10.0]))
    assert time.process_time() - start < 10.0
    beta, shifted = 1.0, reward - reward.max()
    weight = np.exp(shifted / beta) / np.sum(np.exp(shifted / beta))
    assert found[1] == precisely(np.sum(weight * np.log(weight * len(reward))), rel=1e-11)


@pytest.mark.parametrize("curve", CURVES)
def test_one_beta_gives_a_float_and_blocks_do_not_show(curve, monkeypatch):
    law, betas = Empirical(LISTS[-1]), np.array([[0.01, 0.3], [1.0, 1e8]])
    whole = getattr(law, curve)(betas)
    assert type(getattr(law, curve)(1)) is float
    monkeypatch.setattr("tiltz.laws.atoms._MOST_CELLS", 50)
    assert np.array_equal(getattr(law, curve)(betas), whole)


@pytest.mark.parametrize("beta", [1e-300, 1e-6, 1e6, 1e300])
def test_no_beta_warns_or_leaves_a_nan(beta):
    for reward in LISTS:
        for curve in CURVES:
            assert not math.isnan(getattr(Empirical(reward), curve)(beta))


def test_tilted_and_negated():
    law = Empirical(LISTS[2])
    tilted = law.tilted(0.5)
    assert isinstance(tilted, Categorical)
    assert close(tilted.mean, law.mean_reward(0.5))
    assert tilted.log_z(1.0) == precisely(law.log_z(1 / 3) - law.log_z(0.5), rel=1e-12)
    assert law.negated().log_z(0.5) == precisely(Empirical(-np.array(LISTS[2])).log_z(0.5), rel=1e-15)


def test_draws_are_as_frequent_as_in_the_list():
    drawn = Empirical([1, 0, 1, -2]).sample((300, 400), np.random.default_rng(3))
    assert drawn.shape == (300, 400)
    for value, p in [(-2, 0.25), (0, 0.25), (1, 0.5)]:
        assert abs(np.mean(drawn == value) - p) <= 4.89 * math.sqrt(p * (1 - p) / drawn.size)


def test_a_hard_constraint_goes_around_the_finite_rewards():
    with pytest.raises(InputError, match=r"Constrained\(Empirical\(reward\[reward > -inf\]\), prob=0.75\)"):
        Empirical([1.0, -np.inf, 2.0, 0.0])
    reward = np.array([1.0, -np.inf, 2.0, 0.0])
    law = Constrained(Empirical(reward[reward > -np.inf]), prob=0.75)
    assert law.log_z(0.5) == precisely(np.log(np.mean(np.exp(reward / 0.5))), rel=1e-14)


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ([], "reward must be an array of finite numbers; found none"),
        (3.0, r"shape \(n,\); found shape \(\)"),
        ([[1.0, 2.0], [3.0, 4.0]], r"found shape \(2, 2\). Make one law per prompt"),
        ([0.0, math.nan], "found nan at index 1"),
        ([0.0, 1.0, math.inf], "found inf at index 2"),
        (["0.5", "1"], "found values such as .*0.5"),
        ("high", "found values such as .*high"),
        ([1.0, None], "found values such as 1.0"),
        ([[1.0], [1.0, 2.0]], "found rows of unequal lengths"),
        ([-math.inf, -math.inf], "found 2 rewards, all -inf"),
    ],
)
def test_messages(reward, message):
    with pytest.raises(InputError, match=message):
        Empirical(reward)
