"""Exact oracles for the points of an audit; flags, verdicts, checks and errors one by one."""

import json

import numpy as np
import pytest

import tiltz
from tests.audits import QUANTITIES, World
from tiltz.auditing import Check
from tiltz.errors import InputError
from tiltz.files import json_ready

REF, REWARD = np.array([[0.5, 0.25, 0.25]]), np.array([[0.0, 1.0, 3.0]])
POLICY = np.array([[0.25, 0.25, 0.5]])


def in_proportion(prob, n):
    """Rows in exactly the proportions of a law, so that every mean is the expectation."""
    return np.repeat(np.arange(prob.shape[1]), np.round(n * prob[0]).astype(int))[None, :]


def pair(world, policy, n=64, **declared):
    return (
        world.table(policy, in_proportion(policy, n), **declared),
        world.ref_table(policy, in_proportion(world.ref, n), **declared),
    )


@pytest.fixture
def world():
    return World(REF, REWARD, beta=1.5)


def drawn(name, n=200, n_prompts=3, seed=0, **how):
    many = World.drawn(n_prompts, seed=seed)
    return many, *many.tables(many.policies()[name], n, np.random.default_rng([seed, 99]), **how)


@pytest.mark.parametrize("with_reference", [True, False])
def test_points_are_exact_where_rows_stand_in_proportion(world, with_reference):
    policy, reference = pair(world, POLICY)
    found = tiltz.audit(policy, world.beta, reference=reference if with_reference else None)
    for name, value in world.truth(POLICY).items():
        assert getattr(found, name).value == pytest.approx(value, abs=1e-12), name
        assert getattr(found.overall, name).value == pytest.approx(value[0], abs=1e-12), name
    assert found.prompt.tolist() == [0]
    assert (found.n_policy, found.n_reference) == (64, 64 * with_reference)


def test_shift_and_scale_of_the_reward():
    world, policy, reference = drawn("mixture")
    moved = World(world.ref, 3 * world.reward + 7, 3 * world.beta)
    rng = np.random.default_rng([0, 99])
    other = moved.tables(world.policies()["mixture"], 200, rng)
    a = tiltz.audit(policy, world.beta, reference=reference)
    b = tiltz.audit(other[0], moved.beta, reference=other[1])
    for name in ("lo", "value", "hi"):
        for level in ("reward", "achieved", "ceiling", "reference_reward"):
            expected = 3 * getattr(getattr(a, level), name) + 7
            assert getattr(getattr(b, level), name) == pytest.approx(expected, rel=1e-6)
        assert getattr(b.gap, name) == pytest.approx(3 * getattr(a.gap, name), rel=1e-6, abs=1e-6)
        assert getattr(b.share, name) == pytest.approx(getattr(a.share, name), rel=1e-5)
        assert getattr(b.kl, name) == pytest.approx(getattr(a.kl, name), rel=1e-6)


def test_a_prompt_is_audited_alone_as_among_others():
    world, policy, reference = drawn("under")
    whole = tiltz.audit(policy, world.beta, reference=reference)
    one = tiltz.audit(policy.select([1]), world.beta, reference=reference)
    for name in QUANTITIES:
        assert getattr(one, name).at(0).to_dict() == pytest.approx(getattr(whole, name).at(1).to_dict())


def test_order_of_rows_and_prompts_only_matters_to_resamples():
    world, policy, reference = drawn("under", n=30)
    labels = np.repeat(["a", "b", "c"], 30)
    order = np.random.default_rng(3).permutation(90)

    def table(rows, **more):
        return tiltz.Outcomes.sampled(rows.reward[order], prompt=labels[order], **more)

    log_ref = policy.log_densities["reference"][order]
    shuffled = table(
        policy,
        log_ref=log_ref,
        log_proposal=policy.log_densities["policy"][order],
        drawn_from="policy",
    )
    a = tiltz.audit(policy, world.beta, reference=reference)
    where = [list(shuffled.prompt).index(label) for label in "abc"]
    theirs = tiltz.Outcomes.sampled(
        reference.reward,
        prompt=labels,
        log_ref=reference.log_densities["reference"],
        log_densities={"policy": reference.log_densities["policy"]},
    )
    b = tiltz.audit(shuffled, world.beta, reference=theirs)
    for name in QUANTITIES:
        assert getattr(b, name).value[where] == pytest.approx(getattr(a, name).value), name


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("optimum", "near its optimum"),
        ("near", "near its optimum"),
        ("under", "under-optimised"),
        ("reference", "under-optimised"),
        ("over", "over-optimised"),
    ],
)
def test_verdicts(name, word):
    world, policy, reference = drawn(name, n=100, n_prompts=30)
    found = tiltz.audit(policy, world.beta, reference=reference)
    assert found.overall.verdict == word
    assert found.overall.kind == "approximate"
    assert repr(found).endswith(f"{word})")


