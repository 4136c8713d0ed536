"""What each cell of an estimate says in every regime: point, limits, kind, flags, and the mean over prompts."""

import math

import numpy as np
import pytest
from scipy import stats

import tiltz
from tests.oracles import binary_samples, precisely
from tiltz.errors import InputError, TiltzError
from tiltz.inference import intervals

sampled, complete, partial = tiltz.Outcomes.sampled, tiltz.Outcomes.complete, tiltz.Outcomes.partial


def cell(outcomes, beta=0.5, **options):
    est = tiltz.estimate(outcomes, beta, **options)
    names = ("log_z", "lo", "hi", "soft_value", "ess", "khat", "kind", "flags", "bias")
    return {name: getattr(est, name)[0, 0] for name in names}


# Samples with two possible values


def test_every_binary_sample_together_is_unbiased_for_z():
    p, beta, n = 0.25, 0.5, 8
    draws, prob = binary_samples(n, p)
    est = tiltz.estimate(sampled(draws), beta)
    z = 1 - p + p * math.exp(1 / beta)
    assert prob.sum() == precisely(1.0, rel=1e-14)
    assert prob @ np.exp(est.log_z[:, 0]) == precisely(z, rel=1e-12)


def test_the_mean_soft_value_is_low_and_the_bias_says_so():
    p, beta, n = 0.25, 0.5, 8
    draws, prob = binary_samples(n, p)
    est = tiltz.estimate(sampled(draws), beta)
    truth = beta * math.log(1 - p + p * math.exp(1 / beta))
    mean = prob @ est.soft_value[:, 0]
    assert truth == pytest.approx(0.477229, abs=5e-7)
    assert mean == pytest.approx(0.438237, abs=5e-7)
    known = np.isfinite(est.bias[:, 0])
    assert np.all(est.bias[known, 0] < 0)
    reported = beta * (prob[known] @ est.bias[known, 0]) / prob[known].sum()
    assert reported == pytest.approx(mean - truth, rel=0.25)


def test_eight_failures_bound_the_soft_value_by_clopper_pearson():
    found = cell(sampled([0] * 8, reward_values=(0, 1)))
    p = 1 - 0.025 ** (1 / 8)
    assert p == pytest.approx(0.36942, abs=5e-6)
    assert found["soft_value"] == 0.0
    assert 0.5 * found["hi"] == precisely(0.5 * math.log(1 - p + p * math.e**2), rel=1e-13)
    assert found["lo"] == 0.0
    assert found["kind"] == "certified"
    assert set(found["flags"]) >= {"all_equal", "too_few", "two_valued"}


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99, 0.999999])
@pytest.mark.parametrize("n", [1, 2, 8, 25, 40])
def test_clopper_pearson_is_the_one_of_scipy(n, level):
    k = np.arange(n + 1.0)
    low, high = intervals.clopper_pearson(k, np.array(float(n)), level)
    tail = (1 - level) / 2
    for i in range(n + 1):
        # SciPy finds the roots to 1e-12 of a rate; by definition the tails at the limits are half of 1 - level.
        reference = stats.binomtest(i, n).proportion_ci(level, method="exact")
        assert low[i] == pytest.approx(reference.low, abs=1e-11)
        assert high[i] == pytest.approx(reference.high, abs=1e-11)
        assert low[i] == 0.0 if i == 0 else stats.binom.sf(i - 1, n, low[i]) == precisely(tail, rel=1e-7)
        assert high[i] == 1.0 if i == n else stats.binom.cdf(i, n, high[i]) == precisely(tail, rel=1e-7)


@pytest.mark.parametrize(("k", "n"), [(0, 10**9), (1, 10**9), (10**6, 10**9), (10**9, 10**9), (3, 10**5)])
def test_clopper_pearson_of_many_samples(k, n):
    low, high = intervals.clopper_pearson(np.array(float(k)), np.array(float(n)), 0.95)
    assert low == precisely(stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0, rel=1e-9)
    assert high == precisely(stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0, rel=1e-9)


@pytest.mark.parametrize("beta", [1e-300, 1e-3, 0.5, 7.0, 1e9, 1e300])
@pytest.mark.parametrize("values", [(0.0, 1.0), (-3.0, 5.0), (1e4, 1e4 + 1), (-np.inf, 2.0)])
def test_one_interval_on_the_rate_serves_every_beta(values, beta):
    low, high = values
    found = cell(sampled([low] * 5 + [high] * 3, reward_values=values), beta)
    rates = {"lo": stats.beta.ppf(0.025, 3, 6), "log_z": 3 / 8, "hi": stats.beta.ppf(0.975, 4, 5)}
    for name, rate in rates.items():
        wanted = np.logaddexp(np.log1p(-rate) + (low - high) / beta, np.log(rate)) + high / beta
        scale = max(1.0, abs(high) / beta) if math.isinf(low) else max(abs(low), abs(high), beta) / beta
        if beta < 1e8:
            assert abs(found[name] - wanted) <= 1e-13 * scale
    assert found["lo"] < found["log_z"] < found["hi"] or beta == 1e-300
    assert found["kind"] == "certified"


