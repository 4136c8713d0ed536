"""Every known case through the public face, by its most natural routes."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from tests.oracles import DATA, close, precisely
from tiltz import laws
from tiltz.known import AdditiveReward, Markov, chain, from_laws, integrate, sum_over

CASES = {
    case["name"]: case
    for case in json.loads((DATA / "known_cases.json").read_text(encoding="utf-8"))["cases"]
}
CURVES = ("log_z", "mean_reward", "kl", "kl_reverse")
LEFT_OUT = {"ising_torus_16x16"}  # no simple route
WHOLE = (-math.inf, math.inf)


def identity(y):
    return y


def law(reward_law):
    return lambda beta: from_laws(reward_law, beta)


def integral(*arguments, **options):
    return lambda beta: integrate(*arguments, beta, **options)


def wrapped_cauchy(y):
    return math.log(math.sinh(1.0) / (2 * math.pi)) - np.log(math.cosh(1.0) - np.cos(y))


def mixture(y):
    parts = [math.log(w) + stats.norm(m, s).logpdf(y) for w, m, s in ((0.9999, 0, 1), (0.0001, 15, 0.5))]
    return np.logaddexp(*parts)


def fixed_points(block):
    return (block == np.arange(block.shape[1])).sum(axis=1)


def ising_4x4(block):
    spins = (2 * (block[:, None] >> np.arange(16) & 1) - 1).reshape(-1, 4, 4)
    return (spins * (np.roll(spins, 1, axis=1) + np.roll(spins, 1, axis=2))).sum(axis=(1, 2))


def ar1():
    """The sum of a path from 0 with innovations of variance 1 is normal."""
    steps = np.arange(50)
    root = np.tril(0.8 ** np.clip(steps[:, None] - steps, 0, None))
    return laws.normal_linear(np.zeros(50), root @ root.T, np.ones(50))


COVARIANCE = [[2, 0.5, 0], [0.5, 1, -0.3], [0, -0.3, 1.5]]
SLOPE = np.array([1, -2, 0.5])
ROUTES = {
    "bernoulli_p0.5_beta1": {
        "law": law(laws.TwoPoint(0.5)),
        "enumeration": lambda beta: sum_over([0, 1], identity, beta),
        "integral": integral(stats.bernoulli(0.5), identity),
    },
    "bernoulli_p0.1_beta0.2": {
        "law": law(laws.TwoPoint(0.1)),
        "integral": integral(stats.bernoulli(0.1), identity),
    },
    "bernoulli_p1e-6_beta0.05": {
        "law": law(laws.TwoPoint(1e-6)),
        "integral": integral(stats.bernoulli(1e-6), identity),
    },
    "uniform_grid_K100": {
        "enumeration": lambda beta: sum_over(range(100), identity, beta),
        "integral": integral(stats.randint(0, 100), identity),
    },
    "categorical4_hot_beta1e8": {
        "law": law(laws.Categorical([0.1, 0.2, 0.3, 0.4], [-1, 0.5, 2, -3])),
        "enumeration": lambda beta: sum_over(
            np.array([-1, 0.5, 2, -3]), identity, beta, log_ref=lambda _: np.log([0.1, 0.2, 0.3, 0.4])
        ),
    },
    "constant_reward": {
        "law": law(laws.Categorical([1.0], [-7.25])),
        "integral": integral(stats.norm(), lambda y: np.full(len(y), -7.25)),
    },
    "huge_negative_rewards": {"law": law(laws.Categorical([0.25, 0.75], [-100000, -100000.5]))},
    "normal_std_linear_sigma_over_beta_0.5": {
        "law": law(laws.Normal(0, 1)),
        "integral": integral(stats.norm(), identity),
    },
    "normal_std_linear_sigma_over_beta_2": {
        "law": law(laws.Normal(0, 1)),
        "integral": integral(stats.norm(), identity),
    },
    "normal_mu1_s2_linear": {
        "law": law(laws.Affine(laws.Normal(1, 2), scale=0.5)),
        "integral": integral(stats.norm(1, 2), lambda y: 0.5 * y),
    },
    "normal_pos_quadratic_k0.4": {
        "law": law(laws.NormalQuadratic([0.0], [[1.0]], quadratic=[[0.2]])),
        "integral": integral(stats.norm(), lambda y: 0.2 * y**2),
    },
    "normal_pos_quadratic_boundary_diverges": {
        "law": law(laws.NormalQuadratic([0.0], [[1.0]], quadratic=[[0.5]])),
        "integral": integral(stats.norm(), lambda y: 0.5 * y**2),
    },
    "mvn3_linear": {
        "law": law(laws.normal_linear([0.1, 0.2, -0.4], COVARIANCE, SLOPE)),
        "integral": integral(stats.multivariate_normal([0.1, 0.2, -0.4], COVARIANCE), lambda y: y @ SLOPE),
    },
    "gamma2.5_rate3_beta0.5_k0.667": {
        "law": law(laws.Gamma(2.5, 3.0)),
        "integral": integral(stats.gamma(2.5, scale=1 / 3), identity),
    },
    "gamma_rate_eq_1_over_beta_diverges": {
        "law": law(laws.Gamma(2.5, 2.0)),
        "integral": integral(stats.gamma(2.5, scale=1 / 2), identity),
    },
    "exponential_linear_t0.25": {
        "law": law(laws.Exponential(1)),
        "integral": integral(stats.expon(), identity),
    },
    "exponential_linear_t0.6": {
        "law": law(laws.Exponential(1)),
        "integral": integral(stats.expon(), identity),
    },
    "exponential_linear_t1": {
        "law": law(laws.Exponential(1)),
        "integral": integral(stats.expon(), identity),
    },
    "laplace_b1_t1_diverges": {
        "law": law(laws.Laplace(0, 1)),
        "integral": integral(stats.laplace(), identity),
    },
    "poisson_quadratic_diverges": {"integral": integral(stats.poisson(3), lambda y: y**2)},
    "geometric_q0.5_t0.3": {
        "law": law(laws.Geometric(0.5)),
        "integral": integral(stats.geom(0.5, loc=-1), identity),
        "chain": lambda beta: chain(Markov([0.5], [[0.5]], end=[0.5], empty=0.5), [1.0], beta),
    },
    "negbinomial_linear": {
        "law": law(laws.NegativeBinomial(2.5, 0.4)),
        "integral": integral(stats.nbinom(2.5, 0.6), identity),
    },
    "beta2_5_log": {"law": law(laws.beta_log(2, 5)), "integral": integral(stats.beta(2, 5), np.log)},
    "vonmises_cos": {
        "law": law(laws.VonMisesCos(2)),
        "integral": integral(stats.vonmises(2), np.cos),
    },
    "sphere_S2_linear": {
        "law": law(laws.SphereLinear(3)),
        "integral": integral(stats.uniform_direction(3), lambda y: y[:, 0]),
        "on the sphere": integral(
            lambda y: np.full(len(y), -math.log(4 * math.pi)), lambda y: y[:, 2], domain="sphere"
        ),
    },
    "dirichlet_log": {
        "law": law(laws.DirichletLog([1, 2.5, 4], [1, -0.5, 2])),
        "integral": integral(stats.dirichlet([1, 2.5, 4]), lambda y: np.log(y) @ np.array([1, -0.5, 2])),
    },
    "student_t5_linear_diverges": {
        "law": law(laws.StudentT(5)),
        "integral": integral(stats.t(5), identity),
    },
    "lognormal_linear_diverges": {"integral": integral(stats.lognorm(1), identity)},
    "student_t5_logquad_k0.8": {
        "law": law(laws.student_t_log_quadratic(5)),
        "integral": integral(stats.t(5), lambda y: np.log1p(y**2 / 5)),
    },
    "cauchy_cos": {"on the circle": integral(wrapped_cauchy, np.cos, domain="circle")},
    "halfnormal_linear": {
        "law": law(laws.HalfNormal()),
        "integral": integral(stats.halfnorm(), identity),
    },
    "normal_minus_abs": {
        "law": law(laws.Affine(laws.HalfNormal(), scale=-1)),
        "integral": integral(stats.norm(), lambda y: -np.abs(y), breaks=[0.0]),
        "unnamed kink": integral(stats.norm(), lambda y: -np.abs(y)),
    },
    "normal_cos": {"integral": integral(stats.norm(), np.cos)},
    "logistic_t1_diverges": {
        "law": law(laws.Logistic(0, 1)),
        "integral": integral(stats.logistic(), identity),
    },
    "pareto3_log": {
        "law": law(laws.pareto_log(3)),
        "integral": integral(stats.pareto(3), np.log),
    },
    "gaussian_mixture_rare_mode": {
        "law": law(laws.Mixture([0.9999, 0.0001], [laws.Normal(0, 1), laws.Normal(15, 0.5)])),
        "integral": integral(mixture, identity, domain=WHOLE),
    },
    "ising_open_N1000": {
        "chain": lambda beta: chain(
            Markov([0.5, 0.5], np.full((2, 2), 0.5), length=1000),
            AdditiveReward(transition=[[1, -1], [-1, 1]]),
            beta,
        )
    },
    "ising_torus_4x4": {"enumeration": lambda beta: sum_over(range(2**16), ising_4x4, beta)},
    "markov3_T200_additive_reward": {
        "chain": lambda beta: chain(
            Markov([0.5, 0.3, 0.2], [[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.05, 0.15, 0.8]], length=200),
            [1, -0.5, 0.25],
            beta,
        )
    },
    "eos_sequence_finite": {
        "chain": lambda beta: chain(
            Markov([0.5, 0.2], [[0.5, 0.2]] * 2, end=[0.3, 0.3], empty=0.3), [0.4, -1.0], beta
        )
    },
    "ar1_T50_linear": {"law": law(ar1())},
    "fixed_points_S6": {
        "enumeration": lambda beta: sum_over(itertools.permutations(range(6)), fixed_points, beta)
    },
}
PAIRS = [(name, route) for name, routes in ROUTES.items() for route in routes]


def test_every_case_has_a_route():
    assert set(ROUTES) == set(CASES) - LEFT_OUT


@pytest.mark.parametrize(("name", "route"), PAIRS)
def test_known_cases(name, route):
    case = CASES[name]
    known = ROUTES[name][route](case["beta"])
    assert known.kind.tolist() == [["exact"]]
    if not case["finite"]:
        assert known.log_z[0, 0] == known.soft_value[0, 0] == math.inf
        assert "infinite" in known.reason[0, 0]
        assert case["beta"] <= known.beta_min[0] * (1 + 1e-9)
        return
    assert known.reason[0, 0] == ""
    for curve in CURVES:
        assert close(getattr(known, curve)[0, 0], case[curve], 1e-10), curve
    assert abs(known.log_z[0, 0] - case["log_z"]) <= known.error[0, 0] + 1e-15
    if route == "enumeration":
        assert known.ess[0, 0] / known.n[0] == precisely(case["rel_ess"], rel=1e-10)
