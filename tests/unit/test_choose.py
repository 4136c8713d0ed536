"""The beta for a budget: closed forms, budgets at the extremes, limits from a derivative, what is refused."""

import itertools
import math
import re

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from scipy import optimize

import tiltz
from tests.oracles import exact, precisely
from tiltz.errors import InputError

sampled, complete, partial = tiltz.Outcomes.sampled, tiltz.Outcomes.complete, tiltz.Outcomes.partial
kl_of, reward_of = tiltz.beta_for_kl, tiltz.beta_for_reward

DIGITS = 60
Z95 = 1.959963984540054


def masses(table):
    """Reference masses of a complete table of one prompt, as the numbers that it holds, to many digits."""
    with mpmath.workdps(DIGITS):
        return [mpmath.exp(mpmath.mpf(float(x))) for x in table.log_weight]


def two(p, low=0.0, high=1.0):
    """Two outcomes; the better one has reference mass p."""
    return complete([math.log1p(-p), math.log(p)], [low, high])


def logit(p):
    return mpmath.log(p) - mpmath.log1p(-p)


def bernoulli_kl(q, p):
    return q * mpmath.log(q / p) + (1 - q) * mpmath.log((1 - q) / (1 - p))


def exact_kl(table, beta):
    return exact(masses(table), [float(r) for r in table.reward], float(beta), digits=DIGITS)["kl"]


# Two outcomes, where everything has a closed form