def test_two_values_declared_are_certified_and_seen_are_calibrated():
    rewards = [0, 1, 1, 0, 1, 0, 0, 1]
    assert cell(sampled(rewards, reward_values=(0, 1)))["kind"] == "certified"
    assert cell(sampled(rewards), reward_values=(0, 1))["kind"] == "certified"
    seen = cell(sampled(rewards))
    assert seen["kind"] == "calibrated"
    assert "two_valued" in seen["flags"]
    declared = cell(sampled(rewards, reward_values=(0, 1)))
    assert (seen["lo"], seen["hi"]) == (declared["lo"], declared["hi"])
    assert "assumed" in tiltz.estimate(sampled(rewards), 1.0).summary()


def test_a_value_seen_once_does_not_show_two_values():
    assert cell(sampled([0] * 30 + [1]))["kind"] in ("approximate", "lower-only")
    assert cell(sampled([0] * 30 + [1] * 2))["kind"] == "calibrated"


def test_two_values_are_seen_over_the_whole_table():
    est = tiltz.estimate(sampled([[0, 0, 0, 0], [1, 1, 0, 0]]), 0.5)
    assert est.kind[:, 0].tolist() == ["calibrated", "calibrated"]
    assert est.flags[0, 0] == ("all_equal", "too_few", "two_valued")
    assert est.hi[0, 0] > 0


@pytest.mark.parametrize("interval", ["delta", "clopper-pearson", "band"])
def test_a_fixed_n_interval_is_not_certified_under_adaptive_stopping(interval):
    found = cell(sampled([0, 1] * 20, reward_values=(0, 1), stopping="adaptive"), interval=interval)
    assert found["kind"] == "approximate"
    assert "adaptive" in found["flags"]


def test_betting_is_certified_under_adaptive_stopping():
    adaptive = sampled([0, 1] * 20, reward_values=(0, 1), stopping="adaptive")
    found, betting = cell(adaptive), cell(adaptive, interval="betting")
    assert found["kind"] == "certified"
    assert (found["lo"], found["hi"]) == (betting["lo"], betting["hi"])
    assert cell(sampled([0, 1] * 20, stopping="adaptive"))["kind"] == "calibrated"
    unknown = cell(sampled(np.arange(200.0) / 100, stopping="adaptive"))
    assert unknown["kind"] == "lower-only"


def test_a_declared_constant_is_known():
    found = cell(sampled([3.0] * 4, reward_values=(3.0,)))
    assert found["lo"] == found["hi"] == found["log_z"] == 6.0


# Other samples


def test_the_delta_interval_by_hand():
    rewards, beta = np.array([0.1, 0.5, 2.0, -1.0, 0.7]), 0.8
    weights = np.exp(rewards / beta)
    error = weights.std(ddof=1) / weights.mean() / math.sqrt(5)
    found = cell(sampled(rewards), beta, interval="delta")
    assert found["log_z"] == precisely(math.log(weights.mean()), rel=1e-13)
    assert found["hi"] - found["log_z"] == precisely(1.959963984540054 * error, rel=1e-12)
    assert found["log_z"] - found["lo"] == precisely(1.959963984540054 * error, rel=1e-12)
    assert found["ess"] == precisely(weights.sum() ** 2 / (weights**2).sum(), rel=1e-13)
    assert found["bias"] == precisely(-0.5 * error**2, rel=1e-12)
    assert found["kind"] == "approximate"


@pytest.mark.parametrize("interval", ["delta", "hall", "bootstrap-t", "pareto-smoothed"])
def test_a_large_sample_method_by_name_is_only_approximate(interval):
    assert (
        cell(sampled(np.random.default_rng(0).normal(size=5000)), 3.0, interval=interval)["kind"]
        == "approximate"
    )


def test_a_harmless_sample_is_calibrated_and_others_less():
    rewards = np.random.default_rng(0).normal(size=400)
    kinds = tiltz.estimate(sampled(rewards), [0.2, 0.7, 3.0]).kind[0].tolist()
    assert kinds == ["lower-only", "approximate", "calibrated"]
    assert cell(sampled(rewards[:24]), 3.0)["kind"] == "lower-only"
    heavy = np.random.default_rng(0).exponential(size=4000)
    found = cell(sampled(heavy), 1.1)
    assert found["kind"] == "lower-only"
    assert "heavy_tail" in found["flags"]
    assert found["khat"] >= 0.7


def test_what_would_help_is_said():
    summary = " ".join(
        tiltz.estimate(sampled(np.random.default_rng(0).normal(size=(5, 40))), 0.3).summary().split()
    )
    assert "5 prompts of 5 without an upper limit" in summary
    assert "about" in summary
    assert "a beta of at least" in summary


@pytest.mark.parametrize("beta", [1e8, 1e15, 1e100, 1e200])
def test_the_delta_interval_keeps_its_width_at_large_beta(beta):
    rewards = np.random.default_rng(0).random(64)
    found = cell(sampled(rewards), beta, interval="delta")
    half = 1.959963984540054 * rewards.std(ddof=1) / 8
    assert beta * (found["hi"] - found["log_z"]) == precisely(half, rel=1e-6)


