"""What samplers say of themselves: rates, distances, costs, flags, refusals; and draws with a real generator."""

import itertools
import re

import numpy as np
import pytest
from scipy import stats

import tiltz
from tests.unit.sampling.walk import model_of, reward, tilted_law
from tiltz import lm
from tiltz.errors import InputError
from tiltz.sampling import (
    cost_curve,
    expected_acceptance,
    metropolis_rows,
    reject,
    reject_rows,
    resample_rows,
    smc,
)

PROB = np.array([0.5, 0.3, 0.15, 0.05])
REWARDS = np.array([0.0, 0.4, 0.7, 1.0])
BETA = 0.3
WEIGHT = np.exp(REWARDS / BETA)
TILTED = PROB * WEIGHT / (PROB @ WEIGHT)
COMPLETE = tiltz.Outcomes.complete(np.log(PROB), REWARDS)


def drawn(n, seed=0, **declared):
    rng = np.random.default_rng(seed)
    return tiltz.Outcomes.sampled(rng.choice(REWARDS, p=PROB, size=n), **declared)


def distance(law, other):
    return 0.5 * np.abs(law - other).sum()


def clipped_law(ceiling):
    law = PROB * np.minimum(np.exp((REWARDS - ceiling) / BETA), 1)
    return law / law.sum()


# Rates and distances


@pytest.mark.parametrize("ceiling", [-3.0, 0.0, 0.5, 0.99, 1.0, 7.0])
def test_rate_and_price_of_a_ceiling_by_their_definition(ceiling):
    found = expected_acceptance(COMPLETE, BETA, ceiling=ceiling)
    top = min(ceiling, 1.0)
    assert found.ceiling == top
    assert found.rate[0] == pytest.approx(PROB @ np.minimum(np.exp((REWARDS - top) / BETA), 1), rel=1e-12)
    assert found.tv[0] == pytest.approx(distance(clipped_law(top), TILTED), abs=1e-12)
    assert found.lo[0] == found.rate[0] == found.hi[0]
    assert found.draws[0] == pytest.approx(1 / found.rate[0])


def test_the_rate_is_z_over_the_largest_weight_at_any_beta():
    for beta in (1e-3, 0.3, 1e6):
        log_z = float(tiltz.estimate(COMPLETE, beta))
        assert np.log(expected_acceptance(COMPLETE, beta).rate[0]) == pytest.approx(
            log_z - 1 / beta, abs=1e-9
        )


@pytest.mark.parametrize("ceiling", [None, 0.7])
def test_limits_hold_the_truth_and_the_points_alone_do_not(ceiling):
    """Betting limits at level 0.9: of 150 tables a miss in more than 35 has a chance below 1e-6."""
    truth = expected_acceptance(COMPLETE, BETA, ceiling=ceiling)
    misses, beyond, below = 0, 0, 0
    for seed in range(150):
        found = expected_acceptance(drawn(60, seed, reward_range=(0, 1)), BETA, ceiling=ceiling, level=0.9)
        misses += not found.lo[0] <= truth.rate[0] <= found.hi[0]
        beyond += truth.tv[0] > found.tv_hi[0]
        below += truth.tv[0] > found.tv[0]
    assert misses <= 35
    assert beyond <= 35
    if ceiling is None:
        assert truth.tv[0] == 0 == below
    else:
        assert below > 35


def test_weights_of_a_proposal_count():
    proposal = np.array([0.1, 0.2, 0.3, 0.4])
    rows = np.random.default_rng(1).choice(4, p=proposal, size=4000)
    table = tiltz.Outcomes.sampled(
        REWARDS[rows], log_ref=np.log(PROB[rows]), log_proposal=np.log(proposal[rows]), reward_range=(0, 1)
    )
    truth = expected_acceptance(COMPLETE, BETA, ceiling=0.7)
    found = expected_acceptance(table, BETA, ceiling=0.7)
    assert found.lo[0] < truth.rate[0] < found.hi[0]
    assert found.rate[0] == pytest.approx(truth.rate[0], rel=0.1)
    assert truth.tv[0] < found.tv_hi[0] < 0.7
    with pytest.raises(InputError, match="from a proposal"):
        reject_rows(table, BETA, rng=np.random.default_rng(0))


