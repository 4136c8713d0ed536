"""Betting bounds: the capital by its definition, exact coverage over every sample, and the edges of the arithmetic."""

import itertools
import math
import threading

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import all_draws, binary_samples, precisely
from tiltz.inference.betting import betting, betting_of_counts, betting_one_sided
from tiltz.kernels import Columns
from tiltz.kernels.betting import FRACTIONS, WITHIN
from tiltz.kernels.threads import over_blocks

ALPHA = 0.025


def drawn(*groups, log_weight=None):
    """Rows of samples, one list of rewards per group; with log-weights they come from a proposal."""
    size = np.array([len(group) for group in groups])
    log_count = np.log(size)
    weight = (
        np.zeros(size.sum()) if log_weight is None else np.concatenate([np.asarray(w) for w in log_weight])
    )
    return Columns(
        reward=np.concatenate([np.asarray(group, dtype=np.float64) for group in groups]),
        log_mass=weight - np.repeat(log_count, size),
        log_count=log_count,
        start=np.concatenate([[0], np.cumsum(size)]).astype(np.int64),
        normalised=log_weight is None,
    )


def grid(*betas):
    return np.array([betas], dtype=np.float64)


def cell(rewards, beta=1.0, *, log_weight=None, alpha=ALPHA, reward_range=None):
    columns = drawn(rewards, log_weight=None if log_weight is None else [log_weight])
    lo, hi = betting_one_sided(
        columns, grid(beta), alpha_lower=alpha, alpha_upper=alpha, reward_range=reward_range
    )
    return lo[0, 0], hi[0, 0]


# The capital by its definition


def capital(weights, mean):
    """The mean over the bets of prod(1 + c (w - m) / m), in mpmath."""
    bets = [mpmath.mpf(float(c)) for c in FRACTIONS]
    return mpmath.fsum(mpmath.fprod(1 + c * (w - mean) / mean for w in weights) for c in bets) / len(bets)


def test_there_are_34_bets_from_tiny_to_almost_everything():
    assert len(FRACTIONS) == 34
    assert np.all(np.diff(FRACTIONS) > 0)
    assert FRACTIONS[[0, 16, 17, -1]] == precisely([1e-4, 0.5, 0.55, 0.999], rel=1e-15)


@pytest.mark.parametrize("beta", [0.02, 0.3, 1.0, 20.0])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_expected_capital_at_the_true_mean_is_one(p, beta):
    draws, prob = binary_samples(10, p)
    values = np.exp(np.array([0.0, 1.0]) / beta - 1 / beta)
    for weight in (values, values - values[0], 1 - values):
        mean = (1 - p) * weight[0] + p * weight[1]
        sample = weight[draws.astype(int)]
        factor = 1 + FRACTIONS[:, None, None] * (sample - mean) / mean
        assert prob @ factor.prod(axis=2).mean(axis=0) == precisely(1.0, rel=1e-12)


def refuted_and_just_beyond(weights, log_mean, alpha):
    """Whether a mean is refuted by the exact capital, and one that is nearer by the tolerance is not."""
    with mpmath.workdps(40):
        sample_mean = mpmath.fsum(weights) / len(weights)
        mean = mpmath.exp(log_mean)
        tolerance = WITHIN * (mpmath.log(sample_mean) - log_mean) + mpmath.mpf(10) ** -12 * (
            1 + abs(log_mean)
        )
        beyond = mean * mpmath.exp(tolerance)
        return capital(weights, mean) >= 1 / mpmath.mpf(alpha) > capital(weights, beyond)


REWARDS = {
    "beta": np.random.default_rng(0).beta(2, 5, size=20),
    "gauss": np.random.default_rng(1).normal(size=33),
    "binary": np.array([0.0] * 9 + [1.0] * 2),
    "equal": np.full(5, 0.3),
    "one": np.array([0.2]),
    "constrained": np.array([-np.inf, 0.1, -np.inf, 0.5]),
}


