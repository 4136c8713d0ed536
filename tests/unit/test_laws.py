"""Laws of the reward against their definitions, by sums and mpmath integrals, and against each other."""

import json
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import DATA, close, exact, precisely
from tiltz import laws
from tiltz.errors import InputError
from tiltz.laws import (
    Affine,
    Beta,
    Categorical,
    Constrained,
    Exponential,
    Gamma,
    Laplace,
    Law,
    LawStack,
    Mixture,
    Normal,
    NormalStack,
    StudentT,
    TwoPoint,
    TwoPointStack,
    check_law,
    rare_mode,
)
from tiltz.laws import series as differences

CURVES = ("log_z", "soft_value", "mean_reward", "kl", "kl_reverse")

LAWS: list[Law] = [
    TwoPoint(0.1),
    TwoPoint(1e-6, -1.0, 0.0),
    TwoPoint(0.999, 2.0, 5.0),
    Categorical((0.1, 0.2, 0.3, 0.4), (-1.0, 0.5, 2.0, -3.0)),
    Categorical((0.25, 0.0, 0.75), (-1e5, 7.0, -1e5 - 0.5)),
    Normal(1.0, 2.0),
    Normal(-0.3, 0.01),
    Exponential(3.0),
    Exponential(0.5),
    Gamma(2.5, 3.0),
    Gamma(0.2, 1.0),
    Laplace(0.5, 0.25),
    Beta(2.0, 5.0),
    Beta(0.5, 0.3, low=-2.0, high=0.0),
    Beta(40.0, 3.0),
    Beta(1.0, 1.0, low=5.0, high=9.0),
    rare_mode(),
    Mixture((0.5, 0.3, 0.2, 0.0), (Beta(2.0, 5.0), TwoPoint(0.01), Exponential(4.0), StudentT(3.0))),
    Mixture((0.6, 0.4), (Mixture((0.5, 0.5), (Normal(0, 1), Normal(2, 0.5))), Gamma(2.0, 5.0))),
    Affine(Beta(2.0, 5.0), shift=3.0, scale=2.0),
    Affine(Laplace(0.0, 0.1), shift=-1.0, scale=0.5),
    Constrained(Normal(0.0, 1.0), prob=0.25),
    Affine(Constrained(Beta(0.5, 2.0), prob=0.1), shift=1.0, scale=3.0),
]
BOUNDED = [law for law in LAWS if np.all(np.isfinite(law.reward_range))]


def name(law):
    return repr(law).replace(".0", "")


# The definition, by sums and integrals


def integral(law, t, power) -> Any:
    """E_ref[reward^power exp(t reward)], by the definition."""
    mp = mpmath.mp

    def term(mass, reward):
        return mass * mp.mpf(reward) ** power * mp.exp(t * reward)

    match law:
        case TwoPoint():
            return term(1 - mp.mpf(law.p), law.low) + term(mp.mpf(law.p), law.high)
        case Categorical():
            return mp.fsum(map(term, law.prob, law.reward)) / mp.fsum(law.prob)
        case Normal():
            mean, sd = mp.mpf(law.mean), mp.mpf(law.sd)
            cuts = [mean + t * sd**2 + k * sd for k in (-13, 0, 13)]
            return mp.quad(lambda r: term(mp.npdf(r, mean, sd), r), cuts)
        case Laplace():
            mean, scale = mp.mpf(law.mean), mp.mpf(law.scale)
            pdf = lambda r: mp.exp(-abs(r - mean) / scale) / (2 * scale)  # noqa: E731
            return mp.quad(lambda r: term(pdf(r), r), [-mp.inf, mean, mp.inf])
        case Exponential():
            return integral(Gamma(1.0, law.rate), t, power)
        case Gamma():
            # With r = s^(2 / shape) the density is not singular at 0.
            rate, root = mp.mpf(law.rate), 2 / mp.mpf(law.shape)
            norm = rate**law.shape / mp.gamma(law.shape) * root
            pdf = lambda s: norm * s * mp.exp(-rate * s**root)  # noqa: E731
            peak = (mp.mpf(law.shape) / (rate - t)) ** (1 / root)
            return mp.quad(lambda s: term(pdf(s), s**root), [0, peak, 4 * peak, mp.inf])
        case Beta():
            low, width = mp.mpf(law.low), mp.mpf(law.high) - law.low
            lower = _half_beta(law.a, law.b, lambda share: term(1, low + width * share))
            return lower + _half_beta(law.b, law.a, lambda rest: term(1, low + width * (1 - rest)))
        case Mixture():
            parts = [part for part in zip(law.weights, law.laws, strict=True) if part[0] > 0]
            total = mp.fsum(law.weights)
            return mp.fsum(weight / total * integral(part, t, power) for weight, part in parts)
        case Affine():
            shift, scale = mp.mpf(law.shift), mp.mpf(law.scale)
            terms = [
                mp.binomial(power, k) * shift ** (power - k) * scale**k * integral(law.law, scale * t, k)
                for k in range(power + 1)
            ]
            return mp.exp(t * shift) * mp.fsum(terms)
        case Constrained():
            return mp.mpf(law.prob) * integral(law.law, t, power)
    raise TypeError(law)


