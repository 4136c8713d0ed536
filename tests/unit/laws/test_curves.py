"""Curves of laws against their definitions, by sums and integrals, and against closed forms at 80 digits and more."""

import mpmath
import numpy as np
import pytest

from tests.oracles import precisely
from tests.unit.laws.definitions import (
    CURVES,
    LAWS,
    assert_right,
    closed_form,
    curves_of,
    name,
    truth,
    unconstrained,
)
from tiltz.laws import Beta, DirichletLog, Geometric, Gumbel, Logistic, Poisson, TruncatedNormal, VonMisesCos


@pytest.mark.parametrize("law", LAWS, ids=name)
def test_curves_are_the_integrals(law):
    # A sum over counts is as long as their tilted mean.
    beta = max(0.5 if isinstance(law, Poisson) else 0.05, 1.1 * law.beta_min)
    assert_right(law, beta, truth(law, beta, 20))


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=name)
def test_curves_are_the_integrals_at_larger_betas(law):
    beta = 1.0 + 3 * law.beta_min
    assert_right(law, beta, truth(law, beta, 24))
    assert_right(law, 1e8, truth(law, 1e8, 40))


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


@pytest.mark.parametrize(
    "law",
    [
        Poisson(1e-200),
        Geometric(0.999999),
        TruncatedNormal(0.0, 1.0, low=1000.0),
        TruncatedNormal(1e3, 1.0, low=-1.0, high=1.0),
        TruncatedNormal(0.0, 1.0, low=-1e-6, high=1e-6),
        VonMisesCos(1e-9),
        VonMisesCos(1e4),
        DirichletLog((1e-3, 1e3), (-1e-4, 0.5)),
        DirichletLog((1000.0, 0.001, 30.0), (2.0, 1e-3, 0.0)),
    ],
    ids=name,
)
@pytest.mark.parametrize("beta", [1e-3, 0.02, 0.3, 1.0, 7.0, 1e3, 1e7, 1e12])
def test_extreme_parameters_keep_their_digits(law, beta):
    if beta <= 1.02 * law.beta_min:
        assert law.log_z(beta) == np.inf or beta > law.beta_min
        return
    with mpmath.workdps(400 if isinstance(law, Poisson | TruncatedNormal) else 120):
        t = 1 / mpmath.mpf(beta)
        step = mpmath.mpf(10) ** -30 * t
        mean_reward = (closed_form(law, t + step) - closed_form(law, t - step)) / (2 * step)
        wanted = curves_of(t, closed_form(law, t), mean_reward, closed_form(law, step) / step)
    assert_right(law, beta, wanted)


@pytest.mark.parametrize("law", [Logistic(0.0, 1.0), Gumbel(0.0, 1.0), Geometric(0.3)], ids=name)
@pytest.mark.parametrize("excess", [1e-12, 1e-6, 0.01, 0.5, 0.999, 1.0, 1.001])
def test_nothing_is_lost_near_the_smallest_beta(law, excess):
    beta = law.beta_min * (1.0 + excess)
    with mpmath.workdps(60):
        t = 1 / mpmath.mpf(beta)
        step = mpmath.mpf(10) ** -25
        mean_reward = (closed_form(law, t + step) - closed_form(law, t - step)) / (2 * step)
        wanted = curves_of(t, closed_form(law, t), mean_reward, closed_form(law, step) / step)
    for curve in CURVES:
        assert getattr(law, curve)(beta) == precisely(wanted[curve], rel=1e-12 + 2e-15 / excess), curve
