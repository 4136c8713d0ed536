"""Quantile rewards against enumeration, divided differences in mpmath, and draws of reference sets."""

import itertools
import math
from typing import Any

import mpmath
import numpy as np
import pytest

from tests.oracles import close, exact, precisely
from tests.unit.laws.definitions import CURVES, assert_right
from tiltz.errors import InputError
from tiltz.laws import Categorical, QuantileReward, Uniform, check_law
from tiltz.laws.quantile_counts import log_binomial

TIES = ("at-most", "below", "mid-rank")
BETAS = [1e-3, 0.01, 0.1, 0.5, 3.0, 100.0, 1e8]


def rank(ties, below, tied, m):
    return mpmath.mpf(below + {"at-most": 1, "below": 0, "mid-rank": mpmath.mpf(0.5)}[ties] * tied) / m


def enumerated(m, prob, ties):
    """Mass of every quantile, over all sequences of m references and one more outcome."""
    prob = [mpmath.mpf(p) for p in prob]
    total = mpmath.fsum(prob)
    masses: dict = {}
    for drawn in itertools.product(range(len(prob)), repeat=m + 1):
        one, references = drawn[0], drawn[1:]
        below, tied = sum(k < one for k in references), sum(k == one for k in references)
        q = rank(ties, below, tied, m)
        masses[q] = masses.get(q, 0) + mpmath.fprod(prob[k] / total for k in drawn)
    return [*masses.values()], [*masses]


@pytest.mark.parametrize("m", [1, 2, 3, 8, 300])
@pytest.mark.parametrize("beta", BETAS)
def test_without_ties_the_quantile_is_uniform_on_the_grid(m, beta):
    with mpmath.workdps(60):
        wanted = exact([1] * (m + 1), [mpmath.mpf(k) / m for k in range(m + 1)], beta, digits=60)
    assert_right(QuantileReward(m), beta, wanted)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize(
    ("m", "prob"), [(1, (0.5, 0.5)), (3, (0.75, 0.25)), (4, (0.125, 0.5, 0.375)), (5, (0.999, 0.001))]
)
@pytest.mark.parametrize("beta", BETAS)
def test_ties_are_the_enumeration_of_all_draws(m, prob, ties, beta):
    with mpmath.workdps(60):
        wanted = exact(*enumerated(m, prob, ties), beta, digits=60)
    assert_right(QuantileReward(m, prob, ties=ties), beta, wanted)


def counted(m, prob, ties):
    """The same by multinomials in mpmath, for many references."""
    prob = [mpmath.mpf(p) for p in prob]
    masses: dict = {}
    for j, p in enumerate(prob):
        low, high = mpmath.fsum(prob[:j]), mpmath.fsum(prob[j + 1 :])
        for below, tied in itertools.product(range(m + 1), repeat=2):
            if below + tied <= m:
                rest = m - below - tied
                ways = mpmath.factorial(m) / (
                    mpmath.factorial(below) * mpmath.factorial(tied) * mpmath.factorial(rest)
                )
                key = rank(ties, below, tied, m)
                masses[key] = masses.get(key, 0) + p * ways * low**below * p**tied * high**rest
    return [*masses.values()], [*masses]


@pytest.mark.parametrize("ties", TIES)
def test_many_references_with_ties(ties):
    m, prob = 60, (0.25, 0.6875, 0.0625)
    with mpmath.workdps(60):
        mass, quantile = counted(m, prob, ties)
        for beta in BETAS:
            assert_right(QuantileReward(m, prob, ties=ties), beta, exact(mass, quantile, beta, digits=60))


def test_a_top_quantile_that_almost_never_occurs_still_rules_a_small_beta():
    # All 400 references are below the better outcome once in 10^320 sets: a float has no such number.
    law = QuantileReward(400, (10**-0.8, 1 - 10**-0.8), ties="below")
    assert law.reward_range == (0.0, 1.0)
    assert law.soft_value(1e-6) == pytest.approx(1 - 1e-6 * 400 * 0.8 * math.log(10), abs=1e-6)


@pytest.mark.parametrize("m", [1, 2, 7, 50])
def test_many_small_atoms_are_no_ties(m):
    with_atoms = QuantileReward(m, np.full(4000, 1 / 4000), ties="mid-rank" if m < 8 else "at-most")
    assert with_atoms.log_z(0.3) == pytest.approx(QuantileReward(m).log_z(0.3), abs=2e-3)