@pytest.mark.parametrize("alpha", [0.3, 0.025, 1e-9])
@pytest.mark.parametrize("beta", [0.01, 0.4, 5.0, 1e4])
@pytest.mark.parametrize("name", REWARDS)
def test_the_lower_bound_is_the_exact_root_from_outside(name, beta, alpha):
    lo, hi = cell(REWARDS[name], beta, alpha=alpha)
    weights = [mpmath.exp(mpmath.mpf(float(r)) / mpmath.mpf(beta)) for r in REWARDS[name]]
    assert refuted_and_just_beyond(weights, mpmath.mpf(lo), alpha)
    assert hi == np.inf


@pytest.mark.parametrize("alpha", [0.3, 0.025, 1e-9])
@pytest.mark.parametrize("beta", [0.01, 0.4, 5.0, 1e4])
@pytest.mark.parametrize("name", ["beta", "binary", "equal", "one"])
def test_both_bounds_with_a_range_are_exact_roots_from_outside(name, beta, alpha):
    low, high = -0.25, 1.5
    lo, hi = cell(REWARDS[name], beta, alpha=alpha, reward_range=(low, high))
    with mpmath.workdps(40):
        weights = [mpmath.exp(mpmath.mpf(float(r)) / mpmath.mpf(beta)) for r in REWARDS[name]]
        floor, ceiling = (mpmath.exp(mpmath.mpf(end) / mpmath.mpf(beta)) for end in (low, high))
        excess = mpmath.log(mpmath.exp(mpmath.mpf(lo)) - floor)
        shortfall = mpmath.log(ceiling - mpmath.exp(mpmath.mpf(hi)))
        assert capital([w - floor for w in weights], mpmath.exp(excess)) >= 1 / mpmath.mpf(alpha)
        assert capital([ceiling - w for w in weights], mpmath.exp(shortfall)) >= 1 / mpmath.mpf(alpha)
        # Nearer to the log-mean-exp by a ten millionth of the way, and some units in the last place, and no longer.
        middle, unit = mpmath.log(mpmath.fsum(weights) / len(weights)), 2e-15 * high / beta
        nearer_lo = lo + mpmath.mpf(10) ** -7 * (middle - lo) + unit
        nearer_hi = hi - mpmath.mpf(10) ** -7 * (hi - middle) - unit
        assert capital([w - floor for w in weights], mpmath.exp(nearer_lo) - floor) < 1 / mpmath.mpf(alpha)
        assert capital([ceiling - w for w in weights], ceiling - mpmath.exp(nearer_hi)) < 1 / mpmath.mpf(
            alpha
        )


@pytest.mark.parametrize("beta", [0.2, 3.0])
def test_importance_weights_by_the_definition(beta):
    rng = np.random.default_rng(4)
    rewards, log_weight, (low, high) = rng.random(12), rng.normal(-0.2, 0.6, size=12), (-0.5, 1.2)
    lo, hi = cell(rewards, beta, log_weight=log_weight, reward_range=(low, high))
    open_lo, open_hi = cell(rewards, beta, log_weight=log_weight)
    with mpmath.workdps(40):
        rho = [mpmath.exp(mpmath.mpf(float(x))) for x in log_weight]
        weights = [mpmath.exp(mpmath.mpf(float(r)) / mpmath.mpf(beta)) for r in rewards]
        floor, ceiling = (mpmath.exp(mpmath.mpf(end) / mpmath.mpf(beta)) for end in (low, high))
        whole = [x * w for x, w in zip(rho, weights, strict=True)]
        assert refuted_and_just_beyond(whole, mpmath.mpf(open_lo), ALPHA)
        above = [x * (w - floor) for x, w in zip(rho, weights, strict=True)]
        share = floor / ceiling if floor / ceiling >= 0.01 else mpmath.mpf(0)
        found = mpmath.exp(mpmath.mpf(lo))
        reached = [capital(whole, found) * (1 - share), capital(above, found - floor) * share]
        assert max(reached) == pytest.approx(1 / ALPHA, rel=1e-7)
        below = [x * (1 - w / ceiling) for x, w in zip(rho, weights, strict=True)]
        left = 1 - mpmath.exp(mpmath.mpf(hi)) / ceiling
        assert float(capital(below, left)) == precisely(1 / ALPHA, rel=1e-7)
    assert open_hi == np.inf