def _half_beta(a, b, value):
    """The integral of a function of y over Beta(a, b) for y < 1/2, with y = s^(2 / a) against the singularity."""
    mp = mpmath.mp
    root = 2 / mp.mpf(a)
    pdf = lambda s: root * s * (1 - s**root) ** (mp.mpf(b) - 1) / mp.beta(a, b)  # noqa: E731
    end = mp.mpf(0.5) ** (1 / root)
    return mp.quad(lambda s: pdf(s) * value(s**root), [0, end / 16, end / 4, end])


def unconstrained(law):
    return not (isinstance(law, Constrained) or (isinstance(law, Affine) and not unconstrained(law.law)))


@cache
def truth(law, beta, digits):
    with mpmath.workdps(digits):
        t = 1 / mpmath.mpf(beta)
        z = integral(law, t, 0)
        mean_reward, log_z = integral(law, t, 1) / z, mpmath.log(z)
        mean = integral(law, mpmath.mpf(0), 1) if unconstrained(law) else -mpmath.inf
        return curves_of(t, log_z, mean_reward, mean)


def curves_of(t, log_z, mean_reward, mean):
    return {
        "log_z": log_z,
        "soft_value": log_z / t,
        "mean_reward": mean_reward,
        "kl": t * mean_reward - log_z,
        "kl_reverse": log_z - t * mean,
    }


def assert_right(law, beta, wanted):
    for curve in CURVES:
        found = getattr(law, curve)(beta)
        if curve in ("kl", "kl_reverse"):
            assert found == precisely(wanted[curve], rel=2e-12), (curve, beta)
        else:
            assert close(found, wanted[curve], 1e-12), (curve, beta)


@pytest.mark.parametrize("law", LAWS, ids=name)
def test_curves_are_the_integrals(law):
    beta = max(0.05, 1.1 * law.beta_min)
    assert_right(law, beta, truth(law, beta, 20))


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=name)
def test_curves_are_the_integrals_at_larger_betas(law):
    beta = 1.0 + 3 * law.beta_min
    assert_right(law, beta, truth(law, beta, 24))
    assert_right(law, 1e8, truth(law, 1e8, 40))


# The closed forms, at every beta


def closed_form(law, t) -> Any:
    """log Z at 1/beta = t in mpmath."""
    mp = mpmath.mp
    match law:
        case TwoPoint() | Categorical():
            return mp.log(integral(law, t, 0))
        case Normal():
            return t * law.mean + (t * law.sd) ** 2 / 2
        case Laplace():
            return t * law.mean - mp.log(1 - (t * law.scale) ** 2)
        case Exponential():
            return -mp.log(1 - t / mp.mpf(law.rate))
        case Gamma():
            return -law.shape * mp.log(1 - t / mp.mpf(law.rate))
        case Beta():
            width = mp.mpf(law.high) - law.low
            return t * law.low + mp.log(mp.hyp1f1(law.a, mp.mpf(law.a) + law.b, t * width))
        case Mixture():
            parts = [part for part in zip(law.weights, law.laws, strict=True) if part[0] > 0]
            terms = [mp.mpf(weight) * mp.exp(closed_form(part, t)) for weight, part in parts]
            return mp.log(mp.fsum(terms) / mp.fsum(law.weights))
        case Affine():
            return t * law.shift + closed_form(law.law, mp.mpf(law.scale) * t)
        case Constrained():
            return mp.log(mp.mpf(law.prob)) + closed_form(law.law, t)
    raise TypeError(law)


