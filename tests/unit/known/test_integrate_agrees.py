"""Integrals agree with closed forms, beta for beta, and with sums over the nodes of other rules."""

import functools
import math

import numpy as np
import pytest
from scipy import stats

from tiltz import laws
from tiltz.known import from_laws, integrate, sum_over

BETAS = np.geomspace(1e-3, 1e6, 10)
OTHERS = ("mean_reward", "kl", "kl_reverse")
WHOLE = (-math.inf, math.inf)
COVARIANCE, QUADRATIC, LINEAR = [[2, 0.5], [0.5, 1]], np.array([[0.2, 0.1], [0.1, -0.3]]), np.array([0.5, -1])


def identity(y):
    return y


def quadratic(y):
    return y @ LINEAR + np.sum((y @ QUADRATIC) * y, axis=1)


def two_normals(y):
    return np.logaddexp(
        math.log(0.75) + stats.norm.logpdf(y), math.log(0.25) + stats.norm.logpdf(y, 4.0, 0.5)
    )


CASES = {
    "normal": (laws.Normal(1, 2), stats.norm(1, 2), identity),
    "half-normal": (laws.HalfNormal(2), stats.halfnorm(scale=2), identity),
    "truncated normal": (
        laws.TruncatedNormal(0.5, 2, low=-1, high=3),
        stats.truncnorm(-0.75, 1.25, loc=0.5, scale=2),
        identity,
    ),
    "exponential": (laws.Exponential(2), stats.expon(scale=0.5), identity),
    "gamma": (laws.Gamma(2.5, 3), stats.gamma(2.5, scale=1 / 3), identity),
    "gamma with a pole": (laws.Gamma(0.3, 3), stats.gamma(0.3, scale=1 / 3), identity),
    "Laplace": (laws.Laplace(1, 0.5), stats.laplace(1, 0.5), identity),
    "logistic": (laws.Logistic(-2, 0.5), stats.logistic(-2, 0.5), identity),
    "Gumbel": (laws.Gumbel(2, 0.5), stats.gumbel_r(2, 0.5), identity),
    "beta": (laws.Beta(2, 1.5), stats.beta(2, 1.5), identity),
    "log of a beta": (laws.beta_log(2, 5), stats.beta(2, 5), np.log),
    "uniform": (laws.Uniform(-1, 3), stats.uniform(-1, 4), identity),
    "log of a uniform": (laws.LogQuantile(), stats.uniform(), np.log),
    "circle": (laws.VonMisesCos(2), stats.vonmises(2), np.cos),
    "sphere": (laws.SphereLinear(3), stats.uniform_direction(3), lambda y: y[:, 2]),
    "simplex": (
        laws.DirichletLog([1, 2.5, 4], [1, 0.5, 2]),
        stats.dirichlet([1, 2.5, 4]),
        lambda y: np.log(y) @ np.array([1, 0.5, 2]),
    ),
    "Student t, log-quadratic": (
        laws.student_t_log_quadratic(5),
        stats.t(5),
        lambda y: np.log1p(y**2 / 5),
    ),
    "Student t": (laws.StudentT(5), stats.t(5), identity),
    "log of a Pareto": (laws.pareto_log(3), stats.pareto(3), np.log),
    "log of a lognormal": (laws.lognormal_log(1, 0.5), stats.lognorm(0.5, scale=math.e), np.log),
    "quadratic of two normals": (
        laws.NormalQuadratic([0.3, -0.2], COVARIANCE, linear=LINEAR, quadratic=QUADRATIC),
        stats.multivariate_normal([0.3, -0.2], COVARIANCE),
        quadratic,
    ),
    "Poisson": (laws.Poisson(3), stats.poisson(3), identity),
    "binomial": (laws.Binomial(20, 0.3), stats.binom(20, 0.3), identity),
    "geometric": (laws.Geometric(0.5), stats.geom(0.5, loc=-1), identity),
    "negative binomial": (laws.NegativeBinomial(2.5, 0.4), stats.nbinom(2.5, 0.6), identity),
    "mixture": (
        laws.Mixture([0.75, 0.25], [laws.Normal(0, 1), laws.Normal(4, 0.5)]),
        (two_normals, WHOLE),
        identity,
    ),
    "sum of two": (
        laws.Sum([laws.Normal(0, 1), laws.Exponential(2)]),
        [stats.norm(), stats.expon(scale=0.5)],
        lambda y: y.sum(axis=1),
    ),
}
BETAS_OF = {"Poisson": np.geomspace(0.05, 1e6, 8)}  # below, log Z is beyond 1e9