# Exact coverage


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("p", [0.02, 0.2, 0.5, 0.8, 0.98])
def test_coverage_over_every_sample_and_every_look(p, level):
    n, betas, alpha = 10, np.geomspace(0.02, 50, 6), (1 - level) / 2
    draws, prob = binary_samples(n, p)
    truth = np.log1p(p * np.expm1(np.minimum(1 / betas, 700)))
    missed_below, missed_above = np.zeros((2, len(draws), len(betas)), dtype=bool)
    for look in range(1, n + 1):
        lo, hi = betting(drawn(*draws[:, :look]), grid(*betas), level=level, reward_range=(0, 1))
        missed_below |= lo > truth
        missed_above |= hi < truth
    # At any of the looks: under optional stopping.
    assert np.all(prob @ missed_below <= alpha)
    assert np.all(prob @ missed_above <= alpha)
    if level == 0.5 and p == 0.5:
        assert np.any(prob @ missed_below > 0)
        assert np.any(prob @ missed_above > 0)


def test_the_coverage_test_has_power():
    """A fixed-n interval that the exact coverage under optional stopping refutes: the delta one."""
    n, beta, p = 10, 1.0, 0.5
    draws, prob = binary_samples(n, p)
    missed = np.zeros(len(draws), dtype=bool)
    for look in range(2, n + 1):
        weights = np.exp(draws[:, :look] / beta)
        half = 0.6745 * weights.std(axis=1, ddof=1) / weights.mean(axis=1) / math.sqrt(look)
        missed |= np.log(weights.mean(axis=1)) - half > math.log1p(p * math.expm1(1 / beta))
    assert prob @ missed > 0.25


@pytest.mark.parametrize("beta", [0.1, 0.7, 10.0])
def test_a_proposal_that_misses_outcomes_is_covered_too(beta):
    reference, rewards = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.0, 0.4, 0.9, 1.0])
    proposal, n, alpha = np.array([0.1, 0.4, 0.5, 0.0]), 6, 0.25
    draws, prob = all_draws(proposal[:3], n)
    log_weight = np.log(reference[:3] / proposal[:3])[draws]
    truth = math.log(reference @ np.exp((rewards - 1) / beta)) + 1 / beta
    columns = drawn(*rewards[draws], log_weight=list(log_weight))
    lo, hi = betting_one_sided(columns, grid(beta), alpha_lower=alpha, alpha_upper=alpha, reward_range=(0, 1))
    assert np.all(lo <= hi)
    assert prob @ (lo[:, 0] > truth) <= alpha
    assert prob @ (hi[:, 0] < truth) <= alpha
    assert np.all((lo >= 0) & (hi <= 1 / beta))


# Properties

BETAS = st.sampled_from([1e-300, 1e-12, 0.01, 0.3, 1.0, 17.0, 1e9, 1e300])
REWARD = st.one_of(st.floats(-3, 3), st.sampled_from([0.0, 1.0, -np.inf]))
SAMPLES = st.lists(REWARD, min_size=1, max_size=40)


def log_mean_exp(rewards, beta):
    """The log-mean-exp, and what rounding may have done to it."""
    top = max(rewards)
    if top == -np.inf:
        return -np.inf, 0.0
    below = np.log1p(np.mean(np.expm1((np.asarray(rewards) - top) / beta)))
    return top / beta + below, 1e-15 * (abs(top / beta) + abs(below))


def slack(*numbers):
    """What arithmetic on numbers of this size, and the tolerance of the root, may add."""
    return 1e-7 + 1e-13 * sum(abs(x) for x in numbers if math.isfinite(x))


@given(SAMPLES, BETAS, st.booleans())
def test_the_bounds_enclose_the_log_mean_exp_within_the_range(rewards, beta, ranged):
    span = (-np.inf if -np.inf in rewards else -3.0, 3.5)
    lo, hi = cell(rewards, beta, reward_range=span if ranged else None)
    middle, off = log_mean_exp(rewards, beta)
    assert lo <= middle + off
    assert hi >= middle - off
    if ranged:
        assert span[0] / beta <= lo
        assert hi <= span[1] / beta
    else:
        assert hi == np.inf


