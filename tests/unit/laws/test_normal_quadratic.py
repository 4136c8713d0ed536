"""Linear and quadratic rewards of normal variables against integrals and determinants in mpmath."""

import json
import math
from typing import Any

import mpmath
import numpy as np
import pytest

from tests.oracles import DATA, close, precisely
from tests.unit.laws.definitions import CURVES, assert_right, curves_of
from tests.unit.laws.exactly import curves_from
from tiltz.errors import InputError
from tiltz.laws import Affine, Constrained, Gamma, Normal, NormalQuadratic, Sum, check_law, normal_linear

COV = [[2.0, 0.5, 0.0], [0.5, 1.0, -0.25], [0.0, -0.25, 1.5]]
SINGULAR = [[1.0, 2.0], [2.0, 4.0]]
CASES = {
    "square": (0.0, 1.0, 0.2, 0.0, 0.0),
    "square off centre": (1.5, 2.0, -0.75, 0.5, 3.0),
    "distance": (0.0, 1.0, -1.0, 10.0, -25.0),
    "saddle": ([0.5, -1.0], [[1.0, 0.25], [0.25, 2.0]], [[0.25, 0.5], [0.5, -1.0]], [1.0, -2.0], 0.5),
    "diagonal": ([1.0, 2.0], [[4.0, 0.0], [0.0, 0.25]], [[-1.0, 0.0], [0.0, 0.125]], [0.0, 1.0], 0.0),
    "one row curved": ([0.0, 1.0, -1.0], COV, np.diag([-1.0, 0.0, 0.0]), [0.5, 0.25, -1.0], 0.0),
    "bowl": ([0.1, 0.2, -0.4], COV, -np.eye(3), [1.0, -2.0, 0.5], 1.0),
    "centred": ([0.0, 0.0], np.eye(2), [[0.5, 0.0], [0.0, -0.5]], [0.0, 0.0], 0.0),
}


def law_of(case):
    loc, cov, quadratic, linear, constant = case
    return NormalQuadratic(loc, cov, quadratic, linear=linear, constant=constant)


LAWS = {key: law_of(case) for key, case in CASES.items()}


def by_determinants(case):
    """log Z as a function of t, by completing the square of the whole exponent."""
    loc, cov, quadratic, linear, constant = case
    mean = mpmath.matrix(np.atleast_1d(loc).tolist())
    precision = mpmath.matrix(np.atleast_2d(cov).tolist()) ** -1
    a, b = (
        mpmath.matrix(np.atleast_2d(quadratic).tolist()),
        mpmath.matrix(np.atleast_1d(linear).tolist()),
    )

    def log_z(t):
        tilted = precision - 2 * t * a
        pull = precision * mean + t * b
        squares = (pull.T * tilted**-1 * pull)[0] - (mean.T * precision * mean)[0]
        return t * constant + squares / 2 - mpmath.log(mpmath.det(tilted) / mpmath.det(precision)) / 2

    return log_z


@pytest.mark.parametrize("key", CASES)
@pytest.mark.parametrize("beta", [1e-6, 0.01, 0.3, 0.7, 2.0, 30.0, 1e8])
def test_curves_are_the_determinants(key, beta):
    law = LAWS[key]
    if beta > 1.02 * law.beta_min:
        with mpmath.workdps(80):
            wanted = curves_from(by_determinants(CASES[key]), beta)
        assert_right(law, beta, wanted)


@pytest.mark.parametrize("key", ["square", "square off centre", "distance"])
def test_curves_are_the_integrals(key):
    loc, variance, quadratic, linear, constant = CASES[key]
    with mpmath.workdps(25):
        t = 1 / mpmath.mpf(2)
        sd = mpmath.sqrt(variance)

        def moment(t, power) -> Any:
            def term(y):
                reward = quadratic * y * y + linear * y + constant
                return mpmath.npdf(y, loc, sd) * reward**power * mpmath.exp(t * reward)

            return mpmath.quad(term, [-mpmath.inf, -4, 0, 2, 5, 9, mpmath.inf])

        z = moment(t, 0)
        wanted = curves_of(t, mpmath.log(z), moment(t, 1) / z, moment(0, 1))
    assert_right(LAWS[key], 2.0, wanted)


