"""Tables of several samplers: weights by the definition, unbiased by enumeration of every path, and refusals."""

import itertools
import math
import pickle

import numpy as np
import pytest

import tiltz
from tests.oracles import all_draws
from tiltz.errors import InputError
from tiltz.inference.controls import LEAST_ROWS, controls_of

REF, POLICY, THIRD = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5]), np.array([0.1, 0.8, 0.1])
LAWS = {"reference": REF, "policy": POLICY, "third": THIRD}
REWARD = np.array([0.0, 1.0, 2.5])
BETA = 0.8
LOG_Z = math.log(REF @ np.exp(REWARD / BETA))


def table(name, outcome, others=(), reward=REWARD, **more):
    """Draws of outcomes (rows x samples, one prompt a row) that know their density under the other samplers."""
    densities = {other: np.log(LAWS[other])[outcome] for other in others if other not in ("reference", name)}
    known = {"log_ref": np.log(REF)[outcome], "log_densities": densities}
    if name != "reference":
        known |= {"log_proposal": np.log(LAWS[name])[outcome], "drawn_from": name}
    return tiltz.Outcomes.sampled(reward[outcome], **known, **more)


def drawn(sizes, prompts, seed=0, **more):
    rng = np.random.default_rng(seed)
    return [
        table(name, rng.choice(3, size=(prompts, size), p=LAWS[name]), others=sizes, **more)
        for name, size in sizes.items()
    ]


def by_hand(outcome, sizes):
    """Balance-heuristic weights of outcomes, without tilt."""
    n = sum(sizes.values())
    mix = sum(size / n * LAWS[name] for name, size in sizes.items())
    return (REF / mix)[outcome]


def test_weights_are_those_of_the_mixture():
    sizes = {"reference": 3, "policy": 5, "third": 2}
    pooled = tiltz.pool(drawn(sizes, 2))
    outcome = np.searchsorted(REWARD, pooled.reward)
    np.testing.assert_allclose(np.exp(pooled.log_weight), by_hand(outcome, sizes), rtol=1e-13)
    assert list(pooled.log_densities) == list(sizes)
    assert [list(pooled.log_densities)[k] for k in pooled.sampler[[0, 5, 6, 15, 16, 19]]] == [
        "reference", "reference", "policy", "policy", "third", "third",
    ]  # fmt: skip
    assert repr(pooled) == "Outcomes(sampled, 20 rows, 2 prompts, drawn from the reference, policy and third)"
    assert pooled.log_weight.max() <= math.log(10 / 3)  # bounded, as the reference drew 3 of 10


def every_path(sizes):
    """Every draw of both samplers as a prompt of its own, and its probability."""
    draws, probs = zip(*(all_draws(LAWS[name], size) for name, size in sizes.items()), strict=True)
    pairs = list(itertools.product(*(range(len(prob)) for prob in probs)))
    prob = np.array([math.prod(p[i] for p, i in zip(probs, pair, strict=True)) for pair in pairs])
    at = np.array(pairs).T
    return [draw[i] for draw, i in zip(draws, at, strict=True)], prob


def test_unbiased_over_every_path_of_both_samplers():
    sizes = {"reference": 2, "policy": 3}
    draws, prob = every_path(sizes)
    tables = [table(name, outcome, sizes) for name, outcome in zip(sizes, draws, strict=True)]
    found = np.exp(tiltz.estimate(tiltz.pool(tables), BETA, interval=None).log_z[:, 0])
    assert prob @ found == pytest.approx(math.exp(LOG_Z), rel=1e-12)
    # Twin: rows of the policy taken for draws from the reference.
    as_reference = np.exp(REWARD / BETA)[np.hstack(draws)].mean(axis=1)
    assert prob @ as_reference != pytest.approx(math.exp(LOG_Z), rel=0.1)


