"""Bounds of log Z from both sides: by enumeration of every sample, by replication, and with draws of a wrong law."""

import itertools
import math
import sys

import numpy as np
import pytest

import tiltz
from tests.oracles import all_draws, covered_between, exact
from tiltz.errors import InputError

sampled = tiltz.Outcomes.sampled
PROB, REWARD, BETA = np.array([0.5, 0.3, 0.2]), np.array([-0.4, 0.3, 1.1]), 0.5
WEIGHT = np.exp(REWARD / BETA)
KNOWN = exact(PROB, REWARD, BETA)
LOG_Z = float(KNOWN["log_z"])
MODULE = sys.modules["tiltz.inference.sandwich"]  # whose name is also that of the function
TILTED = np.array([float(p) for p in KNOWN["prob"]])


@pytest.fixture
def one_split(monkeypatch):
    """Split every sample alike: over samples, each split by its own, only symmetric points have an exact mean."""
    monkeypatch.setattr(MODULE, "stream_seeds", lambda groups, rng: np.full(len(groups.size), 5, np.uint64))


def tilted_at(beta):
    return np.array([float(p) for p in exact(PROB, REWARD, beta)["prob"]])


def by_definition(first, k, prob=PROB, weight=WEIGHT):
    """E[log mean of k weights], the first draw from ``first``, the others from ``prob``: over every k-tuple."""
    total = 0.0
    for draw in itertools.product(range(len(prob)), repeat=k):
        chance = first[draw[0]] * math.prod(prob[list(draw[1:])])
        total += chance * math.log(weight[list(draw)].mean())
    return total


def means_over_all_samples(n, m, k, *, prob=PROB, tilted=TILTED, weight=WEIGHT, beta=BETA, **columns):
    """E of both points over every sample of n rows of the first and m of the tilted law."""
    starts, chance = all_draws(prob, n)
    ends, tilted_chance = all_draws(tilted, m)
    i, j = (grid.reshape(-1) for grid in np.meshgrid(range(len(starts)), range(len(ends)), indexing="ij"))
    first, second = {}, {}
    if columns:
        first = {"log_ref": columns["log_ref"][starts[i]], "log_proposal": np.log(prob)[starts[i]]}
        first["drawn_from"] = "policy"
        second = {"log_ref": columns["log_ref"][ends[j]], "log_densities": {"policy": np.log(prob)[ends[j]]}}
    found = tiltz.sandwich(
        sampled(REWARD[starts[i]], **first),
        sampled(REWARD[ends[j]], drawn_from="tilted", **second),
        beta,
        k=k,
    )
    both = chance[i] * tilted_chance[j]
    return both @ found.lower, both @ found.upper


@pytest.mark.usefixtures("one_split")
def test_points_are_unbiased_for_bounds_that_close_with_k():
    sizes = [1, 2, 3]
    lower, upper = means_over_all_samples(4, 1, sizes)
    np.testing.assert_allclose(lower, [by_definition(PROB, k) for k in sizes], rtol=0, atol=1e-12)
    np.testing.assert_allclose(upper, [by_definition(TILTED, k) for k in sizes], rtol=0, atol=1e-12)
    assert np.all(np.diff(lower) > 0.01)
    assert np.all(np.diff(upper) < -0.01)
    assert lower[-1] < LOG_Z < upper[-1]
    # The gaps at k = 1 are the two divergences.
    assert LOG_Z - lower[0] == pytest.approx(float(KNOWN["kl_reverse"]), abs=1e-12)
    assert upper[0] - LOG_Z == pytest.approx(float(KNOWN["kl"]), abs=1e-12)


def test_tilted_draws_at_another_beta_break_the_order():
    """The twin: what is between the reference and the tilted policy bounds log Z from above no more."""
    sizes = [1, 2]
    wrong = tilted_at(8 * BETA)
    _, upper = means_over_all_samples(2, 1, sizes, tilted=wrong)
    np.testing.assert_allclose(upper, [by_definition(wrong, k) for k in sizes], rtol=0, atol=1e-12)
    assert np.all(upper < LOG_Z - 0.05)
    rng = np.random.default_rng(0)
    start, end = (REWARD[rng.choice(3, size=(1, 500), p=p)] for p in (PROB, np.array([0.9, 0.1, 0.0])))
    found = tiltz.sandwich(sampled(start), sampled(end, drawn_from="tilted"), BETA, k=2)
    assert found.flags[0, 0] == ("crossed",)
    assert found.kind[0, 0] == "unknown"