def test_with_ties_many_references_give_each_value_its_own_share():
    limits = {"at-most": [0.75, 1.0], "below": [0.0, 0.75], "mid-rank": [0.375, 0.875]}
    for ties, quantile in limits.items():
        wanted = Categorical([0.75, 0.25], quantile).log_z(0.5)
        found = [QuantileReward(m, (0.75, 0.25), ties=ties).log_z(0.5) - wanted for m in (100, 200)]
        assert abs(found[1]) < 0.01
        assert found[1] == pytest.approx(found[0] / 2, rel=0.05, abs=1e-12)


def test_the_textbooks_constant_is_too_low_by_what_the_table_says():
    rows = {1: (0.0788, 1.6095, 3.9120), 3: (0.0271, 0.9527, 3.2189), 32: (0.0026, 0.1214, 1.1536)}
    for m, gaps in rows.items():
        for beta, gap in zip((1.0, 0.1, 0.01), gaps, strict=True):
            textbook = math.log(beta) + 1 / beta + math.log1p(-math.exp(-1 / beta))
            assert abs(QuantileReward(m).log_z(beta) - textbook - gap) < 6e-5
            assert f"{gap:.4f}" in (QuantileReward.__doc__ or "")
            assert Uniform().log_z(beta) == precisely(textbook, rel=1e-12)


# One frozen set of references


def spacings(m, beta):
    """Mean and variance of log Z over sets, by the Hermite-Genocchi formula: m! times a divided difference."""
    with mpmath.workdps(60 + m * (8 + max(0, int(math.log10(beta))))):
        t = 1 / mpmath.mpf(beta)
        c = [mpmath.exp(k * t / m) for k in range(m + 1)]
        h = mpmath.fsum(mpmath.mpf(1) / k for k in range(1, m + 1))
        h2 = mpmath.fsum(mpmath.mpf(1) / k**2 for k in range(1, m + 1))
        weight = [ck**m / mpmath.fprod(ck - cj for j, cj in enumerate(c) if j != k) for k, ck in enumerate(c)]
        log = [mpmath.log(ck) for ck in c]
        mean = mpmath.fsum(w * (x - h) for w, x in zip(weight, log, strict=True))
        square = mpmath.fsum(w * (x * x - 2 * h * x + h * h + h2) for w, x in zip(weight, log, strict=True))
        z = mpmath.fsum(c) / (m + 1)
        return mean, mpmath.sqrt(square - mean**2), mpmath.log(z) - mean


@pytest.mark.parametrize("m", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("beta", [1e-3, 0.01, 0.1, 0.5, 3.0, 100.0, 1e8])
def test_spread_over_reference_sets_is_a_divided_difference(m, beta):
    mean, sd, _ = spacings(m, beta)
    law = QuantileReward(m)
    assert law.log_z_mean(beta) == precisely(mean, rel=1e-12)
    assert law.log_z_sd(beta) == precisely(sd, rel=1e-12)


@pytest.mark.parametrize("beta", [0.05, 1.0, 1e6])
def test_how_far_the_mean_is_below_keeps_its_digits(beta):
    law = QuantileReward(5)
    below = law._spread(np.array([beta])).below[0]
    assert below == precisely(spacings(5, beta)[2], rel=1e-12)


@pytest.mark.parametrize("beta", [0.05, 0.7, 4.0])
def test_one_reference_by_hand(beta):
    # Z = U + (1 - U) a is uniform between 1 and a = exp(1 / beta).
    a = math.exp(1 / beta)
    mean = math.log(a) * a / (a - 1) - 1
    square = a * math.log(a) ** 2 / (a - 1) - 2 * mean
    assert QuantileReward(1).log_z_mean(beta) == pytest.approx(mean, rel=1e-13)
    assert QuantileReward(1).log_z_sd(beta) == pytest.approx(math.sqrt(square - mean**2), rel=1e-11)


def test_two_references_by_an_integral_over_the_simplex():
    beta = 0.2
    with mpmath.workdps(20):
        c = [mpmath.exp(k / (2 * mpmath.mpf(beta))) for k in range(3)]

        def moment(power) -> Any:
            def z(x, y):
                return x * c[0] + (1 - x) * (y * c[1] + (1 - y) * c[2])

            inner = lambda x: mpmath.quad(lambda y: mpmath.log(z(x, y)) ** power, [0, 1])  # noqa: E731
            return mpmath.quad(lambda x: 2 * (1 - x) * inner(x), [0, 1])

        mean = moment(1)
        sd = mpmath.sqrt(moment(2) - mean**2)
    assert QuantileReward(2).log_z_mean(beta) == precisely(mean, rel=1e-9)
    assert QuantileReward(2).log_z_sd(beta) == precisely(sd, rel=1e-9)


@pytest.mark.parametrize("m", [100, 3000])
def test_many_references_vary_as_a_mean_does(m):
    law, beta = QuantileReward(m), 2.0
    c = np.exp(np.arange(m + 1) / (m * beta))
    delta = math.sqrt((np.mean(c**2) / np.mean(c) ** 2 - 1) / (m + 2))
    assert law.log_z_sd(beta) == pytest.approx(delta, rel=2 / m)
    assert law.log_z_sd(1e8) == pytest.approx(math.sqrt((m + 2) / (12 * m) / (m + 2)) / 1e8, rel=1e-7)
    assert law.log_z(beta) - law.log_z_mean(beta) == pytest.approx(delta**2 / 2, rel=4 / m)


def simulated(m, beta, *, ties=None, prob=None, n=40_000, seed=0):
    """log Z of each of n frozen reference sets, by the definition."""
    rng = np.random.default_rng(seed)
    if prob is None:
        edges = np.sort(rng.random((n, m)), axis=1)
        share = np.diff(np.pad(edges, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))), axis=1)
        return np.log(share @ np.exp(np.arange(m + 1) / (m * beta)))
    drawn = rng.choice(len(prob), size=(n, m), p=prob)
    z = np.zeros(n)
    for j, p in enumerate(prob):
        below, tied = np.mean(drawn < j, axis=1), np.mean(drawn == j, axis=1)
        z += p * np.exp((below + {"at-most": 1.0, "below": 0.0, "mid-rank": 0.5}[ties] * tied) / beta)
    return np.log(z)


