"""Laws of the negated reward, and negative scales."""

import mpmath
import numpy as np
import pytest

from tests.oracles import precisely
from tests.unit.laws.definitions import LAWS, assert_right, closed_form, curves_of, name
from tiltz.errors import InputError
from tiltz.laws import (
    Affine,
    Constrained,
    Exponential,
    Gamma,
    LogQuantile,
    Mixture,
    Normal,
    Poisson,
    StudentT,
    TwoPoint,
    check_law,
)


def negates(law):
    try:
        return hasattr(law, "negated") and law.negated() is not None
    except InputError:
        return False


NEGATED = [law for law in LAWS if negates(law)]


def test_most_laws_can_be_negated():
    kinds = {type(law).__name__ for law in LAWS} - {type(law).__name__ for law in NEGATED}
    assert kinds == {"Binomial", "Constrained", "Gamma", "Geometric", "Gumbel", "NegativeBinomial", "Poisson"}


@pytest.mark.parametrize("law", NEGATED, ids=name)
def test_log_z_of_the_negated_reward_is_that_of_a_negative_beta(law):
    negated = law.negated()
    for beta in (1e-3, 0.3, 5.0, 1e6):
        if beta <= 1.02 * negated.beta_min:
            continue
        with mpmath.workdps(90):
            t = 1 / mpmath.mpf(beta)
            step = mpmath.mpf(10) ** -25 * t
            slope = (closed_form(law, step - t) - closed_form(law, -step - t)) / (2 * step)
            wanted = curves_of(t, closed_form(law, -t), -slope, closed_form(law, -step) / step)
        assert_right(negated, beta, wanted)
        assert_right(Affine(law, shift=0.5, scale=-2.0), 2.0 * beta, _shifted(wanted, beta))


def _shifted(wanted, beta):
    log_z = wanted["log_z"] + 0.25 / mpmath.mpf(beta)
    return wanted | {
        "log_z": log_z,
        "soft_value": 2 * beta * log_z,
        "mean_reward": 0.5 + 2 * wanted["mean_reward"],
    }


@pytest.mark.parametrize("law", NEGATED, ids=name)
def test_a_negated_law_is_a_law(law):
    check_law(Affine(law, scale=-1.0))
    low, high = law.reward_range
    assert law.negated().reward_range == (-high, -low)
    assert Affine(law, shift=1.0, scale=-1.0).negated() == Affine(law, shift=-1.0, scale=1.0)


def test_a_tiny_rate_survives_negation():
    law = Affine(TwoPoint(1e-30), scale=-1.0)
    assert law.kl_reverse(1e9) == precisely(0.5e-48, rel=1e-8)
    assert law.mean == -1e-30


def test_an_exponential_turned_over_is_a_log_quantile():
    assert Exponential(2.0).negated() == LogQuantile(2.0)
    assert LogQuantile(2.0).negated() == Exponential(2.0)
    assert Affine(StudentT(3.0, 1.0), scale=-1.0).log_z(5.0) == np.inf


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Affine(Poisson(3), scale=-1), r"negative scale needs a law .* found Poisson\(mean=3.0\)"),
        (lambda: Affine(Mixture([0.5, 0.5], [Normal(), Gamma(2)]), scale=-1), r"found Gamma\(shape=2.0"),
        (lambda: Affine(Affine(Gamma(2)), scale=-1), r"found Gamma\(shape=2.0"),
        (lambda: Affine(Constrained(Normal(), 0.5), scale=-1), "cannot be negated"),
    ],
)
def test_what_cannot_be_negated_says_so(make, message):
    with pytest.raises(InputError, match=message):
        make()