@pytest.mark.parametrize("law", LAWS, ids=name)
def test_the_derivative_of_log_z_is_the_mean_reward_from_tiny_to_huge_betas(law):
    betas = np.array([1e-4, 1e-3, 0.01, 0.1, 0.5, 2.0, 10.0, 1e3, 1e8, 1e12])
    for beta in betas[betas > 1.02 * law.beta_min]:
        with mpmath.workdps(80):
            t = 1 / mpmath.mpf(beta)
            step = mpmath.mpf(10) ** -20 * t
            mean_reward = (closed_form(law, t + step) - closed_form(law, t - step)) / (2 * step)
            mean = closed_form(law, step) / step if unconstrained(law) else -mpmath.inf
            wanted = curves_of(t, closed_form(law, t), mean_reward, mean)
        assert_right(law, beta, wanted)


@pytest.mark.parametrize(
    ("a", "b"), [(0.05, 0.1), (0.5, 0.5), (1, 1), (2, 50), (300, 700), (0.01, 30), (1000, 0.2)]
)
@pytest.mark.parametrize("beta", [1e-6, 1e-4, 0.01, 0.3, 10.0, 1e8])
def test_beta_rewards_are_kummers_function(a, b, beta):
    with mpmath.workdps(60):
        a, b, t = mpmath.mpf(a), mpmath.mpf(b), 1 / mpmath.mpf(beta)
        z = mpmath.hyp1f1(a, a + b, t)
        mean_reward = a / (a + b) * mpmath.hyp1f1(a + 1, a + b + 1, t) / z
        wanted = curves_of(t, mpmath.log(z), mean_reward, a / (a + b))
    law = Beta(float(a), float(b))
    for curve in CURVES:
        assert getattr(law, curve)(beta) == precisely(wanted[curve], rel=1e-12), curve


# Known cases

