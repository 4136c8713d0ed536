"""Integrals of random mixtures and polynomials against closed forms and mpmath, and what must hold for any integral."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

from tiltz.errors import InputError
from tiltz.known import integrate

WHOLE = (-math.inf, math.inf)
DIGITS = 30
BETA = st.floats(-1, 3).map(lambda x: 10.0**x)
LOG_2_PI = math.log(2 * math.pi)
few = settings(max_examples=4)


@st.composite
def mixtures(draw, least_weight=1e-8, least_sd=1e-3):
    """Weights, means and standard deviations of one to four Gaussians."""
    n = draw(st.integers(1, 4))
    exponent = st.floats(math.log(least_weight), 0).map(math.exp)
    weight = np.array([1.0, *draw(st.lists(exponent, min_size=n - 1, max_size=n - 1))])
    mean = draw(st.lists(st.floats(-30, 30), min_size=n, max_size=n))
    log_sd = st.floats(math.log(least_sd), math.log(10))
    sd = np.exp(draw(st.lists(log_sd, min_size=n, max_size=n)))
    return weight / weight.sum(), np.array(mean), sd


def log_density(mixture):
    """The log-density of a mixture, computed in logs."""
    weight, mean, sd = mixture

    def at(y):
        score = np.log(weight / sd) - ((y[:, None] - mean) / sd) ** 2 / 2 - LOG_2_PI / 2
        top = score.max(axis=1)
        return top + np.log(np.exp(score - top[:, None]).sum(axis=1))

    return at


def integral(mixture, reward, beta, **options):
    """Integrate, and where mass is too narrow to be seen by itself and so was refused, name the means."""
    try:
        return integrate(log_density(mixture), reward, beta, domain=WHOLE, **options)
    except InputError as refusal:
        if "mass" not in str(refusal):
            raise
    return integrate(log_density(mixture), reward, beta, domain=WHOLE, breaks=sorted(mixture[1]), **options)


def within(known, truth, errors=1.0):
    """Whether limits around log Z, moved up by some errors less one, hold the truth."""
    moved = (errors - 1.0) * (known.hi[0, 0] - known.log_z[0, 0])
    slack = 1e-15 * abs(float(truth))
    return known.lo[0, 0] + moved - slack <= truth <= known.hi[0, 0] + moved + slack


def exactly(mixture, of_one):
    """log of the mean over parts of a function of mean and standard deviation, at 30 digits and more."""
    with mpmath.workdps(DIGITS + 20):
        parts = zip(*(map(mpmath.mpf, map(float, column)) for column in mixture), strict=True)
        weight = mpmath.fsum(map(mpmath.mpf, map(float, mixture[0])))
        return mpmath.log(mpmath.fsum(w * of_one(m, s) for w, m, s in parts) / weight)


def linear(beta):
    t = 1 / mpmath.mpf(beta)
    return lambda m, s: mpmath.exp(t * m + (t * s) ** 2 / 2)


def minus_absolute(beta):
    t = 1 / mpmath.mpf(beta)

    def side(m, s):
        return mpmath.exp(-t * m + (t * s) ** 2 / 2) * mpmath.ncdf(m / s - t * s)

    return lambda m, s: side(m, s) + side(-m, s)


def cosine(beta):
    """Jacobi and Anger: exp(t cos y) is the sum of Bessel's I_k(t) cos(k y)."""
    t = 1 / mpmath.mpf(beta)

    def of_one(m, s):
        total, k, term = mpmath.besseli(0, t), 1, mpmath.mpf(1)
        while term > mpmath.mpf(10) ** -(DIGITS + 15):
            term = 2 * mpmath.besseli(k, t) * mpmath.exp(-((k * s) ** 2) / 2)
            total, k = total + term * mpmath.cos(k * m), k + 1
        return total

    return of_one


REWARDS = {
    "linear": (lambda y: y, linear),
    "cos": (np.cos, cosine),
    "-abs": (lambda y: -np.abs(y), minus_absolute),
}
REWARD = st.sampled_from(sorted(REWARDS))


def by_quadrature(mixture, beta, reward, *, level, further=()):
    """log Z by mpmath at 30 digits, in pieces around every mode; ``level`` makes the integral about 1."""
    with mpmath.workdps(DIGITS):
        weight, mean, sd = ([mpmath.mpf(float(x)) for x in column] for column in mixture)
        total = mpmath.fsum(weight)

        def integrand(y):
            density = mpmath.fsum(
                w / s * mpmath.exp(-(((y - m) / s) ** 2) / 2)
                for w, m, s in zip(weight, mean, sd, strict=True)
            )
            return (
                density
                / total
                / mpmath.sqrt(2 * mpmath.pi)
                * mpmath.exp(reward(y) / mpmath.mpf(beta) - level)
            )

        steps = [k * sign for k in (1, 2, 4, 7, 11, 15) for sign in (-1, 1)]
        ends = {m + k * s for m, s in zip(mean, sd, strict=True) for k in [0, *steps]}
        ends |= {mpmath.mpf(x) for x in further if min(ends) < x < max(ends)}
        return level + mpmath.log(mpmath.quad(integrand, sorted(ends)))


