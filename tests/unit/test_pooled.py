"""Pooled estimates: what they say, of which prompts, and what is refused."""

import numpy as np
import pytest

import tiltz
from tiltz.errors import InputError
from tiltz.inference.shrinkage import LARGEST_N, fit_rates

BETAS = [0.01, 0.1, 1.0]


def successes(seed=0, prompts=300, n=8, a=0.5, b=1.5):
    rng = np.random.default_rng(seed)
    rate = rng.beta(a, b, size=(prompts, 1))
    return (rng.random((prompts, n)) < rate) * 1.0


def table(**declared):
    return tiltz.Outcomes.sampled(successes(), **(declared or {"reward_values": (0, 1)}))


def test_cells_are_the_posteriors_of_the_fitted_law():
    rewards = successes()
    est = tiltz.estimate(table(), BETAS, shrink=True)
    n, k = np.full(300, 8), rewards.sum(axis=1)
    wanted = fit_rates(n, k, np.ones(300)).posterior(n, k, BETAS)
    np.testing.assert_allclose(est.soft_value, wanted.soft_value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(est.lo * BETAS, wanted.lo, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(est.hi * BETAS, wanted.hi, rtol=1e-9, atol=1e-12)
    assert set(est.kind.reshape(-1)) == {"pooled"}
    assert est.overall.kind.tolist() == ["pooled"] * 3
    assert "Beta(" in est.summary()
    assert np.all(np.isnan(est.bias))
    failed = k == 0
    assert all("on_atom" in flags for flags in est.flags[failed, 0])
    assert not any("on_atom" in flags for flags in est.flags[~failed & (k < 8), 0])


def test_a_prompt_keeps_its_answer_in_a_selection():
    whole = tiltz.estimate(table(), BETAS, shrink=True)
    some = tiltz.estimate(table().select([7, 3]), BETAS, shrink=True)
    assert some.lo.tobytes() == whole.lo[[3, 7]].tobytes()


def test_rewards_in_other_units():
    one = tiltz.estimate(table(), 0.1, shrink=True)
    two = tiltz.estimate(tiltz.Outcomes.sampled(5 + 3 * successes(), reward_values=(5, 8)), 0.3, shrink=True)
    np.testing.assert_allclose(two.soft_value, 5 + 3 * one.soft_value, rtol=1e-9)


def test_a_table_that_saw_the_higher_value_alone():
    always = tiltz.Outcomes.sampled(np.ones((20, 4)), reward_values=(0, 1))
    est = tiltz.estimate(always, 0.1, shrink=True)
    assert np.all(est.soft_value > 0.9)
    never = tiltz.Outcomes.sampled(np.zeros((20, 4)), reward_values=(0, 1))
    assert np.all(tiltz.estimate(never, 0.1, shrink=True).soft_value < 0.7)


def test_another_prior_is_a_declaration():
    atoms, plain = (tiltz.estimate(table(), 0.01, shrink=True, prior=prior) for prior in (None, "beta"))
    failed = successes().sum(axis=1) == 0
    assert np.all(plain.soft_value[failed, 0] > atoms.soft_value[failed, 0])
    assert "declared: no prompt is impossible" in plain.summary().replace("\n  ", " ")


def test_a_law_that_is_taken_for_known_has_approximate_limits():
    assert set(tiltz.estimate(table(), 0.1, shrink=True, prior="npmle").kind[:, 0]) == {"approximate"}


def test_groups_that_a_filter_left_are_not_pooled_as_if_drawn():
    rewards = successes(prompts=1500)
    mixed = rewards[rewards.min(axis=1) < rewards.max(axis=1)]
    outcomes = tiltz.Outcomes.sampled(mixed, reward_values=(0, 1))
    assert set(tiltz.estimate(outcomes, 0.1, shrink=True).kind[:, 0]) == {"approximate"}
    assert set(tiltz.estimate(outcomes, 0.1).kind[:, 0]) == {"approximate"}


def test_a_prompt_of_very_many_samples_keeps_its_own_interval():
    rewards = successes()
    many = (np.random.default_rng(1).random(LARGEST_N + 1) < 0.3) * 1.0
    labels = np.concatenate([np.repeat(np.arange(300), 8), np.full(LARGEST_N + 1, 300)])
    outcomes = tiltz.Outcomes.sampled(
        np.concatenate([rewards.reshape(-1), many]), prompt=labels, reward_values=(0, 1)
    )
    est = tiltz.estimate(outcomes, 0.1, shrink=True)
    assert est.kind[:300, 0].tolist() == ["pooled"] * 300
    assert est.kind[300, 0] == "certified"
    assert est.lo[300, 0] == tiltz.estimate(outcomes, 0.1).lo[300, 0]


def test_continuous_rewards():
    rng = np.random.default_rng(2)
    rewards = rng.normal(size=(400, 1)) + rng.normal(size=(400, 8))
    outcomes = tiltz.Outcomes.sampled(rewards)
    est = tiltz.estimate(outcomes, [0.05, 2.0], shrink=True)
    assert set(est.kind[:, 1]) == {"pooled"}
    assert "lower-only" in set(est.kind[:, 0])
    assert np.all(est.lo <= est.log_z)
    assert np.all(est.log_z <= est.hi)
    bounded = tiltz.estimate(outcomes, 2.0, shrink=True, reward_range=(-6, 6))
    assert np.all(2.0 * bounded.hi <= 6.0)
    with pytest.raises(InputError, match="a selection of 1 of 400 prompts"):
        tiltz.estimate(outcomes.select([0]), 2.0, shrink=True)


@pytest.mark.parametrize(
    ("outcomes", "options", "said"),
    [
        (table(), {"prior": "beta"}, "needs shrink=True"),
        (table(), {"shrink": True, "prior": "flat"}, "prior must be one of"),
        (table(), {"shrink": True, "interval": "delta"}, "intervals of its own"),
        (
            table().select(np.arange(3)),
            {"shrink": True, "reward_values": (1.0, 0.0, 2.0)},
            "a selection of 3 of 300 prompts",
        ),
        (
            tiltz.Outcomes.sampled(successes(prompts=9), reward_values=(0, 1)),
            {"shrink": True},
            "at least 10 prompts",
        ),
        (tiltz.Outcomes.complete([0.0], [1.0]), {"shrink": True}, "found a complete table"),
        (
            tiltz.Outcomes.sampled([[0, -np.inf]] * 20, reward_values=(0, -np.inf)),
            {"shrink": True},
            "two finite",
        ),
        (
            tiltz.Outcomes.sampled([0.0, 1.0], log_ref=[-1, -1], log_proposal=[-1, -2]),
            {"shrink": True},
            "importance weights",
        ),
        (
            tiltz.Outcomes.sampled(np.eye(30)),
            {"shrink": True, "prior": "beta", "reward_range": (0, 1)},
            "reward_values=",
        ),
    ],
)
def test_what_cannot_be_pooled_is_refused(outcomes, options, said):
    with pytest.raises(InputError, match=said):
        tiltz.estimate(outcomes, 0.1, **options)