FAMILIES = {
    "bernoulli": lambda p: TwoPoint(float(p["p"])),
    "uniform categorical": lambda p: Categorical([1 / p["K"]] * p["K"], range(p["K"])),
    "categorical": lambda p: Categorical([float(x) for x in p["p"]], [float(x) for x in p["r"]]),
    "any": lambda p: Categorical([1.0], [p["c"]]),
    "normal x linear": lambda p: Affine(Normal(p["mu"], p["sigma"]), scale=float(p["r"].removesuffix("*y"))),
    "gamma x linear": lambda p: Gamma(p["shape"], p["rate"]),
    "exponential x linear": lambda p: Exponential(p["rate"]),
    "laplace x linear": lambda p: Laplace(p["loc"], p["scale"]),
    "student t x linear": lambda p: StudentT(p["df"]),
    "pareto x log": lambda p: Exponential(p["alpha"]),
    "gaussian mixture x linear, rare rewarding mode": lambda p: Mixture(
        p["w"], [Normal(mean, sd) for mean, sd in zip(p["mu"], p["sigma"], strict=True)]
    ),
}  # fmt: skip
CASES = [
    case
    for case in json.loads((DATA / "known_cases.json").read_text(encoding="utf-8"))["cases"]
    if case["family"] in FAMILIES
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_known_cases(case):
    law, beta = FAMILIES[case["family"]](case["params"]), case["beta"]
    if not case["finite"]:
        assert law.log_z(beta) == law.soft_value(beta) == math.inf
        assert beta <= law.beta_min
        return
    for curve in ("log_z", "mean_reward", "kl", "kl_reverse"):
        assert close(getattr(law, curve)(beta), case[curve], 1e-12), curve
    if 2.0 / beta >= 1.0 / max(law.beta_min, 1e-300):
        assert law.log_z(beta / 2) == math.inf  # no effective sample size
    else:
        rel_ess = math.exp(2 * law.log_z(beta) - law.log_z(beta / 2))
        assert rel_ess == precisely(case["rel_ess"], rel=1e-10)


def test_every_family_has_a_known_case():
    assert {case["family"] for case in CASES} == set(FAMILIES)


def test_a_hot_tilt_keeps_its_digits():
    case = next(case for case in CASES if case["name"] == "categorical4_hot_beta1e8")
    law = FAMILIES["categorical"](case["params"])
    for curve in ("kl", "kl_reverse", "log_z"):
        assert getattr(law, curve)(1e8) == precisely(case[curve], rel=1e-6)


# Shapes, limits, infinity


@pytest.mark.parametrize("law", [*LAWS, StudentT(5.0)], ids=name)
@pytest.mark.parametrize("curve", CURVES)
def test_one_beta_gives_a_float_and_an_array_an_array(law, curve):
    betas = np.array([[0.1, 0.3, 1.0], [4.0, 5.0, 1e8]])
    kept = betas.copy()
    found = getattr(law, curve)(betas)
    assert found.shape == (2, 3)
    assert found.dtype == np.float64
    assert np.array_equal(betas, kept)
    for beta, value in zip(betas.ravel(), found.ravel(), strict=True):
        single = getattr(law, curve)(beta)
        assert type(single) is float
        assert single == value or (math.isnan(single) and math.isnan(value))
    assert type(getattr(law, curve)(np.array(2.0))) is float
    assert type(getattr(law, curve)(2)) is float
    assert getattr(law, curve)([]).shape == (0,)


@pytest.mark.parametrize("law", LAWS, ids=name)
def test_a_large_beta_gives_the_mean(law):
    if unconstrained(law):
        assert law.soft_value(1e12) == precisely(law.mean, rel=1e-9)
        assert law.mean_reward(1e12) == precisely(law.mean, rel=1e-9)
        assert law.kl(1e12) <= 1e-20
    else:
        assert law.mean == -math.inf
        assert law.kl_reverse(1.0) == math.inf


@pytest.mark.parametrize("law", BOUNDED, ids=name)
@pytest.mark.parametrize("beta", [1e-6, 1e-8, 1e-300])
def test_a_small_beta_gives_the_maximum(law, beta):
    high = law.reward_range[1]
    assert law.soft_value(beta) == pytest.approx(high, rel=1e-15, abs=60 * beta * 45 + 1e-15)
    assert law.mean_reward(beta) == pytest.approx(high, rel=1e-15, abs=60 * beta + 1e-15)
    assert np.isfinite(law.kl(beta))


@pytest.mark.parametrize("law", [*LAWS, StudentT(5.0)], ids=name)
@pytest.mark.parametrize("beta", [1e-300, 1e-200, 1e-100, 1e-6, 1e100, 1e300])
def test_no_beta_warns_or_leaves_a_nan(law, beta):
    for curve in CURVES:
        assert math.isnan(getattr(law, curve)(beta)) == (
            beta <= law.beta_min and curve not in ("log_z", "soft_value")
        )


@pytest.mark.parametrize(
    ("law", "beta_min"),
    [
        (Exponential(4.0), 0.25),
        (Gamma(3.0, 0.5), 2.0),
        (Laplace(7.0, 0.3), 0.3),
        (StudentT(3.0), math.inf),
        (Mixture((0.5, 0.5), (Exponential(4.0), Laplace(0.0, 0.1))), 0.25),
        (Mixture((1.0, 0.0), (Normal(0.0, 1.0), StudentT(3.0))), 0.0),
        (Affine(Exponential(0.3), scale=0.1), 0.1 / 0.3),
        (Affine(StudentT(0.5), scale=3.0), math.inf),
        (Constrained(Exponential(4.0), prob=0.1), 0.25),
        (Normal(0.0, 1.0), 0.0),
        (Beta(1.0, 1.0), 0.0),
    ],
    ids=str,
)
def test_z_is_infinite_at_and_below_beta_min(law, beta_min):
    assert law.beta_min == precisely(beta_min, rel=1e-15)
    for beta in {min(law.beta_min, 1e300), min(law.beta_min, 1e300) / 2} - {0.0}:
        assert law.log_z(beta) == law.soft_value(beta) == math.inf
        for curve in ("mean_reward", "kl", "kl_reverse"):
            assert math.isnan(getattr(law, curve)(beta))
    if 0 < law.beta_min < math.inf:
        above = law.log_z(law.beta_min * np.array([1 + 1e-9, 1 + 1e-6, 1.1, 2.0]))
        assert np.all(np.isfinite(above))
        assert np.all(np.diff(above) < 0)


@pytest.mark.parametrize("law", LAWS, ids=name)
def test_the_soft_value_never_rises_with_beta(law):
    beta = np.geomspace(max(1e-4, 1.001 * law.beta_min), 1e5, 60)
    for curve in ("soft_value", "mean_reward"):
        values = getattr(law, curve)(beta)
        assert np.all(np.diff(values) <= 1e-13 * np.max(np.abs(values)))
    assert np.all(np.diff(law.kl(beta)) <= 1e-13 * law.kl(beta)[0])


# Laws made of laws


@dataclass(frozen=True)
class Uniform:
    """A law of a user's own, with nothing but what the protocol asks for."""

    width: float = 1.0
    beta_min: float = 0.0

    @property
    def mean(self):
        return 0.5 * self.width

    @property
    def reward_range(self):
        return 0.0, self.width

    def log_z(self, beta):
        return Beta(1.0, 1.0, high=self.width).log_z(beta)

    def soft_value(self, beta):
        return Beta(1.0, 1.0, high=self.width).soft_value(beta)

    def mean_reward(self, beta):
        return Beta(1.0, 1.0, high=self.width).mean_reward(beta)

    def kl(self, beta):
        return Beta(1.0, 1.0, high=self.width).kl(beta)

    def kl_reverse(self, beta):
        return Beta(1.0, 1.0, high=self.width).kl_reverse(beta)

    def sample(self, n, rng):
        return self.width * rng.random(n)


def test_a_law_of_ones_own_can_be_mixed_and_moved():
    law = Mixture((0.5, 0.5), (Uniform(2.0), Affine(Uniform(1.0), shift=3.0, scale=0.5)))
    assert law.reward_range == (0.0, 3.5)
    check_law(law)
    check_law(Uniform(2.0))


@given(
    st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(-5.0, 5.0)), min_size=1, max_size=6),
    st.floats(-4.0, 9.0),
    st.sampled_from([0.0, 1e4, -1e5]),
)
def test_few_values_are_right_for_any_offset(rows, log_beta, offset):
    weight, reward = np.array(rows).T
    prob, reward, beta = weight / weight.sum(), offset + np.round(reward * 256) / 256, 10.0**log_beta
    wanted, law = exact(prob, reward, beta), Categorical(prob, reward)
    assert (
        law.soft_value(beta) == precisely(wanted["soft_value"], rel=1e-12)
        or abs(law.soft_value(beta)) < 1e-12
    )
    assert law.mean_reward(beta) == pytest.approx(float(wanted["mean_reward"]), rel=1e-13, abs=1e-13)
    if np.ptp(reward) > 0:
        assert law.kl(beta) == precisely(wanted["kl"], rel=1e-11)
        assert law.kl_reverse(beta) == precisely(wanted["kl_reverse"], rel=1e-11)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(-3.0, 6.0))