def test_a_proposal_is_bounded_in_its_own_weights():
    proposal = np.array([0.2, 0.3, 0.5])
    weight, sizes = WEIGHT * PROB / proposal, [1, 2]
    lower, upper = means_over_all_samples(2, 2, sizes, prob=proposal, log_ref=np.log(PROB))
    below = [by_definition(proposal, k, proposal, weight) for k in sizes]
    above = [by_definition(TILTED, k, proposal, weight) for k in sizes]
    np.testing.assert_allclose(lower, below, rtol=0, atol=1e-12)
    np.testing.assert_allclose(upper, above, rtol=0, atol=1e-12)
    assert lower[0] < lower[1] < LOG_Z < upper[1] < upper[0]


@pytest.mark.usefixtures("one_split")
def test_pairs_in_blocks_are_unbiased_too(monkeypatch):
    monkeypatch.setattr(MODULE, "_PAIRS", 1)
    _, upper = means_over_all_samples(3, 2, [2])
    assert upper[0] == pytest.approx(by_definition(TILTED, 2), abs=1e-12)


REPLICATIONS, N = 500, 128


@pytest.fixture(scope="module")
def normals():
    """Many prompts of the same law: N(0, 1) rewards, log Z 0.5 and both divergences 0.5 at beta 1."""
    rng = np.random.default_rng(1)
    start, end = rng.normal(0, 1, (REPLICATIONS, N)), rng.normal(1, 1, (REPLICATIONS, N))
    return tiltz.sandwich(sampled(start), sampled(end, drawn_from="tilted"), 1.0, k=[1, 4])


def test_limits_of_the_bounds_are_missed_as_often_as_they_say(normals):
    """Each limit is one-sided at 0.975 for its own bound; those of log Z hold far more often at small k."""
    least, most = covered_between(0.975, REPLICATIONS)
    held = [np.count_nonzero(normals.lo[:, 0] <= 0.0), np.count_nonzero(normals.hi[:, 0] >= 1.0)]
    assert all(least <= times <= most for times in held)
    # The bounds of four draws have no closed form; the mean over replications has a small part of a limit's error.
    held = [
        np.count_nonzero(normals.lo[:, 1] <= normals.lower[:, 1].mean()),
        np.count_nonzero(normals.hi[:, 1] >= normals.upper[:, 1].mean()),
    ]
    assert all(times >= least for times in held)
    # Twin: limits at half their distance do not pass.
    half = (normals.lower[:, 0] + normals.lo[:, 0]) / 2
    assert np.count_nonzero(half <= 0.0) < least
    held = np.count_nonzero((normals.lo <= 0.5) & (normals.hi >= 0.5), axis=0)
    assert np.all(held >= covered_between(0.95, REPLICATIONS)[0])


def test_divergences_and_the_reverse_estimator_are_covered(normals):
    least, _ = covered_between(0.95, REPLICATIONS)
    for low, high in ((normals.kl_lo, normals.kl_hi), (normals.kl_reverse_lo, normals.kl_reverse_hi)):
        assert np.all(np.count_nonzero(low <= 0.5, axis=0) >= least)
        assert np.all(np.count_nonzero(high >= 0.5, axis=0) >= least)
        assert np.all(low[:, 0] == 0)
    # The sum of both divergences is what lies between the bounds at k = 1.
    np.testing.assert_array_equal(normals.kl_hi[:, 0], normals.hi[:, 0] - normals.lo[:, 0])
    np.testing.assert_array_equal(normals.kl_reverse_hi[:, 1], normals.hi[:, 1] - normals.lo[:, 0])
    rng = np.random.default_rng(4)
    start, end = sampled(3 * rng.normal(0, 1, 600)), sampled(3 * rng.normal(3, 1, 600), drawn_from="tilted")
    apart = tiltz.sandwich(start, end, 1.0, k=16)
    assert 0.5 < apart.kl_lo[0, 0] < 4.5 < apart.kl_hi[0, 0] < 9.0
    assert 0.5 < apart.kl_reverse_lo[0, 0] < 4.5 < apart.kl_reverse_hi[0, 0] < 9.0
    assert np.count_nonzero((normals.reverse_lo <= 0.5) & (normals.reverse_hi >= 0.5)) >= least
    held = (normals.reverse_lo <= -0.5) & (normals.reverse_hi >= -0.5)
    assert np.count_nonzero(held) < least  # twin: the log of the mean without its sign


