"""Other people's log Z: each identity exactly on enumerable worlds, recognition, verdicts, messages."""

import math

import numpy as np
import pytest

import tiltz
from tests.oracles import all_draws
from tiltz.errors import InputError

sampled, complete, partial = tiltz.Outcomes.sampled, tiltz.Outcomes.complete, tiltz.Outcomes.partial

REF, POLICY = np.array([0.5, 0.2, 0.2, 0.1]), np.array([0.1, 0.3, 0.2, 0.4])
REWARD, BETA = np.array([0.0, 1.0, 0.4, 2.0]), 0.7
WORLD = complete(np.log(REF), REWARD)
LOG_Z = math.log(math.fsum(REF * np.exp(REWARD / BETA)))
TILTED = REF * np.exp(REWARD / BETA - LOG_Z)


def kl(one, other):
    return math.fsum(one * np.log(one / other))


def off(claim, outcomes=WORLD, beta=BETA):
    """How far a claim lies above log Z, in nats."""
    return tiltz.check_z(outcomes, beta, claim).difference[0]


# Identities


def test_mean_reward_is_low_by_the_kl_from_reference_to_tilted():
    assert off(math.fsum(REF * REWARD) / BETA) == pytest.approx(-kl(REF, TILTED), abs=1e-12)


def test_vargrad_is_low_by_the_kl_from_policy_to_tilted():
    claim = math.fsum(POLICY * (REWARD / BETA + np.log(REF) - np.log(POLICY)))
    assert off(claim) == pytest.approx(-kl(POLICY, TILTED), abs=1e-12)
    arrived = math.fsum(TILTED * (REWARD / BETA + np.log(REF) - np.log(TILTED)))
    assert off(arrived) == pytest.approx(0.0, abs=1e-12)


def test_mean_reward_of_a_policy_is_off_by_two_kls():
    claim = math.fsum(POLICY * REWARD) / BETA
    assert off(claim) == pytest.approx(kl(POLICY, REF) - kl(POLICY, TILTED), abs=1e-12)


def test_largest_reward_is_high_by_the_log_of_the_largest_ratio():
    assert off(REWARD.max() / BETA) == pytest.approx(np.max(np.log(TILTED / REF)), abs=1e-12)


@pytest.mark.parametrize("m", [1, 2, 4])
def test_log_mean_exp_is_low_by_the_kl_to_a_group_with_one_tilted_draw(m):
    draws, chance = all_draws(REF, m)
    claims = tiltz.estimate(sampled(REWARD[draws]), BETA, interval=None).log_z[:, 0]
    one_tilted = np.mean([chance / REF[draws[:, i]] * TILTED[draws[:, i]] for i in range(m)], axis=0)
    assert math.fsum(chance * [off(claim) for claim in claims]) == pytest.approx(
        -kl(chance, one_tilted), abs=1e-12
    )


def test_leave_one_out_values_average_to_those_of_fewer_rows():
    def mean_difference(m, claim_of):
        draws, chance = all_draws(REF, m)
        return math.fsum(chance * [np.mean(claim_of(REWARD[row])) - LOG_Z for row in draws])

    def others(rewards):
        return [np.log(np.mean(np.exp(np.delete(rewards, i) / BETA))) for i in range(len(rewards))]

    group_of_two = mean_difference(2, lambda rewards: np.log(np.mean(np.exp(rewards / BETA))))
    assert mean_difference(3, others) == pytest.approx(group_of_two, abs=1e-12)
    others_mean = mean_difference(3, lambda rewards: (rewards.sum() - rewards) / 2 / BETA)
    assert others_mean == pytest.approx(-kl(REF, TILTED), abs=1e-12)


@pytest.mark.parametrize("m", [1, 3, 32])
def test_closed_form_of_quantiles_is_off_as_the_laws_say(m):
    quantiles = np.arange(m + 1) / m
    world = complete(np.full(m + 1, -math.log(m + 1)), quantiles)
    closed = math.log(BETA * math.expm1(1 / BETA))
    wanted = tiltz.laws.Uniform(0, 1).log_z(BETA) - tiltz.laws.QuantileReward(m).log_z(BETA)
    assert off(closed, world) == pytest.approx(wanted, abs=1e-12)
    assert wanted < 0


def test_any_claim_sets_the_mass_of_the_policy_it_implies():
    claim = 1.234
    mass = math.fsum(REF * np.exp(REWARD / BETA - claim))
    assert off(claim) == pytest.approx(-math.log(mass), abs=1e-12)


# Recognition


def group_of(rng, shape=(6, 5)):
    return rng.normal(size=shape)


def others_log_mean_exp(rewards):
    parts = [np.mean(np.exp(np.delete(rewards, i, axis=1) / BETA), axis=1) for i in range(rewards.shape[1])]
    return np.log(np.stack(parts, axis=1))


