"""Normalisers of several states and of both ends of a tilt: against pymbar, closed forms, and refusals."""

import importlib
import logging
import math
import warnings

import numpy as np
import pytest
from scipy import integrate

import tiltz
from tests.oracles import covered_between
from tiltz.errors import InputError, OverlapError


def normals(n, step, rng, wider=0.1):
    """Unnormalised normal densities, means a step apart, and rows of each: log Z_k = log sd_k + constant."""
    mean, sd = step * np.arange(len(n)), 1 + wider * np.arange(len(n))
    rows = np.concatenate([rng.normal(m, s, size) for m, s, size in zip(mean, sd, n, strict=True)])
    return -0.5 * ((rows - mean[:, None]) / sd[:, None]) ** 2, np.log(sd / sd[0])


@pytest.fixture(scope="module")
def pymbar():
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield importlib.import_module("pymbar")  # which says at length that it lacks another package
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("n", "step"),
    [((50, 50), 1.0), ((300, 20), 2.0), ((30, 50, 0, 80), 0.7), ((200,) * 8, 1.5), ((40, 400, 4), 0.5)],
)
def test_agrees_with_pymbar(pymbar, n, step):
    log_density, _ = normals(n, step, np.random.default_rng(0))
    found = tiltz.mbar(log_density, n)
    other = pymbar.MBAR(-log_density, n, solver_protocol="robust")
    theirs = other.compute_free_energy_differences()
    for k in range(len(n)):
        np.testing.assert_allclose(found.log_z - found.log_z[k], -theirs["Delta_f"][k], rtol=0, atol=1e-8)
        errors = [found.difference(j, k)[1] for j in range(len(n))]
        np.testing.assert_allclose(errors, theirs["dDelta_f"][k], rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.overlap, other.compute_overlap()["matrix"], rtol=0, atol=1e-8)


def test_constants_shift_the_normalisers_and_the_order_of_rows_is_free():
    rng = np.random.default_rng(1)
    n = (40, 60, 50)
    log_density, _ = normals(n, 1.0, rng)
    found = tiltz.mbar(log_density, n)
    constants = np.array([0.0, 1e4, -3e3])
    mixed = rng.permutation(150)
    other = tiltz.mbar(log_density[:, mixed] + constants[:, None] - 1e5, n)
    np.testing.assert_allclose(other.log_z, found.log_z + constants, rtol=0, atol=1e-7)
    np.testing.assert_allclose(other.covariance, found.covariance, rtol=1e-6, atol=1e-12)
    assert found.standard_error[0] == 0
    np.testing.assert_allclose(found.overlap.sum(axis=1), 1.0, rtol=1e-10)


def test_errors_are_those_of_repeated_draws():
    rng, n, replications = np.random.default_rng(2), (60, 60, 60), 400
    z, truth = [], None
    for _ in range(replications):
        log_density, truth = normals(n, 1.5, rng)
        found = tiltz.mbar(log_density, n)
        z.append((found.log_z[2] - truth[2]) / found.standard_error[2])
    held = np.count_nonzero(np.abs(z) <= 1.96)
    least, most = covered_between(0.95, replications)
    assert least <= held <= most
    # Twin: errors half as large do not pass.
    assert not least <= np.count_nonzero(np.abs(z) <= 1.96 / 2) <= most


def tilted_pair(kl, n, rng):
    s = math.sqrt(2 * kl)
    rows = np.concatenate([rng.normal(0, 1, n), rng.normal(s, 1, n)])
    return np.stack([-(rows**2) / 2, -(rows**2) / 2 + s * rows])


def test_without_overlap_there_is_no_answer():
    """The ends of a log Z of 200: an equation has a solution far below, and effective sizes look healthy."""
    rng = np.random.default_rng(3)
    ends = tilted_pair(200.0, 512, rng)
    with pytest.raises(OverlapError, match=r"state . overlaps with its nearest by"):
        tiltz.mbar(ends, (512, 512))
    s = 20.0
    est = tiltz.bridge(
        tiltz.Outcomes.sampled(s * rng.normal(size=(2, 512))),
        tiltz.Outcomes.sampled(s * rng.normal(s, size=(2, 512)), drawn_from="tilted"),
        beta=1.0,
    )
    assert np.isnan(est.log_z).all()
    assert est.kind.tolist() == [["lower-only"], ["lower-only"]]
    assert est.flags[0, 0] == ("no_overlap",)
    assert np.all((est.lo < 200) & np.isposinf(est.hi))
    # States in between make it known.
    means = np.linspace(0, s, 21)
    rows = np.concatenate([rng.normal(m, 1, 200) for m in means])
    chain = tiltz.mbar(-(rows**2) / 2 + means[:, None] * rows, [200] * 21)
    value, error = chain.difference(20, 0)
    assert abs(value - 200) < 4.89 * error < 3