@functools.cache
def both(name):
    """The integral and the law, at the same betas."""
    law, reference, reward = CASES[name]
    reference, domain = reference if isinstance(reference, tuple) else (reference, None)
    betas = BETAS_OF.get(name, BETAS)
    return integrate(reference, reward, betas, domain=domain), from_laws(law, betas)


def log_z_agrees(known, wanted, *, moved=0.0):
    """Whether log Z is within its error everywhere, infinite where it must be; ``moved`` shifts the truth by errors."""
    finite = np.isfinite(wanted.log_z)
    allowed = known.error + 1e-12 * np.abs(np.where(finite, wanted.log_z, 1.0))
    off = np.abs(np.where(finite, known.log_z, 0.0) - np.where(finite, wanted.log_z, 0.0) - moved * allowed)
    return np.array_equal(np.isfinite(known.log_z), finite) and bool(np.all((off <= allowed)[finite]))


def others_agree(known, wanted, *, rel=1e-8, factor=1.0):
    return all(
        np.allclose(getattr(known, c), factor * getattr(wanted, c), rtol=rel, atol=0, equal_nan=True)
        for c in OTHERS
    )


@pytest.mark.parametrize("name", CASES)
def test_an_integral_is_what_the_law_says(name):
    known, wanted = both(name)
    assert np.all(known.kind == "exact")
    assert log_z_agrees(known, wanted)
    assert others_agree(known, wanted)
    assert np.array_equal(known.reason == "", np.isfinite(wanted.log_z))


@pytest.mark.parametrize("name", CASES)
def test_the_critical_beta_is_what_the_law_says(name):
    known, wanted = both(name)
    assert known.beta_min[0] == pytest.approx(wanted.beta_min[0], rel=1e-6, abs=0)


@pytest.mark.parametrize("name", [name for name in CASES if name != "Student t"])
def test_a_truth_moved_by_two_errors_is_noticed(name):
    known, wanted = both(name)
    assert not log_z_agrees(known, wanted, moved=2.0)
    assert not others_agree(known, wanted, factor=1 + 1e-7)


def test_a_slightly_other_law_is_noticed():
    known, _ = both("normal")
    wrong = from_laws(laws.Normal(1, 2 * (1 + 1e-7)), BETAS)
    assert not log_z_agrees(known, wrong)
    assert not others_agree(known, wrong)
    known, _ = both("Student t, log-quadratic")
    assert not log_z_agrees(known, from_laws(laws.student_t_log_quadratic(5.0001), BETAS))


def test_infinite_exactly_up_to_the_critical_beta():
    for name in ("exponential", "gamma", "Laplace", "logistic", "log of a Pareto", "geometric"):
        law, reference, reward = CASES[name]
        betas = law.beta_min * np.array([0.5, 1 - 1e-6, 1 + 1e-6, 2])
        known = integrate(reference, reward, betas)
        assert np.isinf(known.log_z[0]).tolist() == [True, True, False, False], name


def gauss_legendre(low, high, n_panels):
    """Nodes and weights on equal panels, 20 in each."""
    node, weight = np.polynomial.legendre.leggauss(20)
    half = (high - low) / n_panels / 2
    middle = low + half * (2 * np.arange(n_panels) + 1)
    return (middle[:, None] + half * node).ravel(), np.tile(half * weight, n_panels)