def test_without_a_highest_reward_nothing_is_promised():
    table = drawn(50)
    with pytest.raises(InputError, match="highest possible reward"):
        reject_rows(table, BETA, rng=np.random.default_rng(0))
    sample = reject_rows(table, BETA, ceiling=0.7, rng=np.random.default_rng(0))
    assert sample.tv_hi[0] == 1.0
    assert sample.method == "quasi-rejection"
    assert "no_limit" in sample.flags[0]
    assert "no_limit" in metropolis_rows(table, BETA, rng=np.random.default_rng(0)).flags[0]
    assert "no highest reward is declared" in re.sub(r"\s+", " ", sample.summary())


# Rows of several prompts


def test_rows_stay_with_their_prompt():
    rng = np.random.default_rng(2)
    labels = np.array(["b", "a", "b", "c", "a"] * 40)
    rewards = rng.choice(REWARDS[:3], p=PROB[:3] / PROB[:3].sum(), size=200)
    rewards[labels == "c"] = 1.0
    table = tiltz.Outcomes.sampled(rewards, prompt=labels, reward_range=(0, 1))
    for sample in (
        reject_rows(table, BETA, rng=rng),
        resample_rows(table, BETA, 7, rng=rng),
        metropolis_rows(table, BETA, rng=rng, burn_in=5),
    ):
        assert sample.prompt.tolist() == ["b", "a", "c"]
        assert labels[sample.rows].tolist() == np.repeat(["b", "a", "c"], sample.n).tolist()
        assert np.exp(sample.log_z[2]) == pytest.approx(np.exp(1 / BETA))
        assert sample.unbiased
        assert all(name in sample.summary() for name in "bac")
    assert reject_rows(table, BETA, rng=rng).n[2] == 40
    assert resample_rows(COMPLETE, BETA, 3, rng=rng).tv.tolist() == [0.0]


def test_forbidden_rows_are_never_given():
    table = tiltz.Outcomes.sampled([-np.inf, -np.inf, 0.5, -np.inf, 0.2], reward_range=None)
    rng = np.random.default_rng(0)
    assert set(metropolis_rows(table, BETA, rng=rng).rows) <= {2, 4}
    assert set(resample_rows(table, BETA, 50, rng=rng).rows) <= {2, 4}
    assert set(reject_rows(table, BETA, rng=rng, ceiling=0.0).rows) <= {2, 4}
    never = tiltz.Outcomes.sampled([-np.inf] * 4)
    assert reject_rows(never, BETA, rng=rng, ceiling=0.0).flags == (("nothing", "no_limit"),)
    with pytest.raises(InputError, match="every reward is -inf"):
        metropolis_rows(never, BETA, rng=rng)


def test_a_chain_knows_how_many_draws_it_is_worth():
    """A chain of four rewards whose kernel is known: its integrated autocorrelation time by linear algebra."""
    table = drawn(6_000, seed=4, reward_range=(0, 1))
    chain = metropolis_rows(table, BETA, rng=np.random.default_rng(0), burn_in=50)
    kernel = PROB * np.minimum(1, WEIGHT / WEIGHT[:, None])
    kernel += np.diag(1 - kernel.sum(axis=1))
    centred = REWARDS - TILTED @ REWARDS
    rest = np.linalg.solve(np.eye(4) - kernel + np.ones((4, 1)) * TILTED, centred)
    time = 2 * (TILTED * centred) @ rest / ((TILTED * centred) @ centred) - 1
    assert chain.ess[0] == pytest.approx(5_950 / time, rel=0.2)
    assert chain.ess[0] < 0.7 * 5_950
    assert chain.flags == ((),)
    stuck = tiltz.Outcomes.sampled([0, 1, *[0] * 60], reward_range=(0, 1))
    assert "stuck" in metropolis_rows(stuck, 0.02, rng=np.random.default_rng(0)).flags[0]


# Cost


def resampled_by_enumeration(m):
    law = np.zeros(4)
    for picked in itertools.product(range(4), repeat=m):
        weights = WEIGHT[list(picked)]
        for i, weight in zip(picked, weights, strict=True):
            law[i] += np.prod(PROB[list(picked)]) * weight / weights.sum()
    return law