@pytest.mark.parametrize("beta", [0.3, 0.8, 3.0])
def test_betting_limits_hold_over_every_path(beta):
    sizes = {"reference": 3, "policy": 3}
    draws, prob = every_path(sizes)
    tables = [table(name, outcome, sizes) for name, outcome in zip(sizes, draws, strict=True)]
    est = tiltz.estimate(tiltz.pool(tables), beta, level=0.5, reward_range=(0, 2.5))
    log_z = math.log(REF @ np.exp(REWARD / beta))
    assert set(est.kind[:, 0]) == {"certified"}
    assert prob @ (est.lo[:, 0] > log_z + 1e-9) <= 0.25
    assert prob @ (est.hi[:, 0] < log_z - 1e-9) <= 0.25
    assert np.mean(est.hi[:, 0] - est.lo[:, 0]) < 2.5 / beta  # they say more than the range does


def test_exact_where_one_sampler_is_the_tilted_policy():
    """All weights are then a multiple of its density over the mixture, whose mean is known."""
    tilted = REF * np.exp(REWARD / BETA - LOG_Z)
    rng = np.random.default_rng(0)
    base, best = rng.choice(3, size=(5, 20), p=REF), rng.choice(3, size=(5, 20), p=tilted)
    log_tilted = np.log(tilted)
    tables = [
        tiltz.Outcomes.sampled(
            REWARD[base], log_ref=np.log(REF)[base], log_densities={"best": log_tilted[base]}
        ),
        tiltz.Outcomes.sampled(
            REWARD[best], log_ref=np.log(REF)[best], log_proposal=log_tilted[best], drawn_from="best"
        ),
    ]
    est = tiltz.estimate(tiltz.pool(tables), BETA)
    np.testing.assert_allclose(est.log_z, LOG_Z, rtol=1e-13)
    assert set(est.kind[:, 0]) == {"lower-only"}  # no spread is no certainty about what was not drawn
    assert np.all(est.lo <= est.log_z)


def test_controls_are_the_regression_on_densities_over_the_mixture():
    sizes = {"reference": 30, "policy": 60}
    pooled = tiltz.pool(drawn(sizes, 3))
    est = tiltz.estimate(pooled, [0.5, BETA], interval="delta")
    for i, controls in enumerate(controls_of(pooled)):
        rows = pooled.groups.of_row == i
        outcome = np.searchsorted(REWARD, pooled.reward[rows])
        ratios = np.stack([by_hand(outcome, sizes) * (law / REF)[outcome] for law in (REF, POLICY)], axis=1)
        # The correction makes every known mean right.
        np.testing.assert_allclose(controls.factor @ ratios / 90, 1.0, rtol=1e-12)
        for j, beta in enumerate(est.beta):
            weight = by_hand(outcome, sizes) * np.exp(REWARD / beta)[outcome]
            design = np.column_stack([np.ones(90), ratios[:, 1:] - 1])
            solved = np.linalg.lstsq(design, weight, rcond=None)[0]
            assert est.log_z[i, j] == pytest.approx(math.log(solved[0]), rel=1e-12)
            left = (weight - design[:, 1:] @ solved[1:]) / solved[0]
            within = [left[pooled.sampler[rows] == k].var(ddof=1) * n for k, n in enumerate(sizes.values())]
            error = math.sqrt(sum(within) / 90 / 89)
            half = 1.959963984540054 * error
            assert est.hi[i, j] - est.log_z[i, j] == pytest.approx(half, rel=1e-9)


def test_few_rows_of_a_sampler_leave_the_plain_weights():
    for size in (LEAST_ROWS - 1, LEAST_ROWS):
        pooled = tiltz.pool(drawn({"reference": 40, "policy": size}, 1))
        est = tiltz.estimate(pooled, BETA, interval=None)
        plain = math.log(np.mean(np.exp(pooled.log_weight + pooled.reward / BETA)))
        few = size < LEAST_ROWS
        assert ("no_controls" in est.flags[0, 0]) == few
        assert (abs(float(est) - plain) < 1e-12) == few