BOUNDED = {
    "uniform x cos": (stats.uniform(-1, 4), lambda y: np.cos(3 * y)),
    "beta x sine": (stats.beta(2, 5), lambda y: np.sin(7 * y)),
    "truncated normal x square": (stats.truncnorm(-1, 2.5), lambda y: y**2 - y),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_an_integral_is_the_sum_over_the_nodes_of_another_rule(name):
    reference, reward = BOUNDED[name]
    betas = np.geomspace(1e-2, 1e3, 6)
    at, weight = gauss_legendre(*reference.support(), 256)
    mass = dict(zip(at, weight, strict=True))
    summed = sum_over(
        at,
        reward,
        betas,
        log_ref=lambda y: reference.logpdf(y) + np.log([mass[each] for each in y]),
        renormalise=True,
    )
    known = integrate(reference, reward, betas)
    allowed = known.error + summed.error + 1e-13
    assert np.all(np.abs(known.log_z - summed.log_z) <= allowed)
    assert not np.all(np.abs(known.log_z + 2 * allowed - summed.log_z) <= allowed)
    assert others_agree(known, summed)


def test_midpoints_approach_the_integral_with_the_square_of_their_distance():
    reference, reward, beta = stats.truncnorm(-1, 2.5), np.sin, 0.2
    known = integrate(reference, reward, beta)

    def off(n):
        at = -1 + 3.5 * (np.arange(n) + 0.5) / n
        found = sum_over(at, reward, beta, log_ref=lambda y: reference.logpdf(y) + math.log(3.5 / n))
        return found.log_z[0, 0] - known.log_z[0, 0]

    coarse, fine = off(1 << 15), off(1 << 16)
    assert coarse / fine == pytest.approx(4.0, rel=1e-3)
    # Euler and Maclaurin: the error of n midpoints is -h^2 / 24 times the change of the slope, for Z and for the mass.
    ends = np.array([-1.0, 2.5])
    slope = np.diff((np.cos(ends) / beta - ends) * reference.pdf(ends) * np.exp(np.sin(ends) / beta))[0]
    expected = -((3.5 / (1 << 15)) ** 2) / 24 * slope * math.exp(-known.log_z[0, 0])
    mass = -((3.5 / (1 << 15)) ** 2) / 24 * np.diff(-ends * reference.pdf(ends))[0]
    assert coarse == pytest.approx(expected, rel=1e-3) or coarse == pytest.approx(expected - mass, rel=1e-3)


def test_a_circle_is_the_sum_over_even_angles():
    betas = [0.05, 1.0, 30.0]
    reference = stats.vonmises(1.5)

    def reward(y):
        return np.cos(y) + 0.5 * np.sin(2 * y)

    n = 1 << 12
    at = -math.pi + 2 * math.pi * np.arange(n) / n
    summed = sum_over(at, reward, betas, log_ref=lambda y: reference.logpdf(y) + math.log(2 * math.pi / n))
    known = integrate(reference, reward, betas)
    assert np.all(np.abs(known.log_z - summed.log_z) <= known.error + summed.error + 1e-13)
    assert others_agree(known, summed)


def test_a_box_is_the_sum_over_a_grid_of_nodes():
    betas = [0.05, 1.0, 30.0]
    x, x_weight = gauss_legendre(0.0, 1.0, 16)
    y, y_weight = gauss_legendre(-1.0, 2.0, 16)
    tilt = stats.beta(2, 3)

    def reward(at):
        return np.sin(5 * at[:, 0] * at[:, 1]) + at[:, 1]

    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    weight = np.outer(x_weight, y_weight / 3).ravel()
    log_mass = tilt.logpdf(grid[:, 0]) + np.log(weight)
    summed = sum_over(
        np.arange(len(grid)),
        lambda which: reward(grid[which]),
        betas,
        log_ref=lambda which: log_mass[which],
        renormalise=True,
    )
    known = integrate([tilt, stats.uniform(-1, 3)], reward, betas)
    assert np.all(np.abs(known.log_z - summed.log_z) <= known.error + summed.error + 1e-13)
    assert others_agree(known, summed)