@pytest.mark.parametrize("low", [-1e9, -1e17, -1e30, -np.inf])
def test_a_very_low_possible_reward_costs_no_digits(low):
    found = cell(sampled([1, 1, low, 1, low, 1, 1, 1], reward_values=(low, 1)), 0.1)
    assert found["lo"] == precisely(10 + math.log(stats.beta.ppf(0.025, 6, 3)), rel=1e-12)
    assert found["hi"] == precisely(10 + math.log(stats.beta.ppf(0.975, 7, 2)), rel=1e-12)


def test_rounding_errors_are_no_spread():
    found = cell(sampled([0.3, 0.30000000000000004, 0.3000000000000001] * 3))
    assert "all_equal" in found["flags"]
    assert found["kind"] == "lower-only"
    assert cell(sampled([0.3, 0.30000000000000004] * 8))["kind"] == "lower-only"


def test_a_declared_range_counts_more_than_two_values_that_were_seen():
    est = tiltz.estimate(sampled([[0, 0, 1, 0, 1, 0, 0, 0], [0] * 8], reward_range=(0, 10)), 1.0)
    assert est.kind[:, 0].tolist() == ["certified", "certified"]
    assert np.all(est.hi > 8)


def test_what_a_call_declares_replaces_what_the_table_declares():
    table = sampled([0, 1, 0, 1, 1, 1, 1, 1], reward_values=(0, 1))
    assert cell(table, 1.0)["hi"] < 1.0
    assert cell(table, 1.0, reward_range=(0, 10))["hi"] > 8.0


@pytest.mark.parametrize("n", [1, 2, 8, 100])
@pytest.mark.parametrize("reward", [0.0, 1.0, -7.5, 1e5])
def test_equal_samples_of_an_unknown_reward_have_no_upper_bound(n, reward):
    found = cell(sampled([reward] * n))
    assert found["log_z"] == precisely(reward / 0.5, rel=1e-15)
    assert found["lo"] == precisely(reward / 0.5 + math.log(0.025) / n, rel=1e-13)
    assert found["hi"] == np.inf
    assert found["kind"] == "lower-only"
    assert "all_equal" in found["flags"]
    assert math.isnan(found["bias"])


@pytest.mark.parametrize("n", [1, 2, 8, 100])
@pytest.mark.parametrize("reward", [0.0, 0.3, 1.0])
def test_equal_samples_within_a_declared_range(n, reward):
    # A run of n equal draws has probability above 0.025 only if the rest of the mass is at most 1 - 0.025 ** (1 / n).
    beta, run = 0.5, 0.025 ** (1 / n)
    found = cell(sampled([reward] * n, reward_range=(0, 1)), beta)
    w, a, b = np.exp(np.array([reward, 0.0, 1.0]) / beta)
    assert found["lo"] <= math.log(run * w + (1 - run) * a) + 1e-12
    assert found["hi"] >= math.log(run * w + (1 - run) * b) - 1e-12
    assert 0.0 <= found["lo"] < found["hi"] <= 1 / beta
    assert found["kind"] == "certified"


def test_declared_ranges_apply_to_each_prompt_of_a_table():
    est = tiltz.estimate(
        sampled([[0.5] * 4, [0.0] * 4, [0.1, 0.2, 0.9, 1.0]], reward_range=(0, 1)), [0.01, 0.5]
    )
    assert est.kind[:, 0].tolist() == ["certified"] * 3
    assert np.all(est.hi <= 1 / est.beta)
    assert np.all(est.lo >= 0)
    for i in range(3):
        alone = tiltz.estimate(sampled(est_rows(i), reward_range=(0, 1)), [0.01, 0.5])
        assert np.array_equal(est.hi[i], alone.hi[0])
        assert np.array_equal(est.lo[i], alone.lo[0])


def est_rows(i):
    return [[0.5] * 4, [0.0] * 4, [0.1, 0.2, 0.9, 1.0]][i]


def test_a_hard_constraint_can_be_one_of_three_declared_values():
    est = tiltz.estimate(sampled([[-np.inf] * 3, [1, 1, 1], [0, 0, 1]], reward_values=(-np.inf, 0, 1)), 0.5)
    assert est.lo[0, 0] == est.log_z[0, 0] == -np.inf
    # Two tails are bounded: P(reward >= 0) and P(reward >= 1), each with half of the error.
    most = 1 - 0.0125 ** (1 / 3)
    assert est.hi[0, 0] == precisely(math.log(most * math.e**2), rel=1e-13)
    assert est.lo[1, 0] == precisely(2 + math.log(0.0125) / 3, rel=1e-13)
    assert not np.any(np.isnan(est.lo) | np.isnan(est.hi))