@pytest.mark.parametrize("law", [*LAWS.values(), NormalQuadratic([0, 0], SINGULAR, -np.eye(2))], ids=repr)
def test_the_law_keeps_its_promises(law):
    check_law(law)


def known(name):
    cases = json.loads((DATA / "known_cases.json").read_text(encoding="utf-8"))["cases"]
    return next(case for case in cases if case["name"] == name)


def test_known_cases():
    positive, boundary = known("normal_pos_quadratic_k0.4"), known("normal_pos_quadratic_boundary_diverges")
    linear = known("mvn3_linear")
    numbers = {key: np.array(value, dtype=float) for key, value in linear["params"].items()}
    pairs = [
        (positive, NormalQuadratic(0, 1, 0.2)),
        (linear, normal_linear(numbers["mu"], numbers["cov"], numbers["a"])),
        (linear, NormalQuadratic(numbers["mu"], numbers["cov"], np.zeros((3, 3)), linear=numbers["a"])),
    ]
    for case, law in pairs:
        for curve in ("log_z", "mean_reward", "kl", "kl_reverse"):
            assert close(getattr(law, curve)(case["beta"]), case[curve], 1e-12), (case["name"], curve)
    assert NormalQuadratic(0, 1, 0.5).log_z(boundary["beta"]) == math.inf
    assert NormalQuadratic(0, 1, 0.5).beta_min == boundary["beta"]


def test_a_path_of_fifty_steps():
    # The path starts at 0: step k is the sum of phi^(k - j) times the shock j.
    case, n = known("ar1_T50_linear"), 50
    lag = np.subtract.outer(np.arange(n), np.arange(n))
    shock = np.tril(case["params"]["phi"] ** np.maximum(lag, 0))
    for law in (
        normal_linear(np.zeros(n), shock @ shock.T, np.ones(n)),
        NormalQuadratic(np.zeros(n), shock @ shock.T, np.zeros((n, n)), linear=np.ones(n)),
    ):
        for curve in ("log_z", "mean_reward", "kl", "kl_reverse"):
            assert close(getattr(law, curve)(case["beta"]), case[curve], 1e-12), curve


def test_familiar_laws_are_special_cases():
    betas = np.array([1.3, 4.0, 1e8])
    pairs = [
        (NormalQuadratic(0, 2, 0.25), Gamma(0.5, 1.0)),
        (NormalQuadratic(np.zeros(6), np.eye(6), 0.5 * np.eye(6)), Gamma(3.0, 1.0)),
        (NormalQuadratic(1, 4, 0, linear=2, constant=-3), Normal(-1, 4)),
        (
            NormalQuadratic([0, 1], np.eye(2), np.diag([0.5, 0]), linear=[0, 1]),
            Sum([Gamma(0.5), Normal(1, 1)]),
        ),
    ]
    for found, wanted in pairs:
        for curve in CURVES:
            assert getattr(found, curve)(betas) == precisely(getattr(wanted, curve)(betas), rel=1e-12)


def test_only_the_symmetric_part_counts():
    skew = NormalQuadratic([0.5, -1.0], COV[0][:1] * np.eye(2), [[0.25, 2.0], [-1.0, -1.0]])
    even = NormalQuadratic([0.5, -1.0], COV[0][:1] * np.eye(2), [[0.25, 0.5], [0.5, -1.0]])
    assert skew.log_z(4.0) == even.log_z(4.0)


def test_a_singular_covariance_is_fewer_variables():
    # y = (x, 2 x) with x standard normal: y1^2 - y2^2 + y1 = -3 x^2 + x.
    found = NormalQuadratic([0, 0], SINGULAR, np.diag([1.0, -1.0]), linear=[1.0, 0.0])
    wanted = NormalQuadratic(0, 1, -3, linear=1)
    for curve in CURVES:
        assert getattr(found, curve)(0.2) == precisely(getattr(wanted, curve)(0.2), rel=1e-13)
    assert found.reward_range == pytest.approx((-math.inf, 1 / 12), rel=1e-13)
    still = NormalQuadratic([1, 1], np.zeros((2, 2)), np.eye(2))
    assert (still.log_z(0.5), still.kl(0.5), still.reward_range) == (4.0, 0.0, (2.0, 2.0))