def test_a_mixture_of_two_points_is_a_two_point(w, p, q, log_beta):
    beta = 10.0**log_beta
    mixed = Mixture((w, 1.0 - w), (TwoPoint(p), TwoPoint(q)))
    merged = TwoPoint(min(w * p + (1.0 - w) * q, 1.0))
    assert mixed.log_z(beta) == pytest.approx(merged.log_z(beta), rel=1e-13, abs=1e-15)
    assert mixed.kl(beta) == pytest.approx(merged.kl(beta), rel=1e-9, abs=1e-15 * (1 + 1 / beta))
    assert mixed.kl_reverse(beta) == pytest.approx(
        merged.kl_reverse(beta), rel=1e-9, abs=1e-15 * (1 + 1 / beta)
    )


@given(
    st.sampled_from([Beta(2.0, 5.0), TwoPoint(0.3), Normal(1.0, 0.5)]),
    st.floats(-3.0, 3.0),
    st.floats(0.1, 9.0),
)
def test_shift_and_scale(law, shift, scale):
    moved, beta = Affine(law, shift=shift, scale=scale), 0.7
    assert moved.log_z(beta * scale) == pytest.approx(
        shift / (beta * scale) + law.log_z(beta), rel=1e-12, abs=1e-13
    )
    assert moved.kl(beta * scale) == precisely(law.kl(beta), rel=1e-12)
    assert moved.kl_reverse(beta * scale) == precisely(law.kl_reverse(beta), rel=1e-12)
    assert moved.mean == pytest.approx(shift + scale * law.mean, rel=1e-13, abs=1e-13)