@pytest.mark.parametrize("kl", [4.5, 8.0])
def test_honest_pairs_are_answered(kl):
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(300):
        try:
            tiltz.mbar(tilted_pair(kl, 512, rng), (512, 512))
        except OverlapError:
            refused += 1
    assert refused == 0  # of 300, which has a probability of 0.05 if 1% are refused


def optimal_error(s, n_start, n_end):
    """The asymptotic error of the optimal bridge between N(0, 1) and N(s, 1), by quadrature."""

    def common(x):
        one, two = (math.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (0, s))
        return n_start * one * n_end * two / (n_start * one + n_end * two)

    total = integrate.quad(common, -12, 12 + s, epsabs=1e-13)[0]
    return math.sqrt(1 / total - 1 / n_start - 1 / n_end)


def test_bridge_is_mbar_of_two_states_and_has_the_known_error():
    s, n_start, n_end, replications = 2.0, 200, 120, 1000
    rng = np.random.default_rng(5)
    start, end = rng.normal(size=(replications, n_start)), rng.normal(s, size=(replications, n_end))
    beta = 0.5
    est = tiltz.bridge(
        tiltz.Outcomes.sampled(s * beta * start),
        tiltz.Outcomes.sampled(s * beta * end, drawn_from="tilted"),
        beta,
    )
    for i in range(3):
        rows = np.concatenate([start[i], end[i]])
        both = tiltz.mbar([-(rows**2) / 2, -(rows**2) / 2 + s * rows], [n_start, n_end])
        assert est.log_z[i, 0] == pytest.approx(both.log_z[1], abs=1e-10)
        half = 1.959963984540054 * both.standard_error[1]
        assert est.hi[i, 0] - est.log_z[i, 0] == pytest.approx(half, rel=1e-8)
    truth, error = s**2 / 2, optimal_error(s, n_start, n_end)
    z = (est.log_z[:, 0].mean() - truth) / (error / math.sqrt(replications))
    assert abs(z) < 4.89
    # A sample variance has a relative error of sqrt(2 / R).
    assert abs(est.log_z.var() / error**2 - 1) < 4.89 * math.sqrt(2 / replications)
    least, most = covered_between(0.95, replications)
    assert least <= np.count_nonzero((est.lo <= truth) & (truth <= est.hi)) <= most
    assert set(est.kind[:, 0]) == {"approximate"}


def test_hard_constraints():
    """A reward of -inf with probability 1/2 and else 0: Z = 1/2 at every beta."""
    rng = np.random.default_rng(6)
    rewards = np.where(rng.random(4000) < 0.5, 0.0, -np.inf)
    zeros = tiltz.Outcomes.sampled(np.zeros(1000), drawn_from="tilted")
    est = tiltz.bridge(tiltz.Outcomes.sampled(rewards), zeros, 1.0)
    assert est.log_z[0, 0] == pytest.approx(math.log(np.mean(rewards == 0)), abs=1e-10)
    none = tiltz.bridge(tiltz.Outcomes.sampled([-np.inf] * 30), zeros, 1.0)
    assert np.isnan(none.log_z[0, 0])
    assert none.lo[0, 0] == -np.inf


def test_what_cannot_be_bridged_is_refused():
    plain = tiltz.Outcomes.sampled([0.0, 1.0])
    tilted = tiltz.Outcomes.sampled([0.0, 1.0], drawn_from="tilted")
    for one, two, message in [
        (plain, plain, "tilted= was drawn from the reference"),
        (tilted, tilted, "reference= was drawn from the tilted"),
        (plain, tiltz.Outcomes.sampled([-np.inf], drawn_from="tilted"), "never draws an outcome of reward -inf"),
        (plain, tiltz.Outcomes.sampled([1.0], prompt=["b"], drawn_from="tilted"), "is in only one"),
        (tiltz.Outcomes.sampled([1.0], log_ref=[-1.0], log_proposal=[-1.0]), tilted, "found importance weights"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=message):
            tiltz.bridge(one, two, 1.0)
    with pytest.raises(InputError, match="one beta"):
        tiltz.bridge(plain, tilted, [1.0, 2.0])


@pytest.mark.parametrize(
    ("log_densities", "n", "message"),
    [
        ([0.0, 1.0], [2], "shape .n_states, n_rows."),
        ([[0.0, 1.0]], [1], "must sum to the number of rows, 2"),
        ([[0.0, 1.0]], [2, 0], "of the 1 states"),
        ([[0.0, np.nan]], [2], "for state 0 in row 1"),
        ([[0.0, -np.inf], [1.0, 1.0]], [2, 0], "row 1 is impossible under all"),
    ],
)
def test_malformed_states_are_refused(log_densities, n, message):
    with pytest.raises(InputError, match=message):
        tiltz.mbar(log_densities, n)