@pytest.mark.parametrize("name", REWARDS)
def test_closed_forms_are_what_quadrature_says(name):
    mixture = np.array([0.7, 0.3]), np.array([-1.0, 2.0]), np.array([0.5, 1.5])
    rewards = {"linear": lambda y: y, "cos": mpmath.cos, "-abs": lambda y: -abs(y)}
    wanted = exactly(mixture, REWARDS[name][1](0.5))
    found = by_quadrature(mixture, 0.5, rewards[name], level=float(wanted), further=np.arange(-6.0, 7.0))
    assert abs(found - wanted) < 1e-20


@given(mixtures(), BETA, REWARD)
@settings(max_examples=12)
def test_a_mixture_of_gaussians_has_its_closed_form_within_the_error(mixture, beta, name):
    reward, truth = REWARDS[name]
    known = integral(mixture, reward, beta)
    wanted = exactly(mixture, truth(beta))
    assert within(known, wanted)
    assert not within(known, wanted, errors=3.0)  # sabotaged: limits that are elsewhere
    assert known.error[0, 0] < 1e-6


@given(mixtures(least_sd=0.05), BETA)
@settings(max_examples=3)
def test_a_mixture_is_what_quadrature_says(mixture, beta):
    known = integral(mixture, lambda y: np.cos(y) - np.abs(y) / 2, beta)
    truth = by_quadrature(
        mixture,
        beta,
        lambda y: mpmath.cos(y) - abs(y) / 2,
        level=float(known.log_z[0, 0]),
        further=np.pi * np.arange(-40, 41),
    )
    assert within(known, truth)
    assert not within(known, truth, errors=3.0)


@st.composite
def polynomials(draw):
    """Rewards of degree 2, 4 or 6 that fall without end on both sides."""
    degree = draw(st.sampled_from([2, 4, 6]))
    lower = draw(st.lists(st.floats(-3, 3), min_size=degree, max_size=degree))
    return Polynomial([*lower, -draw(st.floats(0.01, 2))])


def exponent(polynomial, mean, sd, beta):
    return polynomial / beta - Polynomial([-mean, 1.0]) ** 2 / (2 * sd**2)


def pieces(g):
    """Where to cut the integral of exp(g): around every maximum, to where nothing is left."""
    roots = g.deriv().roots()
    critical = np.unique(roots.real[np.abs(roots.imag) < 1e-6 * (1 + np.abs(roots.real))])
    top = np.max(g(critical))
    cuts = set(critical)
    for sign in (-1, 1):
        for at in critical:
            step = 1e-9
            while top - g(at + sign * step) < 100 and step < 1e4:
                if top - g(at + sign * step) > 0.2:
                    cuts.add(at + sign * step)
                step *= 1.5
            cuts.add(at + sign * step)
    return sorted(cuts)


def polynomial_log_z(polynomial, mean, sd, beta):
    """log Z of a normal reference and a polynomial reward, by mpmath at 30 digits."""
    cuts = pieces(exponent(polynomial, mean, sd, beta))
    with mpmath.workdps(DIGITS):
        coefficients = [mpmath.mpf(float(c)) for c in polynomial.coef[::-1]]

        def g(y):
            return mpmath.polyval(coefficients, y) / mpmath.mpf(beta) - ((y - mean) / mpmath.mpf(sd)) ** 2 / 2

        top = max(g(mpmath.mpf(float(c))) for c in cuts)
        total = mpmath.quad(lambda y: mpmath.exp(g(y) - top), cuts)
        return top + mpmath.log(total / (mpmath.mpf(sd) * mpmath.sqrt(2 * mpmath.pi)))


def normal(mean, sd):
    return lambda y: -(((y - mean) / sd) ** 2) / 2 - math.log(sd) - LOG_2_PI / 2


def test_the_truth_of_a_polynomial_is_right():
    beta, a, b = (
        0.5,
        0.75,
        -0.25,
    )  # E exp((a y + b y^2) / beta) = exp(t^2 / (2 v)) / sqrt(v), v = 1 - 2 b / beta
    v = 1 - 2 * b / beta
    wanted = (a / beta) ** 2 / (2 * v) - math.log(v) / 2
    assert abs(polynomial_log_z(Polynomial([0, a, b]), 0.0, 1.0, beta) - wanted) < 1e-15


@given(polynomials(), st.floats(-5, 5), st.floats(-2, 2).map(math.exp), BETA)
@few
def test_a_polynomial_is_what_quadrature_says(polynomial, mean, sd, beta):
    known = integrate(normal(mean, sd), polynomial, beta, domain=WHOLE)
    truth = polynomial_log_z(polynomial, mean, sd, beta)
    assert known.beta_min[0] == 0
    assert within(known, truth)
    assert not within(known, truth, errors=3.0)


def agree(one, other, moved=0.0):
    """Whether two answers are one up to their errors and rounding."""
    allowed = one.error + other.error + 1e-14 * (1 + np.abs(one.log_z))
    return bool(np.all(np.abs(one.log_z - other.log_z - moved) <= allowed))


