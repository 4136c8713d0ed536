"""Differences that cancel: of elementary functions near 0, and of the digamma and trigamma functions."""

import mpmath
import numpy as np
import pytest

from tests.oracles import precisely
from tiltz.laws import polygamma
from tiltz.laws import series as differences


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


@pytest.mark.parametrize("x", [1e-8, 0.01, 0.5, 3.0, 20.0, 1e5, 1e20])
@pytest.mark.parametrize("step", [1e-10, 1e-3, 0.5, 7.0, 300.0, 1e8, 1e30])
def test_steps_of_digamma_and_trigamma(x, step):
    with mpmath.workdps(90):
        near, far = mpmath.mpf(x), mpmath.mpf(x) + mpmath.mpf(step)
        digamma, trigamma = mpmath.psi(0, far) - mpmath.psi(0, near), mpmath.psi(1, near) - mpmath.psi(1, far)
    x, step = np.array([x]), np.array([step])
    assert polygamma.digamma_step(x, step)[0] == precisely(digamma, rel=2e-15)
    assert polygamma.trigamma_step(x, step)[0] == precisely(trigamma, rel=2e-15)
