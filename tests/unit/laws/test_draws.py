"""Draws against exact moments and tails."""

import math

import mpmath
import numpy as np
import pytest

from tests.unit.laws.definitions import LAWS, integral, name, unconstrained
from tiltz.laws import (
    Beta,
    Binomial,
    Constrained,
    DirichletLog,
    Exponential,
    Gamma,
    Gumbel,
    Logistic,
    Mixture,
    NegativeBinomial,
    Normal,
    SphereLinear,
    StudentT,
    TruncatedNormal,
    TwoPoint,
    VonMisesCos,
    beta_log,
)


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
        (Binomial(7, 0.3), Binomial(7, 0.31)),
        (NegativeBinomial(2.5, 0.4), NegativeBinomial(2.6, 0.4)),
        (TruncatedNormal(0.0, 1.0, low=30.0), TruncatedNormal(0.0, 1.0, low=30.001)),
        (TruncatedNormal(0.0, 0.5, low=-1.0, high=0.25), TruncatedNormal(0.01, 0.5, low=-1.0, high=0.25)),
        (Logistic(0.5, 0.1), Logistic(0.5, 0.103)),
        (Gumbel(0.0, 1.0), Gumbel(0.02, 1.0)),
        (VonMisesCos(2.0), VonMisesCos(2.05)),
        (SphereLinear(64, 10.0), SphereLinear(64, 10.3)),
        (DirichletLog((0.01, 3.0), (0.2, 0.3)), DirichletLog((0.0103, 3.0), (0.2, 0.3))),
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


def test_logs_of_variables_that_underflow_are_drawn():
    a, n = 1e-4, 100_000
    reward = beta_log(a, 1.0).sample(n, np.random.default_rng(8))
    assert np.all(np.isfinite(reward))
    assert reward.min() < math.log(5e-324)
    # -a log(y) is exponential of rate 1.
    assert abs(np.mean(-a * reward > 2.0) - math.exp(-2.0)) <= 4.89 * math.sqrt(math.exp(-2.0) / n)


@pytest.mark.parametrize("low", [-1.0, 2.9, 3.1, 8.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_tail_is_drawn_as_it_falls(low, sign):
    law, n = TruncatedNormal(0.0, 1.0, low=low), 100_000
    reward = sign * (law if sign > 0 else law.negated()).sample(n, np.random.default_rng(9))
    assert reward.min() >= low
    cut = law.mean
    beyond = math.erfc(cut / math.sqrt(2.0)) / math.erfc(low / math.sqrt(2.0))
    assert abs(np.mean(reward > cut) - beyond) <= 4.89 * math.sqrt(beyond * (1 - beyond) / n)