@pytest.mark.parametrize("p", [1e-9, 0.01, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("share", [1e-9, 1e-3, 0.1, 0.5, 0.9, 0.999])
def test_the_beta_of_a_kl_for_two_outcomes(p, share):
    table = two(p, -0.25, 1.5)
    with mpmath.workdps(DIGITS):
        mass = masses(table)[1] / mpmath.fsum(masses(table))
        budget = float(share * -mpmath.log(mass))
        # Solved for the log-odds that the tilt adds; KL grows with it from 0 to -log p.
        low, high = mpmath.mpf(10) ** -8, mpmath.mpf(10) ** 4
        gain = low
        for _ in range(100):
            gain = mpmath.sqrt(low * high)
            short = bernoulli_kl(1 / (1 + mpmath.exp(-logit(mass) - gain)), mass) < budget
            low, high = (gain, high) if short else (low, gain)
        wanted = mpmath.mpf(1.75) / gain
    assert float(kl_of(table, budget)) == precisely(wanted, rel=1e-10)


@pytest.mark.parametrize("p", [1e-9, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("share", [1e-9, 1e-3, 0.1, 0.5, 0.9, 0.999])
def test_the_beta_of_a_reward_for_two_outcomes(p, share):
    table = two(p)
    with mpmath.workdps(DIGITS):
        mass = masses(table)[1] / mpmath.fsum(masses(table))
        target = float(mass + share * (1 - mass))
        # The tilted mean reward is the tilted probability of the better outcome.
        wanted = 1 / (logit(mpmath.mpf(target)) - logit(mass))
        # What one unit in the last place of the target moves.
        ulp = float(np.spacing(target) * wanted / (mpmath.mpf(target) * (1 - target)))
    assert float(reward_of(table, target)) == precisely(wanted, rel=1e-10 + 4 * ulp)


@pytest.mark.parametrize("offset", [-1e5, 1e5, 1e9])
def test_an_offset_of_all_rewards_changes_nothing(offset):
    for kl in (1e-12, 0.5):
        found = float(kl_of(two(0.5, offset, offset + 1), kl))
        assert found == precisely(float(kl_of(two(0.5), kl)), rel=1e-10)
    for share in (0.501, 0.99):
        found = float(reward_of(two(0.5, offset, offset + 1), offset + share))
        blur = np.spacing(abs(offset) + 1) / 1e-3
        assert found == precisely(float(reward_of(two(0.5), share)), rel=1e-10 + 4 * blur)


# Any domain, by the definitions at the beta that was found


DOMAINS = {
    "four": ([0.1, 0.2, 0.3, 0.4], [2.0, -1.0, 0.25, 0.5]),
    "offset": ([0.1, 0.2, 0.3, 0.4], [1e5 + 2.0, 1e5 - 1.0, 1e5 + 0.25, 1e5 + 0.5]),
    "forbidden": ([0.25, 0.25, 0.5], [0.0, 1.0, -np.inf]),
    "rare best": ([1e-12, 0.5, 0.5 - 1e-12], [3.0, 0.0, 1.0]),
    "penalty": ([0.5, 0.25, 0.25], [0.0, 1e-3, -1e6]),
    "never": ([0.5, 0.5, 0.0], [0.0, 1.0, 9.0]),
    "ties at the top": ([0.25, 0.25, 0.5], [1.0, 1.0, 0.0]),
}


def domain(name):
    prob, reward = DOMAINS[name]
    with np.errstate(divide="ignore"):
        return complete(np.log(prob), reward, renormalise=True)


def kl_range(name):
    """Least and largest KL over all betas: of the possible outcomes alone, and of the best of them alone."""
    prob, reward = map(np.array, DOMAINS[name])
    possible = (prob > 0) & (reward > -np.inf)
    best = possible & (reward == reward[possible].max())
    return -math.log(prob[possible].sum() / prob.sum()), -math.log(prob[best].sum() / prob.sum())


@pytest.mark.parametrize("share", [1e-12, 1e-6, 0.01, 0.3, 0.9, 1 - 1e-6, 1 - 1e-12])
@pytest.mark.parametrize("name", DOMAINS)
def test_the_kl_at_the_beta_found_is_the_budget(name, share):
    least, most = kl_range(name)
    budget = least + share * (most - least)
    choice = kl_of(domain(name), budget)
    # The masses are floats, so a KL that is a difference of logs is known to some units in the last place.
    assert abs(exact_kl(domain(name), float(choice)) - budget) <= 1e-10 * (budget - least) + 8e-16 * most
    assert choice.lo[0] == choice.beta[0] == choice.hi[0]
    assert choice.flags == ((),)


@pytest.mark.parametrize("name", sorted(set(DOMAINS) - {"forbidden"}))
def test_a_tiny_budget_keeps_its_digits(name):
    assert exact_kl(domain(name), float(kl_of(domain(name), 1e-12))) == pytest.approx(1e-12, rel=1e-9, abs=0)


@pytest.mark.parametrize("name", DOMAINS)
def test_the_kl_at_both_ends_is_out_of_reach(name):
    least, most = kl_range(name)
    with pytest.raises(InputError, match="at most"):
        kl_of(domain(name), most * (1 + 1e-12))
    if least > 0:
        with pytest.raises(InputError, match=r"at least .* which the reference alone gives"):
            kl_of(domain(name), least * (1 - 1e-12))


@pytest.mark.parametrize("share", [1e-6, 0.01, 0.5, 0.99, 1 - 1e-6])
@pytest.mark.parametrize("name", DOMAINS)
def test_the_reward_at_the_beta_found_is_the_target(name, share):
    table = domain(name)
    possible = (table.reward > -np.inf) & (table.log_weight > -np.inf)
    mass = np.exp(table.log_weight[possible])
    mean = mass @ table.reward[possible] / mass.sum()
    target = mean + share * (table.reward[possible].max() - mean)
    found = exact(masses(table), table.reward.tolist(), float(reward_of(table, target)), digits=DIGITS)
    assert abs(found["mean_reward"] - target) <= 1e-12 * np.abs(table.reward[possible]).max()


@pytest.mark.parametrize("unit", [1e-280, 1e-200, 1e-5, 1e5, 1e200, 1e280])
@pytest.mark.parametrize(
    "make", [sampled, lambda r: complete(np.log([0.25] * 4), r)], ids=["sampled", "complete"]
)
def test_rewards_in_another_unit_give_beta_and_limits_in_that_unit(make, unit):
    rewards = np.array([0.0, 1.0, 2.0, 3.0])
    for choose, target in ((kl_of, 0.1), (lambda table, x: reward_of(table, x), 2.0)):
        one = choose(make(rewards), target)
        other = choose(make(rewards * unit), target if choose is kl_of else target * unit)
        for name in ("beta", "lo", "hi"):
            assert getattr(other, name)[0] == precisely(getattr(one, name)[0] * unit, rel=1e-9)


# Several prompts


def test_each_prompt_gets_its_own_beta_and_the_same_alone():
    rng = np.random.default_rng(0)
    rewards, labels = rng.normal(size=40), rng.permutation(np.repeat(["a", "b", "c", "d"], 10))
    rewards[labels == "b"] = 1.0
    rewards[labels == "c"] *= 1e6
    logs = {"log_ref": rng.normal(size=40), "log_proposal": rng.normal(size=40)}
    for table in (sampled(rewards, prompt=labels), sampled(rewards, prompt=labels, **logs)):
        whole = kl_of(table, 0.7)
        assert whole.prompt.tolist() == table.prompt.tolist()
        for i, label in enumerate(table.prompt):
            if whole.flags[i]:
                with pytest.raises(InputError, match=r"no beta gives KL 0\.7 nats"):
                    kl_of(table.select([label]), 0.7)
                continue
            alone = kl_of(table.select([label]), 0.7)
            for name in ("beta", "lo", "hi"):
                assert getattr(whole, name)[i].tobytes() == getattr(alone, name)[0].tobytes()


def test_a_prompt_that_cannot_reach_the_budget_is_flagged():
    choice = kl_of(sampled([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0], [-np.inf] * 3]), 0.5)
    assert choice.flags == (("unattainable",), (), ("unattainable",))
    for name in ("beta", "lo", "hi"):
        assert np.isnan(getattr(choice, name)).tolist() == [True, False, True]


def test_a_reward_below_that_of_the_reference_is_flagged():
    table = complete(np.log([[0.5, 0.5]] * 3), [[0.0, 1.0], [0.6, 1.0], [0.0, 0.7]])
    choice = reward_of(table, 0.7)
    assert choice.flags == ((), ("below_reference",), ("unattainable",))
    assert np.isnan(choice.beta).tolist() == [False, True, True]


def test_the_mean_over_prompts_meets_the_budget():
    rng = np.random.default_rng(4)
    log_ref, rewards = np.log(rng.dirichlet(np.ones(3), size=4)), rng.normal(size=(4, 3))
    rewards *= np.array([[1e-3], [1.0], [30.0], [1e3]])
    table = complete(log_ref, rewards)
    largest = np.mean([-log_ref[i, np.argmax(rewards[i])] for i in range(4)])
    for share in (1e-9, 0.01, 0.5, 0.99):
        choice = kl_of(table, share * largest, per="mean")
        found = [exact_kl(table.select([i]), float(choice)) for i in range(4)]
        assert mpmath.fsum(found) / 4 == pytest.approx(share * largest, rel=1e-10, abs=0)
        assert choice.beta.shape == choice.lo.shape == choice.hi.shape == (1,)
        assert choice.lo[0] == choice.beta[0] == choice.hi[0]
        assert choice.flags == ((),)
        assert choice.prompt.shape == (0,)


def test_the_mean_reward_over_prompts_meets_the_target():
    table = complete(np.log([[0.5, 0.5], [0.25, 0.75]]), [[0.0, 1.0], [3.0, 2.0]])
    choice = reward_of(table, 1.6, per="mean")
    assert tiltz.tilt(table, float(choice)).mean_reward.mean() == precisely(1.6, rel=1e-13)


def test_the_mean_of_one_prompt_is_that_prompt():
    table = sampled(np.random.default_rng(0).normal(size=20))
    one, mean = kl_of(table, 0.3), kl_of(table, 0.3, per="mean")
    assert (mean.beta[0], mean.lo[0], mean.hi[0]) == (one.beta[0], one.lo[0], one.hi[0])


def test_prompts_that_cannot_reach_a_budget_alone_count_in_the_mean():
    table = sampled([[1.0, 1.0, 1.0], [0.0, 1.0, 2.0]])
    choice = kl_of(table, 0.4, per="mean")
    assert tiltz.tilt(table, float(choice)).kl.mean() == precisely(0.4, rel=1e-12)
    with pytest.raises(InputError, match=f"at most {math.log(3) / 2:.6g}"):
        kl_of(table, 0.6, per="mean")


# What is out of reach for all


def limit_named(message):
    """The limit that a message names."""
    return float(re.search(r"these rows allow at (?:most|least) (\S+?)[.,](?:\s|$)", message)[1])


def test_a_budget_out_of_reach_names_the_limit():
    with pytest.raises(InputError, match=r"no beta gives KL 3 nats: these rows allow at most 2\.07944\. "):
        kl_of(sampled(np.arange(8.0)), 3.0)
    with pytest.raises(InputError, match=r"mean reward 1\.5: these rows allow at most 1\. "):
        reward_of(sampled([[0.0, 1.0], [0.0, 0.5]]), 1.5)
    with pytest.raises(
        InputError, match=r"mean reward 0\.2: these rows allow at least 0\.5, which the reference"
    ):
        reward_of(two(0.5), 0.2)


def test_a_target_between_the_prompts_names_a_limit_that_rules_it_out():
    # One prompt reaches at most 0.3, the other begins at 0.9.
    table = complete(np.log([[0.5, 0.5], [0.5, 0.5]]), [[0.0, 0.3], [0.8, 1.0]])
    with pytest.raises(InputError) as refused:
        reward_of(table, 0.5)
    named = limit_named(str(refused.value))
    assert named < 0.5 if "at most" in str(refused.value) else named > 0.5


@pytest.mark.parametrize(
    "choose", [lambda t: kl_of(t, 1.0), lambda t: reward_of(t, 2.0)], ids=["kl", "reward"]
)
def test_a_whole_domain_is_not_asked_for_more_samples(choose):
    with pytest.raises(InputError) as refused:
        choose(two(0.5))
    assert "samples" not in str(refused.value)


@pytest.mark.parametrize("per", ["prompt", "mean"])
@pytest.mark.parametrize("rewards", [[[-np.inf] * 2], [[-np.inf] * 2] * 3])
def test_rows_of_no_weight_are_an_error_without_nan(rewards, per):
    for choose, target in ((kl_of, 0.1), (reward_of, 0.5)):
        with pytest.raises(InputError) as refused:
            choose(sampled(rewards), target, per=per)
        assert "nan" not in str(refused.value)


def test_a_prompt_of_no_weight_leaves_no_mean():
    with pytest.raises(InputError) as refused:
        kl_of(sampled([[-np.inf] * 2, [0.0, 1.0]]), 0.1, per="mean")
    assert "nan" not in str(refused.value)


# Limits of draws


def solved(quantity, target, mass, log_weight, reward):
    """The beta at which a functional of weighted masses meets a target, found without tiltz."""
    top = reward.max()

    def value(log_beta):
        beta = math.exp(log_beta)
        weight = mass * np.exp(log_weight + (reward - top) / beta)
        z = weight.sum() / (mass @ np.exp(log_weight))
        mean = weight @ reward / weight.sum()
        return mean - target if quantity == "reward" else mean / beta - top / beta - math.log(z) - target

    return optimize.brentq(value, -8, 12, xtol=1e-14, rtol=1e-14)


def infinitesimal_jackknife(quantity, target, log_weight, reward):
    """log beta and its standard error, from derivatives by the mass of each draw."""
    n, step = len(reward), 1e-5
    at = solved(quantity, target, np.full(n, 1 / n), log_weight, reward)
    slopes = []
    for i in range(n):
        ends = []
        for sign in (1, -1):
            mass = np.full(n, (1 - sign * step) / n)
            mass[i] += sign * step
            ends.append(solved(quantity, target, mass, log_weight, reward))
        slopes.append((ends[0] - ends[1]) / (2 * step))
    return at, math.sqrt(np.sum(np.square(slopes)) / n / (n - 1))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("quantity", "target"), [("kl", 0.01), ("kl", 0.3), ("kl", 1.2), ("reward", 0.6), ("reward", 1.2)]
)
def test_limits_are_those_of_an_infinitesimal_jackknife(quantity, target, weighted):
    rng = np.random.default_rng(6)
    reward, log_weight = rng.normal(size=30), rng.normal(size=30) * 0.3 * weighted
    logs = {"log_ref": log_weight, "log_proposal": np.zeros(30)} if weighted else {}
    found = {"kl": kl_of, "reward": reward_of}[quantity](sampled(reward, **logs), target, level=0.95)
    at, error = infinitesimal_jackknife(quantity, target, log_weight, reward)
    assert math.log(found.beta[0]) == pytest.approx(at, abs=1e-10)
    assert math.log(found.hi[0] / found.beta[0]) == precisely(Z95 * error, rel=1e-5)
    assert math.log(found.beta[0] / found.lo[0]) == precisely(Z95 * error, rel=1e-5)


def test_limits_of_a_tiny_budget_are_those_of_a_standard_deviation():
    # KL is Var(r) / (2 beta ** 2) for large beta, so log beta is the log of a standard deviation and a constant.
    reward = np.random.default_rng(7).normal(size=50)
    squares = (reward - reward.mean()) ** 2
    error = 0.5 * math.sqrt(np.sum((squares / squares.mean() - 1) ** 2) / 49 / 50)
    choice = kl_of(sampled(reward), 1e-12)
    assert choice.beta[0] == precisely(reward.std() / math.sqrt(2e-12), rel=1e-5)
    assert math.log(choice.hi[0] / choice.beta[0]) == precisely(Z95 * error, rel=1e-5)


def test_a_higher_level_is_wider():
    table = sampled(np.random.default_rng(8).normal(size=(4, 20)))
    limits = [kl_of(table, 0.5, level=level) for level in (0.5, 0.95, 0.999999)]
    for narrow, wide in itertools.pairwise(limits):
        assert np.array_equal(narrow.beta, wide.beta)
        assert np.all(wide.lo < narrow.lo)
        assert np.all(narrow.hi < wide.hi)


def test_limits_of_the_mean_over_prompts_come_from_their_spread():
    rewards = np.random.default_rng(9).normal(size=(12, 16)) * np.linspace(0.5, 2, 12)[:, None]
    table = sampled(rewards)
    choice = kl_of(table, 0.3, per="mean")
    beta = float(choice)
    above, below = (tiltz.tilt(table, beta * math.exp(h)).kl.mean() for h in (1e-4, -1e-4))
    slope = (below - above) / 2e-4
    error = tiltz.tilt(table, beta).kl.std(ddof=1) / math.sqrt(12) / slope
    assert math.log(beta / choice.lo[0]) == precisely(Z95 * error, rel=1e-6)
    # The other side is widened by twice what the two halves of the draws lack in KL.
    halves = [tiltz.tilt(sampled(rewards[:, odd::2]), beta).kl.mean() for odd in (0, 1)]
    lacking = tiltz.tilt(table, beta).kl.mean() - np.mean(halves)
    assert lacking > 0
    assert math.log(choice.hi[0] / beta) == precisely(Z95 * error + 2 * lacking / slope, rel=1e-6)


def test_draws_that_agree_over_prompts_are_not_certainty():
    choice = kl_of(sampled([[0.0, 1.0, 2.0]] * 3), 0.3, per="mean")
    assert choice.lo[0] < choice.beta[0] < choice.hi[0]


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=2, max_size=8), min_size=1, max_size=4
    ),
    st.floats(0.01, 2.5),
    st.sampled_from(["prompt", "mean"]),
)
def test_limits_enclose_beta_and_no_kl_exceeds_the_log_of_the_draws(rows, kl, per):
    labels = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    table = sampled(np.concatenate(rows), prompt=labels)
    most = np.array([math.log(len(row) / row.count(max(row))) for row in rows])
    reach = np.atleast_1d(most.mean() if per == "mean" else most)
    assume(np.all(np.abs(reach - kl) > 1e-9))
    if np.all(reach < kl):
        with pytest.raises(InputError, match="at most") as refused:
            kl_of(table, kl, per=per)
        assert limit_named(str(refused.value)) == pytest.approx(reach.max(), rel=1e-5, abs=1e-12)
        return
    choice = kl_of(table, kl, per=per)
    assert [bool(flags) for flags in choice.flags] == (reach < kl).tolist()
    met = reach > kl
    assert np.all(np.isnan(choice.beta[~met]) & np.isnan(choice.lo[~met]) & np.isnan(choice.hi[~met]))
    assert np.all((choice.lo <= choice.beta) & (choice.beta <= choice.hi) | ~met)
    for j in np.flatnonzero(met):
        found = tiltz.tilt(table, choice.beta[j]).kl[:, 0]
        assert (found.mean() if per == "mean" else found[j]) == pytest.approx(kl, rel=1e-9)