def far_off(law, beta, log_z):
    """Whether mean or sd of simulated log Z are beyond one false alarm in a million."""
    mean, sd, n = law.log_z_mean(beta), law.log_z_sd(beta), len(log_z)
    squares = (log_z - mean) ** 2
    off_mean = abs(log_z.mean() - mean) / (sd / math.sqrt(n))
    off_variance = abs(squares.mean() - sd**2) / (squares.std() / math.sqrt(n))
    return max(off_mean, off_variance) > 4.89


@pytest.mark.parametrize(("m", "beta"), [(1, 0.1), (3, 0.1), (8, 0.02), (16, 1.0)])
def test_simulated_reference_sets_agree(m, beta):
    assert not far_off(QuantileReward(m), beta, simulated(m, beta))
    assert far_off(QuantileReward(m + 1), beta, simulated(m, beta))


@pytest.mark.parametrize("ties", TIES)
def test_simulated_reference_sets_with_ties_agree(ties):
    m, prob, beta = 6, (0.5, 0.2, 0.3), 0.3
    drawn = simulated(m, beta, ties=ties, prob=prob)
    assert not far_off(QuantileReward(m, prob, ties=ties), beta, drawn)
    for other in {*TIES} - {ties}:
        assert far_off(QuantileReward(m, prob, ties=other), beta, drawn)


def over_sets(m, prob, ties, beta):
    """Mean and sd of log Z over all sequences of m references."""
    prob, t = [mpmath.mpf(p) for p in prob], 1 / mpmath.mpf(beta)
    masses, values = [], []
    for drawn in itertools.product(range(len(prob)), repeat=m):
        q = [rank(ties, sum(k < j for k in drawn), drawn.count(j), m) for j in range(len(prob))]
        masses.append(mpmath.fprod(prob[k] for k in drawn))
        values.append(mpmath.log(mpmath.fsum(p * mpmath.exp(t * x) for p, x in zip(prob, q, strict=True))))
    mean = mpmath.fsum(w * v for w, v in zip(masses, values, strict=True))
    return mean, mpmath.sqrt(mpmath.fsum(w * (v - mean) ** 2 for w, v in zip(masses, values, strict=True)))


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("beta", [0.01, 0.3, 5.0, 1e8])
@pytest.mark.parametrize(("m", "prob"), [(3, (0.75, 0.25)), (4, (0.5, 0.125, 0.375)), (1, (0.5, 0.5))])
def test_spread_with_ties_is_the_enumeration_of_all_sets(m, prob, ties, beta):
    law = QuantileReward(m, prob, ties=ties)
    with mpmath.workdps(40):
        mean, sd = over_sets(m, prob, ties, beta)
    assert law.log_z_mean(beta) == precisely(mean, rel=1e-12)
    # At m = 1 the weights of the two sets can be equal, and log Z the same.
    assert law.log_z_sd(beta) == pytest.approx(float(sd), rel=1e-11, abs=1e-15 * (1 + 1 / beta))


@pytest.mark.parametrize("law", [QuantileReward(3), QuantileReward(4, (0.5, 0.125, 0.375))], ids=str)
def test_the_mean_of_log_z_is_below_log_z(law):
    beta = np.geomspace(1e-3, 1e3, 25)
    assert np.all(law.log_z_mean(beta) < law.log_z(beta))