def test_a_group_of_hard_constraints_has_log_z_minus_infinity():
    found = cell(sampled([-np.inf] * 4))
    assert found["log_z"] == found["lo"] == found["soft_value"] == -np.inf
    assert found["hi"] == np.inf
    assert found["kind"] == "lower-only"
    assert found["ess"] == 0.0
    with pytest.raises(InputError, match="every outcome of prompt 'b'"):
        tiltz.tilt(sampled([[1, 2], [-np.inf] * 2], prompt=["a", "b"]), 1.0)


def test_hard_constraints_among_samples():
    found = cell(sampled([-np.inf, 0.0, 1.0, 0.5]))
    assert found["log_z"] == precisely(math.log((1 + math.e**2 + math.e) / 4), rel=1e-14)
    assert found["ess"] <= 3.0


def test_samples_outside_the_support_of_the_reference_leave_an_open_interval():
    found = cell(sampled([0.0, 1.0, 2.0], log_ref=[-np.inf] * 3, log_proposal=[-1.0] * 3))
    assert found["log_z"] == found["lo"] == -np.inf
    assert found["hi"] == np.inf
    assert found["kind"] == "lower-only"


def test_saturation_and_too_few():
    assert "saturated" in cell(sampled([0.0] * 30 + [1.0]), 0.1)["flags"]
    assert "saturated" not in cell(sampled([0.0] * 30 + [1.0]), 10.0)["flags"]
    assert "too_few" in cell(sampled(np.arange(24.0)))["flags"]
    assert "too_few" not in cell(sampled(np.arange(25.0)))["flags"]


def test_no_method_gives_points_alone():
    found = cell(sampled([0, 1, 0, 1]), interval=None)
    assert found["kind"] == "point"
    assert math.isnan(found["lo"])
    assert math.isnan(found["hi"])
    overall = tiltz.estimate(sampled([[0, 1], [1, 1]]), 1.0, interval=None).overall
    assert overall.kind[0] == "point"
    assert math.isnan(overall.hi[0])


# Importance weights


def test_importance_weights_by_hand():
    log_ref, log_proposal = np.log([0.5, 0.3, 0.2]), np.log([0.2, 0.3, 0.5])
    rewards = np.array([0.0, 1.0, 2.0])
    weights = np.exp(log_ref - log_proposal + rewards / 0.5)
    found = cell(sampled(rewards, log_ref=log_ref, log_proposal=log_proposal), interval="delta")
    assert found["log_z"] == precisely(math.log(weights.mean()), rel=1e-14)
    assert found["ess"] == precisely(weights.sum() ** 2 / (weights**2).sum(), rel=1e-13)
    error = weights.std(ddof=1) / weights.mean() / math.sqrt(3)
    assert found["hi"] - found["log_z"] == precisely(1.959963984540054 * error, rel=1e-12)


def test_two_values_from_a_proposal_are_certified_by_betting_alone():
    outcomes = sampled([0, 1, 0, 1], reward_values=(0, 1), log_ref=[-1.0] * 4, log_proposal=[-2, -1, -2, -1])
    found, betting = cell(outcomes), cell(outcomes, interval="betting")
    assert found["kind"] == "certified"
    assert (found["lo"], found["hi"]) == (betting["lo"], betting["hi"])
    with pytest.raises(InputError, match="importance weights"):
        tiltz.estimate(outcomes, 1.0, interval="clopper-pearson")


def test_what_one_prompt_says_does_not_hang_on_the_weights_of_another():
    same, other = [-1.0] * 4, [-1.0, -2.0, -1.0, -2.0]
    outcomes = sampled([[0, 1, 1, 0], [0, 1, 0, 0]], log_ref=[same, other], log_proposal=[same, same])
    whole, alone = tiltz.estimate(outcomes, 0.5), tiltz.estimate(outcomes.select([0]), 0.5)
    assert whole.kind[0, 0] == alone.kind[0, 0]
    assert (whole.lo[0, 0], whole.hi[0, 0]) == (alone.lo[0, 0], alone.hi[0, 0])


@pytest.mark.parametrize("interval", ["delta", "hall", "bootstrap-t", "pareto-smoothed"])
def test_equal_rewards_of_varying_weight_are_no_run(interval):
    log_ref = np.random.default_rng(0).normal(-1.125, 1.5, size=(1, 100))
    outcomes = sampled(np.zeros((1, 100)), log_ref=log_ref, log_proposal=np.zeros((1, 100)))
    found = cell(outcomes, 1.0, interval=interval)
    assert found["lo"] < found["log_z"] - 0.1
    assert found["hi"] > found["log_z"]


@pytest.mark.parametrize("interval", ["delta", "auto"])
def test_an_adaptive_run_of_equal_rewards_is_bounded_by_betting(interval):
    adaptive = sampled([1.0] * 20, stopping="adaptive")
    found = cell(adaptive, interval=interval)
    assert found["lo"] == cell(adaptive, interval="betting")["lo"]
    assert found["kind"] == "lower-only"


def test_weights_that_are_no_floats_are_refused():
    with pytest.raises(InputError, match="log_ref less log_proposal"):
        sampled([0.0, 1.0], log_ref=[1.7e308, 0.0], log_proposal=[-1.7e308, 0.0])