@pytest.mark.parametrize("n", [2, 8, 100])
def test_the_kl_of_draws_is_at_most_the_log_of_their_number(n):
    table = sampled(np.random.default_rng(0).normal(size=n))
    assert 0 < float(kl_of(table, math.log(n) * (1 - 1e-9))) < float(kl_of(table, math.log(n) * 0.5))
    with pytest.raises(InputError, match=f"at most {math.log(n):.6g}"):
        kl_of(table, math.log(n) * (1 + 1e-9))


def test_a_single_draw_has_no_kl():
    with pytest.raises(InputError, match="at most 0"):
        kl_of(sampled([[1.0], [2.0]]), 1e-6)


# How a choice is shown


def test_float_is_for_one_entry():
    assert float(kl_of(two(0.5), 0.1)) == kl_of(two(0.5), 0.1).beta[0]
    with pytest.raises(InputError, match="this choice has 2"):
        float(kl_of(sampled([[0.0, 1.0], [0.0, 2.0]]), 0.1))


def test_the_repr_by_hand():
    table = complete(np.log([[0.5, 0.5]] * 3), [[0.0, 1.0], [0.6, 1.0], [0.0, 0.7]], prompt=["a", "b", "c"])
    assert repr(reward_of(table, 0.7)).split("\n") == [
        "BetaChoice for mean reward 0.7",
        "  a: beta 1.18 [1.18, 1.18]",
        "  b: beta nan [nan, nan] below_reference",
        "  c: beta nan [nan, nan] unattainable",
    ]
    mean = repr(kl_of(two(0.5), 0.1, per="mean")).split("\n")
    assert mean == ["BetaChoice for KL 0.1 nats", "  mean over prompts: beta 1.06 [1.06, 1.06]"]


