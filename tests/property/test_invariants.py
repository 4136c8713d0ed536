"""What must hold for any table: shifts, scales, permutations, splits, convexity, identities."""

import math

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tiltz
from tests.oracles import exact

BETA = st.floats(-4, 4).map(lambda x: 10.0**x)
ANY_BETA = st.floats(-300, 12).map(lambda x: 10.0**x)
REWARD = st.floats(-50, 50, allow_subnormal=False).map(lambda x: round(x, 6))
HARD = st.one_of(REWARD, st.just(-math.inf))


@st.composite
def domains(draw, reward=REWARD, most=6):
    """Masses and rewards of a finite set."""
    size = draw(st.integers(1, most))
    mass = np.array(draw(st.lists(st.floats(1e-6, 1.0), min_size=size, max_size=size)))
    rewards = np.array(draw(st.lists(reward, min_size=size, max_size=size)))
    return np.log(mass / mass.sum()), rewards


@st.composite
def draws(draw, reward=HARD, most=12):
    """Rewards of several prompts, unequal numbers, interleaved."""
    labels = np.array(draw(st.lists(st.integers(0, 3), min_size=1, max_size=most)))
    rewards = np.array(draw(st.lists(reward, min_size=len(labels), max_size=len(labels))))
    return labels, rewards


def complete(log_ref, reward):
    return tiltz.Outcomes.complete(log_ref, reward, renormalise=True)


def log_z(log_ref, reward, beta):
    return float(tiltz.estimate(complete(log_ref, reward), beta))


def near(found, wanted, scale=1.0, tolerance=1e-12):
    return abs(found - wanted) <= tolerance * max(1.0, abs(wanted), scale)


@given(domains(), BETA, st.floats(-100, 100))
def test_a_shift_of_rewards_moves_log_z_by_shift_over_beta(domain, beta, shift):
    log_ref, reward = domain
    scale = (np.abs(reward).max() + abs(shift)) / beta
    assert near(log_z(log_ref, reward + shift, beta), log_z(log_ref, reward, beta) + shift / beta, scale)


@given(draws(), BETA, st.floats(-100, 100))
def test_a_shift_moves_the_whole_interval_of_samples(rows, beta, shift):
    labels, rewards = rows
    one, two = (
        tiltz.estimate(tiltz.Outcomes.sampled(r, prompt=labels), beta) for r in (rewards, rewards + shift)
    )
    assume(len(set(rewards.tolist())) == len(set((rewards + shift).tolist())))
    scale = (100 + 100) / beta
    for name in ("log_z", "lo", "hi"):
        a, b = getattr(one, name), getattr(two, name)
        assert np.array_equal(np.isfinite(a), np.isfinite(b))
        finite = np.isfinite(a)
        assert np.all(np.abs(a[finite] + shift / beta - b[finite]) <= 1e-9 * max(1.0, scale))


@given(domains(), BETA, st.integers(-200, 200))
def test_rewards_and_beta_in_other_units_change_nothing(domain, beta, power):
    log_ref, reward = domain
    unit = 2.0**power
    assert log_z(log_ref, reward * unit, beta * unit) == log_z(log_ref, reward, beta)


