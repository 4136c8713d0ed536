"""Audited quantities cover at their level on enumerable worlds; what fools others is refused, honest pairs are not."""

import numpy as np
import pytest

import tiltz
from tests.audits import QUANTITIES, World
from tests.oracles import covered_between

LEVEL, REPLICATIONS = 0.95, 1000
LEAST, MOST = covered_between(LEVEL, REPLICATIONS)
WORLD = World.drawn(1)
NAMES = tuple(WORLD.policies())
FAST = ("near",)
CELLS = [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in NAMES]


def replicated(name, n, **how):
    """One world as so many prompts, each a replication."""
    world = WORLD.repeated(REPLICATIONS)
    rng = np.random.default_rng([n, *name.encode()])
    policy, reference = world.tables(world.policies()[name], n, rng, **how)
    return tiltz.audit(policy, world.beta, reference=reference), WORLD.truth(WORLD.policies()[name])


def covered(quantity, truth):
    return int(np.sum((quantity.lo <= truth + 1e-8) & (truth - 1e-8 <= quantity.hi)))


def all_covered(found, truth):
    return {name: covered(getattr(found, name), truth[name][0]) for name in QUANTITIES}


@pytest.mark.parametrize("name", CELLS)
def test_pooled_rows_cover(name):
    found, truth = replicated(name, 128 if name in FAST else 256)
    counts = all_covered(found, truth)
    assert min(counts.values()) >= LEAST, counts
    assert not np.any([("no_overlap" in flags) for flags in found.flags])
    assert found.overall.verdict != "refused"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", [{"scored": False}, {"n_reference": 0}], ids=["unscored", "alone"])
def test_less_evidence_covers_too(name, how):
    """Without the policy's score of the reference's rows, and without such rows: wider, or infinite."""
    found, truth = replicated(name, 256, **how)
    counts = all_covered(found, truth)
    assert min(counts.values()) >= LEAST, counts


def test_gap_of_the_optimum_is_zero_to_rounding():
    world = World.drawn(50)
    policy, reference = world.tables(world.tilted(world.beta), 64, np.random.default_rng(0))
    found = tiltz.audit(policy, world.beta, reference=reference)
    truth = world.truth(world.tilted(world.beta))
    assert np.all(found.gap.lo == 0)
    assert np.all(found.gap.hi < 1e-7)
    assert np.all(np.abs(found.ceiling.value - truth["ceiling"]) < 1e-9)
    assert set(found.verdict) == {"near its optimum"}


def test_draws_of_the_policy_taken_for_the_references_do_not_cover():
    """The wrong twin: log-mean-exp of the policy's rewards."""
    world = WORLD.repeated(REPLICATIONS)
    policy = world.policies()["near"]
    rows, _ = world.tables(policy, 256, np.random.default_rng(0))
    est = tiltz.estimate(tiltz.Outcomes.sampled(rows.reward.reshape(REPLICATIONS, -1)), world.beta)
    truth = WORLD.truth(WORLD.policies()["near"])["ceiling"][0]
    assert np.sum((world.beta * est.lo <= truth) & (truth <= world.beta * est.hi)) < LEAST


def test_errors_of_value_and_ceiling_are_correlated():
    """The wrong twin: adding both errors as if they were independent makes the gap twice as wide, and more."""
    world = World.drawn(50)
    policy, reference = world.tables(world.policies()["nearest"], 64, np.random.default_rng(0))
    found = tiltz.audit(policy, world.beta, reference=reference)
    widths = [q.hi - q.lo for q in (found.achieved, found.ceiling)]
    assert np.median(np.hypot(*widths) / (found.gap.hi - found.gap.lo)) > 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["under", "near"])
def test_overall_covers_the_population(name):
    """Tables of 40 new prompts with 16 rows of each sampler; the truth is that of very many prompts."""
    many = World.drawn(20_000, seed=5)
    each = many.truth(many.policies()[name])
    truth = {quantity: float(each[quantity].mean()) for quantity in QUANTITIES}
    truth["share"] = (truth["achieved"] - truth["reference_reward"]) / (
        truth["ceiling"] - truth["reference_reward"]
    )
    replications, held = 200, dict.fromkeys(QUANTITIES, 0)
    for i in range(replications):
        world = World.drawn(40, seed=1000 + i)
        policy, reference = world.tables(world.policies()[name], 16, np.random.default_rng(i))
        overall = tiltz.audit(policy, world.beta, reference=reference).overall
        for quantity in QUANTITIES:
            found = getattr(overall, quantity)
            held[quantity] += found.lo <= truth[quantity] <= found.hi
    assert min(held.values()) >= covered_between(LEVEL, replications)[0], held


def gaussian(shift, target, n, rng, scored=True):
    """A reference N(0, 1), a policy N(shift, 1), and the reward x target, whose log Z at beta 1 is target^2 / 2."""
    x, y = rng.normal(shift, 1, n), rng.normal(0, 1, n)
    policy = tiltz.Outcomes.sampled(
        target * x, log_ref=-0.5 * x**2, log_proposal=-0.5 * (x - shift) ** 2, drawn_from="policy"
    )
    reference = tiltz.Outcomes.sampled(
        target * y,
        log_ref=-0.5 * y**2,
        log_densities={"policy": -0.5 * (y - shift) ** 2} if scored else None,
    )
    return policy, reference


@pytest.mark.parametrize("scored", [True, False])
def test_no_overlap_is_never_a_confident_number(scored):
    """True log Z 200; the rows say about 170, and their Kish ESS does not show it."""
    for seed in range(5):
        policy, reference = gaussian(10.0, 20.0, 512, np.random.default_rng(seed), scored)
        found = tiltz.audit(policy, 1.0, reference=reference)
        assert ("no_overlap" if scored else "reach_unknown") in found.flags[0]
        assert found.ceiling.hi[0] == np.inf
        assert found.gap.hi[0] == np.inf
        assert found.overall.ceiling.hi == np.inf
        assert found.overall.verdict in ("the data cannot tell", "refused")


@pytest.mark.parametrize("shift", [3.0, 4.0], ids=["KL 4.5", "KL 8"])
@pytest.mark.parametrize(
    "runs", [40, pytest.param(1000, marks=pytest.mark.slow)], ids=["a few", "a thousand"]
)
def test_honest_pairs_are_not_accused(shift, runs):
    accused = 0
    for seed in range(runs):
        policy, reference = gaussian(shift, shift, 512, np.random.default_rng([seed, int(shift)]))
        found = tiltz.audit(policy, 1.0, reference=reference)
        accused += any(check.status == "failed" for check in found.checks) or found.flags[0] != ()
    assert accused <= 0.01 * runs


@pytest.mark.parametrize("name", ["under", "over"])
def test_many_prompts_of_few_rows_are_not_accused(name):
    """Errors of 16 rows are rough, and what is small in each prompt adds up over hundreds."""
    world = World.drawn(600, seed=3)
    policy, reference = world.tables(world.policies()[name], 16, np.random.default_rng([0, 5]))
    found = tiltz.audit(policy, world.beta, reference=reference)
    assert [check for check in found.checks if check.status == "failed"] == []
    assert found.overall.verdict == f"{name}-optimised"