@pytest.mark.parametrize("rng", [5, np.random.RandomState(0)])
def test_a_generator_is_a_generator(rng):
    with pytest.raises(InputError, match=r"numpy\.random\.Generator"):
        tiltz.estimate(sampled([0, 1]), 1.0, rng=rng)


def test_a_moved_stream_moves_the_bootstrap_alone():
    outcomes = sampled(np.random.default_rng(0).normal(size=200))
    plain, again = tiltz.estimate(outcomes, 3.0), tiltz.estimate(outcomes, 3.0)
    moved = tiltz.estimate(outcomes, 3.0, rng=np.random.default_rng(1))
    assert plain.lo[0, 0] == again.lo[0, 0] != moved.lo[0, 0]
    assert plain.log_z[0, 0] == moved.log_z[0, 0]


def test_progress_is_told_while_intervals_are_made():
    told = []
    rewards = np.random.default_rng(0).normal(size=(40, 60))
    tiltz.estimate(sampled(rewards), np.geomspace(0.1, 10, 9), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert sum(0.1 < share < 1.0 for share in told) >= 3


# Partial tables


@pytest.mark.parametrize("beta", [1e-3, 0.3, 1.0, 50.0, 1e6])
@pytest.mark.parametrize("log_missing", [math.log(0.3), math.log(1e-20), math.log(0.999)])
def test_partial_bounds_are_reached_by_the_extremes(beta, log_missing):
    listed = np.array([math.log1p(-math.exp(log_missing)) + math.log(x) for x in (0.75, 0.25)])
    rewards, span = [0.2, 0.9], (-1.0, 2.0)
    found = cell(partial(listed, rewards, reward_range=span, log_missing=log_missing), beta)
    ends = [
        float(tiltz.estimate(complete(np.append(listed, log_missing), [*rewards, end]), beta)) for end in span
    ]
    assert found["lo"] == precisely(ends[0], rel=1e-14)
    assert found["hi"] == precisely(ends[1], rel=1e-14)
    assert found["lo"] <= found["log_z"] <= found["hi"]
    middle = np.logaddexp(*ends) - math.log(2)
    assert found["log_z"] == pytest.approx(middle, rel=1e-12, abs=1e-13)
    assert found["kind"] == "certified"


def test_partial_bounds_hold_for_every_completion():
    rng = np.random.default_rng(5)
    for _ in range(50):
        mass = rng.dirichlet(np.full(9, 0.5))
        rewards = rng.uniform(-1, 2, size=9)
        beta = 10.0 ** rng.uniform(-2, 2)
        truth = float(tiltz.estimate(complete(np.log(mass), rewards), beta))
        known = cell(partial(np.log(mass[:5]), rewards[:5], reward_range=(-1, 2)), beta)
        assert known["lo"] <= truth <= known["hi"]


def test_a_tiny_missing_mass_still_counts():
    # 1e-20 of mass at reward 1 is worth exp(1000 - 46) at beta 0.001.
    found = cell(partial([0.0], [0.0], reward_range=(0, 1), log_missing=math.log(1e-20)), 1e-3)
    assert found["lo"] == 0.0
    assert found["hi"] == precisely(1000 + math.log(1e-20), rel=1e-14)


def test_nothing_missing_is_exact():
    found = cell(partial(np.log([0.5, 0.5]), [0.0, 1.0], reward_range=(0, 1), log_missing=-np.inf))
    assert found["lo"] == found["log_z"] == found["hi"]


def test_draws_from_the_remainder():
    rest = sampled([0, 1, 0, 0], reward_values=(0, 1))
    table = partial(np.log([0.5, 0.2]), [0.0, 1.0], reward_range=(0, 1), remainder=rest)
    found, of_rest = cell(table), cell(rest)
    for name in ("lo", "log_z", "hi"):
        wanted = 0.5 + 0.2 * math.e**2 + 0.3 * math.exp(of_rest[name])
        assert found[name] == precisely(math.log(wanted), rel=1e-13)
    assert found["kind"] == "certified"


def test_a_range_of_the_call_overrides_that_of_a_partial_table():
    table = partial(np.log([0.3, 0.3]), [0.0, 1.0], reward_range=(0, 1))
    found = cell(table, 1.0, reward_range=(-5, 5))
    assert found["hi"] == precisely(math.log(0.3 + 0.3 * math.e + 0.4 * math.exp(5)), rel=1e-14)


def test_the_range_bounds_what_draws_from_the_remainder_say():
    listed, rewards = [math.log(0.9)], [1.0]
    without = cell(partial(listed, rewards, reward_range=(0, 1)), 0.1)
    weights = {"log_ref": [-1.0] * 4, "log_proposal": [-5.0] * 4}
    with_rest = cell(
        partial(listed, rewards, reward_range=(0, 1), remainder=sampled([0.5] * 4, **weights)), 0.1
    )
    for name in ("lo", "log_z", "hi"):
        assert without["lo"] <= with_rest[name] <= without["hi"]
    assert with_rest["kind"] == "certified"


def test_a_lower_limit_that_is_only_approximate_is_not_certified_by_the_range():
    rest = sampled([0] * 19 + [1])
    table = partial(np.log([0.5, 0.2]), [0.0, 1.0], reward_range=(0, 1), remainder=rest)
    assert cell(table, 0.1, interval="bootstrap-t")["kind"] == "approximate"
    assert cell(table, 0.1)["kind"] == "certified"


def test_limits_with_draws_from_the_remainder_are_not_sure():
    rest = sampled([[0, 1, 0, 0]] * 5)
    table = partial(np.full((5, 1), math.log(0.5)), np.zeros((5, 1)), reward_range=(0, 1), remainder=rest)
    assert tiltz.estimate(table, 0.5).overall_these.kind[0] == "approximate"


def test_two_values_in_the_remainder_do_not_outweigh_the_declared_range():
    table = partial(np.log([0.4, 0.4]), [0.5, 2.0], reward_range=(0, 2), remainder=sampled([0, 1] * 4))
    found = cell(table, 0.2)
    assert found["kind"] == "certified"
    assert found["hi"] > 9.0


@pytest.mark.parametrize("beta", [1e6, 1e12, 1e17, 1e100])
def test_soft_values_with_a_remainder_keep_their_digits(beta):
    table = partial(
        [math.log(0.5)],
        [1.0],
        reward_range=(0, 1),
        remainder=sampled([0, 0.5, 1, 0.25]),
        log_missing=math.log(0.5),
    )
    assert cell(table, beta)["soft_value"] == pytest.approx(0.71875, rel=1e-6)


# Complete tables


def test_a_complete_table_is_exact():
    found = cell(complete(np.log([0.6, 0.4]), [2.0, 1.0]), 1.0)
    assert found["kind"] == "exact"
    assert found["lo"] == found["log_z"] == found["hi"]
    assert found["flags"] == ()
    assert found["bias"] == 0.0


@pytest.mark.parametrize(
    ("mass", "beta", "wanted"), [(-50, 1e12, 1.5999999998), (-50, 1e16, 1.599998), (-50, 1e20, 1.58071)]
)
def test_a_constraint_of_negligible_mass_costs_no_digits(mass, beta, wanted):
    table = complete([math.log(0.6), math.log(0.4), mass], [2.0, 1.0, -math.inf])
    assert cell(table, beta)["soft_value"] == pytest.approx(wanted, rel=2e-6)


# Over prompts


def test_overall_by_hand():
    rng = np.random.default_rng(1)
    est = tiltz.estimate(sampled((rng.random((30, 8)) < 0.4) * 1.0, reward_values=(0, 1)), [0.2, 1.0])
    overall = est.overall
    reach = stats.t.ppf(0.975, 29) / math.sqrt(30)
    upper = est.beta * est.hi
    within = np.sqrt(np.mean((est.soft_value - est.beta * est.lo) ** 2, axis=0)) / 1.959963984540054
    spread = np.maximum(est.soft_value.std(axis=0, ddof=1), within)
    assert overall.soft_value == pytest.approx(est.soft_value.mean(axis=0))
    assert overall.lo == pytest.approx(est.soft_value.mean(axis=0) - reach * spread)
    assert overall.hi == pytest.approx(upper.mean(axis=0) + reach * upper.std(axis=0, ddof=1))
    assert overall.n_prompts == 30
    assert overall.n_unbounded.tolist() == [0, 0]
    assert overall.kind.tolist() == ["approximate", "approximate"]


def test_one_prompt_without_an_upper_bound_opens_the_mean():
    rewards = np.random.default_rng(0).random((3, 200))
    rewards[0] = 0.5
    overall = tiltz.estimate(sampled(rewards), 1.0).overall
    assert overall.hi[0] == np.inf
    assert overall.n_unbounded[0] == 1
    assert overall.kind[0] == "lower-only"
    assert np.isfinite(overall.lo[0])


def test_one_prompt_says_nothing_about_a_population():
    est = tiltz.estimate(complete(np.log([0.6, 0.4]), [2.0, 1.0]), 1.0)
    assert (est.overall.lo[0], est.overall.hi[0]) == (-np.inf, np.inf)
    these = est.overall_these
    assert these.kind[0] == "exact"
    assert these.lo[0] == these.hi[0] == precisely(est.soft_value[0, 0], rel=1e-15)


def test_a_prompt_without_any_weight_makes_the_mean_minus_infinity():
    overall = tiltz.estimate(sampled([[-np.inf, -np.inf], [0, 1], [0, 1]]), 1.0).overall
    assert overall.soft_value[0] == overall.lo[0] == -np.inf
    assert overall.hi[0] == np.inf


def test_the_mean_of_these_prompts_is_the_mean_of_the_limits():
    est = tiltz.estimate(
        partial(np.log([[0.5, 0.1], [0.2, 0.2]]), [[0, 1], [1, 0]], reward_range=(0, 1)), 0.5
    )
    assert est.overall_these.lo[0] == pytest.approx(np.mean(0.5 * est.lo[:, 0]))
    assert est.overall_these.hi[0] == pytest.approx(np.mean(0.5 * est.hi[:, 0]))


@pytest.mark.parametrize("scale", [1e200, 1e300])
def test_huge_rewards_average_without_overflow(scale):
    overall = tiltz.estimate(sampled([[0, scale], [0, 1.0]], reward_range=(0, scale)), scale).overall
    assert overall.soft_value[0] == precisely(0.5 * scale * math.log((1 + math.e) / 2), rel=1e-12)
    assert overall.lo[0] < overall.soft_value[0] < overall.hi[0]


def test_the_mean_over_partial_tables_rests_on_their_bounds():
    table = partial(np.full((50, 1), np.log(0.5)), np.zeros((50, 1)), reward_range=(0, 1))
    overall = tiltz.estimate(table, 0.01).overall
    assert overall.lo[0] == 0.0
    assert overall.hi[0] == precisely(0.01 * math.log(0.5 + 0.5 * math.exp(100)), rel=1e-12)
    assert tiltz.estimate(table, 0.01).overall_these.kind[0] == "certified"


def test_equal_points_of_few_prompts_are_no_certainty():
    est = tiltz.estimate(sampled(np.ones((5, 8)), reward_values=(0, 1)), 1.0)
    assert est.overall.lo[0] < 0.9
    assert est.overall.hi[0] == 1.0


# Groups that were filtered out


def filtered(rng, n_prompts, n=8):
    draws = (rng.random((6 * n_prompts, n)) < rng.beta(0.5, 0.5, size=(6 * n_prompts, 1))) * 1.0
    return draws[(draws.min(axis=1) < draws.max(axis=1))][:n_prompts]


def test_filtered_groups_are_noticed():
    est = tiltz.estimate(sampled(filtered(np.random.default_rng(2), 100)), 0.5)
    assert all("no_equal_groups" in flags for flags in est.flags[:, 0])
    assert "filtered out" in est.summary()


def test_a_table_with_equal_groups_is_not_suspected():
    draws = np.vstack([filtered(np.random.default_rng(2), 100), np.zeros((1, 8))])
    assert not any("no_equal_groups" in flags for flags in tiltz.estimate(sampled(draws), 0.5).flags[:, 0])


# Arguments


@pytest.mark.parametrize("beta", [0, -1.0, np.nan, np.inf, "a", [], [[1.0]], [1.0, 0.0], None])
def test_a_beta_that_is_not_positive_is_refused(beta):
    with pytest.raises(InputError, match="beta must be"):
        tiltz.estimate(sampled([0, 1]), beta)


@pytest.mark.parametrize("level", [0, 1, -0.5, 95, np.nan, "0.95", None, [0.9]])
def test_a_level_outside_0_and_1_is_refused(level):
    with pytest.raises(InputError, match="level must lie between 0 and 1"):
        tiltz.estimate(sampled([0, 1]), 1.0, level=level)


def test_an_unknown_interval_is_refused():
    with pytest.raises(InputError, match="interval must be one of"):
        tiltz.estimate(sampled([0, 1]), 1.0, interval="bootstrap")


def test_clopper_pearson_is_refused_where_more_values_are_possible():
    with pytest.raises(InputError, match="two values"):
        tiltz.estimate(sampled([0, 1, 2]), 1.0, interval="clopper-pearson")


@pytest.mark.parametrize(
    "declared",
    [{"reward_range": (0, 0.5)}, {"reward_values": (0, 2)}, {"reward_range": (1, 0)}, {"reward_values": ()}],
)
def test_declarations_that_the_rewards_contradict_are_refused(declared):
    with pytest.raises(TiltzError, match="reward_"):
        tiltz.estimate(sampled([0, 1]), 1.0, **declared)


@pytest.mark.parametrize("declared", [{"reward_values": 1}, {"reward_range": 1}, {"reward_range": "ab"}])
def test_declarations_of_a_wrong_type_are_refused(declared):
    with pytest.raises(InputError, match="reward_"):
        tiltz.estimate(sampled([0, 1]), 1.0, **declared)


@pytest.mark.parametrize("betas", [[1, 2], (1, 2), np.array([1, 2]), np.array([1.0, 2.0], dtype=np.float32)])
def test_betas_may_come_as_any_sequence(betas):
    est = tiltz.estimate(sampled([0, 1]), betas)
    assert est.beta.tolist() == [1.0, 2.0]
    assert est.log_z.shape == (1, 2)


# Selecting, exporting, showing


def table_of_all_sorts(rng):
    labels = rng.permutation(np.repeat([f"p{i}" for i in range(12)], 6))
    rewards = rng.choice([0.0, 0.5, 1.0, -np.inf], size=72)
    rewards[labels == "p3"] = 0.5
    rewards[labels == "p5"] = -np.inf
    return labels, rewards


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("declared", [{}, {"reward_values": (-np.inf, 0, 0.5, 1)}])
def test_a_prompt_alone_gives_the_same_bits(weights, declared):
    rng = np.random.default_rng(8)
    labels, rewards = table_of_all_sorts(rng)
    logs = {"log_ref": rng.normal(size=72), "log_proposal": rng.normal(size=72)} if weights else {}
    outcomes = sampled(rewards, prompt=labels, **logs, **declared)
    whole = tiltz.estimate(outcomes, [0.1, 1.0, 1e6])
    for i, label in enumerate(outcomes.prompt):
        alone = tiltz.estimate(outcomes.select([label]), [0.1, 1.0, 1e6])
        for name in ("log_z", "lo", "hi", "soft_value", "ess", "bias"):
            assert getattr(whole, name)[i].tobytes() == getattr(alone, name)[0].tobytes()
        assert whole.kind[i].tolist() == alone.kind[0].tolist()
        assert whole.flags[i].tolist() == alone.flags[0].tolist()


def test_facts_of_the_whole_table_hold_for_a_selection():
    outcomes = sampled([[0, 0, 0], [1, 1, 0]], prompt=["a", "b"])
    assert tiltz.estimate(outcomes.select(["a"]), 1.0).kind[0, 0] == "calibrated"


def test_results_cannot_be_written_to():
    est = tiltz.estimate(sampled([0, 1]), 1.0)
    for name in ("log_z", "lo", "hi", "soft_value", "ess", "bias", "beta"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(est, name)[...] = 0
    with pytest.raises(AttributeError):
        est.log_z = 0


def test_the_long_table():
    est = tiltz.estimate(sampled([0, 1, 1, 1], prompt=["b", "a", "b", "a"], step=[1, 1, 1, 1]), [0.5, 2.0])
    columns = est.to_dict()
    assert list(columns) == [
        "prompt", "step", "beta", "log_z", "lo", "hi", "level", "soft_value", "n", "ess", "khat", "kind",
        "flags", "bias",
    ]  # fmt: skip
    assert columns["prompt"] == ["b", "b", "a", "a"]
    assert columns["beta"] == [0.5, 2.0, 0.5, 2.0]
    assert columns["log_z"] == est.log_z.reshape(-1).tolist()
    assert columns["flags"][0] == list(est.flags[0, 0])


def test_data_frames():
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    est = tiltz.estimate(sampled([[0, 1], [1, 1]], prompt=["a", "b"]), [0.5, 2.0])
    frame, arrow = est.to_pandas(), est.to_arrow()
    assert isinstance(frame, pandas.DataFrame)
    assert isinstance(arrow, pyarrow.Table)
    assert frame["log_z"].tolist() == arrow["log_z"].to_pylist() == est.log_z.reshape(-1).tolist()
    assert arrow["flags"].to_pylist() == est.to_dict()["flags"]


def test_float_needs_one_cell():
    assert float(tiltz.estimate(complete([0.0], [1.0]), 0.5)) == 2.0
    with pytest.raises(InputError, match="2 prompts x 1 beta"):
        float(tiltz.estimate(sampled([[0, 1], [1, 0]]), 1.0))


HOSTILE = [
    "two\nlines\tand \x1b[31mred\x1b[0m", "[bold red]markup[/] [link=x]y[/link]",
    "\U0001f469\u200d\U0001f467\U0001f3f3\ufe0f\u200d\U0001f308\U0001f1e9\U0001f1ea" * 10, "漢字" * 60, "x" * 5000,
    "\u202eright to left\u202c", "", " ", "\x00\x07", "e\u0301" * 50, "[/]", "\\[x]",
]  # fmt: skip


def cells_wide(line):
    from rich.cells import cell_len

    return cell_len(line)


@pytest.mark.parametrize("label", HOSTILE)
def test_a_hostile_label_cannot_break_the_summary(label):
    est = tiltz.estimate(sampled([0, 1, 1, 0], prompt=[label] * 3 + ["other"]), [0.5, 1e-12])
    for text in (est.summary(), repr(est)):
        # Joiners hold pictures together, and no terminal acts on them.
        assert all(line.replace("\u200d", "").isprintable() for line in text.split("\n"))
        assert "\x1b" not in text
    assert all(cells_wide(line) <= 80 for line in est.summary().split("\n"))
    assert len(est.summary().split("\n")) < 25


def test_markup_is_shown_as_it_is():
    assert "[bold red]x[/]" in tiltz.estimate(sampled([0, 1], prompt=["[bold red]x[/]"] * 2), 1.0).summary()


@pytest.mark.parametrize("beta", [1e-300, 1e-9, 1.0, 1e300])
def test_the_summary_fits_at_any_size_of_number(beta):
    est = tiltz.estimate(sampled([[-1e5, 2e5, 0.123456789], [1, 2, 3]]), [beta, 12345.678], level=0.999999)
    assert all(cells_wide(line) <= 80 for line in est.summary().split("\n"))


def test_the_summary_of_many_prompts_is_short_unless_asked():
    est = tiltz.estimate(sampled(np.zeros((100, 2))), 1.0)
    assert len(est.summary().split("\n")) < 60
    assert len(est.summary(max_rows=None).split("\n")) > 100
    assert len(repr(est).split("\n")) == 12