def test_reward_up_while_the_value_falls():
    ref, reward = np.array([[0.9, 0.1]]), np.array([[0.0, 1.0]])
    world = World(ref, reward, beta=1.0)
    policy, reference = world.tables(np.array([[0.05, 0.95]]), 300, np.random.default_rng(0))
    found = tiltz.audit(policy, 1.0, reference=reference)
    assert found.share.hi[0] < 0
    assert found.overall.verdict == "over-optimised"


def test_few_rows_leave_prompts_open_and_their_mean_not():
    world, policy, reference = drawn("under", n=16, n_prompts=60)
    found = tiltz.audit(policy, world.beta, reference=reference)
    assert all("too_few" in flags for flags in found.flags)
    assert np.all(found.ceiling.hi == np.inf)
    assert set(found.kind) == {"lower-only"}
    assert np.isfinite(found.overall.ceiling.hi)
    assert found.overall.verdict == "under-optimised"


def test_a_declared_range_bounds_what_is_open():
    world, policy, reference = drawn("under", n=16, reward_range=(0.0, 2.0))
    found = tiltz.audit(policy, world.beta, reference=reference)
    assert np.all(found.ceiling.hi == 2.0)
    assert found.gap.hi == pytest.approx(2.0 - found.achieved.lo)
    truth = world.truth(world.policies()["under"])["share"]
    assert np.all((found.share.lo <= truth) & (truth <= found.share.hi))


def test_equal_rewards_are_not_certain():
    world = World(np.array([[0.6, 0.4]]), np.array([[0.0, 1.0]]), 0.5)
    rows = np.zeros((1, 40), dtype=int)
    policy = world.table(np.array([[0.3, 0.7]]), in_proportion(np.array([[0.3, 0.7]]), 40))
    found = tiltz.audit(policy, 0.5, reference=world.ref_table(np.array([[0.3, 0.7]]), rows))
    assert found.reference_reward.hi[0] == pytest.approx(1 - 0.025 ** (1 / 40), abs=1e-6)
    alike = tiltz.audit(world.table(np.array([[0.95, 0.05]]), rows), 0.5)
    assert "all_equal" in alike.flags[0]
    assert alike.achieved.lo[0] == -np.inf
    assert alike.overall.verdict == "the data cannot tell"


def test_half_the_reference_never_visited_is_not_near_the_optimum():
    """The policy is the tilted one on one of two equal modes: its own rows show a gap of 0; it is beta log 2."""
    world = World(np.full((1, 4), 0.25), np.array([[1.0, 2.0, 1.0, 2.0]]), 1.0)
    half = world.tilted(1.0) * np.array([[2, 2, 1e-9, 1e-9]])
    half /= half.sum()
    policy, reference = world.tables(half, 400, np.random.default_rng(0))
    alone = tiltz.audit(policy, 1.0)
    assert alone.gap.value[0] == pytest.approx(0, abs=1e-6)
    assert alone.gap.hi[0] == np.inf
    assert alone.overall.verdict == "the data cannot tell"
    pooled = tiltz.audit(policy, 1.0, reference=reference)
    assert pooled.gap.lo[0] <= np.log(2) <= pooled.gap.hi[0]


@pytest.mark.parametrize("n_reference", [None, 0])
def test_drawn_at_one_temperature_scored_at_another(n_reference):
    world = World.drawn(20, seed=4)
    policy = world.policies()["near"]
    cold = policy ** (1 / 0.7)
    cold /= cold.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    tables = world.tables(policy, 400, rng, drawn=cold, n_reference=n_reference)
    found = tiltz.audit(tables[0], world.beta, reference=tables[1])
    if n_reference == 0:  # nothing in these columns shows it, and no check claims that all is well
        ratio = next(check for check in found.checks if "which sampler" in check.name)
        assert ratio.status == "not checkable"
        return
    assert found.overall.verdict == "refused"
    assert set(found.verdict) == {"refused"}
    assert any(c.status == "failed" and "which sampler" in c.name for c in found.checks)
    assert found.gap.hi[0] == found.overall.ceiling.hi == np.inf