def test_variables_in_different_units_keep_their_digits():
    units = np.array([1e-9, 1.0, 1e9])
    cov = np.array(COV) * units[:, None] * units
    found = NormalQuadratic(np.zeros(3), cov, -np.eye(3) / units[:, None] / units)
    wanted = NormalQuadratic(np.zeros(3), COV, -np.eye(3))
    assert found.log_z(0.3) == precisely(wanted.log_z(0.3), rel=1e-12)


def test_z_is_infinite_at_and_below_beta_min():
    law = LAWS["saddle"]
    assert 0 < law.beta_min < 2
    assert law.log_z(law.beta_min) == law.soft_value(law.beta_min / 2) == math.inf
    assert math.isnan(law.kl(law.beta_min))
    assert np.all(np.diff(law.log_z(law.beta_min * np.array([1 + 1e-9, 1 + 1e-6, 1.1, 2.0]))) < 0)
    near = 0.4 * (1 + 2**-30)
    with mpmath.workdps(40):
        odds = 1 - 2 * mpmath.mpf(0.2) / mpmath.mpf(near)
        assert NormalQuadratic(0, 1, 0.2).log_z(near) == precisely(-mpmath.log(odds) / 2, rel=1e-12)
    assert NormalQuadratic(0, 2, 0.25).beta_min == 1.0


@pytest.mark.parametrize("key", CASES)
@pytest.mark.parametrize("beta", [1e-300, 1e-200, 1e-100, 1e100, 1e300])
def test_no_beta_warns_or_leaves_a_nan(key, beta):
    law = LAWS[key]
    for curve in CURVES:
        value = getattr(law, curve)(beta)
        assert math.isnan(value) == (beta <= law.beta_min and curve not in ("log_z", "soft_value"))


def test_a_small_beta_gives_the_maximum():
    assert LAWS["distance"].reward_range == (-math.inf, 0.0)
    assert LAWS["distance"].soft_value(1e-300) == pytest.approx(0.0, abs=1e-290)
    top = LAWS["bowl"].reward_range[1]
    assert top == pytest.approx(1 + (1 + 4 + 0.25) / 4, rel=1e-13)
    assert LAWS["bowl"].soft_value(1e-12) == precisely(top, rel=1e-9)


@pytest.mark.parametrize("key", CASES)
def test_tilted_stays_in_the_family(key):
    law = LAWS[key]
    first = max(0.4, 2.5 * law.beta_min)
    tilted = law.tilted(first)
    for second in (first, 4.0, 1e4):
        both = 1 / (1 / first + 1 / second)
        wanted = law.log_z(both) - law.log_z(first)
        size = abs(law.log_z(both)) + abs(law.log_z(first))
        assert abs(tilted.log_z(second) - wanted) <= 2e-12 * (1 + size)
    assert close(tilted.mean, law.mean_reward(first), 2e-12)
    back = tilted.negated()
    if back.beta_min < first:
        assert back.kl_reverse(first) == precisely(law.kl(first), rel=1e-10)
        assert back.kl(first) == precisely(law.kl_reverse(first), rel=1e-10)


def test_tilted_holds_the_tilted_normal():
    law = LAWS["saddle"].tilted(6.0)
    loc, cov, quadratic, linear, _ = (np.array(value) for value in CASES["saddle"])
    precision = np.linalg.inv(cov) - 2 * quadratic / 6.0
    assert law.cov == pytest.approx(np.linalg.inv(precision), rel=1e-12)
    wanted = np.linalg.solve(precision, np.linalg.solve(cov, loc) + linear / 6.0)
    assert law.loc == pytest.approx(wanted, rel=1e-12)


def off(law, reward, mean):
    """How many of its standard deviations the mean of draws is off."""
    sd = math.sqrt(2 * law.kl(1e6)) * 1e6
    return abs(reward.mean() - mean) / (sd / math.sqrt(reward.size))