@given(domains(reward=HARD), BETA, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(domain, beta, random):
    log_ref, reward = domain
    order = list(range(len(reward)))
    random.shuffle(order)
    a, b = log_z(log_ref, reward, beta), log_z(log_ref[order], reward[order], beta)
    assert a == b == -math.inf or near(a, b, 50 / beta)


@given(domains(), BETA, st.floats(0.01, 0.99))
def test_splitting_an_outcome_in_two_changes_nothing(domain, beta, share):
    log_ref, reward = domain
    pieces = [log_ref[0] + math.log(share), log_ref[0] + math.log1p(-share)]
    split = np.append(log_ref[1:], pieces), np.append(reward[1:], [reward[0]] * 2)
    one, two = tiltz.tilt(complete(log_ref, reward), beta), tiltz.tilt(complete(*split), beta)
    for name in ("mean_reward", "kl"):
        assert near(getattr(one, name)[0, 0], getattr(two, name)[0, 0], 50 / beta)
    assert near(log_z(log_ref, reward, beta), log_z(*split, beta), 50 / beta)


@given(draws(), BETA, st.integers(2, 4))
def test_duplicated_samples_change_no_point_and_narrow_no_certainty(rows, beta, times):
    labels, rewards = rows
    one, two = (
        tiltz.estimate(
            tiltz.Outcomes.sampled(np.tile(rewards, k), prompt=np.tile(labels, k)), beta, interval="delta"
        )
        for k in (1, times)
    )
    both = np.isfinite(one.log_z)
    assert np.all(np.abs(one.log_z[both] - two.log_z[both]) <= 1e-12 * max(1.0, 50 / beta))
    np.testing.assert_allclose(two.ess, times * one.ess, rtol=1e-9)


@given(draws(), st.lists(ANY_BETA, min_size=1, max_size=3))
def test_points_lie_in_their_intervals(rows, betas):
    labels, rewards = rows
    for declared in ({}, {"reward_values": tuple(set(rewards.tolist()))}):
        est = tiltz.estimate(tiltz.Outcomes.sampled(rewards, prompt=labels, **declared), betas)
        assert np.all(est.lo <= est.log_z)
        assert np.all(est.log_z <= est.hi)
        assert np.all(est.ess >= 0)
        assert np.all(est.ess <= est.n[:, None] * (1 + 1e-12))
        assert np.all(~(est.bias > 0))


@given(st.lists(REWARD, min_size=1, max_size=8), BETA, st.sampled_from([0.5, 0.95, 0.999999]))
def test_equal_samples_never_get_an_interval_without_width(rewards, beta, level):
    outcomes = tiltz.Outcomes.sampled(np.repeat([rewards], 3, axis=0).T)
    for declared in ({}, {"reward_range": (-51, 51)}):
        est = tiltz.estimate(outcomes, beta, level=level, **declared)
        assert np.all(est.lo < est.hi)


@given(domains(), BETA, st.floats(1.0, 100.0))
def test_the_soft_value_falls_with_beta(domain, beta, factor):
    est = tiltz.estimate(complete(*domain), [beta, beta * factor])
    assert est.soft_value[0, 0] >= est.soft_value[0, 1] - 1e-12
    assert est.soft_value[0, 0] <= domain[1].max() + 1e-12
    assert est.soft_value[0, 1] >= np.exp(domain[0]) @ domain[1] - 1e-10


@given(draws(reward=REWARD), BETA, st.floats(1.0, 100.0))
def test_the_plug_in_soft_value_falls_with_beta(rows, beta, factor):
    labels, rewards = rows
    est = tiltz.estimate(tiltz.Outcomes.sampled(rewards, prompt=labels), [beta, beta * factor])
    assert np.all(est.soft_value[:, 0] >= est.soft_value[:, 1] - 1e-12)


@given(domains(), st.floats(0.01, 10), st.floats(0.01, 10), st.floats(0, 1))
def test_log_z_is_convex_in_lambda(domain, one, two, share):
    middle = share * one + (1 - share) * two
    a, b, c = (log_z(*domain, 1 / x) for x in (one, two, middle))
    assert c <= share * a + (1 - share) * b + 1e-10


@given(domains(reward=HARD), ANY_BETA)
def test_tilted_probabilities_sum_to_one(domain, beta):
    assume(np.any(np.isfinite(domain[1])))
    assert near(tiltz.tilt(complete(*domain), beta).prob.sum(), 1.0)


@given(domains(), BETA)
def test_kl_identities(domain, beta):
    log_ref, reward = domain
    tilted, z = tiltz.tilt(complete(*domain), beta), log_z(*domain, beta)
    assert tilted.kl[0, 0] >= 0
    assert tilted.kl_reverse[0, 0] >= 0
    assert near(tilted.kl[0, 0], tilted.mean_reward[0, 0] / beta - z, 50 / beta)
    assert near(tilted.kl_reverse[0, 0], z - np.exp(log_ref) @ reward / beta, 50 / beta)


@given(draws(reward=REWARD), BETA)
def test_kl_of_samples_is_at_most_the_log_of_their_number(rows, beta):
    labels, rewards = rows
    outcomes = tiltz.Outcomes.sampled(rewards, prompt=labels)
    kl = tiltz.tilt(outcomes, beta).kl[:, 0]
    assert np.all(kl >= 0)
    assert np.all(kl <= np.log(outcomes.n) + 1e-12)


@settings(max_examples=60)
@given(domains(), ANY_BETA, st.sampled_from([0.0, 1e4, -1e5]))
def test_every_digit_of_kl_against_fifty(domain, beta, offset):
    log_ref, reward = domain[0], domain[1] + offset
    tilted = tiltz.tilt(complete(log_ref, reward), beta)
    truth = exact(
        np.exp(complete(log_ref, reward).log_weight), reward, beta, digits=400 if beta < 1e-20 else 60
    )
    for name in ("kl", "kl_reverse"):
        wanted = float(truth[name])
        assert abs(getattr(tilted, name)[0, 0] - wanted) <= 1e-10 * wanted + 1e-28
    assert near(tilted.mean_reward[0, 0], float(truth["mean_reward"]))


@given(domains(reward=st.floats(0, 1), most=8), BETA, st.data())
def test_partial_bounds_hold(domain, beta, data):
    log_ref, reward = domain
    assume(len(reward) > 1)
    listed = data.draw(st.integers(1, len(reward) - 1))
    missing = math.log(np.exp(log_ref[listed:]).sum())
    table = tiltz.Outcomes.partial(
        log_ref[:listed], reward[:listed], reward_range=(0, 1), log_missing=missing
    )
    est, truth = tiltz.estimate(table, beta), log_z(log_ref, reward, beta)
    assert est.lo[0, 0] - 1e-12 * max(1, 1 / beta) <= truth <= est.hi[0, 0] + 1e-12 * max(1, 1 / beta)
    assert est.lo[0, 0] <= est.log_z[0, 0] <= est.hi[0, 0]


@given(draws(), BETA)
def test_a_prompt_alone_gives_the_same_bits(rows, beta):
    labels, rewards = rows
    outcomes = tiltz.Outcomes.sampled(rewards, prompt=labels)
    whole = tiltz.estimate(outcomes, beta)
    for i, label in enumerate(outcomes.prompt):
        alone = tiltz.estimate(outcomes.select([label]), beta)
        for name in ("log_z", "lo", "hi", "soft_value", "ess", "bias"):
            assert getattr(whole, name)[i].tobytes() == getattr(alone, name)[0].tobytes()
        assert whole.kind[i, 0] == alone.kind[0, 0]


@given(arrays(float, st.integers(1, 6), elements=st.floats(0, 1e308)), st.floats(1e-3, 1e3))
def test_normalize_sums_to_one_whatever_the_scale(scores, factor):
    assume(scores.max() > 1e-290)
    prob = tiltz.normalize(scores)
    assert near(prob.sum(), 1.0)
    with np.errstate(over="ignore", under="ignore"):
        scaled = scores * factor
    if np.all((scaled == 0) == (scores == 0)) and np.all(np.isfinite(scaled)):
        np.testing.assert_allclose(tiltz.normalize(scaled), prob, rtol=1e-12, atol=1e-15)