def best_by_enumeration(m):
    law = np.zeros(4)
    for picked in itertools.product(range(4), repeat=m):
        law[max(picked)] += np.prod(PROB[list(picked)])
    return law


def test_every_point_of_the_cost_curve_by_enumeration():
    curve = cost_curve(COMPLETE, BETA, n_points=4)
    keys = zip(curve.method.tolist(), curve.parameter.tolist(), strict=True)
    points = dict(zip(keys, zip(curve.cost, curve.tv, strict=True), strict=True))
    for m in (1, 2, 4, 8):
        laws = {"resampling": resampled_by_enumeration, "best-of-n": best_by_enumeration}
        for method, law in laws.items():
            if m < 8:
                assert points[method, m][1] == pytest.approx(distance(law(m), TILTED), abs=1e-12)
            assert points[method, m][0] == m
    ceilings = [p for method, p in points if method == "rejection"]
    assert ceilings[-1] == 1.0
    for ceiling in ceilings:
        cost, tv = points["rejection", ceiling]
        law = PROB * np.minimum(np.exp((REWARDS - ceiling) / BETA), 1)
        assert cost == pytest.approx(1 / law.sum(), rel=1e-12)
        assert tv == pytest.approx(distance(clipped_law(ceiling), TILTED), abs=1e-12)
    assert curve.tv[curve.cheapest(0.0)] == pytest.approx(0, abs=1e-12)
    assert "rejection" in curve.summary()


@pytest.mark.parametrize("beta", [1e-4, 0.02, 0.3, 1e5])
def test_the_cost_curve_of_a_sample_at_any_beta(beta):
    table = tiltz.Outcomes.sampled(np.append(np.random.default_rng(0).normal(size=400), [-np.inf] * 20))
    curve = cost_curve(table, beta)
    for method in ("rejection", "resampling", "best-of-n"):
        own = curve.method == method
        assert np.all(np.diff(curve.cost[own]) >= 0)
        assert np.all((curve.tv[own] >= 0) & (curve.tv[own] <= 1))
    for method in ("rejection", "resampling"):
        assert np.all(np.diff(curve.tv[curve.method == method]) <= 1e-9)


# Language models, with a real generator


def too_far(completions, law, alarm=1e-6):
    counts = np.array([sum(c.ids == ids for c in completions) for ids in law], dtype=float)
    expected = counts.sum() * np.array(list(law.values()))
    return stats.chi2.sf(np.sum((counts - expected) ** 2 / expected), len(law) - 1) < alarm


def test_rejection_draws_from_the_tilted_distribution():
    model = model_of("nested")
    sample = reject(
        model, reward, "nested", beta=0.5, n=3000, rng=np.random.default_rng(0), reward_range=(0, 1.6)
    )
    z, law = tilted_law(model, "nested", 0.5)
    assert not too_far(sample.completions, law)
    assert too_far(sample.completions, tilted_law(model, "nested", 0.6)[1])
    assert sample.log_z == pytest.approx(np.log(z), abs=0.1)
    rate = z * np.exp(-1.6 / 0.5)
    for known in (sample.expected, sample.found):
        assert known.lo[0] < rate < known.hi[0]
    assert "exactly" in sample.summary()
    assert sample.n_rewards == 3


def test_tempered_runs_find_log_z_and_their_error():
    model = model_of("nested")
    z, law = tilted_law(model, "nested", 0.2)
    sample = smc(
        model, reward, "nested", beta=0.2, n=24, replicates=60, n_moves=1, rng=np.random.default_rng(0)
    )
    assert abs(sample.log_z - np.log(z)) < 4.89 * sample.standard_error < 0.3
    assert abs(sample.log_z - np.log(tilted_law(model, "nested", 0.21)[0])) > 4.89 * sample.standard_error
    assert sample.weight.sum() == pytest.approx(1)
    for ids, p in law.items():
        share = sum(w for c, w in zip(sample.completions, sample.weight, strict=True) if c.ids == ids)
        assert share == pytest.approx(p, abs=0.05)
    assert sample.ladder[-1] == 0.2
    assert list(sample.ladder) == sorted(sample.ladder, reverse=True)
    assert "unbiased in Z" in sample.summary()


