"""Sums over whole domains: known cases, mpmath, splitting into blocks, and what is refused."""

import math

import numpy as np
import pytest

from tests.oracles import exact, precisely
from tiltz import laws
from tiltz.errors import InputError
from tiltz.known import Known, from_laws, sum_over

CURVES = ("log_z", "mean_reward", "kl", "kl_reverse")
BETAS = [1e-300, 1e-3, 0.5, 2.0, 1e8]


def skewed(k):
    return np.log((k + 1.0) / 5050)


@pytest.mark.parametrize("block_size", [1, 7, 1000])
def test_blocks_change_nothing_and_divergences_keep_their_digits(block_size):
    known = sum_over(range(100), np.sqrt, BETAS, log_ref=skewed, block_size=block_size)
    for j, beta in enumerate(BETAS):
        wanted = exact([k + 1 for k in range(100)], np.sqrt(np.arange(100.0)), beta, digits=60)
        for curve in (*CURVES, "soft_value"):
            assert getattr(known, curve)[0, j] == precisely(wanted[curve], rel=1e-13), (curve, beta)
        assert abs(known.log_z[0, j] - float(wanted["log_z"])) <= known.error[0, j]


def test_a_million_outcomes_match_the_closed_form():
    known = sum_over(range(10**6), lambda k: k / 1e6, 0.1)
    wanted = math.log(math.expm1(10.0) / (1e6 * math.expm1(1e-5)))
    assert known.log_z[0, 0] == pytest.approx(wanted, abs=1e-13)
    assert known.n.tolist() == [10**6]


def test_forbidden_outcomes_take_their_mass_out():
    def reward(k):
        return np.where(k % 2 == 0, k, -np.inf)

    known = sum_over(range(10), reward, [0.7, 1e8], block_size=3)
    inner = sum_over(range(0, 10, 2), lambda k: k, [0.7, 1e8])
    assert np.allclose(known.log_z, inner.log_z - math.log(2), rtol=1e-15)
    assert np.allclose(known.kl, inner.kl + math.log(2), rtol=1e-15)
    assert np.all(known.kl_reverse == np.inf)
    assert np.allclose(known.ess, inner.ess, rtol=1e-12)
    nothing = sum_over(range(3), lambda k: np.full(len(k), -np.inf), 1.0)
    assert nothing.log_z[0, 0] == -np.inf
    assert np.isnan(nothing.kl[0, 0])


def test_words_arrays_and_ready_blocks_are_domains_too():
    wanted = float(sum_over(range(3), lambda k: k, 1.0))
    assert float(sum_over(["a", "bb", ""], lambda words: [len(word) for word in words], 1.0)) == wanted
    assert float(sum_over(np.eye(3), lambda rows: rows @ [0, 1, 2], 1.0)) == wanted
    blocks = [np.array([2]), [], np.array([0, 1])]
    assert float(sum_over(iter(blocks), lambda k: k, 1.0, in_blocks=True)) == wanted


def test_progress_counts_outcomes():
    told = []
    sum_over(range(10), lambda k: k, 1.0, block_size=4, progress=told.append)
    assert told == [4, 8, 10]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sum_over([], len, 1.0), "found none among 0 outcomes"),
        (lambda: sum_over(7, lambda k: k, 1.0), "outcomes must be an iterable"),
        (lambda: sum_over(range(3), lambda k: k, -1.0), "beta must be positive"),
        (lambda: sum_over(range(3), lambda k: 1.0, 1.0), r"one number for each outcome .* found shape \(\)"),
        (
            lambda: sum_over(range(9), lambda k: np.where(k == 5, np.nan, 0), 1.0, block_size=2),
            "for outcome 5",
        ),
        (lambda: sum_over(range(3), lambda k: k, 1.0, log_ref=lambda k: np.log(k + 1.0)), "have mass 6"),
        (lambda: sum_over(range(3), lambda k: k, 1.0, block_size=0), "block_size must be a positive"),
    ],
)
def test_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_an_unnormalised_reference_can_be_renormalised():
    known = sum_over(range(3), lambda k: k, 1.0, log_ref=lambda k: np.log(k + 1.0), renormalise=True)
    assert float(known) == precisely(exact([1, 2, 3], [0, 1, 2], 1)["log_z"], rel=1e-14)


# Laws as results, and the result itself


def test_laws_are_prompts():
    known = from_laws([laws.Normal(0, 1), laws.Exponential(1), laws.StudentT(3)], [0.5, 2.0], prompt="nes")
    assert isinstance(known, Known)
    assert known.log_z[0].tolist() == [2.0, 0.125]
    assert known.log_z[1].tolist() == [np.inf, pytest.approx(math.log(2))]
    assert known.beta_min.tolist() == [0.0, 1.0, np.inf]
    assert known.reason[1].tolist()[1] == ""
    assert "at and below beta = 1" in known.reason[1, 0]
    assert "every beta" in known.reason[2, 1]
    assert np.isnan(known.mean_reward[1, 0])
    with pytest.raises(InputError, match="3 laws and 1 labels"):
        from_laws([laws.Normal()] * 3, 1.0, prompt=["a"])
    with pytest.raises(InputError, match="found 'normal'"):
        from_laws(["normal"], 1.0)


def test_a_log_z_beyond_the_floats_is_not_an_infinite_z():
    known = sum_over(range(2), lambda k: 1e10 * k, 1e-305)
    assert known.log_z[0, 0] == np.inf
    assert known.reason[0, 0] == ""
    assert known.mean_reward[0, 0] == pytest.approx(1e10)
    assert known.soft_value[0, 0] == pytest.approx(1e10)


def test_the_summary_prints_no_digit_beyond_the_error():
    beta, curve = np.array([1.0]), np.array([[5.91910016]])
    rough = Known.of(beta=beta, log_z=curve, mean_reward=curve, kl=curve, kl_reverse=curve, error=2e-3)
    assert " 5.92 " in rough.summary()
    assert "5.91" not in rough.summary()
    assert (rough.lo, rough.hi) == (pytest.approx(5.91710016), pytest.approx(5.92110016))
    assert {"kl", "error", "reason", "beta_min"} <= set(rough.to_dict())
    assert len(rough.to_pandas()) == 1
    infinite = from_laws(laws.StudentT(3), 1.0)
    assert "infinite at every beta" in " ".join(infinite.summary().split())