@pytest.mark.parametrize("key", CASES)
def test_draws_have_the_mean_of_the_law_and_of_the_variables(key):
    law, n = LAWS[key], 200_000
    reward = law.sample((400, 500), np.random.default_rng(1))
    assert reward.shape == (400, 500)
    assert off(law, reward, law.mean) <= 4.89
    loc, cov, quadratic, linear, constant = CASES[key]
    y = np.random.default_rng(2).multivariate_normal(np.atleast_1d(loc), np.atleast_2d(cov), n)
    direct = np.einsum("ni,ij,nj->n", y, np.atleast_2d(quadratic), y) + y @ np.atleast_1d(linear) + constant
    assert off(law, direct, law.mean) <= 4.89
    assert off(law, direct, law.mean + 0.05 * np.std(direct)) > 4.89
    beta = max(4.0 * law.beta_min, 10.0)
    weight = np.exp(direct / beta - law.log_z(beta))
    assert abs(weight.mean() - 1) <= 4.89 * math.sqrt(
        math.expm1(law.log_z(beta / 2) - 2 * law.log_z(beta)) / n
    )


@pytest.mark.parametrize("curve", CURVES)
def test_one_beta_gives_a_float_and_an_array_an_array(curve):
    betas = np.array([[2.0, 3.0], [40.0, 1e8]])
    for law in [*LAWS.values(), Affine(LAWS["bowl"], scale=2), Constrained(LAWS["bowl"], prob=0.5)]:
        found = getattr(law, curve)(betas)
        assert found.shape == (2, 2)
        for beta, value in zip(betas.ravel(), found.ravel(), strict=True):
            assert type(getattr(law, curve)(beta)) is float
            assert getattr(law, curve)(beta) == value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormalQuadratic(0, -1, 1), "positive semi-definite; found the eigenvalue -1"),
        (lambda: NormalQuadratic([0, 0], [[1, 2], [2, 1]], np.eye(2)), "found the eigenvalue -1"),
        (lambda: NormalQuadratic([0, 0], [[0, 1], [1, 0]], np.eye(2)), "found the eigenvalue -1"),
        (lambda: NormalQuadratic([0, 0], [[1, 0.5], [0, 1]], np.eye(2)), "symmetric; found 0.5 in row 0, column 1"),
        (lambda: NormalQuadratic([0, 0], 1.0, np.eye(2)), r"cov must have shape \(2, 2\), .* found \(1, 1\)"),
        (lambda: NormalQuadratic([0, 0], np.eye(2), [1, 2]), r"quadratic must have shape \(2, 2\).* found \(2,\)"),
        (lambda: NormalQuadratic([[0, 0]], np.eye(2), np.eye(2)), r"loc must have shape \(n_variables,\); found"),
        (lambda: NormalQuadratic(0, 1, 1, linear=[1, 2]), r"linear must have shape \(1,\), as long as loc; found"),
        (lambda: NormalQuadratic([0, math.nan], np.eye(2), np.eye(2)), "loc must be .* found nan at index 1"),
        (lambda: NormalQuadratic(0, 1, "steep"), "quadratic must be .* found values such as"),
        (lambda: NormalQuadratic([], [], []), "loc must be an array of finite numbers; found none"),
        (lambda: NormalQuadratic(0, 1, 1, constant=math.inf), "constant must be a finite number; found inf"),
        (lambda: NormalQuadratic(0, 1, 0.5).tilted(1.0), "beta must be above beta_min, 1,"),
        (lambda: NormalQuadratic(0, 1, 1).log_z(-1.0), "beta must be positive and finite; found -1"),
        (lambda: normal_linear([0, 0], SINGULAR, [2, -1]), r"Categorical\(\[1.0\], \[reward\]\)"),
        (lambda: normal_linear([0, 0], np.eye(2), [1, 2, 3]), r"weights must have shape \(2,\)"),
        (lambda: normal_linear(0, 1, 1, shift="much"), "shift must be a finite number; found 'much'"),
    ],
)  # fmt: skip
def test_messages(make, message):
    with pytest.raises(InputError, match=message):
        make()