def test_reverse_estimator_is_the_definition_and_flags_heavy_weights():
    rng = np.random.default_rng(2)
    start, end = sampled(rng.normal(size=(2, 400))), sampled(rng.normal(1, 1, (2, 400)), drawn_from="tilted")
    found = tiltz.sandwich(start, end, 1.0)
    wanted = -np.log(np.exp(-end.reward.reshape(2, 400)).mean(axis=1))
    np.testing.assert_allclose(found.reverse, wanted, rtol=0, atol=1e-12)
    heavy = sampled(6 * rng.normal(6, 1, 400), drawn_from="tilted")
    found = tiltz.sandwich(sampled(6 * rng.normal(size=400)), heavy, 1.0)
    assert found.reverse_khat[0] > 0.7
    assert "heavy_tail" in found.reverse_flags[0]
    assert found.reverse_kind[0] == "upper-only"
    assert found.reverse_lo[0] == -np.inf
    assert found.reverse_hi[0] > 18.0


def test_hard_constraints_leave_the_upper_side():
    reward = [0.0, 1.0, -np.inf, 0.5] * 10
    found = tiltz.sandwich(
        sampled(reward), sampled([0.0, 1.0, 1.0, 0.5] * 10, drawn_from="tilted"), 1.0, k=[1, 2]
    )
    assert np.all(np.isneginf(found.lo))
    assert found.kind.tolist() == [["upper-only", "upper-only"]]
    assert all("impossible" in flags for flags in found.flags[0])
    assert np.isfinite(found.hi).all()
    assert np.isnan(found.reverse[0])
    assert (found.reverse_lo[0], found.reverse_kind[0]) == (-np.inf, "upper-only")


def test_what_does_not_vary_is_no_certainty():
    found = tiltz.sandwich(sampled([1.0] * 50), sampled([1.0] * 50, drawn_from="tilted"), 1.0)
    assert found.flags[0, 0] == ("all_equal",)
    assert (found.lower[0, 0], found.upper[0, 0], found.kind[0, 0]) == (1.0, 1.0, "unknown")
    few = tiltz.sandwich(sampled(np.arange(8.0)), sampled([6.0, 7.0], drawn_from="tilted"), 1.0, k=8)
    assert few.flags[0, 0] == ("too_few",)
    assert (few.lo[0, 0], few.hi[0, 0]) == (-np.inf, np.inf)


def test_prompts_stand_on_their_own_rows_and_a_shift_moves_all():
    rng = np.random.default_rng(3)
    start, end = rng.normal(size=(3, 60)), rng.normal(1, 1, (3, 60))
    labels = np.array(["a", "b", "c"])
    whole = tiltz.sandwich(
        sampled(start, prompt=labels),
        sampled(end[::-1], prompt=labels[::-1], drawn_from="tilted"),
        1.0,
        k=[1, 5],
    )
    alone = tiltz.sandwich(
        sampled(start[1:2] + 1e6, prompt=["b"]),
        sampled(end[1:2] + 1e6, prompt=["b"], drawn_from="tilted"),
        1.0,
        k=[1, 5],
    )
    for name in ("lower", "upper", "lo", "hi", "reverse", "reverse_hi"):
        np.testing.assert_allclose(getattr(alone, name)[0] - 1e6, getattr(whole, name)[1], rtol=0, atol=1e-8)
    np.testing.assert_allclose(alone.kl_hi[0], whole.kl_hi[1], rtol=0, atol=1e-8)
    assert repr(whole).splitlines()[0] == "Bounds of log Z (nats), 3 prompts, beta 1, level 0.95"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be a whole number"),
        ({"k": 9}, "k draws or more in reference=; prompt 0 has 8 for k = 9"),
        ({"beta": [1.0, 2.0]}, "belong to one beta"),
        ({"reference": tiltz.Outcomes.complete(np.log(PROB), REWARD)}, "found Outcomes.complete"),
        ({"tilted": sampled([1.0, 2.0])}, "found draws from the reference and draws from the reference"),
        ({"tilted": sampled([1.0, -np.inf], drawn_from="tilted")}, "positive finite weight; found in row 1"),
        ({"tilted": sampled([[1.0], [2.0]], drawn_from="tilted")}, "1 is not"),
        (
            {"reference": sampled([1.0], log_ref=[-1.0], log_proposal=[-2.0])},
            r"tilted draws need log_ref and log_densities\['proposal'\]; found neither",
        ),
    ],
)
def test_refusals(change, message):
    given = {
        "reference": sampled(np.arange(8.0)),
        "tilted": sampled([6.0, 7.0], drawn_from="tilted"),
        "beta": 1.0,
    }
    with pytest.raises(InputError, match=message):
        tiltz.sandwich(**(given | change))
