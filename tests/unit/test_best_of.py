"""Best-of-n: its law by enumeration of every draw, its estimate by enumeration of every sample, the tilt beside it."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from scipy import stats

import tiltz
from tests.oracles import all_draws, covered_between
from tiltz.curves.best_of import _best
from tiltz.errors import InputError
from tiltz.inference.request import Request
from tiltz.inference.support import support_of

sampled, complete, partial = tiltz.Outcomes.sampled, tiltz.Outcomes.complete, tiltz.Outcomes.partial

COUNTS = [1, 2, 3, 5]
WORLDS = {
    "no ties": ([0.1, 0.5, 0.4], [0.3, -1.0, 2.0]),
    "ties": ([0.2, 0.1, 0.3, 0.4], [1.0, 1.0, 0.0, 1.0]),
    "offset": ([0.25, 0.5, 0.25], [1e6, 1e6 + 1, 1e6]),
    "all equal": ([0.3, 0.7], [0.5, 0.5]),
    "impossible best": ([0.5, 0.5, 0.0], [0.0, 1.0, 9.0]),
}
each_world = pytest.mark.parametrize(("prob", "reward"), WORLDS.values(), ids=WORLDS)


def best_policy(prob, reward, n):
    """The probability of each outcome under best-of-n with ties broken at random, from every n draws."""
    policy = np.zeros(len(prob))
    for draws, probability in zip(*all_draws(prob, n), strict=True):
        drawn = np.asarray(reward)[draws]
        winners = draws[drawn == drawn.max()]
        np.add.at(policy, winners, probability / len(winners))
    return policy


def table_of(prob, reward):
    with np.errstate(divide="ignore"):
        return complete(np.log(prob), reward)


# Exact on complete tables


@each_world
def test_law_of_the_best_is_that_of_every_draw(prob, reward):
    found = tiltz.best_of_n(table_of(prob, reward), COUNTS)
    for j, n in enumerate(COUNTS):
        policy = best_policy(prob, reward, n)
        there = policy > 0
        kl = np.sum(policy[there] * np.log(policy[there] / np.asarray(prob)[there]))
        assert found.kl[0, j] == pytest.approx(kl, abs=1e-12)
        assert found.reward[0, j] == pytest.approx(policy @ reward, rel=1e-14, abs=1e-12)
    assert found.lo.tolist() == found.reward.tolist() == found.hi.tolist()
    assert set(found.kind.flat) == {"exact"}
    assert np.all(found.kl <= np.log(COUNTS) - 1 + 1 / np.array(COUNTS) + 1e-12)


@pytest.mark.parametrize("mass", ["1e-18", "1e-9", "0.5", "0.999999999"])
def test_rare_and_common_outcomes_keep_their_digits(mass):
    n = 7
    with mpmath.workdps(120):
        top = mpmath.mpf(mass)
        best = 1 - (1 - top) ** n
        kl = best * mpmath.log(best / top) + (1 - best) * mpmath.log((1 - best) / (1 - top))
        log_ref = [float(mpmath.log(1 - top)), float(mpmath.log(top))]
    found = tiltz.best_of_n(complete(log_ref, [0.0, 1.0]), n)
    assert found.reward[0, 0] == pytest.approx(float(best), rel=1e-12)
    assert found.kl[0, 0] == pytest.approx(float(kl), rel=1e-7, abs=1e-15)


@each_world
def test_the_tilt_has_the_same_kl_and_no_less_reward(prob, reward):
    table = table_of(prob, reward)
    found = tiltz.best_of_n(table, COUNTS)
    for j in range(len(COUNTS)):
        if np.isinf(found.beta[0, j]):
            assert found.kl[0, j] == 0
            assert found.tilted_reward[0, j] == pytest.approx(np.dot(prob, reward), rel=1e-14)
            continue
        tilted = tiltz.tilt(table, found.beta[0, j])
        assert tilted.kl[0, 0] == pytest.approx(found.kl[0, j], rel=1e-9)
        assert found.tilted_reward[0, j] == tilted.mean_reward[0, 0]
    assert np.all(found.tilted_reward >= found.reward - 1e-12 * np.abs(found.reward))


def test_rewards_for_which_best_of_n_is_the_tilt():
    """With the log of the density ratio of best-of-n as reward the two are one policy, at beta 1."""
    prob, n = np.array([0.1, 0.2, 0.3, 0.4]), 3
    up_to = np.cumsum(prob)
    reward = np.log((up_to**n - (up_to - prob) ** n) / prob)
    found = tiltz.best_of_n(complete(np.log(prob), reward), n)
    assert found.beta[0, 0] == pytest.approx(1.0, rel=1e-9)
    assert found.tilted_reward[0, 0] == pytest.approx(found.reward[0, 0], abs=1e-12)


def test_one_beta_spends_the_mean_kl():
    rng = np.random.default_rng(0)
    table = complete(np.log(rng.dirichlet(np.ones(5), size=6)), rng.normal(size=(6, 5)))
    whole = tiltz.best_of_n(table, 4).overall
    tilted = tiltz.tilt(table, whole.beta[0])
    assert tilted.kl.mean() == pytest.approx(whole.kl[0], rel=1e-9)
    assert whole.tilted_reward[0] == pytest.approx(tilted.mean_reward.mean(), rel=1e-12)
    assert whole.tilted_reward[0] > whole.reward[0]


# From samples


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_reward_is_unbiased_over_every_sample(n):
    prob, reward = [0.2, 0.5, 0.3], np.array([1.5, 0.0, 1.0])
    draws, probability = all_draws(prob, 4)
    found = tiltz.best_of_n(sampled(reward[draws]), n)
    truth = tiltz.best_of_n(complete(np.log(prob), reward), n)
    assert probability @ found.reward[:, 0] == pytest.approx(truth.reward[0, 0], abs=1e-12)


def test_reward_is_the_mean_of_the_largest_over_all_subsets():
    rewards = np.random.default_rng(1).integers(0, 5, size=9).astype(float)
    found = tiltz.best_of_n(sampled(rewards), [2, 4, 9])
    for j, n in enumerate([2, 4, 9]):
        largest = [max(subset) for subset in itertools.combinations(rewards, n)]
        assert found.reward[0, j] == pytest.approx(np.mean(largest), abs=1e-12)


def test_error_is_the_jackknife_of_left_out_rows():
    rewards, n = np.random.default_rng(2).normal(size=24), 3
    found = tiltz.best_of_n(sampled(rewards), n, level=0.9)
    left_out = [tiltz.best_of_n(sampled(np.delete(rewards, i)), n).reward[0, 0] for i in range(24)]
    error = math.sqrt(23 * np.var(left_out))
    half = stats.t.ppf(0.95, 24 / n - 1) * error
    assert found.lo[0, 0] == pytest.approx(found.reward[0, 0] - half, abs=1e-12)
    assert found.hi[0, 0] == pytest.approx(found.reward[0, 0] + half, abs=1e-12)
    assert found.kind[0, 0] == "approximate"


def test_without_ties_the_kl_is_the_textbook_one_and_ties_lower_it():
    counts = [2, 4, 8, 16]
    textbook = np.log(counts) - 1 + 1 / np.array(counts)
    rewards = np.random.default_rng(3).normal(size=(2, 16))
    assert tiltz.best_of_n(sampled(rewards), counts).kl == pytest.approx(np.tile(textbook, (2, 1)), abs=1e-12)
    rewards[1] = np.round(rewards[1])
    ties = tiltz.best_of_n(sampled(rewards), counts).kl
    assert ties[0] == pytest.approx(textbook, abs=1e-12)
    assert np.all(ties[1] < textbook - 0.01)


def test_declared_rewards_are_outcomes_even_if_seen_once():
    rewards = [0.0, 0.0, 0.0, 1.0]
    table = complete(np.log([0.75, 0.25]), [0.0, 1.0])
    declared = tiltz.best_of_n(sampled(rewards, reward_values=(0, 1)), [2, 4])
    assert declared.kl == pytest.approx(tiltz.best_of_n(table, [2, 4]).kl, abs=1e-12)
    assert np.all(tiltz.best_of_n(sampled(rewards), [2, 4]).kl > declared.kl)


def test_one_prompt_does_not_depend_on_the_others():
    rng = np.random.default_rng(4)
    labels, rewards = rng.permutation(np.repeat(["a", "b", "c"], 12)), rng.normal(size=36).round(1)
    whole = tiltz.best_of_n(sampled(rewards, prompt=labels), [1, 3])
    for i, label in enumerate(whole.prompt):
        alone = tiltz.best_of_n(sampled(rewards[labels == label]), [1, 3])
        for name in ("kl", "reward", "lo", "hi", "beta", "tilted_reward"):
            assert getattr(whole, name)[i] == pytest.approx(getattr(alone, name)[0], rel=1e-12)


# Limits


@pytest.mark.parametrize("p", [0.02, 0.2, 0.5, 0.9])
def test_two_possible_rewards_are_covered_at_the_level_stated(p):
    """Exact coverage, by every count of successes; the bound on the tilt holds for the KL that the sample shows."""
    m, counts = 12, [2, 6, 12]
    draws = (np.arange(m) < np.arange(m + 1)[:, None]).astype(float)
    found = tiltz.best_of_n(sampled(draws, reward_values=(0, 1)), counts)
    chance = stats.binom.pmf(np.arange(m + 1), m, p)
    truth = 1 - (1 - p) ** np.array(counts)
    held = (found.lo <= truth + 1e-12) & (truth <= found.hi + 1e-12)
    assert np.all(chance @ held >= 0.95)
    assert set(found.kind.flat) == {"certified"}
    world = complete(np.log([1 - p, p]), [0.0, 1.0])

    def most(kl):
        if kl == 0:
            return p
        if kl >= -math.log(p) * (1 - 1e-9):
            return 1.0
        return tiltz.tilt(world, float(tiltz.beta_for_kl(world, kl))).mean_reward[0, 0]

    reachable = np.array([[most(kl) for kl in row] for row in found.kl])
    assert np.all(chance @ (reachable <= found.tilted_hi + 1e-9) >= 0.975)
    assert np.all(found.tilted_hi <= 1)
    assert set(found.tilted_kind[found.kl > 0]) == {"approximate"}


def test_limits_of_few_values_follow_the_tails():
    found = tiltz.best_of_n(sampled([0, 0, 1, 0, 1, 0], reward_values=(0, 1)), 4)
    lo, hi = stats.binomtest(2, 6).proportion_ci(0.95, method="exact")
    assert (found.lo[0, 0], found.hi[0, 0]) == pytest.approx(
        (1 - (1 - lo) ** 4, 1 - (1 - hi) ** 4), abs=1e-12
    )


def covered(draws, n, truth, **declared):
    """How many of the rows of draws, each a prompt, have limits that hold the truth."""
    outcomes = sampled(draws, **declared)
    request = Request(level=0.95, interval="auto", support=support_of(outcomes, None, None))
    found = _best(outcomes, outcomes.columns(), request, np.array([n]))
    return int(np.sum((found.lo <= truth) & (truth <= found.hi)))


def test_large_sample_limits_cover_and_those_of_another_n_do_not():
    n, replications = 8, 1000
    draws = np.random.default_rng(5).normal(size=(replications, 64))
    truth = 1.4236003060  # the mean of the largest of eight standard normals
    fewest, most = covered_between(0.95, replications)
    assert fewest <= covered(draws, n, truth) <= most
    assert covered(draws, n - 2, truth) < fewest


def test_a_range_is_covered_at_least_as_often_as_promised():
    n, replications = 4, 1000
    draws = np.random.default_rng(6).random((replications, 64))
    truth = n / (n + 1)
    assert covered(draws, n, truth, reward_range=(0, 1)) >= covered_between(0.95, replications)[0]
    assert covered(draws, n, 0.2, reward_range=(0, 1)) == 0


def test_where_nothing_bounds_the_error_there_are_no_limits():
    few = tiltz.best_of_n(sampled(np.random.default_rng(7).normal(size=16)), [4, 8])
    assert few.kind.tolist() == [["approximate", "point"]]
    assert np.isnan(few.lo[0, 1])
    equal = tiltz.best_of_n(sampled([0.5] * 16), 2)
    assert equal.kind[0, 0] == "point"
    assert (equal.kl[0, 0], equal.beta[0, 0]) == (0, np.inf)
    adaptive = tiltz.best_of_n(sampled([0, 1, 0, 1], stopping="adaptive", reward_values=(0, 1)), 1)
    assert adaptive.kind[0, 0] == "point"


def test_means_over_prompts_come_from_their_spread():
    rng = np.random.default_rng(8)
    rewards = rng.normal(size=(30, 16)) + rng.normal(size=(30, 1))
    found = tiltz.best_of_n(sampled(rewards), 16)
    interval = stats.ttest_1samp(rewards.max(axis=1), 0).confidence_interval(0.95)
    assert (found.overall.lo[0], found.overall.hi[0]) == pytest.approx(
        (interval.low, interval.high), abs=1e-12
    )
    agreeing = tiltz.best_of_n(sampled([[0, 0, 1], [0, 1, 0]], reward_values=(0, 1)), 3).overall
    assert agreeing.lo[0] < 1


# What is said, and what is refused


def test_words_numbers_and_rows():
    found = tiltz.best_of_n(sampled([[0, 0, 1, 0], [0, 1, 1, 0]], reward_values=(0, 1)), [1, 4])
    text = found.summary()
    assert max(map(len, text.splitlines())) <= 80
    assert "at the mean KL of best-of-4" in " ".join(text.split())
    assert "the samples are too few to show it" in " ".join(text.split())
    columns = found.to_dict()
    assert columns["n"] == [1, 4, 1, 4]
    assert columns["reward"] == found.reward.reshape(-1).tolist()
    assert found.mean_curve()["kl"] == found.overall.kl.tolist()
    assert repr(found).startswith("BestOfN of 2 prompts, n = 1, 4\n  0: best of 4: reward 1")
    exact = tiltz.best_of_n(complete(np.log([0.5, 0.5]), [0.0, 1.0]), 2)
    assert "too few" not in exact.sentence()
    assert "is the reference itself" in tiltz.best_of_n(sampled([0.0, 1.0]), 1).sentence()


@pytest.mark.parametrize(
    ("outcomes", "n", "says"),
    [
        (sampled([[0, 1, 1, 0], [1, 0, 1, 0]]), 5, "found n = 5 and 4 rows of prompt 0 .2 of 2 prompts"),
        (sampled([0.0, 1.0]), 0, "positive integer"),
        (sampled([0.0, 1.0]), [], "positive integer"),
        (sampled([0.0, 1.0]), 1.5, "positive integer"),
        (sampled([0.0, -np.inf]), 1, "finite rewards.*found -inf in row 1"),
        (partial(np.log([0.3]), [0.5], reward_range=(0, 1)), 1, "complete or sampled"),
        (sampled([0.0, 1.0], log_ref=[-1, -1], log_proposal=[-2, -1]), 1, "drawn from the proposal"),
        ([0.0, 1.0], 1, "table of outcomes"),
    ],
)
def test_what_cannot_be_compared_is_refused(outcomes, n, says):
    with pytest.raises(InputError, match=says):
        tiltz.best_of_n(outcomes, n)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_units_of_reward_do_not_matter(unit):
    rewards = np.random.default_rng(9).uniform(size=(2, 16))
    one, other = tiltz.best_of_n(sampled(rewards), [1, 4]), tiltz.best_of_n(sampled(rewards * unit), [1, 4])
    assert other.kl == pytest.approx(one.kl, abs=1e-12)
    for name in ("reward", "lo", "hi", "tilted_reward", "beta"):
        finite = np.isfinite(getattr(one, name))
        assert getattr(other, name)[finite] / unit == pytest.approx(getattr(one, name)[finite], rel=1e-9)