def test_ratios_above_one_are_refused_and_below_prove_nothing():
    world, policy, _ = drawn("under", n_prompts=5)

    def shifted(by):
        return tiltz.Outcomes.sampled(
            policy.reward.reshape(5, -1),
            log_ref=(policy.log_densities["reference"] + by).reshape(5, -1),
            log_proposal=policy.log_densities["policy"].reshape(5, -1),
            drawn_from="policy",
        )

    for by, status in ((0.2, "failed"), (0.0, "passed"), (-0.2, "not checkable")):
        found = tiltz.audit(shifted(by), world.beta)
        check = next(c for c in found.checks if c.name.startswith("reference/policy ratios"))
        assert check.status == status
        assert (found.overall.verdict == "refused") == (by > 0)


def test_a_failed_check_of_the_caller_refuses():
    world, policy, reference = drawn("near")
    check = Check(name="settings", status="failed", text="temperature 0.7 against 1")
    found = tiltz.audit(policy, world.beta, reference=reference, checks=[check])
    assert found.checks[-1] is check
    assert found.overall.verdict == "refused"
    assert np.isfinite(found.reward.hi).all()


def test_the_only_other_sampler_is_the_policy():
    world, policy, reference = drawn("near", n_prompts=1)
    unnamed = tiltz.Outcomes.sampled(
        policy.reward,
        log_ref=policy.log_densities["reference"],
        log_proposal=policy.log_densities["policy"],
    )
    a, b = (tiltz.audit(table, world.beta, reference=reference) for table in (policy, unnamed))
    assert b.ceiling.at(0).to_dict() == a.ceiling.at(0).to_dict()


def test_prompts_are_matched_by_label():
    world, policy, reference = drawn("under", n_prompts=3)
    found = tiltz.audit(policy, world.beta, reference=reference.select([2, 0]))
    assert found.n_reference.tolist() == [200, 0, 200]
    whole = tiltz.audit(policy, world.beta, reference=reference)
    assert found.ceiling.value[2] == whole.ceiling.value[2]


def test_results_as_columns_text_and_json():
    world, policy, reference = drawn("under", n_prompts=4)
    found = tiltz.audit(policy, world.beta, reference=reference)
    columns = found.to_dict()
    assert set(columns["gap"][0]) == {"value", "lo", "hi"}
    assert columns["gap"][2]["lo"] == found.gap.lo[2]
    assert (
        json.loads(json.dumps(json_ready(found.overall_dict())))["share"]["value"]
        == found.overall.share.value
    )
    text = found.summary(max_rows=2)
    assert max(map(len, text.splitlines())) <= 80
    assert "2 more prompts of 4" in text
    assert text.startswith("under-optimised: over 4 prompts at beta 0.5")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p, r: (r, r), "drawn from the policy"),
        (lambda p, r: (p, p), "drawn from the reference itself"),
        (lambda p, r: (p, tiltz.Outcomes.sampled([1.0], prompt=["other"])), "same prompts"),
        (lambda p, r: (tiltz.Outcomes.sampled([-np.inf], log_ref=[0], log_proposal=[0]), None), "finite"),
        (lambda p, r: (tiltz.Outcomes.sampled([1], log_ref=[-np.inf], log_proposal=[0]), None), "KL is inf"),
        (lambda p, r: (p, tiltz.Outcomes.sampled([[1.0, -np.inf]] * 3)), "E_ref"),
        (
            lambda p, r: (
                tiltz.Outcomes.sampled(
                    [1, 2], prompt=[0, 0], step=[1, 2], log_ref=[0, 0], log_proposal=[0, 0]
                ),
                None,
            ),
            "one step",
        ),
    ],
)
def test_errors_say_what_is_wrong(change, words):
    _, policy, reference = drawn("under")
    policy, reference = change(policy, reference)
    with pytest.raises(InputError, match=words):
        tiltz.audit(policy, 0.5, reference=reference)


def test_one_beta():
    _, policy, _ = drawn("under")
    with pytest.raises(InputError, match="one beta"):
        tiltz.audit(policy, [0.5, 1.0])


def test_one_row_of_each_sampler_is_no_proof_of_a_mistake():
    """Of honest tables of many prompts with a single row each, few are refused."""
    refused = 0
    for seed in range(30):
        many = World.drawn(150, seed=seed)
        tables = many.tables(many.policies()["mixture"], 1, np.random.default_rng(seed))
        refused += tiltz.audit(tables[0], many.beta, reference=tables[1]).overall.verdict == "refused"
    assert refused <= 1