def test_moves_on_the_embedded_model_keep_their_log_probabilities():
    model = lm.load("tiny", spec=lm.SamplingSpec(max_tokens=6))
    prompt = "sort : cat cherry ->"
    sample = smc(
        model, lambda completions, **columns: [len(text) / 10 for text in completions], prompt, beta=0.2,
        n=16, replicates=2, rng=np.random.default_rng(0),
    )  # fmt: skip
    scores = model.log_prob([prompt] * 32, [c.ids for c in sample.completions])
    assert scores == pytest.approx([c.log_prob for c in sample.completions], abs=1e-3)
    assert all(r == len(c.text) / 10 for c, r in zip(sample.completions, sample.reward, strict=True))
    assert sample.acceptance > 0.05
    assert sample.n_rewards <= sample.n_draws


@pytest.mark.slow
def test_tempered_runs_on_the_embedded_model_find_the_exact_z():
    """Against all its completions of two tokens."""
    model = lm.load("tiny", spec=lm.SamplingSpec(max_tokens=2, temperature=1.3))
    prompt = "review the old hotel : ->"

    def vowels(completions, **columns):
        return [text.count("e") - 0.1 * len(text) for text in completions]

    found = lm.Search(model=model, prompt=prompt, batch_size=512).run()
    truth = tiltz.tilt(found.outcomes(vowels, reward_range=(-20, 20)), 0.8)
    log_z = float(tiltz.estimate(truth.outcomes, 0.8))
    sample = smc(
        model,
        vowels,
        prompt,
        beta=0.8,
        ladder=(2.0, 1.0, 0.8),
        n=64,
        replicates=30,
        rng=np.random.default_rng(4),
    )
    assert abs(sample.log_z - log_z) < 4.89 * sample.standard_error < 0.15
    assert sample.weight @ sample.reward == pytest.approx(truth.mean_reward[0, 0], abs=0.2)
    assert abs(float(tiltz.estimate(truth.outcomes, 0.72)) - log_z) > 0.1


def test_one_run_that_holds_most_of_z_is_named():
    def jackpot(completions, **columns):
        return [9.0 if text == "lost it" else 0.0 for text in completions]

    sample = smc(
        model_of("apart"), jackpot, "apart", beta=1.0, n=1, replicates=8, n_moves=0, ladder=(1.0,),
        rng=np.random.default_rng(3),
    )  # fmt: skip
    n_lucky = sum(c.text == "lost it" for c in sample.completions)
    assert ("one_run" in sample.flags) == (n_lucky == 1)
    assert n_lucky == 1


