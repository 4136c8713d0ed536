"""Complete tables against answers at 50 digits."""

import mpmath
import numpy as np
import pytest

import tiltz
from tests.oracles import close, exact, finite_set, known_cases, precisely

CASES = known_cases()


def numbers_of(log_ref, reward, beta):
    table = tiltz.Outcomes.complete(log_ref, reward)
    est, tilted = tiltz.estimate(table, beta), tiltz.tilt(table, beta)
    return {
        "log_z": float(est),
        "soft_value": est.soft_value[0, 0],
        "mean_reward": tilted.mean_reward[0, 0],
        "kl": tilted.kl[0, 0],
        "kl_reverse": tilted.kl_reverse[0, 0],
        "rel_ess": tilted.ess[0, 0] / len(reward),
    }


def test_the_known_cases_are_all_there():
    assert {case["name"] for case in CASES} >= {
        "bernoulli_p0.5_beta1", "bernoulli_p0.1_beta0.2", "bernoulli_p1e-6_beta0.05", "uniform_grid_K100",
        "categorical4_hot_beta1e8", "constant_reward", "huge_negative_rewards", "ising_torus_4x4", "fixed_points_S6",
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@pytest.mark.parametrize("quantity", ["log_z", "mean_reward", "kl", "kl_reverse", "rel_ess"])
def test_known_cases(case, quantity):
    found = numbers_of(*finite_set(case), case["beta"])[quantity]
    assert close(found, case[quantity], 1e-12)


@pytest.mark.parametrize("quantity", ["kl", "kl_reverse", "log_z"])
def test_a_hot_tilt_keeps_its_digits(quantity):
    case = next(case for case in CASES if case["name"] == "categorical4_hot_beta1e8")
    found = numbers_of(*finite_set(case), case["beta"])[quantity]
    assert found == precisely(case[quantity], rel=1e-6)
    truth = exact(case["params"]["p"], case["params"]["r"], case["beta"])
    assert found == precisely(float(truth[quantity]), rel=1e-13)


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e5, 1e5, 1e9])
@pytest.mark.parametrize("beta", [1e-3, 0.3, 1.0, 100.0, 1e8, 1e12])
def test_offsets_cost_no_digits_of_kl(offset, beta):
    rng = np.random.default_rng([abs(int(offset)), int(1000 * beta)])
    prob = rng.dirichlet(np.ones(7))
    reward = offset + np.round(rng.normal(size=7) * 1024) / 1024
    log_ref = np.log(prob)
    truth = exact([mpmath.exp(mpmath.mpf(x)) for x in log_ref], reward, beta)
    found = numbers_of(log_ref - np.log(np.sum(np.exp(log_ref))), reward, beta)
    assert found["kl"] == precisely(float(truth["kl"]), rel=1e-11)
    assert found["kl_reverse"] == precisely(float(truth["kl_reverse"]), rel=1e-11)
    assert found["mean_reward"] == precisely(float(truth["mean_reward"]), rel=1e-14)
    assert found["soft_value"] == precisely(float(truth["soft_value"]), rel=1e-14)


@pytest.mark.parametrize("beta", [1e-300, 1e-200, 1e-30, 1e-8, 1e8, 1e30, 1e200, 1e300])
def test_extreme_betas(beta):
    log_ref, reward = np.log([0.5, 0.25, 0.25]), [1.0, -2.0, 1.0]
    truth, found = exact([0.5, 0.25, 0.25], reward, beta, digits=1000), numbers_of(log_ref, reward, beta)
    for quantity in ("log_z", "soft_value", "mean_reward", "rel_ess"):
        assert found[quantity] == precisely(truth[quantity], rel=1e-13)
    for quantity in ("kl", "kl_reverse"):
        # Below 1e-308 there is nothing to be right about.
        assert found[quantity] == precisely(truth[quantity], rel=1e-12) or truth[quantity] < 1e-300


@pytest.mark.parametrize("scale", [1e-300, 1e-100, 1e100, 1e300])
def test_rewards_and_beta_scale_together(scale):
    small, large = (
        numbers_of(np.log([0.5, 0.5]), [0.0, 1.0], 0.5),
        numbers_of(np.log([0.5, 0.5]), [0.0, scale], 0.5 * scale),
    )
    assert large["log_z"] == precisely(small["log_z"], rel=1e-13)
    assert large["kl"] == precisely(small["kl"], rel=1e-12)
    assert large["mean_reward"] == precisely(scale * small["mean_reward"], rel=1e-13)