# Shapes, extremes, messages

ALL = [
    QuantileReward(1),
    QuantileReward(8),
    QuantileReward(2, [1.0]),
    *(QuantileReward(5, (0.6, 0.1, 0.3), ties=ties) for ties in TIES),
]


@pytest.mark.parametrize("law", ALL, ids=str)
def test_quantiles_keep_the_promises_of_a_law(law):
    check_law(law)


@pytest.mark.parametrize("law", ALL, ids=str)
@pytest.mark.parametrize("curve", [*CURVES, "log_z_mean", "log_z_sd"])
def test_shapes_and_extremes(law, curve):
    betas = np.array([[1e-300, 1e-100, 0.01], [1.0, 1e100, 1e300]])
    found = getattr(law, curve)(betas)
    assert found.shape == (2, 3)
    assert not np.any(np.isnan(found))
    for beta, value in zip(betas.ravel(), found.ravel(), strict=True):
        assert type(getattr(law, curve)(beta)) is float
        assert getattr(law, curve)(beta) == value
    assert getattr(law, curve)([]).shape == (0,)


def test_the_spread_at_a_huge_beta_is_not_lost():
    for law in (QuantileReward(3), QuantileReward(3, (0.75, 0.25))):
        assert law.log_z_sd(1e300) * 1e300 == precisely(law.log_z_sd(1e12) * 1e12, rel=1e-11)


def test_tilted_quantiles():
    law = QuantileReward(5, (0.6, 0.1, 0.3), ties="mid-rank")
    assert law.tilted(0.5).log_z(1.0) == precisely(law.log_z(1 / 3) - law.log_z(0.5), rel=1e-12)
    assert close(law.tilted(0.5).mean, law.mean_reward(0.5))


def test_draws_are_counts_among_references():
    rng, n, m = np.random.default_rng(4), 100_000, 4
    drawn = QuantileReward(m, (0.75, 0.25)).sample(n, rng)
    outcome, references = rng.random(n) < 0.25, rng.random((n, m)) < 0.25
    direct = np.mean(references <= outcome[:, None], axis=1)
    for value in np.unique(direct):
        p, q = np.mean(drawn == value), np.mean(direct == value)
        assert abs(p - q) <= 4.89 * math.sqrt(2 * q * (1 - q) / n)


def test_laws_are_values():
    assert QuantileReward(3, [0.75, 0.25]) == QuantileReward(3, (0.75, 0.0, 0.25), ties="at-most")
    assert len({QuantileReward(3), QuantileReward(3.0), QuantileReward(4)}) == 2
    assert repr(QuantileReward(3)) == "QuantileReward(n_reference=3, prob=None, ties='at-most')"


@pytest.mark.parametrize("n", [0, 1, 2, 5, 6, 2000])
@pytest.mark.parametrize(
    ("share", "rest"), [(0.5, 0.5), (0.25, 0.75), (1 - 2**-40, 2**-40), (1.0, 0.0), (0.0, 1.0)]
)
def test_log_binomial(n, share, rest):
    with np.errstate(divide="ignore", invalid="ignore"):
        found = log_binomial(n, share, rest)
    with mpmath.workdps(40):
        for k in {0, n // 3, n - 1, n} - {-1}:
            mass = mpmath.binomial(n, k) * mpmath.mpf(share) ** k * mpmath.mpf(rest) ** (n - k)
            wanted = float(mpmath.log(mass)) if mass else -math.inf
            assert found[k] == pytest.approx(wanted, rel=1e-14, abs=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantileReward(0), "n_reference must be a whole number of at least 1; found 0"),
        (lambda: QuantileReward(2.5), "n_reference must be a whole number of at least 1; found 2.5"),
        (lambda: QuantileReward("three"), "n_reference must be a finite number; found 'three'"),
        (lambda: QuantileReward(3, (0.5, 0.4)), "prob must sum to 1 within 1e-09; found 0.9"),
        (lambda: QuantileReward(3, 0.25), r"such as \(1 - p, p\); found 0.25"),
        (lambda: QuantileReward(3, (0.5, 0.5), ties="<="), "ties must be one of 'at-most', .* found '<='"),
        (lambda: QuantileReward(3).log_z_sd(0.0), "beta must be positive and finite; found 0"),
        (lambda: QuantileReward(40, np.full(9, 1 / 9)).log_z_sd(1.0), "111111 for 9 atoms; found 3.77e[+]08"),
    ],
)  # fmt: skip
def test_messages(make, message):
    with pytest.raises(InputError, match=message):
        make()