def test_the_repr_of_many_hostile_prompts_is_short():
    labels = ["漢字" * 60, "x" * 500, "two\nlines \x1b[31m", "[bold]x[/]", *map(str, range(20))]
    text = repr(kl_of(sampled(np.tile([0.0, 1.0], (24, 1)), prompt=labels), 0.1))
    lines = text.split("\n")
    assert len(lines) == 12
    assert lines[-1] == "  ... 14 more prompts"
    assert all(line.isprintable() for line in lines)
    assert all(cell_len(line) <= 120 for line in lines)


# What is refused


@pytest.mark.parametrize("kl", [0, -0.1, np.nan, np.inf, -np.inf, "0.1", None, [0.1, 0.2]])
def test_budgets_that_are_none_are_refused(kl):
    with pytest.raises(InputError, match="kl must be a positive number of nats"):
        kl_of(two(0.5), kl)


@pytest.mark.parametrize("reward", [np.nan, np.inf, -np.inf, "0.1", None, [0.1, 0.2]])
def test_targets_that_are_none_are_refused(reward):
    with pytest.raises(InputError, match="reward must be a finite number"):
        reward_of(two(0.5), reward)


@pytest.mark.parametrize("choose", [kl_of, reward_of])
def test_other_arguments_that_are_wrong_are_refused(choose):
    table = two(0.25)
    with pytest.raises(InputError, match="per must be 'prompt' or 'mean'; found 'row'"):
        choose(table, 0.5, per="row")
    for level in (0, 1, 95, np.nan, "0.95", None):
        with pytest.raises(InputError, match="level must lie between 0 and 1"):
            choose(table, 0.5, level=level)


@pytest.mark.parametrize("choose", [kl_of, reward_of])
def test_a_partial_table_leaves_the_tilted_policy_open(choose):
    table = partial(np.log([0.25, 0.25]), [0.0, 1.0], reward_range=(0, 1))
    with pytest.raises(InputError, match="needs a complete or sampled table"):
        choose(table, 0.5)