def test_order_and_nesting_and_selection_do_not_matter():
    one, two, three = drawn({"reference": 30, "policy": 40, "third": 20}, 2)
    whole = tiltz.estimate(tiltz.pool([one, two, three]), [0.4, BETA])
    for tables in ([three, one, two], [tiltz.pool([three, one]), two]):
        other = tiltz.estimate(tiltz.pool(tables), [0.4, BETA])
        np.testing.assert_allclose(other.log_z, whole.log_z, rtol=1e-12)
        np.testing.assert_array_equal(other.kind, whole.kind)
    second = tiltz.estimate(tiltz.pool([one, two, three]).select([1]), [0.4, BETA])
    np.testing.assert_array_equal(second.lo[0], whole.lo[1])
    np.testing.assert_array_equal(second.hi[0], whole.hi[1])


def test_the_same_sampler_twice_is_one_sampler():
    rewards = np.random.default_rng(0).random(20)
    halves = [tiltz.Outcomes.sampled(part, reward_range=(0, 1)) for part in (rewards[:8], rewards[8:])]
    pooled, whole = tiltz.pool(halves), tiltz.Outcomes.sampled(rewards, reward_range=(0, 1))
    assert not pooled.weighted
    assert pooled.sampler is None
    one, two = tiltz.estimate(pooled, BETA), tiltz.estimate(whole, BETA)
    assert (one.lo, one.log_z, one.hi) == (two.lo, two.log_z, two.hi)


def test_prompts_are_joined_by_label():
    def labelled(name, outcome, prompt):
        return table(name, np.array(outcome), ("reference", "policy"), prompt=prompt)

    pooled = tiltz.pool(
        [
            labelled("reference", [0, 1, 2, 0], ["b", "a", "b", "a"]),
            labelled("policy", [2, 2], ["a", "b"]),
        ]
    )
    assert pooled.prompt.tolist() == ["b", "a"]
    assert pooled.reward[pooled.groups.of_row == 1].tolist() == REWARD[[1, 0, 2]].tolist()


def test_contributions_are_shares_of_the_weight():
    sizes = {"reference": 4, "policy": 6}
    pooled = tiltz.pool(drawn(sizes, 2))
    found = tiltz.contributions(pooled, [BETA, 2.0])
    outcome = np.searchsorted(REWARD, pooled.reward)
    weight = by_hand(outcome, sizes) * np.exp(REWARD / BETA)[outcome]
    for i in range(2):
        mine = pooled.groups.of_row == i
        share = weight[mine & (pooled.sampler == 1)].sum() / weight[mine].sum()
        assert found.weight[i, 0] == pytest.approx([1 - share, share], rel=1e-12)
        kish = weight[mine].sum() ** 2 / (weight[mine] ** 2).sum()
        assert found.ess[i, 0].sum() == pytest.approx(kish, rel=1e-12)
    assert found.n.tolist() == [[4, 6], [4, 6]]
    assert "policy" in found.summary()
    note = tiltz.estimate(pooled, BETA).summary()
    assert "share of the weight at beta 0.8, mean over prompts: reference" in note


def gaussian_pair(kl, n, prompts, seed):
    """Reference N(0, 1), reward s y and the tilted policy N(s, 1) itself: log Z = KL = s^2 / 2."""
    s, rng = math.sqrt(2 * kl), np.random.default_rng(seed)
    one, two = rng.normal(size=(prompts, n)), rng.normal(s, size=(prompts, n))
    return tiltz.pool(
        [
            tiltz.Outcomes.sampled(s * one, log_ref=-(one**2) / 2, log_densities={"policy": -((one - s) ** 2) / 2}),
            tiltz.Outcomes.sampled(
                s * two, log_ref=-(two**2) / 2, log_proposal=-((two - s) ** 2) / 2, drawn_from="policy"
            ),
        ]
    )  # fmt: skip


def test_samplers_without_overlap_get_no_upper_limit():
    est = tiltz.estimate(gaussian_pair(200.0, 512, 3, 0), 1.0)
    assert np.all(est.ess > 400)  # which looks healthy
    assert set(est.kind[:, 0]) == {"lower-only"}
    assert all("no_overlap" in flags for flags in est.flags[:, 0])
    assert np.all(np.isposinf(est.hi))
    named = tiltz.estimate(gaussian_pair(200.0, 512, 1, 0), 1.0, interval="delta")
    assert named.kind[0, 0] == "lower-only"


