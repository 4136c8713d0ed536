"""Sums of independent rewards against enumeration, closed families and their parts in mpmath."""

import itertools
import math

import numpy as np
import pytest

from tests.oracles import close, exact, precisely
from tests.unit.laws.definitions import CURVES, assert_right, closed_form, name
from tests.unit.laws.exactly import curves_from
from tiltz.errors import InputError
from tiltz.laws import (
    Affine,
    Beta,
    Binomial,
    Categorical,
    Constrained,
    Exponential,
    Gamma,
    Gumbel,
    Laplace,
    Normal,
    StudentT,
    Sum,
    TwoPoint,
    check_law,
)

SUMS = [
    Sum([TwoPoint(0.1)]),
    Sum([TwoPoint(0.1), Normal(1, 2)]),
    Sum([Beta(2.0, 5.0), Exponential(4.0), Laplace(0.0, 0.1)], n_copies=[2, 3, 1]),
    Sum([TwoPoint(0.3, -1.0, 0.5)], n_copies=12),
    Sum([Sum([Gamma(0.2, 1.0)], n_copies=2), Normal(-4.0, 0.1)], n_copies=2),
]


def in_mpmath(law, t):
    if isinstance(law, Sum):
        return sum(n * in_mpmath(part, t) for n, part in zip(law.n_copies, law.laws, strict=True))
    return closed_form(law, t)


@pytest.mark.parametrize("law", SUMS, ids=name)
@pytest.mark.parametrize("beta", [1e-3, 0.05, 0.4, 3.0, 1e8])
def test_curves_are_sums_over_the_parts(law, beta):
    if beta > 1.02 * law.beta_min:
        assert_right(law, beta, curves_from(lambda t: in_mpmath(law, t), beta))


@pytest.mark.parametrize("law", SUMS, ids=name)
def test_sums_keep_their_promises(law):
    check_law(law)


@pytest.mark.parametrize("beta", [0.02, 0.7, 1e8])
def test_a_sum_is_the_enumeration_of_all_outcomes(beta):
    first, second = Categorical([0.2, 0.8], [0, 3]), Categorical([0.5, 0.25, 0.25], [-1, 0, 2])
    pairs = [*itertools.product(range(2), range(3))]
    prob = [first.prob[i] * second.prob[j] for i, j in pairs]
    reward = [first.reward[i] + second.reward[j] for i, j in pairs]
    assert_right(Sum([first, second]), beta, exact(prob, reward, beta))


@pytest.mark.parametrize("beta", [0.1, 0.6, 1e6])
def test_copies_are_the_textbooks(beta):
    pairs = [
        (Sum([TwoPoint(0.3)], n_copies=7), Binomial(7, 0.3)),
        (Sum([Normal(1, 2)], n_copies=4), Normal(4, 4)),
        (Sum([Exponential(30)], n_copies=3), Gamma(3, 30)),
        (Affine(Sum([Normal(1, 2)], n_copies=16), scale=1 / 16), Normal(1, 0.5)),
    ]
    for found, wanted in pairs:
        for curve in CURVES:
            assert getattr(found, curve)(beta) == precisely(getattr(wanted, curve)(beta), rel=1e-12)


def test_an_infinite_part_makes_the_sum_infinite():
    law = Sum([Exponential(4.0), Laplace(7.0, 0.3), Normal()])
    assert law.beta_min == 0.3
    assert law.log_z(0.3) == law.soft_value(0.1) == math.inf
    assert math.isnan(law.kl(0.3))
    assert math.isfinite(law.log_z(0.3 * (1 + 1e-9)))
    assert Sum([StudentT(3.0), TwoPoint(0.5)]).log_z(1e8) == math.inf


def test_a_part_with_a_constraint():
    law = Sum([Constrained(Normal(), prob=0.5), TwoPoint(0.1)])
    assert law.mean == -math.inf
    assert law.kl_reverse(1.0) == math.inf
    assert law.log_z(1.0) == precisely(0.5 - math.log(2) + TwoPoint(0.1).log_z(1.0), rel=1e-14)
    assert law.reward_range == (-math.inf, math.inf)