def test_a_nearly_certain_outcome_keeps_its_tiny_kl():
    # All the KL there is comes from an outcome of mass 1e-20 that the tilt removes.
    found = numbers_of([np.log1p(-1e-20), np.log(1e-20)], [0.0, -1e6], 1e-20)
    assert found["kl"] == precisely(1e-20, rel=1e-12)


def test_hard_constraints():
    found = numbers_of(np.log([0.5, 0.25, 0.25]), [-np.inf, 0.0, 1.0], 0.5)
    assert found["log_z"] == precisely(np.log(0.25 * (1 + np.e**2)), rel=1e-14)
    assert found["kl_reverse"] == np.inf
    assert found["mean_reward"] == precisely(np.e**2 / (1 + np.e**2), rel=1e-14)
    assert found["kl"] == precisely(found["mean_reward"] / 0.5 - found["log_z"], rel=1e-13)


def test_outcomes_that_never_occur_change_nothing():
    with_them = numbers_of(np.append(np.log([0.5, 0.5]), -np.inf), [0.0, 1.0, 1e9], 0.5)
    without = numbers_of(np.log([0.5, 0.5]), [0.0, 1.0], 0.5)
    for quantity in ("log_z", "mean_reward", "kl", "kl_reverse"):
        assert with_them[quantity] == without[quantity]


@pytest.mark.parametrize("reward", [-np.inf, -5.0])
def test_masses_too_small_for_a_float(reward):
    found = numbers_of([0.0, -800.0], [0.0, reward], 1.0)
    assert found["log_z"] == 0.0
    assert found["kl_reverse"] == (np.inf if reward == -np.inf else 0.0)


def test_a_mass_too_small_for_a_float_can_carry_the_tilt():
    found = numbers_of([0.0, -800.0], [0.0, 1.0], 1e-3)
    assert found["log_z"] == precisely(200.0, rel=1e-14)
    assert found["mean_reward"] == precisely(1.0, rel=1e-14)
    assert found["kl"] == precisely(800.0, rel=1e-14)


def test_many_random_tilts_against_mpmath():
    rng = np.random.default_rng(7)
    for _ in range(60):
        size = int(rng.integers(1, 9))
        prob = rng.dirichlet(np.full(size, rng.choice([0.1, 1.0, 10.0])))
        prob = np.maximum(prob, 1e-12)
        log_ref = np.log(prob / prob.sum())
        reward = rng.choice([0.0, 1e4, -1e5]) + rng.normal(size=size) * 10.0 ** rng.integers(-6, 4)
        beta = 10.0 ** rng.uniform(-6, 10)
        truth = exact([mpmath.exp(mpmath.mpf(x)) for x in log_ref], reward, beta)
        found = numbers_of(log_ref, reward, beta)
        scale = np.max(np.abs(reward)) / beta
        assert abs(found["log_z"] - float(truth["log_z"])) <= 1e-14 * (scale + 40)
        assert found["kl"] == precisely(float(truth["kl"]), rel=1e-9)
        assert found["kl_reverse"] == precisely(float(truth["kl_reverse"]), rel=1e-9)


def test_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(3)
    table = tiltz.Outcomes.sampled(rng.normal(size=300), prompt=rng.integers(0, 40, size=300))
    betas = np.geomspace(1e-3, 1e3, 7)
    whole = tiltz.tilt(table, betas)
    monkeypatch.setattr("tiltz.kernels.moments._BLOCK", 8)
    cut = tiltz.tilt(table, betas)
    for name in ("prob", "mean_reward", "kl", "kl_reverse", "ess"):
        assert np.array_equal(getattr(whole, name), getattr(cut, name))


def test_a_progress_is_told_up_to_one():
    told = []
    tiltz.estimate(tiltz.Outcomes.sampled(np.zeros((5, 2))), 1.0, progress=told.append)
    assert told[-1] == 1.0
    assert told == sorted(told)