@pytest.mark.parametrize("kl", [4.5, 8.0])
def test_honest_pairs_are_not_taken_to_be_apart(kl):
    apart = [not controls.connected() for controls in controls_of(gaussian_pair(kl, 512, 300, 1))]
    assert sum(apart) == 0


def test_weights_of_zero():
    reward = np.array([-np.inf, -np.inf, 1.0])
    sizes = ("reference", "policy")
    outcome = np.array([[0, 1, 0, 1], [0, 1, 2, 0]])
    tables = [table(name, outcome, sizes, reward) for name in sizes]
    est = tiltz.estimate(tiltz.pool(tables), BETA)
    assert est.log_z[0, 0] == -np.inf
    assert est.lo[0, 0] == -np.inf < est.hi[0, 0]
    weight = REF[2] / (0.5 * REF[2] + 0.5 * POLICY[2]) * math.exp(1 / BETA)
    assert est.log_z[1, 0] == pytest.approx(math.log(weight / 4), rel=1e-12)


def test_what_cannot_be_pooled_is_refused():
    one, two = drawn({"reference": 3, "policy": 3}, 2)
    alone = tiltz.Outcomes.sampled(one.reward, prompt=one.prompt[one.groups.of_row])
    refused = {
        "table 0 .drawn from the reference. lacks those under 'reference' and 'policy'": [alone, two],
        "lacks those under 'third'": [one, two, table("third", np.zeros((2, 2), int), ("policy",))],
        "tables 0 and 1 both hold draws from a 'policy'": [two, two],
        "is in only one of tables 0 and 1": [one, two.select([0])],
        "found reward_range": [
            table("reference", np.zeros((2, 2), int), ("policy",), reward_range=(0, 3)),
            table("policy", np.zeros((2, 2), int), reward_range=(0, 4)),
        ],
        "depended on the rewards": [
            one,
            table("policy", np.zeros((2, 2), int), stopping="adaptive"),
        ],
        "table 1 is a complete table": [one, tiltz.Outcomes.complete(np.log(REF), REWARD)],
        "at least one table": [],
    }
    for message, tables in refused.items():
        with pytest.raises(InputError, match=message):
            tiltz.pool(tables)
    with pytest.raises(InputError, match="those of the reference are log_ref"):
        tiltz.Outcomes.sampled([1.0], log_densities={"reference": [0.0]})
    with pytest.raises(InputError, match="rows come from several"):
        tiltz.estimate(tiltz.pool([one, two]), BETA, interval="hall")
    with pytest.raises(InputError, match="all rows here come from one"):
        tiltz.contributions(one, BETA)


def test_uses_of_the_table_read_it_as_any_other():
    pooled = tiltz.pool(drawn({"reference": 60, "policy": 60}, 3, reward_range=(0, 2.5)))
    betas = np.array([0.3, BETA, 3.0])
    curve, est = tiltz.sweep(pooled, betas), tiltz.estimate(pooled, betas)
    np.testing.assert_array_equal(curve.log_z, est.log_z)
    np.testing.assert_array_equal(curve.hi, est.hi)
    tilted = tiltz.tilt(pooled, BETA)
    outcome = np.searchsorted(REWARD, pooled.reward)
    weight = by_hand(outcome, {"reference": 60, "policy": 60}) * np.exp(REWARD / BETA)[outcome]
    total = np.bincount(pooled.groups.of_row, weight)
    np.testing.assert_allclose(tilted.prob, weight / total[pooled.groups.of_row], rtol=1e-12)
    assert np.all(tiltz.smallest_beta(pooled) < 3.0)
    assert np.all(tiltz.samples_needed(pooled, BETA).n > 0)
    again = pickle.loads(pickle.dumps(pooled))
    np.testing.assert_array_equal(tiltz.estimate(again, betas).hi, est.hi)


def test_arrays_are_read_only_and_the_callers_are_left_alone():
    one, two = drawn({"reference": 3, "policy": 3}, 2)
    before = one.log_weight.copy()
    pooled = tiltz.pool([one, two])
    for array in (pooled.reward, pooled.log_weight, pooled.sampler, *pooled.log_densities.values()):
        assert not array.flags.writeable
    np.testing.assert_array_equal(one.log_weight, before)