@pytest.mark.parametrize("law", [*SUMS, Sum([Affine(Normal(), shift=-1e12), Normal()])], ids=name)
@pytest.mark.parametrize("beta", [1e-300, 1e-100, 1e100, 1e300])
def test_no_beta_warns_or_leaves_a_nan(law, beta):
    for curve in CURVES:
        value = getattr(law, curve)(beta)
        assert type(value) is float
        assert math.isnan(value) == (beta <= law.beta_min and curve not in ("log_z", "soft_value"))


@pytest.mark.parametrize("curve", CURVES)
def test_arrays_give_arrays(curve):
    betas = np.array([[0.3, 1.0], [2.0, 1e8]])
    for law in SUMS:
        if law.beta_min < 0.3:
            found = getattr(law, curve)(betas)
            assert found.shape == (2, 2)
            assert found[1, 0] == getattr(law, curve)(2.0)


def test_tilted_and_negated():
    law = Sum([TwoPoint(0.1), Exponential(4.0)], n_copies=[3, 1])
    tilted = law.tilted(0.5)
    assert tilted.log_z(1.0) == precisely(law.log_z(1 / 3) - law.log_z(0.5), rel=1e-13)
    assert close(tilted.mean, law.mean_reward(0.5))
    assert tilted.n_copies == (3, 1)
    both = Sum([TwoPoint(0.1), Normal(1, 2)])
    assert both.negated().log_z(0.5) == precisely(
        TwoPoint(0.9, -1, 0).log_z(0.5) + Normal(-1, 2).log_z(0.5), rel=1e-13
    )


def test_draws_have_the_mean_and_variance_of_the_sum():
    law = Sum([Exponential(0.5), TwoPoint(0.3)], n_copies=[2, 5])
    reward = law.sample((400, 250), np.random.default_rng(0))
    variance = 2 * 4 + 5 * 0.21
    assert abs(reward.mean() - 5.5) <= 4.89 * math.sqrt(variance / reward.size)
    # Fourth cumulants: 6 / rate^4 of an exponential, p q (1 - 6 p q) of a success.
    fourth = 2 * 6 * 16 + 5 * 0.21 * (1 - 6 * 0.21)
    assert abs(reward.var() - variance) <= 4.89 * math.sqrt((fourth + 2 * variance**2) / reward.size)


def test_sums_are_values():
    assert Sum([Normal()], n_copies=2) == Sum((Normal(),), n_copies=[2])
    assert len({Sum([Normal()]), Sum([Normal()], n_copies=1)}) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sum(Normal()), "laws must be a list of at least one law"),
        (lambda: Sum([]), r"at least one law, such as \[Normal\(0, 1\)\]; found \[\]"),
        (lambda: Sum([Normal(), 3]), "each of laws must be a law such as .* found 3"),
        (lambda: Sum([Normal()], n_copies=0), "each of n_copies must be a whole number of at least 1; found 0"),
        (lambda: Sum([Normal()], n_copies=1.5), "whole number of at least 1; found 1.5"),
        (lambda: Sum([Normal()], n_copies="two"), "each of n_copies must be a finite number; found 'two'"),
        (lambda: Sum([Normal()], n_copies=[1, 2]), "found 2 counts for 1 laws"),
        (lambda: Sum([Normal(), Laplace()]).tilted(3.0), r"found Laplace\(mean=0.0, scale=1.0\), whose tilt is not"),
        (lambda: Sum([Exponential(1.0)]).tilted(1.0), "beta must be above beta_min"),
        (lambda: Sum([Normal(), Gumbel()]).negated(), r"found Gumbel\(.*\), which cannot be negated"),
    ],
)  # fmt: skip
def test_messages(make, message):
    with pytest.raises(InputError, match=message):
        make()
