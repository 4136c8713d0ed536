"""Pooling over prompts: posteriors against closed forms and 30 digits, fits against brute force, refusals."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats

from tests.oracles import all_draws, precisely
from tiltz.errors import InputError
from tiltz.inference.shrinkage import RewardPrior, beta_prior, fit_rates, fit_rewards, npmle
from tiltz.inference.shrinkage.beta_prior import BetaParameters
from tiltz.inference.shrinkage.cumulant_function import CumulantFunction
from tiltz.inference.shrinkage.histogram import Histogram
from tiltz.inference.shrinkage.importance import posterior_points
from tiltz.inference.shrinkage.normal_mixture import mixture_quantiles
from tiltz.inference.shrinkage.prompt_moments import prompt_moments
from tiltz.inference.shrinkage.rates import BetaRates

BETAS = [1.0, 0.1, 0.01, 0.001]
TABLE = (np.full(9, 8), np.arange(9), np.array([120, 40, 30, 20, 20, 15, 15, 10, 30]))


def known(a, b, mass_zero=0.0, mass_one=0.0):
    """A law of success rates whose parameters are certain."""
    parameters = BetaParameters(
        a=np.array([a]), b=np.array([b]), mass_zero=np.array([mass_zero]), mass_one=np.array([mass_one])
    )
    return BetaRates(parameters=parameters, weight=np.ones(1), atoms=True, n_prompts=10.0, typical_n=8.0)


def exact_mean(a, b, beta):
    """E[V] under Beta(a, b), by quadrature in the log of the odds at 30 digits."""
    with mpmath.workdps(30):
        gain, scale = 1 / mpmath.mpf(beta), mpmath.beta(a, b)

        def integrand(t):
            value = mpmath.log1p(mpmath.exp(t + gain)) - mpmath.log1p(mpmath.exp(t))
            return value / gain * mpmath.exp(a * t - (a + b) * mpmath.log1p(mpmath.exp(t))) / scale

        lowest, highest = -20 - 80 / mpmath.mpf(a), 20 + 80 / mpmath.mpf(b)
        peak, width = mpmath.log(mpmath.mpf(a) / b), mpmath.sqrt(1 / mpmath.mpf(a) + 1 / mpmath.mpf(b))
        cuts = {peak + i * width for i in (-20, -8, -4, -2, 0, 2, 4, 8, 20)} | {
            i - gain for i in (-30, -8, 0, 8, 30)
        }
        inside = sorted(cut for cut in cuts if lowest < cut < highest)
        return mpmath.quad(integrand, [lowest, *inside, highest])


def log_rate_of(value, beta):
    """The log of the rate at which the soft value of a 0/1 reward is this."""
    return mpmath.log(mpmath.expm1(mpmath.mpf(value) / beta)) - mpmath.log(mpmath.expm1(1 / mpmath.mpf(beta)))


# Known law of rates


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(("a", "b"), [(0.5, 1.5), (0.2, 0.2), (30.0, 90.0), (3.0, 0.1)])
@pytest.mark.parametrize("k", [0, 3, 8])
def test_the_posterior_mean_under_a_known_beta(a, b, k, beta):
    found = known(a, b).posterior([8], [k], [beta]).soft_value[0, 0]
    assert found == pytest.approx(float(exact_mean(a + k, b + 8 - k, beta)), abs=1e-9)


def test_the_posterior_mean_where_most_rates_are_tiny():
    for beta in BETAS:
        found = known(0.02, 3.0).posterior([8], [0], [beta]).soft_value[0, 0]
        assert found == pytest.approx(float(exact_mean(0.02, 11.0, beta)), abs=2e-6)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(("a", "b"), [(0.5, 1.5), (0.2, 0.2), (30.0, 90.0)])
@pytest.mark.parametrize("k", [0, 3, 8])
def test_the_limits_under_a_known_beta_leave_what_they_should(a, b, k, beta):
    found = known(a, b).posterior([8], [k], [beta], level=0.9)
    for limit, below in ((found.lo[0, 0], 0.05), (found.hi[0, 0], 0.95)):
        with mpmath.workdps(30):
            # At 1 - 1e-16 a limit of the soft value no longer tells the rate.
            if 1 - limit > 1e-12:
                rate = mpmath.exp(log_rate_of(limit, beta))
                left = mpmath.betainc(a + k, b + 8 - k, 0, rate, regularized=True)
                assert float(left) == pytest.approx(below, abs=2e-4)


def test_limits_reach_down_to_rates_that_underflow():
    # The lower quantile of Beta(.02, 3) lies near exp(-180), and beta .001 tells rates down to exp(-1000) apart.
    found = known(0.02, 3.0).posterior([1], [0], [1e-3])
    log_rate = (
        math.log(0.025) + math.log(0.02) + math.lgamma(0.02) + math.lgamma(4) - math.lgamma(4.02)
    ) / 0.02
    assert log_rate < -150
    assert found.lo[0, 0] == pytest.approx(1 + 1e-3 * log_rate, abs=1e-4)


@pytest.mark.parametrize("k", [0, 2, 4])
def test_atoms_get_their_share_by_the_rule_of_bayes(k):
    law = known(0.5, 1.5, mass_zero=0.2, mass_one=0.1)
    found, plain = (prior.posterior([4], [k], BETAS) for prior in (law, known(0.5, 1.5)))
    chance = 0.7 * stats.betabinom.pmf(k, 4, 0.5, 1.5)
    zero, one = 0.2 * (k == 0), 0.1 * (k == 4)
    whole = chance + zero + one
    assert found.at_zero[0] == pytest.approx(zero / whole, abs=1e-12)
    assert found.at_one[0] == pytest.approx(one / whole, abs=1e-12)
    wanted = (chance * plain.soft_value[0] + one) / whole
    assert found.soft_value[0] == pytest.approx(wanted, abs=1e-11)
    if k == 0:
        assert found.lo[0].tolist() == [0.0] * 4
    if k == 4:
        assert found.hi[0].tolist() == [1.0] * 4


@given(
    k=st.integers(0, 8),
    low=st.floats(-1e5, 1e5),
    span=st.floats(1e-3, 1e3),
    beta=st.floats(1e-3, 1e3),
    level=st.floats(0.5, 0.999),
)
def test_limits_hold_the_mean_and_move_with_the_rewards(k, low, span, beta, level):
    law = known(0.5, 1.5, mass_zero=0.1)
    unit = law.posterior([8], [k], [beta / span], level=level)
    found = law.posterior([8], [k], [beta], low=low, high=low + span, level=level)
    for name in ("lo", "soft_value", "hi"):
        wanted = low + span * getattr(unit, name)[0, 0]
        assert getattr(found, name)[0, 0] == pytest.approx(wanted, abs=1e-9 * (abs(low) + span))
    assert low <= found.lo[0, 0] <= found.soft_value[0, 0] <= found.hi[0, 0] <= low + span


def test_soft_values_rise_with_successes_and_fall_with_beta():
    found = fit_rates(*TABLE).posterior(np.full(9, 8), np.arange(9), [0.01, 0.1, 1.0, 10.0])
    for values in (found.soft_value, found.lo, found.hi):
        assert np.all(np.diff(values, axis=0) >= -1e-12)
        assert np.all(np.diff(values, axis=1) <= 1e-12)


def test_every_beta_is_served_without_overflow():
    found = known(0.5, 1.5, mass_zero=0.1).posterior(
        [8, 8], [0, 3], [1e-300, 1e-8, 1e15, 1e300], low=-1e5, high=1e5
    )
    for values in (found.soft_value, found.lo, found.hi):
        assert np.all(np.abs(values) <= 1e5)
    assert found.soft_value[1, :2] == pytest.approx([1e5, 1e5], rel=1e-4)
    mean_reward = -1e5 + 2e5 * 3.5 / 10
    assert found.soft_value[1, 2:] == pytest.approx([mean_reward] * 2, rel=1e-9)


# Fitting the law of rates


@pytest.mark.parametrize("prior", ["atoms", "beta", "npmle"])
def test_a_table_in_any_order_or_in_parts_gives_the_same_bits(prior):
    n, k, weight = TABLE
    whole = fit_rates(n, k, weight, prior=prior)
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(9), weight))
    parts = fit_rates(n[rows], k[rows], np.ones(len(rows)), prior=prior)
    assert whole.sentence() == parts.sentence()
    one, other = (fitted.posterior(n, k, BETAS) for fitted in (whole, parts))
    assert one.soft_value.tobytes() == other.soft_value.tobytes()


@pytest.mark.parametrize("prior", ["atoms", "beta", "npmle"])
def test_a_prompt_alone_gives_the_same_bits(prior):
    fitted = fit_rates(*TABLE, prior=prior)
    n, k = np.array([8, 4, 8, 16, 8]), np.array([0, 4, 3, 5, 0])
    together = fitted.posterior(n, k, BETAS)
    for i in range(5):
        alone = fitted.posterior(n[i : i + 1], k[i : i + 1], BETAS)
        for name in ("soft_value", "lo", "hi", "at_zero", "at_one"):
            assert getattr(alone, name)[0].tobytes() == getattr(together, name)[i].tobytes()


def brute_force(zero, one, nodes):
    """Log-evidence, and posterior means of parameters, on a dense product grid over the stated hyperprior."""
    uniform = (np.arange(nodes) + 0.5) / nodes
    axes = [uniform, uniform] + [uniform] * (zero + one)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    correlation = 1 / 1001 + 1000 / 1001 * grid[:, 1]
    precision = 1 / correlation - 1
    a, b = grid[:, 0] * precision, (1 - grid[:, 0]) * precision
    # Dirichlet(1, 4) is Beta(1, 4) for one mass; of two, one is Beta(1, 5) and the other Beta(1, 4) of the rest.
    masses = [np.zeros(len(a)), np.zeros(len(a))]
    left = np.ones(len(a))
    present = [i for i, there in enumerate((zero, one)) if there]
    for column, i in enumerate(present):
        masses[i] = left * (1 - (1 - grid[:, 2 + column]) ** (1 / (4 + len(present) - 1 - column)))
        left = left - masses[i]
    n, k, weight = TABLE
    a, b = a[:, None], b[:, None]
    chance = (
        left[:, None] * special.comb(n, k) * np.exp(special.betaln(a + k, b + n - k) - special.betaln(a, b))
    )
    chance = chance + masses[0][:, None] * (k == 0) + masses[1][:, None] * (k == 8)
    log_likelihood = np.log(chance) @ weight
    posterior = np.exp(log_likelihood - log_likelihood.max())
    log_evidence = log_likelihood.max() + math.log(posterior.mean())
    posterior /= posterior.sum()
    return log_evidence, [float(posterior @ x) for x in (grid[:, 0], np.log(precision), *masses)]


@pytest.mark.parametrize(
    ("zero", "one", "nodes"),
    [
        (False, False, 200),
        (True, False, 45),
        (False, True, 45),
        pytest.param(True, True, 30, marks=pytest.mark.slow),
    ],
)
def test_the_posterior_of_the_parameters_agrees_with_brute_force(zero, one, nodes):
    log_evidence, means = brute_force(zero, one, nodes)
    models = beta_prior.models_with_atoms(Histogram.of(*TABLE))
    model, fit = next(fitted for fitted in models if (fitted.model.zero, fitted.model.one) == (zero, one))
    parameters, _ = model.parameters(fit.points)
    assert fit.log_evidence == pytest.approx(log_evidence, abs=0.1)
    precision = parameters.a + parameters.b
    found = [parameters.a / precision, np.log(precision), parameters.mass_zero, parameters.mass_one]
    # 512 points of weights that vary are worth about 250: a quarter of a posterior sd is four of their errors.
    for value, wanted, sd in zip(found, means, (0.02, 0.1, 0.05, 0.02), strict=True):
        assert float(fit.weight @ value) == pytest.approx(wanted, abs=sd / 4)


def test_points_stand_for_a_normal_posterior():
    centre, root = np.array([3.0, -200.0]), np.array([[0.1, 0.0], [0.3, 0.02]])

    def log_densities(points):
        score = np.linalg.solve(root, (points - centre).T)
        prior = -0.5 * np.sum((points / 1e3) ** 2, axis=1) - math.log(2 * math.pi * 1e6)
        return -0.5 * np.sum(score**2, axis=0), prior

    found = posterior_points(log_densities, np.zeros(2), 1e6 * np.eye(2), n_points=512)
    assert found.weight @ found.points == pytest.approx(centre, rel=1e-3)
    assert np.cov(found.points.T, aweights=found.weight) == pytest.approx(root @ root.T, rel=0.1)
    wanted = math.log(2 * math.pi * 0.1 * 0.02) - 0.5 * 200**2 / 1e6 - math.log(2 * math.pi * 1e6)
    assert found.log_evidence == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize(
    "k", [np.zeros(200), np.full(200, 8), np.repeat([0, 8], 100), np.full(200, 4), np.arange(200) % 9]
)
def test_extreme_tables_can_be_fitted(k):
    for prior in ("atoms", "beta", "npmle"):
        found = fit_rates(np.full(200, 8), k, np.ones(200), prior=prior).posterior(
            np.full(9, 8), np.arange(9), BETAS
        )
        assert np.all((found.lo >= 0) & (found.lo <= found.soft_value) & (found.hi >= found.soft_value))
        assert np.all(found.hi <= 1)


def test_a_large_table_pins_the_law_down():
    rng = np.random.default_rng(4)
    rate = np.where(rng.random(200_000) < 0.2, 0.0, rng.beta(2.0, 3.0, size=200_000))
    k = rng.binomial(8, rate)
    fitted = fit_rates(np.full(len(k), 8), k, np.ones(len(k)))
    precision = fitted.parameters.a + fitted.parameters.b
    # Tolerances: five posterior standard deviations.
    for value, wanted in (
        (fitted.parameters.a / precision, 0.4), (precision, 5.0),
        (fitted.parameters.mass_zero, 0.2), (fitted.parameters.mass_one, 0.0),
    ):  # fmt: skip
        mean = fitted.weight @ value
        sd = math.sqrt(fitted.weight @ (value - mean) ** 2)
        assert abs(mean - wanted) <= 5 * sd + 1e-4
        assert sd < 0.05


def test_mixed_sample_sizes_share_one_law():
    rng = np.random.default_rng(5)
    n = rng.integers(1, 17, size=20_000)
    k = rng.binomial(n, rng.beta(0.5, 1.5, size=20_000))
    fitted = fit_rates(n, k, np.ones(20_000), prior="beta")
    a, b = fitted.typical_shape()
    assert a == pytest.approx(0.5, abs=0.04)
    assert b == pytest.approx(1.5, abs=0.12)


# Nonparametric maximum likelihood


def log_likelihood_of_beta(a, b):
    n, k, weight = TABLE
    return float(stats.betabinom.logpmf(k, n, a, b) @ weight)


@given(mean=st.floats(0.01, 0.99), precision=st.floats(0.05, 300.0))
def test_no_beta_law_is_more_likely_than_the_nonparametric_one(mean, precision):
    table = Histogram.of(*TABLE)
    best = float(np.log(npmle.likelihoods(table.n, table.k) @ npmle.fit_masses(table)) @ table.weight)
    assert best >= log_likelihood_of_beta(mean * precision, (1 - mean) * precision) - 1e-6


def test_no_law_on_the_grid_is_more_likely():
    table = Histogram.of(*TABLE)
    mass = npmle.fit_masses(table)
    assert mass.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.all(mass >= 0)
    likelihood = npmle.likelihoods(table.n, table.k)
    gradient = (table.weight / table.weight.sum()) @ (likelihood / (likelihood @ mass)[:, None])
    assert gradient.max() <= 1 + 2e-9


def test_prompts_that_are_all_alike_give_one_rate():
    fitted = fit_rates([400], [100], [50], prior="npmle")
    found = fitted.posterior([400], [100], [1.0])
    assert found.soft_value[0, 0] == pytest.approx(math.log1p(0.25 * math.expm1(1)), abs=1e-3)


# Words and refusals of rates


def test_the_sentence_names_the_atom_and_what_rests_on_it():
    fitted = fit_rates(*TABLE)
    share = fitted.posterior([8], [0], [0.1]).at_zero[0]
    sentence = fitted.sentence()
    assert sentence.startswith("success rates over 300 prompts: Beta(")
    assert "at 0 (posterior sd" in sentence
    assert (
        f"8 samples cannot tell a rate of 0 from a small one: without a success among them, {share:.2f}"
        in sentence
    )
    assert "declared: no prompt is impossible" in fit_rates(*TABLE, prior="beta").sentence()
    assert "make the table most likely" in fit_rates(*TABLE, prior="npmle").sentence()


def test_no_word_about_an_atom_that_no_answer_rests_on():
    assert "cannot tell" not in fit_rates([8] * 3, [3, 4, 5], [100, 200, 100]).sentence()


@pytest.mark.parametrize(
    ("n", "k", "weight"),
    [
        ([8], [9], [20]), ([8], [-1], [20]), ([0], [0], [20]), ([8.5], [1], [20]), ([8], [np.nan], [20]),
        ([8, 8], [1], [20]), ([], [], []), ([[8]], [[1]], [[20]]), ([20_000], [1], [20]),
        ([8], [1], [-1]), ([8], [1], [20, 20]), ([8], [1], [np.inf]), ([8], [1], [9]), ([1, 2], [1, 0], [100, 9]),
    ],
)  # fmt: skip
def test_counts_that_cannot_be_are_refused(n, k, weight):
    with pytest.raises(InputError, match=r"n and k|every n|weight must|at least 10 prompts"):
        fit_rates(n, k, weight)


def test_an_unknown_prior_and_infinite_rewards_are_refused():
    with pytest.raises(InputError, match="prior must be one of 'atoms', 'beta', 'npmle'"):
        fit_rates(*TABLE, prior="normal")
    for low, high in ((-np.inf, 1.0), (1.0, 0.0), (0.0, np.nan)):
        with pytest.raises(InputError, match="two finite rewards"):
            known(1.0, 1.0).posterior([8], [1], [1.0], low=low, high=high)


# Moments of continuous rewards


def starts(sizes):
    return np.concatenate([[0], np.cumsum(sizes)])


def moments_by_hand(x):
    n, mean = len(x), sum(x) / len(x)
    power = {p: sum((v - mean) ** p for v in x) / n for p in (2, 3, 4)}
    quads = list(itertools.permutations(range(n), 4))
    triples = list(itertools.permutations(range(n), 3))
    return {
        "n": n,
        "mean": mean,
        "sd": math.sqrt(power[2] * n / (n - 1)),
        "third": n**2 * power[3] / ((n - 1) * (n - 2)),
        "fourth": n**2 * ((n + 1) * power[4] - 3 * (n - 1) * power[2] ** 2) / ((n - 1) * (n - 2) * (n - 3)),
        "difference": sum(abs(a - b) for a, b in itertools.permutations(x, 2)) / (n * (n - 1)),
        "difference_squared": sum(abs(x[a] - x[b]) * abs(x[c] - x[d]) for a, b, c, d in quads) / len(quads),
        "mean_by_difference": sum(x[a] * abs(x[b] - x[c]) for a, b, c in triples) / len(triples),
    }


def test_moments_agree_with_sums_over_all_tuples():
    rng = np.random.default_rng(3)
    groups = [list(rng.exponential(size=n) * 3 - 7) for n in (4, 5, 6, 4)] + [[1.0, 1.0, 2.0, 2.0, 2.0]]
    found = prompt_moments(np.concatenate(groups), starts([len(g) for g in groups]))
    for i, group in enumerate(groups):
        for name, wanted in moments_by_hand(group).items():
            assert getattr(found, name)[i] == pytest.approx(wanted, rel=1e-11, abs=1e-11)


def test_moments_are_unbiased_over_every_sample():
    values, prob = np.array([0.0, 1.0, 3.0]), np.array([0.5, 0.3, 0.2])
    draws, chance = all_draws(prob, 4)
    found = prompt_moments(values[draws].reshape(-1), starts(np.full(len(draws), 4)))
    mean = prob @ values
    second, third, fourth = (prob @ (values - mean) ** p for p in (2, 3, 4))
    difference = prob @ np.abs(values[:, None] - values) @ prob
    for name, wanted in {
        "mean": mean, "third": third, "fourth": fourth - 3 * second**2, "difference": difference,
        "difference_squared": difference**2, "mean_by_difference": mean * difference,
    }.items():  # fmt: skip
        assert chance @ getattr(found, name) == pytest.approx(wanted, rel=1e-12)
    assert chance @ found.sd**2 == pytest.approx(second, rel=1e-12)


# Pieces of the posterior of continuous rewards


def test_the_cumulant_function_has_the_four_cumulants():
    shape = CumulantFunction(skewness=0.7, kurtosis=1.1, skewness_error=0.0, kurtosis_error=0.0)
    with mpmath.workdps(30):
        g, k = mpmath.mpf("0.7"), mpmath.mpf("1.1")
        series = mpmath.taylor(lambda s: s**2 / 2 / (1 - g * s / 3 + (g**2 / 9 - k / 12) * s**2), 0, 4)
        assert [float(c * mpmath.factorial(i)) for i, c in enumerate(series)] == pytest.approx(
            [0, 0, 1, 0.7, 1.1]
        )
    tilt = np.array([0.0, 0.1, 0.5])
    wanted = tilt**2 / 2 / (1 - 0.7 * tilt / 3 + (0.49 / 9 - 1.1 / 12) * tilt**2)
    assert shape.at(tilt)[0] == pytest.approx(wanted, rel=1e-14)


LAWS = {
    "normal": (0.0, 0.0, lambda s: s**2 / 2),
    "exponential": (2.0, 6.0, lambda s: -np.log1p(-s) - s),
    "minus exponential": (-2.0, 6.0, lambda s: s - np.log1p(s)),
    "uniform": (0.0, -1.2, lambda s: np.log(np.sinh(math.sqrt(3) * s) / (math.sqrt(3) * s))),
    "Laplace": (0.0, 3.0, lambda s: -np.log1p(-(s**2) / 2)),
    "gamma 4": (1.0, 1.5, lambda s: -4 * np.log1p(-s / 2) - 2 * s),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_cumulant_function_is_right_within_its_doubt_as_far_as_it_reaches(law):
    skewness, kurtosis, exact = LAWS[law]
    shape = CumulantFunction(skewness=skewness, kurtosis=kurtosis, skewness_error=0.0, kurtosis_error=0.0)
    tilt = np.linspace(0.01, shape.reach, 200)
    value, error, doubt = shape.at(tilt)
    assert np.all(error == 0)
    assert np.all(np.abs(value - exact(tilt)) <= doubt + 1e-14)
    assert np.all(doubt <= 0.1 + 1e-12)
    assert 0.7 <= shape.reach <= 1.5


def test_errors_of_skewness_and_kurtosis_carry_over():
    tilt, step = np.array([0.3, 0.9]), 1e-6
    shape = CumulantFunction(skewness=0.5, kurtosis=0.4, skewness_error=step, kurtosis_error=0.0)
    moved = CumulantFunction(skewness=0.5 + step, kurtosis=0.4, skewness_error=0.0, kurtosis_error=step)
    assert moved.at(tilt)[0] - shape.at(tilt)[0] == pytest.approx(shape.at(tilt)[1], rel=1e-4)
    other = CumulantFunction(skewness=0.5, kurtosis=0.4 + step, skewness_error=0.0, kurtosis_error=0.0)
    assert other.at(tilt)[0] - shape.at(tilt)[0] == pytest.approx(moved.at(tilt)[1], rel=1e-4)


@pytest.mark.parametrize("probability", [0.001, 0.015, 0.5, 0.985])
def test_quantiles_of_normal_mixtures(probability):
    rng = np.random.default_rng(9)
    weight = rng.dirichlet(np.full(6, 0.3), size=40)
    mean, sd = rng.normal(size=(40, 6)) * 3, rng.exponential(size=(40, 6)) ** 3 + 1e-3
    (found,) = mixture_quantiles((probability,), weight, mean, sd)
    for i in range(40):

        def excess(x, i=i):
            return weight[i] @ stats.norm.cdf((x - mean[i]) / sd[i]) - probability

        exact = optimize.brentq(excess, -1e3, 1e3)
        assert excess(found[i]) == pytest.approx(0.0, abs=1e-3 * min(probability, 1 - probability))
        assert found[i] == pytest.approx(exact, abs=0.1)


# Fitting and pooling continuous rewards


def normal_table(n_prompts=400, n=6, seed=1, spread=0.3):
    rng = np.random.default_rng(seed)
    mean, sd = rng.normal(size=n_prompts), np.exp(spread * rng.normal(size=n_prompts))
    return (mean[:, None] + sd[:, None] * rng.normal(size=(n_prompts, n))).reshape(-1), starts(
        [n] * n_prompts
    )


def test_the_fit_recovers_how_prompts_differ():
    rng = np.random.default_rng(2)
    sizes = rng.integers(4, 12, size=40_000)
    score = rng.normal(size=(2, 40_000))
    mean, sd = 5 + 2 * score[0], np.exp(0.2 * score[0] + 0.3 * score[1])
    reward = np.repeat(mean, sizes) + np.repeat(sd, sizes) * (rng.gamma(4.0, size=sizes.sum()) - 4) / 2
    fitted = fit_rewards(reward, starts(sizes))
    # Tolerances: about five standard errors at 40,000 prompts.
    assert fitted.centre == pytest.approx(5.0, abs=0.06)
    assert fitted.unit**2 * fitted.mean_variance == pytest.approx(4.0, rel=0.05)
    assert math.log(fitted.unit) + fitted.log_spread == pytest.approx(0.0, abs=0.03)
    assert fitted.log_spread_variance == pytest.approx(0.13, abs=0.015)
    assert fitted.unit * fitted.covariance == pytest.approx(0.4, abs=0.05)
    assert fitted.shape.skewness == pytest.approx(1.0, abs=0.1)
    assert fitted.shape.kurtosis == pytest.approx(1.5, abs=0.5)
    assert "skewness" in fitted.sentence()


def test_the_posterior_where_the_spread_is_known_is_the_normal_one():
    prior = RewardPrior(
        centre=2.0, unit=3.0, mean_variance=0.5, log_spread=0.0, log_spread_variance=1e-8, covariance=0.0,
        spread_kurtosis=0.0, n_prompts=1000,
        shape=CumulantFunction(skewness=0.0, kurtosis=0.0, skewness_error=0.0, kurtosis_error=0.0),
    )  # fmt: skip
    reward = np.array([1.0, 4.0, 9.0, 6.0, 0.0])
    found = prior.posterior(reward, [0, 5], [6.0], level=0.95)
    kept = 0.5 / (0.5 + 1 / 5)
    mean = 2 + kept * (reward.mean() - 2)
    assert found.answered[0, 0]
    assert found.soft_value[0, 0] == pytest.approx(mean + 9 / (2 * 6), rel=1e-5)
    # Three fifths of 1 - level are left outside.
    reach = stats.norm.ppf(0.985) * 3 * math.sqrt(kept / 5)
    assert found.hi[0, 0] - found.soft_value[0, 0] == pytest.approx(reach, rel=1e-3)
    assert found.soft_value[0, 0] - found.lo[0, 0] == pytest.approx(reach, rel=1e-3)


def test_pooling_moves_with_the_rewards():
    reward, start = normal_table()
    beta = np.array([1.5, 3.0])
    plain = fit_rewards(reward, start).posterior(reward, start, beta)
    moved = fit_rewards(1e4 + 7 * reward, start).posterior(1e4 + 7 * reward, start, 7 * beta)
    assert moved.answered.tolist() == plain.answered.tolist()
    assert plain.answered.mean() > 0.9
    for name in ("soft_value", "lo", "hi"):
        wanted = 1e4 + 7 * getattr(plain, name)
        assert getattr(moved, name) == pytest.approx(wanted, rel=1e-7, nan_ok=True)


def test_the_order_of_rows_within_a_prompt_does_not_matter():
    reward, start = normal_table()
    mixed = np.random.default_rng(0).permuted(reward.reshape(400, 6), axis=1).reshape(-1)
    one, other = (fit_rewards(rows, start).posterior(rows, start, [2.0]) for rows in (reward, mixed))
    assert one.soft_value == pytest.approx(other.soft_value, rel=1e-9, abs=1e-9, nan_ok=True)


def test_a_prompt_of_continuous_rewards_alone_gives_the_same_bits():
    reward, start = normal_table()
    fitted = fit_rewards(reward, start)
    together = fitted.posterior(reward, start, [1.0, 2.0, 5.0])
    for i in (0, 17, 399):
        alone = fitted.posterior(reward[start[i] : start[i + 1]], [0, 6], [1.0, 2.0, 5.0])
        for name in ("soft_value", "lo", "hi", "answered"):
            assert getattr(alone, name)[0].tobytes() == getattr(together, name)[i].tobytes()


def test_cells_beyond_reach_are_not_answered():
    reward, start = normal_table()
    fitted = fit_rewards(reward, start)
    small, large = 0.99 * fitted.smallest_beta, 1.01 * fitted.smallest_beta
    found = fitted.posterior(reward, start, [small, large])
    assert not np.any(found.answered[:, 0])
    assert np.mean(found.answered[:, 1]) > 0.7
    refused = ~found.answered
    assert np.all(np.isnan(found.soft_value[refused]))
    assert np.all(np.isposinf(found.hi[refused]))
    assert np.all(np.isfinite(found.lo))


def test_prompts_that_show_too_little_are_not_answered():
    fitted = fit_rewards(*normal_table())
    found = fitted.posterior([0.3, 0.1, 0.2] + [0.5] * 6, [0, 3, 9], [5.0])
    assert not np.any(found.answered)
    assert found.lo[0, 0] == -np.inf
    assert np.all(found.hi == np.inf)


def test_extreme_betas_neither_overflow_nor_warn():
    reward, start = normal_table()
    found = fit_rewards(reward, start).posterior(reward, start, [1e-300, 1e300])
    assert not np.any(found.answered[:, 0])
    assert np.all(found.answered[:, 1])
    assert found.soft_value[:, 1].mean() == pytest.approx(reward.mean(), abs=0.01)


@pytest.mark.parametrize(
    ("reward", "start", "message"),
    [
        (np.zeros(12), [0, 4, 8, 12], "at least 200 prompts"),
        (np.arange(600.0), starts([3] * 200), "at least 200 prompts"),
        (np.repeat(np.arange(250.0), 4), starts([4] * 250), "all are equal"),
        (np.append(np.arange(999.0), np.nan), starts([4] * 250), "finite"),
        (np.append(np.arange(999.0), -np.inf), starts([4] * 250), "finite"),
        (np.arange(8.0), [0, 4, 4, 8], "prompt 1 has none"),
        (np.arange(8.0), [0, 4], "start must say"),
        (np.zeros((2, 2)), [0, 4], "start must say"),
    ],
)
def test_tables_that_cannot_be_pooled_are_refused(reward, start, message):
    with pytest.raises(InputError, match=message):
        fit_rewards(reward, start)


def test_arrays_of_the_caller_stay_as_they_are():
    reward, start = normal_table()
    reward.setflags(write=False)
    start.setflags(write=False)
    fit_rewards(reward, start).posterior(reward, start, [2.0])
    counts = [np.array(column) for column in TABLE]
    for column in counts:
        column.setflags(write=False)
    fit_rates(*counts).posterior(counts[0], counts[1], [0.5])


def test_a_known_law_is_precise_at_large_beta():
    # V tends to the mean reward, 0.35 for Beta(3.5, 6.5).
    assert known(0.5, 1.5).posterior([8], [3], [1e9]).soft_value[0, 0] == precisely(0.35, rel=1e-9)
