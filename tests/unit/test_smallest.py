"""The smallest beta that the rows support: closed forms, what defines it, tables that support none or all."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

import tiltz
from tests.oracles import precisely
from tiltz.errors import InputError

sampled, complete, partial = tiltz.Outcomes.sampled, tiltz.Outcomes.complete, tiltz.Outcomes.partial
least = tiltz.smallest_beta


def is_reliable(outcomes, i, beta, **options):
    """Whether the cell of a prompt at a beta is reliable."""
    one = outcomes.select(np.arange(len(outcomes.prompt)) == i)
    return tiltz.sweep(one, beta, **options).reliable[0]


def check_definition(outcomes, **options):
    """At the beta found and above, intervals are reliable; just below it, they are not."""
    found = least(outcomes, **options)
    assert found.shape == outcomes.prompt.shape
    for i, beta in enumerate(found):
        if np.isinf(beta):
            assert not is_reliable(outcomes, i, [1e3], **options)[0]
            continue
        start = beta * (1 + 1e-3) if beta > 0 else 1e-6
        assert is_reliable(outcomes, i, np.geomspace(start, max(start, 1.0) * 1e6, 60), **options).all()
        if beta > 0:
            assert not is_reliable(outcomes, i, [beta * (1 - 1e-3)], **options)[0]
    return found


RNG = np.random.default_rng(12)
NORMAL = RNG.normal(size=(4, 30)) * [[1e-4], [1.0], [50.0], [1e6]]
RATES = [[1] * k + [0] * (8 - k) for k in range(9)]
LISTED = np.log([[0.5, 0.2], [0.1, 0.1], [0.7, 0.2999]])

CASES = {
    "normal": (sampled(NORMAL), {"interval": "delta"}),
    "normal, narrow": (sampled(NORMAL), {"interval": "delta", "width": 0.2}),
    "normal, wide": (sampled(NORMAL), {"interval": "delta", "width": 1.9}),
    "normal, level": (sampled(NORMAL), {"interval": "delta", "level": 0.5}),
    "offset": (sampled(1e5 + NORMAL[1:3]), {"interval": "delta"}),
    "range": (sampled(RNG.random((3, 30)), reward_range=(0, 1)), {"interval": "delta"}),
    "constraint": (sampled(np.where(RNG.random((2, 40)) < 0.3, -np.inf, RNG.random((2, 40)))), {"interval": "delta"}),
    "normal, auto": (sampled(NORMAL), {}),
    "many, auto": (sampled(RNG.normal(size=(3, 200))), {}),
    "range, auto": (sampled(RNG.random((3, 30)), reward_range=(0, 1)), {}),
    "five values": (sampled(RNG.integers(0, 5, size=(3, 60)), reward_values=range(5)), {}),
    "weights, auto": (
        sampled(RNG.normal(size=(3, 100)), log_ref=0.3 * RNG.normal(size=(3, 100)), log_proposal=np.zeros((3, 100))),
        {},
    ),
    "two values": (sampled(RATES, reward_values=(0, 1)), {}),
    "two values, narrow": (sampled(RATES, reward_values=(0, 1)), {"width": 0.01}),
    "two values, declared here": (sampled(RATES), {"reward_values": (0, 1)}),
    "partial": (partial(LISTED, [[0.2, 0.6], [0.9, 0.1], [0.0, 0.5]], reward_range=(0, 1)), {}),
    "partial, narrow": (partial(LISTED, [[0.2, 0.6], [0.9, 0.1], [0.0, 0.5]], reward_range=(0, 1)), {"width": 0.1}),
}  # fmt: skip


@pytest.mark.parametrize(("outcomes", "options"), CASES.values(), ids=CASES)
def test_it_divides_the_betas_into_reliable_and_not(outcomes, options):
    found = check_definition(outcomes, **options)
    assert np.any((found > 0) & np.isfinite(found))


@settings(max_examples=25)
@given(
    st.lists(st.floats(-3, 3).map(lambda x: round(x, 3)), min_size=2, max_size=12),
    st.sampled_from([0.05, 0.5, 1.0, 2.0]),
)
def test_it_does_so_for_any_draws(rewards, width):
    check_definition(sampled(rewards), width=width, interval="delta")


@pytest.mark.parametrize(("outcomes", "options"), CASES.values(), ids=CASES)
def test_a_prompt_alone_gives_the_same_beta(outcomes, options):
    whole = least(outcomes, **options)
    for i, label in enumerate(outcomes.prompt):
        assert least(outcomes.select([label]), **options).tobytes() == whole[i : i + 1].tobytes()


# Closed forms


@pytest.mark.parametrize("width", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("k", [0, 1, 4, 7])
def test_two_possible_rewards(k, level, width):
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, k, 9 - k) if k else 0.0
    high = stats.beta.ppf(1 - tail, k + 1, 8 - k)

    def excess(log_beta):
        gain = math.expm1(math.exp(-log_beta))
        return math.log1p(high * gain) - math.log1p(low * gain) - width

    smallest = math.log(1 / 700)  # where the exponential is at the end of its range
    wanted = math.exp(optimize.brentq(excess, smallest, 10, xtol=1e-13)) if excess(smallest) > 0 else 0.0
    found = least(sampled(RATES[k], reward_values=(0, 1)), level=level, width=width)
    assert found[0] == precisely(wanted, rel=1e-3)


@pytest.mark.parametrize("width", [0.3, 1.0])
def test_the_delta_interval_of_two_draws(width):
    # Weights 1 and e^(1 / beta): relative variance tanh(1 / (2 beta)) ** 2, divisor n - 1 = 1.
    wanted = 0.5 / math.atanh(width / (2 * 1.959963984540054))
    assert least(sampled([0.0, 1.0]), interval="delta", width=width)[0] == precisely(wanted, rel=1e-3)


def test_bounds_of_a_partial_table():
    # Listed mass 1/2 at reward 0, the rest at 0 or 1: Z is 1 or 1/2 + e^(1 / beta) / 2.
    wanted = 1 / math.log(2 * math.e - 1)
    assert least(partial([math.log(0.5)], [0.0], reward_range=(0, 1)))[0] == precisely(wanted, rel=1e-3)


# None and all


def test_what_is_exact_is_reliable_at_every_beta():
    table = complete(np.log([[0.5, 0.5]] * 3), [[0.0, 1.0], [-np.inf, 0.0], [-np.inf, -np.inf]])
    assert least(table, width=1e-12).tolist() == [0.0, 0.0, 0.0]


def test_a_declared_constant_is_reliable_at_every_beta():
    assert least(sampled([3.0] * 4, reward_values=(3.0,)))[0] == 0.0


def test_an_interval_that_stays_narrow_is_reliable_at_every_beta():
    # As beta falls, the interval of 64 successes of 128 tends to the log of the ratio of its rates, 0.35 nats.
    table = sampled([0, 1] * 64, reward_values=(0, 1))
    rates = stats.binomtest(64, 128).proportion_ci(0.95, method="exact")
    limit = math.log(rates.high / rates.low)
    assert least(table, width=limit * 1.001)[0] == 0.0
    assert least(table, width=limit * 0.999)[0] > 0.0


@pytest.mark.parametrize(
    "outcomes",
    [
        sampled([0.0] * 100),
        sampled([-np.inf] * 3),
        sampled([1.0]),
        sampled([0.0, 0.5, 1.0], log_ref=[0.0, 300.0, -300.0], log_proposal=[0.0, 0.0, 0.0]),
    ],
    ids=["equal", "impossible", "one draw", "weights"],
)
def test_a_hopeless_prompt_has_none(outcomes):
    assert least(outcomes, interval="delta").tolist() == [math.inf]
    assert not tiltz.sweep(outcomes, np.geomspace(1e-6, 1e6, 25), interval="delta").reliable.any()


def test_a_beta_that_is_reliable_below_one_that_is_not_does_not_count():
    # The weights exp(log_ref + reward / beta) are all equal at beta 1 and far apart for large beta.
    reward = np.linspace(-4, 4, 10)
    table = sampled(reward, log_ref=-reward, log_proposal=np.zeros(10))
    assert tiltz.sweep(table, [1.0, 1e6], interval="delta").reliable[0].tolist() == [True, False]
    assert least(table, interval="delta").tolist() == [math.inf]


def test_hopeless_prompts_do_not_spoil_others():
    found = least(sampled([[0.0] * 4, [0.0, 1.0, 2.0, 0.5]]), interval="delta")
    assert np.isinf(found[0])
    assert 0 < found[1] < np.inf


# Far from the spread of the rewards


@pytest.mark.parametrize("width", [1e-5, 1e-6, 1e-8])
def test_a_narrow_interval_needs_a_large_beta(width):
    # For large beta the width is the distance of the rates over beta.
    rates = stats.binomtest(3, 8).proportion_ci(0.95, method="exact")
    found = least(sampled(RATES[3], reward_values=(0, 1)), width=width)
    assert found[0] == precisely((rates.high - rates.low) / width, rel=1e-3)


def test_one_large_penalty_does_not_make_every_beta_reliable():
    rewards = np.append(np.random.default_rng(0).normal(size=100) * 1e-6, -1e6)
    found = check_definition(sampled(rewards), interval="delta")
    assert 1e-8 < found[0] < 1e-5


def test_rewards_that_are_listed_need_not_be_as_far_apart_as_those_that_are_possible():
    table = partial(np.log([0.25, 0.25]), [0.5, 0.50001], reward_range=(0, 1))
    found = check_definition(table)
    assert found[0] == pytest.approx(least(partial(np.log([0.5]), [0.5], reward_range=(0, 1)))[0], rel=1e-3)


# Arguments


def test_a_wider_width_and_a_lower_level_need_less():
    table = sampled(NORMAL)
    by_width = [least(table, interval="delta", width=width) for width in (0.1, 0.5, 1.0, 1.9)]
    by_level = [least(table, interval="delta", level=level) for level in (0.999, 0.95, 0.8, 0.5)]
    for found in (by_width, by_level):
        assert all(np.all(b < a) for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("unit", [2.0**-200, 2.0**-20, 2.0**40, 2.0**200])
def test_rewards_in_another_unit_give_a_beta_in_that_unit(unit):
    table, other = (sampled(NORMAL[1] * u) for u in (1.0, unit))
    wanted = least(table, interval="delta")[0] * unit
    assert least(other, interval="delta")[0] == precisely(wanted, rel=1e-9)


def test_declarations_of_the_call_are_used():
    table = sampled([[0.0] * 8, [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    declared = least(sampled(table.reward.reshape(2, 8), reward_values=(0, 1)))
    assert least(table, reward_values=(0, 1)).tolist() == declared.tolist()
    ranged = least(sampled([0.0] * 8), reward_range=(0, 1))
    assert 0 < ranged[0] < np.inf


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan, np.inf, "1", None])
def test_widths_that_are_none_are_refused(width):
    with pytest.raises(InputError, match="width must be a positive number of nats"):
        least(sampled([0.0, 1.0]), width=width)


def test_other_arguments_that_are_wrong_are_refused():
    with pytest.raises(InputError, match="level must lie between 0 and 1"):
        least(sampled([0.0, 1.0]), level=1.0)
    with pytest.raises(InputError, match="interval must be one of"):
        least(sampled([0.0, 1.0]), interval="bayes")
    with pytest.raises(InputError, match="interval=None leaves none"):
        least(sampled([0.0, 1.0]), interval=None)
    with pytest.raises(InputError, match="reward_values"):
        least(sampled([0.0, 1.0]), reward_values=(0, 2))