@given(SAMPLES, st.sampled_from([0.01, 0.3, 1.0, 17.0, 1e4]), st.floats(-1e5, 1e5))
def test_a_shift_of_the_reward_shifts_both_bounds(rewards, beta, shift):
    moved = np.asarray(rewards) + shift
    exact = moved - shift  # what the shifted rewards stand for after rounding
    before = cell(exact, beta, reward_range=(-np.inf, 4.0))
    after = cell(moved, beta, reward_range=(-np.inf, 4.0 + shift))
    for a, b in zip(before, after, strict=True):
        assert a == b or abs(b - a - shift / beta) <= slack(a, b, shift / beta, 1e5 / beta)


@given(SAMPLES, BETAS, st.randoms(use_true_random=False))
def test_the_order_of_draws_does_not_matter(rewards, beta, random):
    shuffled = random.sample(rewards, len(rewards))
    span = (-np.inf, 3.0)
    assert cell(rewards, beta, reward_range=span) == cell(shuffled, beta, reward_range=span)


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.integers(0, 300)), min_size=1, max_size=6),
    st.sampled_from([0.05, 1.0, 30.0]),
)
def test_counts_are_repeated_rows(counted, beta):
    values, counts = zip(*counted, strict=True)
    lo, hi = betting_of_counts(
        values,
        counts,
        [0, len(values)],
        beta=grid(beta),
        alpha_lower=ALPHA,
        alpha_upper=ALPHA,
        reward_range=(-3, 3),
    )
    if sum(counts) == 0:
        assert (lo[0, 0], hi[0, 0]) == (-3 / beta, 3 / beta)
        return
    rows = np.repeat(values, counts)
    wanted = cell(rows, beta, reward_range=(-3, 3))
    unsorted = cell(rows, beta, log_weight=np.zeros(len(rows)), reward_range=(-3, 3))
    assert (lo[0, 0], hi[0, 0]) == pytest.approx(wanted, abs=1e-7)
    assert hi[0, 0] == pytest.approx(unsorted[1], abs=1e-7)


@given(SAMPLES, BETAS)
def test_less_error_means_a_wider_interval(rewards, beta):
    span = (-np.inf, 3.0)
    bounds = [cell(rewards, beta, alpha=alpha, reward_range=span) for alpha in (0.4, 0.1, 0.025, 1e-6, 0.0)]
    for (lo, hi), (wider_lo, wider_hi) in itertools.pairwise(bounds):
        assert wider_lo <= lo
        assert wider_hi >= hi
    assert bounds[-1] == (-np.inf, 3.0 / beta)


@given(SAMPLES, st.sampled_from([0.05, 1.0, 30.0]), st.floats(1e-9, 0.5))
def test_rewards_rounded_outwards_only_widen(rewards, beta, step):
    span = (-np.inf, 3.0)
    values, counts = np.unique(rewards, return_counts=True)
    finite = np.isfinite(values)
    low, high = values.copy(), values.copy()
    low[finite] = np.floor(values[finite] / step) * step
    high[finite] = np.ceil(values[finite] / step) * step
    arguments = {"beta": grid(beta), "alpha_lower": ALPHA, "alpha_upper": ALPHA, "reward_range": span}
    start = [0, len(values)]
    lo, hi = betting_of_counts(values, counts, start, **arguments)
    outer_lo, outer_hi = betting_of_counts(low, counts, start, value_high=high, **arguments)
    assert outer_lo[0, 0] <= lo[0, 0] + slack(lo[0, 0])
    assert outer_hi[0, 0] >= hi[0, 0] - slack(hi[0, 0])