CLAIMS = {
    "log_mean_exp": lambda x: np.log(np.mean(np.exp(x / BETA), axis=1)),
    "mean_reward": lambda x: x.mean(axis=1) / BETA,
    "max": lambda x: x.max(axis=1) / BETA,
    "leave_one_out_log_mean_exp": others_log_mean_exp,
    "leave_one_out_mean": lambda x: (x.sum(axis=1, keepdims=True) - x) / (x.shape[1] - 1) / BETA,
    "uniform_quantile": lambda x: math.log(BETA * math.expm1(1 / BETA)),
}


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.parametrize("precision", [np.float64, np.float32])
@pytest.mark.parametrize("of", ["log_z", "soft_value"])
def test_usual_estimators_are_recognised(name, precision, of):
    rewards = group_of(np.random.default_rng(0))
    claim = precision(CLAIMS[name](rewards) * (BETA if of == "soft_value" else 1.0))
    found = tiltz.check_z(sampled(rewards), BETA, claim, of=of)
    assert found.recognised == (name,)
    assert "recognised: the" in found.summary()
    if name.startswith("leave_one_out"):
        with pytest.raises(InputError, match="not as leave-one-out values do"):
            tiltz.check_z(sampled(rewards), BETA, claim + 1e-3, of=of)
    else:
        moved = tiltz.check_z(sampled(rewards), BETA, claim + 1e-3, of=of, interval=None)
        assert moved.recognised == ()


def test_estimators_of_draws_from_a_policy_are_recognised():
    rng = np.random.default_rng(1)
    rewards, log_ref, log_policy = rng.normal(size=(3, 4, 6))
    table = sampled(rewards, log_ref=log_ref, log_proposal=log_policy)
    vargrad = np.mean(rewards / BETA + log_ref - log_policy, axis=1)
    assert tiltz.check_z(table, BETA, vargrad).recognised == ("vargrad",)
    assert tiltz.check_z(table, BETA, rewards.mean(axis=1) / BETA).recognised == ("mean_reward_of_policy",)
    importance = np.log(np.mean(np.exp(rewards / BETA + log_ref - log_policy), axis=1))
    assert tiltz.check_z(table, BETA, importance).recognised == ("log_mean_exp",)


def test_exact_log_z_is_recognised_and_inside():
    found = tiltz.check_z(WORLD, BETA, np.float32(LOG_Z))
    assert found.recognised == ("log_z",)
    assert found.verdict.tolist() == ["inside"]
    assert tiltz.check_z(WORLD, BETA, LOG_Z + 1e-3).verdict.tolist() == ["too_high"]


def test_most_prompts_and_the_other_reading_are_said():
    rewards = group_of(np.random.default_rng(2))
    claim = rewards.mean(axis=1) / BETA
    claim[0] += 1
    assert (
        "recognised in 5 of 6 prompts: the mean reward"
        in tiltz.check_z(sampled(rewards), BETA, claim).summary()
    )
    found = tiltz.check_z(sampled(rewards), BETA, rewards.max(axis=1))
    text = " ".join(found.summary().split())
    assert "not recognised" in text
    assert "read as soft_value it is the largest reward" in text


# Verdicts and limits


def test_limits_are_those_of_ours_turned_over():
    table = sampled([[0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 1]], reward_values=(0, 1))
    est = tiltz.estimate(table, BETA)
    claim = np.array([est.lo[0, 0] - 0.1, est.log_z[1, 0], est.hi[2, 0] + 0.1])
    found = tiltz.check_z(table, BETA, claim)
    assert found.verdict.tolist() == ["too_low", "inside", "too_high"]
    assert found.lo == pytest.approx(claim - est.hi[:, 0])
    assert found.hi == pytest.approx(claim - est.lo[:, 0])
    shifted = tiltz.check_z(table, BETA, claim + 1)
    assert shifted.overall == pytest.approx([limit + 1 for limit in found.overall], rel=1e-9)
    assert found.overall[1] < found.overall[0] < found.overall[2]
    assert found.overall_dict()["n_too_low"] == found.overall_dict()["n_too_high"] == 1


def test_pairs_of_claim_and_truth_cancel_what_prompts_differ_by():
    """Where claims are right up to one shift, the spread of the prompts must not widen its interval."""
    rng = np.random.default_rng(3)
    log_ref = np.log(rng.dirichlet(np.ones(4), size=20))
    table = complete(log_ref, 100 * rng.normal(size=(20, 4)))
    claim = tiltz.estimate(table, BETA).log_z[:, 0] - 0.25
    assert tiltz.check_z(table, BETA, claim).overall == pytest.approx((-0.25, -0.25, -0.25), abs=1e-9)