def test_runs_that_die_out_count_as_nothing():
    def only_three(completions, **columns):
        return [0.0 if text == "one two three" else -np.inf for text in completions]

    sample = smc(
        model_of("nested"), only_three, "nested", beta=1.0, n=2, replicates=40, n_moves=0, ladder=(1.0,),
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert "extinct" in sample.flags
    assert {c.text for c in sample.completions} == {"one two three"}
    assert np.exp(sample.log_z) == pytest.approx(0.2, abs=4.89 * np.sqrt(0.2 * 0.8 / 80))
    nothing = smc(
        model_of("nested"), lambda completions, **columns: [-np.inf] * len(completions), "nested",
        beta=1.0, n=4, replicates=2, rng=np.random.default_rng(0),
    )  # fmt: skip
    assert nothing.log_z == -np.inf
    assert nothing.completions == ()
    assert np.isnan(nothing.standard_error)
    assert "-inf" in nothing.summary()


def test_what_is_expected_is_told_before_anything_is_drawn():
    model, told = model_of("nested"), []
    options = {"beta": 0.5, "reward_range": (0, 1.6), "rng": np.random.default_rng(0)}
    sample = reject(model, reward, "nested", n=5, pilot=16, before=told.append, **options)
    assert told == [sample.expected]
    assert sample.n_draws > 16
    with pytest.raises(InputError, match="Raise max_draws or beta"):
        reject(model, reward, "nested", n=1000, max_draws=100, **options)
    short = reject(model, reward, "nested", n=45, max_draws=100, pilot=8, **options)
    assert short.flags == ("budget",)
    assert 0 < len(short.completions) < 45
    with pytest.raises(InputError, match=r"expected must be for beta 0\.5"):
        reject(model, reward, "nested", n=1, expected=expected_acceptance(COMPLETE, BETA), **options)
    quasi = reject(model, reward, "nested", n=20, ceiling=1.0, **options)
    assert 0 < quasi.found.tv[0] < quasi.found.tv_hi[0]
    assert "total-variation" in quasi.summary()


def test_what_a_reward_declares_is_known():
    def long(completions, **columns):
        return [float(text == "one two three") for text in completions]

    options = {"beta": 0.5, "n": 3, "rng": np.random.default_rng(0)}
    with pytest.raises(InputError, match="highest possible reward"):
        reject(model_of("nested"), long, "nested", **options)
    for name, declared in {"reward_values": (0, 1), "reward_range": (0, 1)}.items():
        long.__dict__ = {name: declared}
        assert reject(model_of("nested"), long, "nested", **options).found.tv_hi == [0.0]


# Refusals


def none_of_one(completions, **columns):
    return [None if text == "one" else 1.0 for text in completions]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda rng: smc(model_of("nested"), none_of_one, "nested", beta=1.0, rng=rng), "has none"),
        (lambda rng: smc(model_of("nested"), reward, "nested", beta=1.0, ladder=(1.0, 2.0), rng=rng), "descending"),
        (lambda rng: smc(model_of("nested"), reward, "nested", beta=1.0, ladder=(2.0,), rng=rng), "the last of which"),
        (lambda rng: smc(model_of("nested"), reward, "nested", beta=1.0, ladder="other", rng=rng), "'pilot'"),
        (lambda rng: smc(model_of("nested"), reward, "nested", beta=1.0, n=0, rng=rng), "whole numbers"),
        (lambda rng: smc(model_of("nested"), reward, "nested", beta=1.0, share=1.0, rng=rng), "between 0 and 1"),
        (lambda rng: smc(object(), reward, "nested", beta=1.0, rng=rng), "completes prefixes"),
        (lambda rng: smc(model_of("nested"), reward, "nested", beta=1.0, rng=0), "numpy.random.Generator"),
        (lambda rng: reject(model_of("nested"), reward, "nested", beta=1.0, n=1, rng=rng), "highest possible"),
        (lambda rng: reject(model_of("nested"), reward, "nested", beta=1.0, n=0, rng=rng), "whole numbers"),
        (lambda rng: reject(model_of("nested"), reward, "nested", beta=1.0, n=90, reward_range=(0, 1), rng=rng),
         "declared"),
        (lambda rng: reject(model_of("nested"), reward, "nested", beta=BETA, n=90, reward_range=(0, 1), rng=rng,
                            expected=expected_acceptance(COMPLETE, BETA)), "'one two three' has 1.6"),
        (lambda rng: reject_rows(COMPLETE, 1.0, rng=rng), "Use resample_rows"),
        (lambda rng: metropolis_rows(COMPLETE, 1.0, rng=rng), "Use resample_rows"),
        (lambda rng: metropolis_rows(drawn(5), 1.0, rng=rng, burn_in=5), "burn_in"),
        (lambda rng: resample_rows(drawn(5), 1.0, 0, rng=rng), "positive integer"),
        (lambda rng: expected_acceptance(drawn(5), 1.0, ceiling=np.inf), "finite reward"),
        (lambda rng: expected_acceptance(drawn(5), [1.0, 2.0], ceiling=1.0), "one beta"),
        (lambda rng: cost_curve(tiltz.Outcomes.sampled([[0, 1], [1, 0]]), 1.0), "that of one prompt"),
        (lambda rng: smc(model_of("nested"), reward, "nested", beta=[1.0, 2.0], rng=rng), "one beta"),
        (lambda rng: cost_curve(drawn(5), [1.0, 2.0]), "one beta at a time"),
        (lambda rng: cost_curve(COMPLETE, 0.1, n_points=1).cheapest(-1), "no point is within"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_with_the_reason(call, says):
    with pytest.raises(InputError, match=says):
        call(np.random.default_rng(0))