@given(st.lists(SAMPLES, min_size=2, max_size=5), st.booleans())
def test_a_group_alone_gives_the_same_bits(groups, weighted):
    rng = np.random.default_rng(0)
    log_weight = [rng.normal(size=len(group)) for group in groups] if weighted else None
    betas, span = grid(0.01, 1.0, 1e6), (-np.inf, 3.0)
    lo, hi = betting(drawn(*groups, log_weight=log_weight), betas, level=0.9, reward_range=span)
    for i, group in enumerate(groups):
        weights = None if log_weight is None else [log_weight[i]]
        alone = betting(drawn(group, log_weight=weights), betas[:, [i % 3]], level=0.9, reward_range=span)
        assert (lo[i, i % 3], hi[i, i % 3]) == (alone[0][0, 0], alone[1][0, 0])


def test_betas_may_differ_between_groups():
    columns = drawn([0.0, 0.4, 0.9], [0.2, 0.2, 0.7])
    betas = np.array([[0.1, 1.0], [0.3, 5.0]])
    lo, hi = betting(columns, betas, level=0.95, reward_range=(0, 1))
    for i, group in enumerate(([0.0, 0.4, 0.9], [0.2, 0.2, 0.7])):
        alone = betting(drawn(group), betas[[i]], level=0.95, reward_range=(0, 1))
        assert (lo[i].tolist(), hi[i].tolist()) == (alone[0][0].tolist(), alone[1][0].tolist())


def test_the_arguments_are_left_as_they_were():
    columns = drawn([0.5, 0.1, 0.5], [0.9, 0.2])
    for array in (columns.reward, columns.log_mass, columns.log_count, columns.start):
        array.setflags(write=False)
    betting(columns, grid(0.1, 1.0), level=0.95, reward_range=(0, 1))
    assert columns.reward.tolist() == [0.5, 0.1, 0.5, 0.9, 0.2]


# Edges


@pytest.mark.parametrize("beta", [1e-300, 1e-5, 1.0, 1e5, 1e300])
def test_no_weight_at_all(beta):
    rewards = [-np.inf] * 6
    assert cell(rewards, beta) == (-np.inf, np.inf)
    lo, hi = cell(rewards, beta, reward_range=(-np.inf, 2.0))
    assert lo == -np.inf
    # Six draws without weight: all means of 1 - w are refuted below the root of the capital of six ones.
    with mpmath.workdps(30):
        missing = mpmath.findroot(lambda m: capital([mpmath.mpf(1)] * 6, m) - 1 / mpmath.mpf(ALPHA), 0.5)
        assert hi == precisely(mpmath.mpf(2.0) / mpmath.mpf(beta) + mpmath.log(1 - missing), rel=1e-8)


def test_outcomes_outside_the_reference_weigh_nothing():
    lo, hi = cell([0.5, 1.0], log_weight=[-np.inf, -np.inf])
    assert (lo, hi) == (-np.inf, np.inf)
    assert cell([0.5, 1.0], log_weight=[-np.inf, -np.inf], reward_range=(0, 1)) == (0.0, 1.0)
    # The largest reward is out of reach: it must not set the scale of the others.
    lo, _ = cell([0.5, 1e9, -1e9], 1e-3, log_weight=[0.0, -np.inf, 0.0])
    assert lo == pytest.approx(500.0, abs=8)


@pytest.mark.parametrize("beta", [1e-300, 1e-3, 1.0, 1e300])
def test_all_rewards_at_an_end_of_the_range(beta):
    lo, hi = cell([0.0] * 7, beta, reward_range=(0, 1))
    assert lo == 0.0
    assert 0 < hi <= 1 / beta
    lo, hi = cell([1.0] * 7, beta, reward_range=(0, 1))
    assert hi == 1 / beta
    assert 0 <= lo < hi
    assert cell([1.0] * 7, beta, reward_range=(1, 1)) == (1 / beta, 1 / beta)
    assert cell([1.0] * 7, beta, log_weight=[0.1] * 7, reward_range=(1, 1)) == (1 / beta, 1 / beta)


def test_all_equal_rewards_leave_a_lower_bound_alone():
    n = 64
    lo, hi = cell([0.3] * n, 0.1)
    assert hi == np.inf
    # No bet does better than the whole capital on every row: alpha^(1/n).
    assert 3 + math.log(ALPHA) / n - 0.02 < lo < 3 + math.log(ALPHA) / n