def test_equal_laws_mixed_are_that_law():
    law = Gamma(2.0, 3.0)
    mixed, beta = Mixture((0.25, 0.75), (law, law)), np.array([0.34, 1.0, 1e8])
    for curve in CURVES:
        assert getattr(mixed, curve)(beta) == precisely(getattr(law, curve)(beta), rel=1e-14)


def test_laws_are_values():
    assert Normal(0, 1) == Normal(mean=0.0, sd=1.0)
    assert len({Categorical([0.5, 0.5], [0, 1]), Categorical((0.5, 0.5), (0.0, 1.0))}) == 1
    assert repr(TwoPoint(0.1)) == "TwoPoint(p=0.1, low=0.0, high=1.0)"
    with pytest.raises(AttributeError):
        Normal(0, 1).mean = 3.0
    assert not hasattr(Normal(0, 1), "__dict__")
    assert all(isinstance(law, Law) for law in LAWS)


def test_public_names_are_sorted():
    assert laws.__all__ == sorted(laws.__all__)


# Draws


def moments(law):
    """Mean, variance and fourth central moment, by the definition."""
    with mpmath.workdps(30):
        raw = [integral(law, mpmath.mpf(0), k) for k in range(5)]
        mean, variance = raw[1], raw[2] - raw[1] ** 2
        fourth = raw[4] - 4 * mean * raw[3] + 6 * mean**2 * raw[2] - 3 * mean**4
        return float(mean), float(variance), float(fourth)


def drawn_wrong(law, reward):
    """Whether mean or variance of draws are more than 4.89 of their exact standard deviations off."""
    mean, variance, fourth = moments(law)
    n = reward.size
    centred = reward.astype(np.longdouble) - mean
    off_mean = abs(centred.mean()) / math.sqrt(variance / n)
    off_variance = abs((centred**2).mean() - variance) / math.sqrt((fourth - variance**2) / n)
    return max(off_mean, off_variance) > 4.89


@pytest.mark.parametrize(
    "law",
    [law for law in LAWS if unconstrained(law) and law not in (LAWS[1], LAWS[16])],
    ids=name,
)
def test_draws_have_the_exact_mean_and_variance(law):
    reward = law.sample((400, 500), np.random.default_rng(5))
    assert reward.shape == (400, 500)
    assert not drawn_wrong(law, reward)
    low, high = law.reward_range
    assert low <= reward.min()
    assert reward.max() <= high


@pytest.mark.parametrize(
    ("law", "wrong"),
    [
        (Normal(1.0, 2.0), Normal(1.0, 2.05)),
        (Exponential(3.0), Gamma(1.05, 3.15)),
        (Beta(2.0, 5.0), Beta(2.1, 5.25)),
        (TwoPoint(0.1), TwoPoint(0.105)),
        (LAWS[18], Mixture((0.62, 0.38), LAWS[18].laws)),
    ],
    ids=str,
)
def test_draws_of_a_neighbour_are_found_out(law, wrong):
    assert drawn_wrong(law, wrong.sample((400, 500), np.random.default_rng(5)))


def test_exponential_weights_are_pareto():
    k, n = 0.6, 200_000
    weight = np.exp(Exponential(2.0).sample(n, np.random.default_rng(1)) / (1 / (2.0 * k)))
    for level in (1.5, 3.0, 20.0):
        tail = level ** (-1 / k)
        assert abs(np.mean(weight > level) - tail) <= 4.89 * math.sqrt(tail * (1 - tail) / n)