@given(mixtures(least_sd=0.01), BETA, REWARD, st.floats(-50, 50))
@few
def test_a_shift_of_the_reward_moves_log_z_by_shift_over_beta(mixture, beta, name, shift):
    reward = REWARDS[name][0]
    one, moved = integral(mixture, reward, beta), integral(mixture, lambda y: reward(y) + shift, beta)
    assert abs(moved.log_z - one.log_z - shift / beta) <= one.error + moved.error + 1e-14 * abs(shift / beta)
    assert np.allclose(moved.kl, one.kl, rtol=1e-7, atol=1e-9 + 1e-13 * abs(shift / beta))
    assert not agree(one, moved, moved=-shift / beta + 1e-3)


@given(mixtures(least_sd=0.01), BETA, REWARD, st.floats(-8, 8).map(math.exp))
@few
def test_reward_and_beta_may_be_scaled_alike(mixture, beta, name, scale):
    reward = REWARDS[name][0]
    one = integral(mixture, reward, beta)
    scaled = integral(mixture, lambda y: scale * reward(y), scale * beta)
    assert agree(one, scaled)
    assert np.allclose(scaled.mean_reward, scale * one.mean_reward, rtol=1e-8, atol=1e-10 * scale)


@given(mixtures(least_sd=0.01), BETA, REWARD, st.floats(-100, 100), st.floats(-4, 4).map(math.exp))
@few
def test_a_change_of_variables_changes_nothing(mixture, beta, name, offset, scale):
    reward, (weight, mean, sd) = REWARDS[name][0], mixture
    one = integral(mixture, reward, beta)
    mapped = weight, offset - scale * mean, scale * sd
    other = integral(mapped, lambda y: reward((offset - y) / scale), beta)
    # The map itself rounds coordinates: what that moves, the closed form of either side would feel too.
    moved = 1e-15 * (abs(offset) + 30 * scale) / scale * (1 + np.abs(one.mean_reward) / sd.min() ** 2)
    assert np.all(np.abs(one.log_z - other.log_z) <= one.error + other.error + moved / beta + 1e-13)


@given(mixtures(least_sd=0.01), BETA, REWARD, st.floats(0.01, 0.99))
@few
def test_a_part_may_be_split_in_two(mixture, beta, name, share):
    weight, mean, sd = mixture
    split = np.append(share * weight, (1 - share) * weight), np.tile(mean, 2), np.tile(sd, 2)
    reward = REWARDS[name][0]
    assert agree(integral(mixture, reward, beta), integral(split, reward, beta))


@given(mixtures(), BETA, REWARD)
@few
def test_parts_join_to_the_whole(mixture, beta, name):
    """Z of a mixture is the mean of its parts' Z."""
    weight, mean, sd = mixture
    reward = REWARDS[name][0]
    parts = [integral((np.ones(1), mean[k : k + 1], sd[k : k + 1]), reward, beta) for k in range(len(weight))]
    scores = np.log(weight) + np.array([part.log_z[0, 0] for part in parts])
    joined = np.logaddexp.reduce(scores)
    whole = integral(mixture, reward, beta)
    allowed = whole.error[0, 0] + max(part.error[0, 0] for part in parts) + 1e-14 * (1 + abs(joined))
    assert abs(whole.log_z[0, 0] - joined) <= allowed
    assert not abs(whole.log_z[0, 0] - joined + 2.1 * allowed) <= allowed


@given(mixtures(least_sd=0.01), REWARD)
@few
def test_the_soft_value_falls_with_beta_and_what_is_never_negative_is_not(mixture, name):
    known = integral(mixture, REWARDS[name][0], np.geomspace(0.1, 1e4, 12))
    assert np.all(np.diff(known.soft_value[0]) <= 1e-9 * (1 + np.abs(known.soft_value[0, 1:])))
    assert np.all(np.diff(known.mean_reward[0]) <= 1e-9 * (1 + np.abs(known.mean_reward[0, 1:])))
    assert np.all(known.kl >= 0)
    assert np.all(known.kl_reverse >= 0)
    assert np.all(known.mean_reward >= known.soft_value - 1e-9 * (1 + np.abs(known.soft_value)))


RARE_SD = st.floats(math.log(0.01), 0).map(math.exp)


@given(RARE_SD, st.sampled_from([-15.0, 15.0]), st.floats(0.2, 5))
@few
def test_a_rare_mode_far_out_is_found(sd, at, beta):
    mixture = np.array([0.9999, 0.0001]), np.array([0.0, at]), np.array([1.0, sd])
    known = integrate(log_density(mixture), lambda y: y * np.sign(at), beta, domain=WHOLE)
    flipped = mixture[0], mixture[1] * np.sign(at), mixture[2]
    truth = exactly(flipped, linear(beta))
    assert within(known, truth)
    alone = exactly((np.ones(1), np.zeros(1), np.ones(1)), linear(beta))
    assert abs(truth - alone) > known.error[0, 0]  # without the mode, it would be noticed