@pytest.mark.parametrize("offset", [0.0, 1e5, -1e5])
@pytest.mark.parametrize("beta", [1e-300, 1e-8, 1e-2, 1.0, 1e8, 1e300])
def test_betas_of_any_size(beta, offset):
    rewards = np.array([0.0, 0.25, 0.5, 1.0, 0.5]) + offset
    lo, hi = cell(rewards, beta, reward_range=(offset, offset + 1))
    assert offset / beta <= lo <= hi <= (offset + 1) / beta
    if beta >= 1e8 and offset == 0.0:
        # To first order log Z is the mean reward over beta, and the bounds those of the mean reward.
        assert (lo * beta, hi * beta) == pytest.approx(
            (lo * 1e300, hi * 1e300)
            if beta == 1e300
            else tuple(x * 1e12 for x in cell(rewards, 1e12, reward_range=(0, 1))),
            rel=1e-6,
        )
    if beta <= 1e-8:
        # Z is the chance of the largest reward times its weight: the bounds those of one success in five.
        success = cell([0.0, 0.0, 0.0, 1.0, 0.0], beta, reward_range=(0, 1))
        assert lo == pytest.approx(success[0] + offset / beta, rel=1e-12)
        assert hi == pytest.approx(success[1] + offset / beta, rel=1e-12)


def test_overflowing_scores_are_infinite_not_nan():
    lo, hi = cell([1e10, 2e10], 1e-300, reward_range=(0, 3e10))
    assert (lo, hi) == (np.inf, np.inf)
    lo, hi = cell([-1e10, -2e10], 1e-300, reward_range=(-3e10, -1e9))
    assert (lo, hi) == (-np.inf, -np.inf)


def test_bad_luck_with_importance_weights_still_gives_an_interval():
    # Weights of mean far above 1 refute every Z below r_max: a chance of at most alpha, or wrong log-probabilities.
    lo, hi = cell([0.0] * 50, 1.0, log_weight=[3.0] * 50, reward_range=(0, 1))
    assert 0 <= lo <= 1
    assert hi == lo


def test_a_constant_importance_weight_moves_the_open_lower_bound():
    rewards = np.random.default_rng(3).normal(size=30)
    assert cell(rewards, log_weight=np.full(30, -0.7))[0] == pytest.approx(cell(rewards)[0] - 0.7, abs=1e-8)


def test_the_upper_bound_for_reference_draws_is_that_of_weights_of_one():
    rewards = np.random.default_rng(3).random(30)
    plain = cell(rewards, 0.3, reward_range=(0, 1))
    weighted = cell(rewards, 0.3, log_weight=np.zeros(30), reward_range=(0, 1))
    assert weighted[1] == pytest.approx(plain[1], abs=1e-8)