def test_student_t_rewards_have_the_tail_of_their_degrees_of_freedom():
    reward, n = StudentT(1.0, 2.0, 3.0).sample(200_000, np.random.default_rng(2)), 200_000
    assert abs(np.mean(reward > 5.0) - 0.25) <= 4.89 * math.sqrt(0.25 * 0.75 / n)
    assert math.isnan(StudentT(1.0).mean)
    assert StudentT(1.5, 2.0).mean == 2.0


def test_a_constraint_is_broken_as_often_as_it_says():
    reward = Constrained(Normal(0, 1), prob=0.25).sample((300, 300), np.random.default_rng(3))
    assert abs(np.mean(reward > -np.inf) - 0.25) <= 4.89 * math.sqrt(0.25 * 0.75 / reward.size)
    assert Constrained(Beta(1, 1), prob=1.0).kl_reverse(0.1) == Beta(1, 1).kl_reverse(0.1)
    assert Constrained(Beta(1, 1), prob=1.0).reward_range == (0.0, 1.0)
    assert Constrained(Beta(1, 1), prob=0.5).reward_range == (-math.inf, 1.0)


@pytest.mark.parametrize("law", [*LAWS, StudentT(5.0)], ids=name)
def test_draws_follow_from_the_generator_alone(law):
    first, again = (law.sample((3, 4), np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(first, again)
    assert law.sample(7, np.random.default_rng(9)).shape == (7,)
    assert first.dtype == np.float64


# Stacks


def test_a_stack_is_its_laws():
    betas = np.array([1e-6, 0.05, 1.0, 40.0, 1e8])
    rng = np.random.default_rng(4)
    stacks = [
        TwoPointStack(np.array([0.0, 1e-9, 0.3, 0.999, 1.0]), -2.0, 3.0),
        TwoPointStack(np.array([0.2, 0.0, 1.0])),
        NormalStack(np.array([0.0, -3.0]), np.array([1.0, 0.1])),
        LawStack((Exponential(1.0), Beta(2.0, 5.0)), np.array([1, 0, 1])),
    ]
    for stack in stacks:
        assert stack.log_z(betas) == precisely(np.array([law.log_z(betas) for law in stack.laws]), rel=1e-15)
        assert stack.soft_value(betas) == precisely(
            np.array([law.soft_value(betas) for law in stack.laws]), rel=1e-15
        )
        assert stack.log_z(0.5).shape == (len(stack.laws), 1)
        reward = stack.sample(40_000, rng)
        assert reward.shape == (len(stack.laws), 40_000)
        for law, row in zip(stack.laws, reward, strict=True):
            sd = math.sqrt(2 * law.kl_reverse(1e6)) * 1e6
            assert abs(row.mean() - law.mean) <= 4.89 * sd / 200 + 1e-12


# The checker


@pytest.mark.parametrize("law", [*LAWS, StudentT(5.0), TwoPoint(0.0), TwoPoint(1.0)], ids=name)
def test_laws_keep_their_promises(law):
    check_law(law)


@dataclass(frozen=True, slots=True)
class Broken(Uniform):
    """A uniform law with one promise broken."""

    what: str = ""

    @property
    def reward_range(self):
        return (0.0, 0.9) if self.what == "range" else (0.0, 1.0)

    def log_z(self, beta):
        if self.what == "vector":
            return Uniform.log_z(self, np.max(beta))
        return Uniform.log_z(self, beta) * (1.00001 if self.what == "log_z" else 1.0)

    def soft_value(self, beta):
        return beta * self.log_z(beta)

    def mean_reward(self, beta):
        return Uniform.mean_reward(self, beta) * (1.00001 if self.what == "mean_reward" else 1.0)

    def kl(self, beta):
        if self.what in ("log_z", "mean_reward", "naive"):
            return self.mean_reward(beta) / beta - self.log_z(beta)
        return Uniform.kl(self, beta)

    def kl_reverse(self, beta):
        return self.log_z(beta) - self.mean / beta if self.what == "log_z" else Uniform.kl_reverse(self, beta)

    def sample(self, n, rng):
        return rng.random(n) ** (0.97 if self.what == "sample" else 1.0)


@pytest.mark.parametrize("what", ["range", "vector", "log_z", "mean_reward", "naive", "sample"])
def test_a_broken_promise_is_found(what):
    with pytest.raises(InputError, match="in Broken"):
        check_law(Broken(what=what))


def test_a_constraint_that_draws_do_not_keep_is_found():
    class Loose(Constrained):
        def sample(self, n, rng):
            return Constrained(self.law, 1.1 * self.prob).sample(n, rng)

    with pytest.raises(InputError, match="the mean weight of draws must be Z"):
        check_law(Loose(Normal(), 0.25))


def test_an_infinity_in_the_wrong_place_is_found():
    @dataclass(frozen=True)
    class Misplaced(Uniform):
        beta_min: float = 0.5

    with pytest.raises(InputError, match="infinite at and below beta_min"):
        check_law(Misplaced())


def test_the_whole_uniform_law_passes_for_unbroken():
    check_law(Broken(what=""))


# Cancellations and messages


@pytest.mark.parametrize(
    "x", [-0.999, -0.5, -0.4999, -1e-3, -1e-9, 1e-300, 1e-12, 1e-4, 0.3, 0.4999, 0.5, 0.9999, 1.0]
)
def test_differences_that_cancel(x):
    with mpmath.workdps(700):
        exact_x = mpmath.mpf(x)
        wanted = {
            "expm1_minus_x": mpmath.expm1(exact_x) - exact_x,
            "x_exp_minus_expm1": exact_x * mpmath.exp(exact_x) - mpmath.expm1(exact_x),
            "x_minus_log1p": exact_x - mpmath.log1p(exact_x),
        }
    for which, value in wanted.items():
        found = float(getattr(differences, which)(np.array(x)))
        assert found == precisely(value, rel=2e-15) or value < 1e-305


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TwoPoint(1.5), r"p must lie in \[0, 1\]; found 1.5"),
        (lambda: TwoPoint(0.5, 1.0, 1.0), "low must be below high; found 1 and 1"),
        (lambda: TwoPoint("half"), "p must be a finite number; found 'half'"),
        (lambda: Normal(0, 0), "sd must be above 0; found 0"),
        (lambda: Normal(math.nan, 1), "mean must be a finite number; found nan"),
        (lambda: Exponential(-1), "rate must be above 0; found -1"),
        (lambda: Beta(1, math.inf), "b must be a finite number; found inf"),
        (lambda: Categorical([0.5, 0.4], [0, 1]), "prob must sum to 1 within 1e-09; found 0.9"),
        (lambda: Categorical([0.5, 0.5], [0]), "equal lengths; found 2 probabilities and 1 rewards"),
        (lambda: Categorical([], []), "prob must sum to 1"),
        (lambda: Categorical([0.5, 0.5], [0, -math.inf]), "each reward must be a finite number; found -inf"),
        (lambda: Mixture([1.0], [0.5]), "each of laws must be a law such as"),
        (lambda: Mixture([0.5, 0.5], [Normal()]), "equal lengths; found 2 weights and 1 laws"),
        (lambda: Mixture([1.0], [Constrained(Normal(), prob=0.5)]), r"use Constrained\(Mixture"),
        (lambda: Affine(Normal(), scale=0), "scale must be above 0; found 0"),
        (lambda: Affine(3), "law must be a law"),
        (lambda: Constrained(Normal(), prob=0), "prob must be above 0"),
        (lambda: Normal().log_z(0.0), "beta must be positive and finite; found 0"),
        (lambda: Normal().kl([1.0, -2.0]), "beta must be positive and finite; found -2"),
        (lambda: Normal().kl(math.inf), "beta must be positive and finite; found inf"),
        (lambda: Normal().soft_value("hot"), "beta must be positive and finite; found 'hot'"),
        (lambda: StudentT(0), "df must be above 0"),
    ],
)  # fmt: skip
def test_messages(make, message):
    with pytest.raises(InputError, match=message):
        make()