def test_claims_by_label_by_row_and_for_all_are_one():
    rng = np.random.default_rng(4)
    labels = rng.permutation(np.repeat(["a", "b", "c"], 4))
    table = sampled(rng.normal(size=12), prompt=labels)
    by_label = {"c": 3.0, "a": 1.0, "b": 2.0, "unused": 9.0}
    found = tiltz.check_z(table, BETA, by_label)
    assert found.claimed.tolist() == [by_label[label] for label in table.prompt]
    by_row = tiltz.check_z(table, BETA, [by_label[label] for label in labels])
    assert by_row.difference.tolist() == found.difference.tolist()
    assert tiltz.check_z(table, BETA, 2.0).claimed.tolist() == [2.0] * 3


def test_words_fit_and_say_what_is_outside():
    table = sampled([[0, 1, 0, 0], [0, 0, 1, 0]], prompt=["a " * 60, "b"], reward_values=(0, 1))
    found = tiltz.check_z(table, BETA, [9.0, 0.5])
    text = found.summary(max_rows=1)
    assert max(map(len, text.splitlines())) <= 80
    assert "... 1 more prompt" in text
    assert "outside of our interval: 1 of 2 prompts, 0 too low and 1 too high" in " ".join(text.split())
    assert "no interval was asked for" in tiltz.check_z(table, BETA, 1.0, interval=None).summary()
    assert repr(found).startswith("ZCheck(2 prompts, beta 0.7, claimed less ours")


PAIRS = sampled([[0, 1, 1], [1, 0, 1]], prompt=["a", "b"])


@pytest.mark.parametrize(
    ("outcomes", "claim", "options", "says"),
    [
        (PAIRS, [1.0, np.nan], {}, "finite number; found nan in row 3, prompt 'b'"),
        (PAIRS, [1.0, np.inf], {}, "overflow"),
        (PAIRS, [1.0, 2.0, 3.0], {}, "one for each of the 6 rows"),
        (PAIRS, {"a": 1.0}, {}, "none is there for prompt 'b' .1 of 2 prompts missing"),
        (
            PAIRS,
            [0.1, 0.2, 0.3, 0.4, 0.4, 0.4],
            {},
            "runs from 0.1 to 0.3 in prompt 'a'.*within 1 of 2 prompts",
        ),
        (PAIRS, ["x", "y"], {}, "claimed must hold numbers"),
        (PAIRS, 1.0, {"of": "z"}, "'log_z' or 'soft_value'"),
        (PAIRS, 1.0, {"beta": [0.1, 0.2]}, "one beta; found 2"),
        (sampled([-np.inf, -np.inf]), 1.0, {}, "every reward is -inf, as in prompt 0"),
    ],
)
def test_what_cannot_be_checked_is_refused(outcomes, claim, options, says):
    with pytest.raises(InputError, match=says):
        tiltz.check_z(outcomes, **{"beta": BETA, "claimed": claim, **options})


def test_bounds_of_a_partial_table_judge_a_claim():
    table = partial(np.log([0.5, 0.3]), [0.0, 1.0], reward_range=(0, 1))
    est = tiltz.estimate(table, BETA)
    claims = (est.lo[0, 0] - 0.01, 0.5 * (est.lo[0, 0] + est.hi[0, 0]), est.hi[0, 0] + 0.01)
    found = [tiltz.check_z(table, BETA, claim).verdict[0] for claim in claims]
    assert found == ["too_low", "inside", "too_high"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", [1e-300, 1e-6, 1.0, 1e300])
def test_units_of_reward_do_not_matter(unit):
    """Close enough is relative: neither tiny nor huge rewards make one estimator look like another."""
    rewards = np.random.default_rng(5).normal(size=(3, 6))
    table = sampled(rewards * unit)
    claim = rewards.mean(axis=1) * unit
    assert tiltz.check_z(table, BETA * unit, claim, of="soft_value", interval=None).recognised == (
        "mean_reward",
    )
    assert tiltz.check_z(table, unit, claim * 1.001, of="soft_value", interval=None).recognised == ()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("outcomes", "claim"),
    [
        (complete([math.log(0.5), math.log(0.5), -math.inf], [1.0, 2.0, -math.inf]), 1.5 / BETA),
        (sampled([[1.0], [2.0]]), np.array([1.0, 2.0]) / BETA),
        (sampled([[0.0, 0.0], [1.0, 1.0]]), np.array([0.0, 1.0]) / BETA),
    ],
    ids=["impossible outcome", "one row each", "equal rewards"],
)
def test_edges_are_recognised_too(outcomes, claim):
    assert "mean_reward" in tiltz.check_z(outcomes, BETA, claim).recognised


def test_rewards_of_minus_infinity_are_checked_by_what_remains():
    rewards = np.array([[1.0, -np.inf, 0.0], [0.0, 0.5, -np.inf]])
    claim = np.log(np.mean(np.exp(rewards / BETA), axis=1))
    assert tiltz.check_z(sampled(rewards), BETA, claim).recognised == ("log_mean_exp",)
