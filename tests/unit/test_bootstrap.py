"""Bootstrap-t limits: against a replay of the same draws, every resample enumerated, and what must not matter."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import tiltz
from tests.oracles import precisely
from tiltz.inference.bootstrap import bootstrap_t
from tiltz.kernels import resampling

sampled = tiltz.Outcomes.sampled
LEVEL = 0.95
BETAS = np.array([[0.05, 0.3, 1.0, 2.0, 7.0]])
WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def limits(outcomes, beta=1.0, *, seed=0, level=LEVEL, n_resamples=999):
    betas = np.atleast_2d(np.asarray(beta, dtype=float))
    seeds = np.broadcast_to(np.asarray(seed, dtype=np.uint64), len(outcomes.prompt))
    return bootstrap_t(outcomes.columns(), betas, level=level, seed=seeds, n_resamples=n_resamples)


def mixed(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def draws(seed, n, n_resamples):
    """The rows of every resample, by the definition of the stream."""
    counter, rows = mixed(seed), np.empty((n_resamples, n), dtype=int)
    for r in range(n_resamples):
        for i in range(0, n, 2):
            counter = (counter + GOLDEN) & WORD
            word = mixed(counter)
            rows[r, i] = (word >> 32) * n >> 32
            if i + 1 < n:
                rows[r, i + 1] = (word & 0xFFFFFFFF) * n >> 32
    return rows


def studentized(weights, resampled):
    """t* of every resample (last axis), with its limits where the spread vanishes; 0 / 0 is NaN."""
    n = len(weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(resampled.mean(axis=-1)) - np.log(weights.mean())
        error = resampled.std(axis=-1, ddof=1) / resampled.mean(axis=-1) / math.sqrt(n)
    equal = resampled.min(axis=-1) == resampled.max(axis=-1)
    endless = np.where(np.abs(log_ratio) < 1e-12, np.nan, np.copysign(np.inf, log_ratio))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(equal, endless, log_ratio / error)


def by_the_book(weights, seed, *, n_resamples=999, k=25):
    weights = np.asarray(weights, dtype=float)
    t = studentized(weights, weights[draws(seed, len(weights), n_resamples)])
    low = np.sort(np.where(np.isnan(t), -np.inf, t))[k - 1]
    high = np.sort(np.where(np.isnan(t), np.inf, t))[-k]
    error = weights.std(ddof=1) / weights.mean() / math.sqrt(len(weights))
    return math.log(weights.mean()) - high * error, math.log(weights.mean()) - low * error


@pytest.mark.parametrize("n", [2, 3, 7, 16, 25, 64])
@pytest.mark.parametrize("law", ["normal", "exponential", "three", "hard"])
def test_limits_are_those_of_a_replay(n, law):
    rng = np.random.default_rng([n, len(law)])
    rewards = {
        "normal": rng.normal(size=n),
        "exponential": rng.exponential(size=n),
        "three": rng.integers(0, 3, size=n).astype(float),
        "hard": np.where(np.arange(n) % 3 == 0, -np.inf, rng.normal(size=n)),
    }[law]
    lo, hi = limits(sampled(rewards), BETAS, seed=n)
    for j, beta in enumerate(BETAS[0]):
        wanted = by_the_book(np.exp(rewards / beta), n)
        assert lo[0, j] == pytest.approx(wanted[0], rel=1e-9, abs=1e-12)
        assert hi[0, j] == pytest.approx(wanted[1], rel=1e-9, abs=1e-12)


def test_importance_weights_are_those_of_a_replay():
    rng = np.random.default_rng(5)
    rewards, log_ref, log_proposal = rng.normal(size=(3, 31))
    log_ref[4] = -np.inf
    lo, hi = limits(sampled(rewards, log_ref=log_ref, log_proposal=log_proposal), BETAS, seed=3)
    for j, beta in enumerate(BETAS[0]):
        wanted = by_the_book(np.exp(log_ref - log_proposal + rewards / beta), 3)
        assert (lo[0, j], hi[0, j]) == pytest.approx(wanted, rel=1e-10)


def test_weights_nearly_equal_keep_their_digits():
    rewards = np.random.default_rng(6).normal(size=40)
    unit_lo, unit_hi = limits(sampled(rewards), 1e-3 * 2.0**60)
    for power in (100, 300, 900):
        lo, hi = limits(sampled(rewards), 1e-3 * 2.0**power)
        # As beta grows the interval becomes that of the mean reward, over beta.
        assert lo[0, 0] * 2.0 ** (power - 60) == precisely(unit_lo[0, 0], rel=1e-12)
        assert hi[0, 0] * 2.0 ** (power - 60) == precisely(unit_hi[0, 0], rel=1e-12)


def exact_tails(rewards, beta, lo, hi):
    """The exact probabilities of t* at or above the upper quantile used, above it, and likewise below."""
    weights = np.exp(np.asarray(rewards) / beta)
    n = len(weights)
    t = studentized(weights, weights[np.array(list(itertools.product(range(n), repeat=n)))])
    error = weights.std(ddof=1) / weights.mean() / math.sqrt(n)
    high, low = (math.log(weights.mean()) - np.array([lo, hi])) / error
    slack = 1e-9 * np.abs(t[np.isfinite(t)]).max()
    return (
        (np.mean(t > high - slack), np.mean(t > high + slack)),
        (np.mean(t < low + slack), np.mean(t < low - slack)),
    )


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_limits_converge_to_those_of_every_resample_enumerated(level):
    rewards, n_resamples, tail = [0.0, 0.7, 1.0, 1.8, -0.4], 99_999, (1 - level) / 2
    lo, hi = limits(sampled(rewards), level=level, n_resamples=n_resamples)
    sd = 4.89 * math.sqrt(tail * (1 - tail) / n_resamples)
    for at_least, beyond in exact_tails(rewards, 1.0, lo[0, 0], hi[0, 0]):
        assert at_least > tail - sd
        assert beyond < tail + sd


def test_the_percentile_limits_fail_the_enumeration():
    rewards, n_resamples = np.array([0.0, 0.7, 1.0, 1.8, -0.4]), 99_999
    log_means = np.log(np.exp(rewards[draws(0, 5, 20_000)]).mean(axis=1))
    lo, hi = np.quantile(log_means, [0.1, 0.9])
    sd = 4.89 * math.sqrt(0.1 * 0.9 / n_resamples)
    tails = exact_tails(rewards, 1.0, lo, hi)
    assert not all(at_least > 0.1 - sd and beyond < 0.1 + sd for at_least, beyond in tails)


# The draws


def test_the_stream_is_splitmix64():
    # The first words from seed 1234567, as published with several implementations.
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
    state = 1234567
    for word in published:
        state = (state + GOLDEN) & WORD
        assert mixed(state) == word
        assert int(resampling._mixed(np.uint64(state))) == word


@pytest.mark.parametrize("n", [3, 10, 64, 100])
def test_every_row_is_drawn_equally_often(n):
    counts, counter, total, pairs = np.empty((2, n)), np.uint64(9), np.zeros(n), np.zeros(n)
    rounds = 40_000 // n
    for _ in range(rounds):
        counter = np.uint64(resampling._draw_twice(counter, counts, n))
        assert counts.sum() == 2 * n
        total += counts.sum(axis=0)
        pairs += (counts * (counts - 1)).sum(axis=0)
    expected = 2.0 * rounds
    chi_square = np.sum((total - expected) ** 2) / expected
    assert 5e-7 < stats.chi2.sf(chi_square, n - 1) < 1 - 5e-7
    # Independent draws repeat a row n (n - 1) / n^2 times; a balanced bootstrap would not.
    mean = pairs.sum() / (2 * rounds * n)
    binomial = stats.binom(n, 1 / n)
    fourth = binomial.expect(lambda c: (c * (c - 1)) ** 2)
    sd = math.sqrt(max(fourth - (1 - 1 / n) ** 2, 0) / (2 * rounds * n))
    assert abs(mean - (1 - 1 / n)) < 4.89 * sd


def seeds_matter(method):
    rewards = np.random.default_rng(0).normal(size=(40, 30))
    one, two = method(rewards, 1), method(rewards, 2)
    return bool(np.all(one[1] != two[1]) and np.all(one[0] != two[0]))


def test_different_seeds_give_different_limits():
    assert seeds_matter(lambda rewards, seed: limits(sampled(rewards), seed=seed))
    assert not seeds_matter(lambda rewards, seed: limits(sampled(rewards), seed=0))


def test_groups_with_one_seed_draw_alike_and_with_two_do_not():
    rewards = np.tile(np.random.default_rng(1).normal(size=20), (3, 1))
    lo, _ = limits(sampled(rewards), seed=[7, 7, 8])
    assert lo[0, 0] == lo[1, 0]
    assert lo[0, 0] != lo[2, 0]


def test_neighbouring_seeds_are_unrelated_streams():
    # Seeds a step of the counter apart would otherwise share all but one word.
    first, second = (draws(seed, 64, 200).ravel() for seed in (5, (5 + GOLDEN) & WORD))
    for shift in range(-4, 5):
        same = np.mean(np.roll(first, shift) == second)
        assert abs(same - 1 / 64) < 4.89 * math.sqrt(1 / 64 * 63 / 64 / first.size)


# What must not matter


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(2)
    sizes = [1, 2, 5, 40, 64, 3, 33, 64, 1, 17]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rewards = rng.normal(size=labels.size)
    rewards[rng.random(labels.size) < 0.1] = -np.inf
    log_ref = rng.normal(size=labels.size)
    return labels, rewards, log_ref


@pytest.mark.parametrize("weighted", [False, True])
def test_a_group_alone_is_the_group_in_a_table_bit_for_bit(table, weighted):
    labels, rewards, log_ref = table
    seed = np.arange(10, dtype=np.uint64) * np.uint64(77)

    def rows(keep):
        more = {"log_ref": log_ref[keep], "log_proposal": np.zeros(keep.sum())} if weighted else {}
        return sampled(rewards[keep], prompt=labels[keep], **more)

    lo, hi = limits(rows(labels >= 0), BETAS, seed=seed)
    for g in range(10):
        alone = limits(rows(labels == g), BETAS, seed=seed[g])
        assert np.array_equal(lo[g], alone[0][0])
        assert np.array_equal(hi[g], alone[1][0])


def test_a_beta_alone_is_the_beta_among_others_bit_for_bit(table):
    labels, rewards, _ = table
    outcomes = sampled(rewards, prompt=labels)
    lo, hi = limits(outcomes, BETAS)
    for j in range(BETAS.size):
        alone = limits(outcomes, BETAS[:, j])
        assert np.array_equal(lo[:, j], alone[0][:, 0])
        assert np.array_equal(hi[:, j], alone[1][:, 0])


def test_betas_may_differ_between_groups():
    rewards = np.random.default_rng(3).normal(size=(4, 20))
    betas = np.array([[0.5, 1.0], [1.0, 2.0], [3.0, 4.0], [0.1, 9.0]])
    lo, hi = limits(sampled(rewards), betas)
    for g in range(4):
        alone = limits(sampled(rewards[g]), betas[g])
        assert np.array_equal(lo[g], alone[0][0])
        assert np.array_equal(hi[g], alone[1][0])


@pytest.mark.parametrize("elements", [1, 100, 10**9])
def test_pieces_do_not_matter(monkeypatch, table, elements):
    labels, rewards, _ = table
    whole = limits(sampled(rewards, prompt=labels), BETAS)
    monkeypatch.setattr("tiltz.inference.relative_weights._ELEMENTS", elements)
    cut = limits(sampled(rewards, prompt=labels), BETAS)
    assert np.array_equal(whole[0], cut[0])
    assert np.array_equal(whole[1], cut[1])


REWARDS = st.lists(st.floats(-20, 20).map(lambda x: round(x, 3)), min_size=2, max_size=20)


@settings(max_examples=40)
@given(REWARDS, st.floats(-3, 3).map(lambda x: 10.0**x), st.floats(-1e5, 1e5))
def test_a_shift_of_rewards_moves_the_limits(rewards, beta, shift):
    shift = round(shift, 3)
    one, two = limits(sampled(rewards), beta), limits(sampled(np.array(rewards) + shift), beta)
    # Shifted rewards are rounded to 1e-11, which a small spread magnifies.
    scale = np.abs(rewards).max() / beta + 1.0
    for a, b in zip(one, two, strict=True):
        assert b[0, 0] == pytest.approx(a[0, 0] + shift / beta, abs=1e-6 * scale, rel=1e-6)


@settings(max_examples=40)
@given(REWARDS, st.floats(-300, 300).map(lambda x: 10.0**x))
def test_the_point_lies_between_the_limits_at_any_beta(rewards, beta):
    lo, hi = limits(sampled(rewards), beta)
    log_z = float(np.logaddexp.reduce(np.array(rewards) / beta)) - math.log(len(rewards))
    scale = 1e-13 * (max(map(abs, rewards)) / beta + 1.0)
    assert lo[0, 0] <= log_z + scale
    assert hi[0, 0] >= log_z - scale


@settings(max_examples=30)
@given(REWARDS, st.integers(-60, 60))
def test_rewards_and_beta_scale_together(rewards, power):
    one = limits(sampled(rewards), 1.5)
    two = limits(sampled(np.array(rewards) * 2.0**power), 1.5 * 2.0**power)
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])


# Where nothing can be said


@pytest.mark.parametrize("beta", [1e-300, 1.0, 1e300])
@pytest.mark.parametrize(
    "rewards",
    [[1.0], [0.0] * 8, [1e5] * 3, [-np.inf], [-np.inf] * 5],
    ids=["one", "zero", "far", "no", "none"],
)
def test_equal_weights_have_no_interval(rewards, beta):
    lo, hi = limits(sampled(rewards), beta)
    assert (lo[0, 0], hi[0, 0]) == (-np.inf, np.inf)


def test_importance_weights_equal_up_to_rounding_have_no_interval():
    rewards = np.array([0.1, 0.7, 2.3, 1.1])
    lo, hi = limits(sampled(rewards, log_ref=-rewards / 0.3, log_proposal=np.zeros(4)), 0.3)
    assert (lo[0, 0], hi[0, 0]) == (-np.inf, np.inf)


def test_a_single_success_bounds_nothing_above():
    lo, hi = limits(sampled([0.0] * 63 + [1.0]), 0.05)
    assert hi[0, 0] == np.inf
    assert np.isfinite(lo[0, 0])
    # 37% of the resamples miss it. Without them the upper limit would lie less than 1 nat above the point; but a rate
    # of success five times as high (1.6 nats) is within the Clopper-Pearson limits of 1 in 64.
    weights = np.exp(np.array([0.0] * 63 + [20.0]))
    t = studentized(weights, weights[draws(0, 64, 999)])
    kept = np.sort(t[np.isfinite(t)])
    assert np.mean(np.isneginf(t)) == pytest.approx((63 / 64) ** 64, abs=4.89 * math.sqrt(0.37 * 0.63 / 999))
    assert -kept[24] * weights.std(ddof=1) / weights.mean() / 8 < 1.0


def test_one_failure_bounds_nothing_below():
    # A third of the resamples consist of successes alone: more than alpha / 2.
    lo, hi = limits(sampled([1.0] * 63 + [-np.inf]), 1.0)
    assert lo[0, 0] == -np.inf
    assert np.isfinite(hi[0, 0])


def test_small_weights_that_still_vary_give_finite_limits():
    lo, hi = limits(sampled(np.random.default_rng(4).normal(size=64)), 1.0)
    assert np.isfinite(lo[0, 0] + hi[0, 0])


def test_a_resample_equal_to_the_mean_counts_against_both_limits():
    # Of 27 resamples one is (1, 1, 1): se* = 0 and a numerator of 0.
    rewards = np.log([0.5, 1.0, 1.5])
    n_resamples = 9_999
    lo, hi = limits(sampled(rewards), n_resamples=n_resamples, level=1 - 2 / 27)
    assert lo[0, 0] == -np.inf
    assert hi[0, 0] == np.inf
    lo, hi = limits(sampled(rewards), n_resamples=n_resamples, level=1 - 2 * 3 / 27)
    assert np.isfinite(lo[0, 0])
    assert np.isfinite(hi[0, 0])


def test_too_few_resamples_for_a_level_give_infinite_limits():
    rewards = np.random.default_rng(5).normal(size=50)
    lo, hi = limits(sampled(rewards), level=0.9999)
    assert (lo[0, 0], hi[0, 0]) == (-np.inf, np.inf)
    lo, hi = limits(sampled(rewards), level=0.998)
    assert np.isfinite(lo[0, 0] + hi[0, 0])


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_ranks_are_whole_numbers_for_usual_levels(level):
    rewards = np.random.default_rng(6).normal(size=12)
    k = round(1000 * (1 - level) / 2)
    lo, hi = limits(sampled(rewards), level=level, seed=11)
    assert (lo[0, 0], hi[0, 0]) == pytest.approx(by_the_book(np.exp(rewards), 11, k=k), rel=1e-11)


@pytest.mark.parametrize("n_resamples", [1, 2, 99, 100])
def test_any_number_of_resamples(n_resamples):
    rewards = np.random.default_rng(7).normal(size=9)
    lo, hi = limits(sampled(rewards), level=0.02, seed=1, n_resamples=n_resamples)
    k = math.floor((n_resamples + 1) * 0.49 + 1e-9)
    wanted = by_the_book(np.exp(rewards), 1, n_resamples=n_resamples, k=k) if k else (-np.inf, np.inf)
    assert (lo[0, 0], hi[0, 0]) == pytest.approx(wanted, rel=1e-11)


@pytest.mark.parametrize("offset", [0.0, 1e5, -1e5])
def test_extreme_betas_neither_warn_nor_give_nan(offset):
    betas = np.array([[1e-300, 1e-200, 1e-30, 1e-3, 1.0, 1e3, 1e30, 1e200, 1e300]])
    rng = np.random.default_rng(8)
    normal = offset + rng.normal(size=(3, 20))
    for outcomes in (
        sampled(normal),
        sampled(np.where(normal < offset - 0.5, -np.inf, normal)),
        sampled(normal, log_ref=rng.normal(size=(3, 20)), log_proposal=rng.normal(size=(3, 20))),
    ):
        lo, hi = limits(outcomes, betas)
        assert not np.any(np.isnan(lo) | np.isnan(hi))
        assert np.all(lo <= hi)
        assert np.all(np.isfinite(hi[:, 4:]))
        assert np.all(hi[:, :3] == np.inf)


def test_a_progress_is_told_up_to_one():
    told = []
    columns = sampled(np.random.default_rng(9).normal(size=(40, 3))).columns()
    bootstrap_t(
        columns,
        np.ones((1, 1)),
        level=0.9,
        seed=np.zeros(40, np.uint64),
        n_resamples=19,
        progress=told.append,
    )
    assert told[-1] == 1.0
    assert told == sorted(told)


def test_inputs_are_left_alone():
    outcomes = sampled(np.random.default_rng(10).normal(size=(3, 8)))
    columns, seed = outcomes.columns(), np.arange(3, dtype=np.uint64)
    before = [array.copy() for array in (columns.reward, columns.log_mass, columns.start, seed)]
    bootstrap_t(columns, BETAS, level=0.9, seed=seed)
    for array, copy in zip((columns.reward, columns.log_mass, columns.start, seed), before, strict=True):
        assert np.array_equal(array, copy)


# The logarithm of the compiled loops


def test_the_fast_log_is_right_to_two_units():
    from tiltz.kernels.resampling import log_near

    rng = np.random.default_rng(11)
    spread = np.exp(rng.uniform(-700, 700, size=2000))
    close = rng.uniform(-0.29, 0.41, size=2000) * 10.0 ** rng.uniform(-16, 0, size=2000)
    for y in spread:
        assert log_near(y, y - 1.0) == pytest.approx(math.log(y), rel=5e-16, abs=5e-16)
    for u in close:
        assert log_near(1.0 + u, u) == precisely(math.log1p(u), rel=5e-16)
