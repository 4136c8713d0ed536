"""Shapes of results, small and large betas, and where Z is infinite."""

import math

import numpy as np
import pytest

from tests.oracles import precisely
from tests.unit.laws.definitions import BOUNDED, CURVES, LAWS, name, unconstrained
from tiltz.laws import (
    Affine,
    Beta,
    Constrained,
    DirichletLog,
    Exponential,
    Gamma,
    Geometric,
    Gumbel,
    Laplace,
    Logistic,
    LogQuantile,
    Mixture,
    NegativeBinomial,
    Normal,
    StudentT,
    student_t_log_quadratic,
)


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
        slack = 0.0 if law.mean else 1e-11
        assert law.soft_value(1e12) == pytest.approx(law.mean, rel=1e-9, abs=slack)
        assert law.mean_reward(1e12) == pytest.approx(law.mean, rel=1e-9, abs=slack)
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
        (Geometric(0.5), 1 / math.log(2)),
        (NegativeBinomial(3.0, 0.1), 1 / math.log(10)),
        (Logistic(7.0, 0.3), 0.3),
        (Gumbel(7.0, 0.3), 0.3),
        (LogQuantile(2.0), 0.0),
        (Affine(LogQuantile(2.0), scale=-3.0), 1.5),
        (Affine(Exponential(2.0), scale=-3.0), 0.0),
        (student_t_log_quadratic(5.0), 0.4),
        (DirichletLog((1.0, 2.0), (-0.5, 3.0)), 0.5),
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
    beta = beta[np.isfinite(law.kl(beta))]
    for curve in ("soft_value", "mean_reward"):
        values = getattr(law, curve)(beta)
        assert np.all(np.diff(values) <= 1e-13 * np.max(np.abs(values)))
    assert np.all(np.diff(law.kl(beta)) <= 1e-13 * law.kl(beta)[0])
