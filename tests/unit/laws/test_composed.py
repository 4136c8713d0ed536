"""Laws made of laws, stacks of laws, and laws as values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import exact, precisely
from tests.unit.laws.definitions import CURVES, LAWS
from tests.unit.laws.ones_own import Even
from tiltz import laws
from tiltz.laws import (
    Affine,
    Beta,
    Categorical,
    Exponential,
    Gamma,
    Law,
    LawStack,
    Mixture,
    Normal,
    NormalStack,
    TwoPoint,
    TwoPointStack,
    check_law,
)


def test_a_law_of_ones_own_can_be_mixed_and_moved():
    law = Mixture((0.5, 0.5), (Even(2.0), Affine(Even(1.0), shift=3.0, scale=0.5)))
    assert law.reward_range == (0.0, 3.5)
    check_law(law)
    check_law(Even(2.0))


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