@pytest.mark.parametrize("order", [1, -1])
def test_long_sorted_groups_neither_overflow_nor_lose_bets(order):
    """Half a million zeros before, or after, as many ones: on the way capitals pass 1e-300 and 1e300."""
    n = 10**6
    rewards = np.repeat([0.0, 1.0][::order], n // 2)
    lo, hi = cell(rewards, 0.01, log_weight=np.zeros(n), reward_range=(0, 1))
    counted = betting_of_counts(
        [0.0, 1.0],
        [n / 2, n / 2],
        [0, 2],
        beta=grid(0.01),
        alpha_lower=ALPHA,
        alpha_upper=ALPHA,
        reward_range=(0, 1),
    )
    assert lo == pytest.approx(counted[0][0, 0], abs=1e-7)
    assert hi == pytest.approx(counted[1][0, 0], abs=1e-7)
    middle = 100 + math.log(0.5)
    assert middle - 0.006 < lo < middle < hi < middle + 0.006


@pytest.mark.parametrize(
    "counts", [(10**6, 300, 1), (10**5, 0, 1), (40, 33, 500), (2.5, 0.5, 1.5), (10**8, 10**8, 1)]
)
@pytest.mark.parametrize("beta", [0.5, 2.0, 50.0])
def test_counts_by_the_definition(counts, beta):
    values, high = (0.0, 5.0, 20.0), 21.0
    found_lo, found_hi = betting_of_counts(
        values,
        counts,
        [0, 3],
        beta=grid(beta),
        alpha_lower=ALPHA,
        alpha_upper=ALPHA,
        reward_range=(-np.inf, high),
    )

    def reached(weights, mean):
        bets = [mpmath.mpf(float(c)) for c in FRACTIONS]
        powers = (
            [(1 + c * (w - mean) / mean) ** n for n, w in zip(counts, weights, strict=True)] for c in bets
        )
        return mpmath.fsum(mpmath.fprod(factors) for factors in powers) / len(bets) * ALPHA

    with mpmath.workdps(50):
        weights = [mpmath.exp(mpmath.mpf(r) / mpmath.mpf(beta)) for r in values]
        ceiling = mpmath.exp(mpmath.mpf(high) / mpmath.mpf(beta))
        lo, hi = mpmath.mpf(float(found_lo[0, 0])), mpmath.mpf(float(found_hi[0, 0]))
        middle = mpmath.log(mpmath.fsum(n * w for n, w in zip(counts, weights, strict=True)) / sum(counts))
        below = [ceiling - w for w in weights]
        assert reached(weights, mpmath.exp(lo)) >= 1
        assert reached(below, ceiling - mpmath.exp(hi)) >= 1
        part = mpmath.mpf(10) ** (-5 if sum(counts) > 1e7 else -7)
        assert reached(weights, mpmath.exp(lo + part * (middle - lo))) < 1
        assert reached(below, ceiling - mpmath.exp(hi - part * (hi - middle))) < 1


def test_fractional_and_huge_counts():
    lo, hi = betting_of_counts(
        [0.0, 0.5, 1.0],
        [3e8, 2.5e8, 4.5e8],
        [0, 3],
        beta=grid(0.5),
        alpha_lower=ALPHA,
        alpha_upper=ALPHA,
        reward_range=(0, 1),
    )
    middle = math.log(0.3 + 0.25 * math.e + 0.45 * math.e**2)
    assert middle - 2e-4 < lo[0, 0] < middle < hi[0, 0] < middle + 2e-4


# Threads


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("sizes", [[1], [3, 3], [1] * 1000, [1, 1, 10**6, 1], [0, 0, 2], [0]])
def test_blocks_cover_every_group_once(sizes, threads):
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    seen, shares, lock = [], [], threading.Lock()

    def work(first, last):
        with lock:
            seen.append((first, last))

    over_blocks(work, start, threads=threads, progress=shares.append)
    seen.sort()
    assert seen[0][0] == 0
    assert seen[-1][1] == len(sizes)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(seen))
    assert shares == sorted(shares)
    assert shares[-1] == (1.0 if sum(sizes) else 0.0)
    if len(sizes) == 1000:
        assert max(last - first for first, last in seen) <= 2 * 1000 / len(seen)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_a_block_is_raised(threads):
    def work(first, last):
        if first <= 50 < last:
            raise ArithmeticError("block of group 50")

    with pytest.raises(ArithmeticError, match="group 50"):
        over_blocks(work, np.arange(101), threads=threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_the_listener_is_raised(threads):
    def progress(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        over_blocks(lambda first, last: None, np.arange(101), threads=threads, progress=progress)


def test_threads_do_not_change_the_answer():
    rng = np.random.default_rng(0)
    groups = [rng.random(size) for size in rng.integers(1, 40, size=200)]
    shares = []
    lo, hi = betting(drawn(*groups), grid(0.1, 1.0), level=0.95, reward_range=(0, 1), progress=shares.append)
    assert shares[-1] == 1.0
    for i in (0, 77, 199):
        alone = betting(drawn(groups[i]), grid(0.1, 1.0), level=0.95, reward_range=(0, 1))
        assert (lo[i].tolist(), hi[i].tolist()) == (alone[0][0].tolist(), alone[1][0].tolist())
