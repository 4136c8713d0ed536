"""Integrals: where they are infinite, what they refuse, and what they admit not to know."""

import math
import warnings

import numpy as np
import pytest
from scipy import special, stats

from tests.oracles import close
from tiltz import laws
from tiltz.errors import InputError
from tiltz.known import integrate, sum_over
from tiltz.known.integrals.integrand import Integrand
from tiltz.known.integrals.spaces import space_of
from tiltz.known.integrals.volume import quasi_nodes
from tiltz.known.log_sum import log_sum

LINE = (-math.inf, math.inf)
NORMAL, EXPON, UNIFORM, CAUCHY = stats.norm(), stats.expon(), stats.uniform(), stats.cauchy()


def identity(y):
    return y


@pytest.mark.parametrize(
    ("reference", "reward", "critical"),
    [
        (EXPON, identity, 1.0),
        (stats.gamma(2.5, scale=1 / 3), identity, 1 / 3),
        (NORMAL, lambda y: y**2, 2.0),
        (NORMAL, lambda y: np.abs(y) ** 1.5, 0.0),
        (CAUCHY, np.cos, 0.0),
        (CAUCHY, lambda y: np.log1p(y**2), 2.0),
        (stats.t(3), identity, math.inf),
        (stats.lognorm(1), lambda y: np.log(y) ** 2, 2.0),
        (stats.geom(0.5), identity, 1 / math.log(2)),
        (stats.poisson(3), identity, 0.0),
        (UNIFORM, lambda y: -np.log(y), 1.0),
        ([EXPON, EXPON], lambda y: y.sum(axis=1), 1.0),
        ([EXPON, EXPON], lambda y: y.min(axis=1), 0.5),
        ([NORMAL, NORMAL], lambda y: ((y[:, 0] + 0.1 * y[:, 1]) / math.sqrt(1.01)) ** 2, 2.0),
        ([NORMAL, UNIFORM], lambda y: y[:, 0] ** 2 * y[:, 1], 2.0),
        ([UNIFORM, UNIFORM], lambda y: -np.log(y).sum(axis=1), 1.0),
        ([NORMAL, EXPON], lambda y: y[:, 0] * y[:, 1], math.inf),
        ([stats.pareto(1), stats.pareto(1)], lambda y: np.log(y).sum(axis=1), 1.0),
        ([CAUCHY, CAUCHY], lambda y: np.cos(y[:, 0]), 0.0),
        (stats.multivariate_t([0, 0], np.eye(2), df=3), lambda y: np.cos(y[:, 0]), 0.0),
        (stats.dirichlet([1, 2.5, 4]), lambda y: np.log(y) @ [1, -0.5, 2], 0.2),
        (stats.dirichlet(np.full(8, 2.0)), lambda y: 8 * y[:, 0], 0.0),
    ],
)
def test_the_critical_beta(reference, reward, critical):
    betas = [0.99 * critical, 1.1 * critical] if 0 < critical < math.inf else [0.5, 2.0]
    known = integrate(reference, reward, betas)
    if 0 < critical < 1e20:
        assert known.beta_min[0] == pytest.approx(critical, rel=1e-6)
        assert np.isinf(known.log_z[0]).tolist() == [True, False]
        assert "infinite" in known.reason[0, 0]
        assert np.isnan(known.kl[0, 0])
    elif critical == 0:
        assert known.beta_min[0] == 0.0
        assert np.all(known.log_z < np.inf)
    else:
        assert known.beta_min[0] > 1e20
        assert np.all(known.log_z == np.inf)


def test_an_infinite_beta_leaves_the_others_alone():
    betas = [0.5, 1.0, 1.0 + 1e-6, 2.0, 1e8]
    known = integrate(EXPON, identity, betas)
    assert np.isinf(known.log_z[0]).tolist() == [True, True, False, False, False]
    for j in (2, 3, 4):
        assert abs(known.log_z[0, j] - laws.Exponential(1).log_z(betas[j])) <= known.error[0, j] + 1e-15


@pytest.mark.parametrize(
    ("reference", "reward", "infinite"),
    [
        (CAUCHY, lambda y: -(y**2), True),
        (CAUCHY, lambda y: -np.abs(y), True),
        (CAUCHY, lambda y: -np.log1p(y**2), False),
        (stats.gumbel_r(2, 0.5), identity, False),
        (NORMAL, lambda y: np.where(y > 3, -np.inf, y), True),
        (stats.multivariate_t([0, 0], np.eye(2), df=1), lambda y: -np.linalg.norm(y, axis=1), True),
        ([NORMAL, NORMAL], lambda y: -(y[:, 0] ** 2), False),
    ],
)
def test_the_reverse_divergence_is_infinite_where_the_mean_reward_is(reference, reward, infinite):
    known = integrate(reference, reward, 1.0)
    assert (known.kl_reverse[0, 0] == math.inf) == infinite
    assert 0 < known.kl[0, 0] < math.inf


@pytest.mark.parametrize("beta", [1e-200, 1e-12, 1e-3, 1.0, 1e8, 1e150])
def test_every_beta_keeps_its_digits(beta):
    known = integrate(NORMAL, lambda y: np.minimum(y, 1.0), beta, breaks=[1.0])
    s = 1 / beta
    if beta >= 1:
        below = math.exp(s * s / 2) * special.ndtr(1 - s)
        assert close(known.log_z[0, 0], math.log(below + math.exp(s) * special.ndtr(-1)), 1e-12)
    else:
        assert close(known.soft_value[0, 0], 1.0 + beta * math.log(special.ndtr(-1)), beta)
    assert known.kl[0, 0] > 0


def test_divergences_keep_their_digits_at_a_tiny_beta():
    known = integrate(NORMAL, identity, [1e-7, 1e-12])
    assert known.kl[0] == pytest.approx([5e13, 5e23], rel=1e-7)
    assert known.kl_reverse[0] == pytest.approx([5e13, 5e23], rel=1e-9)
    assert known.mean_reward[0] == pytest.approx([1e7, 1e12], rel=1e-7)
    assert "1e+07" in known.summary()


def test_what_cannot_be_found_is_not_answered():
    known = integrate(NORMAL, identity, [1.0, 1e-300])
    assert close(known.log_z[0, 0], 0.5)
    assert math.isnan(known.log_z[0, 1])
    assert (known.lo[0, 1], known.hi[0, 1], known.kind[0, 1]) == (-math.inf, math.inf, "approximate")
    assert known.reason[0, 1].startswith("log Z was not found at beta 1e-300")
    forbidden = integrate(NORMAL, lambda y: np.full(len(y), -np.inf), 1.0)
    assert math.isnan(forbidden.log_z[0, 0])
    assert "the reward is -inf" in forbidden.reason[0, 0]
    assert integrate(stats.randint(0, 9), lambda y: np.full(len(y), -np.inf), 1.0).log_z[0, 0] == -math.inf


@pytest.mark.parametrize("angle", [0.0, 1.0])
@pytest.mark.parametrize("sd", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("beta", [0.2, 1.0, 3.0])
def test_a_rare_mode_in_the_plane(angle, sd, beta):
    towards = np.array([math.cos(angle), math.sin(angle)])

    def log_density(y):
        far = ((y - 15 * towards) ** 2).sum(axis=1) / (2 * sd * sd) + 2 * math.log(sd) + math.log(1e4)
        return np.logaddexp(math.log(0.9999) - (y**2).sum(axis=1) / 2, -far) - math.log(2 * math.pi)

    def found(breaks):
        return integrate(log_density, lambda y: y @ towards, beta, domain=[LINE, LINE], breaks=breaks)

    known = found([[15 * towards[0]], [15 * towards[1]]])
    truth = np.logaddexp(math.log(0.9999) + 0.5 / beta**2, -math.log(1e4) + 15 / beta + sd**2 / (2 * beta**2))
    assert abs(known.log_z[0, 0] - truth) <= known.error[0, 0]
    if (sd, angle) == (0.1, 1.0):  # unnamed, it is missed, and so is its mass
        with pytest.raises(InputError, match=r"mass 0\.9999 .* name points near it in breaks"):
            found(())


@pytest.mark.parametrize("n", [5, 10])
def test_many_dimensions_within_their_error(n):
    known = integrate(
        stats.multivariate_normal(np.zeros(n), np.eye(n)), lambda y: np.cos(y).sum(axis=1), [0.5, 5.0]
    )
    truth = n * integrate(NORMAL, np.cos, [0.5, 5.0]).log_z
    assert np.all(np.abs(known.log_z - truth) <= known.error)
    assert known.kind.tolist() == [["approximate", "approximate"]]
    assert known.error.max() < 2e-3
    assert "99.9%" in known.summary()


@pytest.mark.slow
def test_the_error_of_draws_holds_over_scrambles():
    integrand = Integrand(
        space=space_of([NORMAL] * 6),
        reward=lambda y: np.abs(y).sum(axis=1),
        t=np.array([0.5]),
        breaks=(np.array([]),) * 6,
        max_evaluations=1 << 16,
    )
    truth = 6 * math.log(2 * math.exp(0.125) * special.ndtr(0.5))
    errors = []
    for seed in range(12):
        nodes = quasi_nodes(integrand, seed=seed)
        found = log_sum(nodes.log_mass + 0.5 * nodes.reward) - log_sum(nodes.log_mass)
        errors.append((found - truth) / nodes.error[0])
    # A level of 99.9%: two misses in 12 have a chance of 7e-5. One standard error is a quarter of the error: it is
    # exceeded by a third of the scrambles, by none of 12 with a chance of 8e-3, by none of an error far too large.
    assert np.sum(np.abs(errors) > 1) <= 1
    assert np.sum(np.abs(errors) > 0.1) >= 3


def test_a_product_is_the_sum_of_its_parts():
    known = integrate(
        [NORMAL, EXPON, (lambda y: -np.abs(y) - math.log(2), LINE)], lambda y: y @ [0.3, 0.2, 0.1], [0.5, 2.0]
    )
    for j, beta in enumerate((0.5, 2.0)):
        t = 1 / beta
        truth = (0.3 * t) ** 2 / 2 - math.log1p(-0.2 * t) - math.log1p(-((0.1 * t) ** 2))
        assert abs(known.log_z[0, j] - truth) <= known.error[0, j]


def test_the_nodes_are_a_table():
    known = integrate(NORMAL, np.cos, [0.25, 4.0])
    assert known.outcomes.evidence == "complete"
    assert known.at.shape == (known.n[0],)
    assert np.allclose(np.cos(known.at), known.outcomes.reward, atol=1e-15)
    assert np.exp(known.outcomes.log_weight).sum() == pytest.approx(1.0, abs=1e-12)


def test_integers_are_summed_one_by_one_where_they_are_few():
    reward = lambda y: (y * 7919.0) % 11  # noqa: E731
    known = integrate(stats.randint(0, 100_000), reward, [0.5, 3.0])
    summed = sum_over(range(100_000), lambda k: reward(k.astype(float)), [0.5, 3.0])
    assert np.allclose(known.log_z, summed.log_z, rtol=1e-13)
    assert known.n[0] == 100_000


def test_a_heavy_tail_of_integers():
    known = integrate(stats.zipf(2.1), np.log, 2.0)
    assert close(known.log_z[0, 0], math.log(special.zeta(1.6) / special.zeta(2.1)), 1e-12)
    assert known.beta_min[0] == pytest.approx(1 / 1.1, rel=1e-9)


@pytest.mark.parametrize(
    ("reference", "options", "says"),
    [
        (stats.norm, {}, "frozen distribution"),
        (stats.beta, {}, "frozen distribution"),
        (3.0, {}, "a reference must be"),
        ([], {}, "a reference must be"),
        (stats.norm([0, 1], 1), {}, "one distribution"),
        (stats.norm(0, -1), {}, "support is NaN"),
        (stats.poisson(3, loc=0.5), {}, "integer values"),
        (stats.wishart(3, np.eye(2)), {}, "cannot be integrated over as it stands"),
        (stats.multivariate_normal([0, 0], [[1, 1], [1, 1]], allow_singular=True), {}, "full rank"),
        (stats.dirichlet([0.01, 1, 1]), {}, "DirichletLog"),
        ([stats.poisson(3), NORMAL], {}, "one of densities"),
        (NORMAL, {"domain": (0, 1)}, "brings its own support"),
        (NORMAL.logpdf, {}, "needs its domain"),
        (NORMAL.logpdf, {"domain": (1, 0)}, "below its high end"),
        (NORMAL.logpdf, {"domain": (None, None)}, "must be numbers"),
        (NORMAL.logpdf, {"domain": "torus"}, "a domain must be"),
        (NORMAL.logpdf, {"domain": [(0, 1, 2)]}, "a domain must be"),
        (NORMAL.pdf, {"domain": LINE}, "must have mass 1"),
        (lambda y: -(y**2), {"domain": LINE}, "renormalise=True"),
        (lambda y: 0 * y, {"domain": LINE, "renormalise": True}, "must be finite"),
        (lambda y: np.full(len(y), -np.inf), {"domain": LINE}, "mass 0 "),
        (lambda y: np.where(y > 1, np.nan, -(y**2)), {"domain": LINE}, "never NaN"),
        (NORMAL, {"breaks": 1.0}, "breaks must be"),
        (NORMAL, {"breaks": [math.nan]}, "breaks must be"),
        (NORMAL, {"breaks": ["a"]}, "breaks must be"),
        ([NORMAL, NORMAL], {"breaks": [[1.0]]}, "breaks must be"),
        (NORMAL, {"tolerance": 0}, "tolerance must be"),
        (NORMAL, {"max_evaluations": "many"}, "max_evaluations must be"),
    ],
)  # fmt: skip
def test_references_that_are_refused(reference, options, says):
    reward = (lambda y: y[:, 0]) if isinstance(reference, list) else identity
    with pytest.raises(InputError, match=says) as refusal:
        integrate(reference, reward, 1.0, **options)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    ("reward", "says"),
    [
        (3.0, "must be a function"),
        (lambda y: 1.0, "one real number for each point"),
        (lambda y: y[:, 0], "raised IndexError"),
        (lambda y: {}[y[0]], "raised KeyError"),
        (lambda y: 1j * y, "complex"),
        (lambda y: y.astype(str), "one real number"),
        (lambda y: np.where(y > 1, np.nan, y), "found nan at"),
        (lambda y: np.where(y > 1, np.inf, y), "found inf at"),
        (lambda y: math.cos(y), "raised TypeError"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dim", [1, 2])
def test_rewards_that_are_refused(reward, says, dim):
    reference = NORMAL if dim == 1 else [NORMAL, NORMAL]
    given = reward if dim == 1 or not callable(reward) else lambda y: reward(y[:, 0])
    with pytest.raises(InputError, match=says):
        integrate(reference, given, 1.0)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, [], "warm"])
def test_betas_that_are_refused(beta):
    with pytest.raises(InputError):
        integrate(NORMAL, identity, beta)


def test_functions_may_warn_without_a_word_from_us():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for reference, reward in (
            (NORMAL, lambda y: np.log(np.abs(y)) - 1 / np.abs(y)),
            (stats.beta(2, 0.5), identity),
            ([EXPON, EXPON], lambda y: -((y[:, 0] - 1) ** 2) * y[:, 1]),
            ([stats.gamma(2.0), stats.beta(0.5, 2.0)], lambda y: -y[:, 0] * y[:, 1]),
        ):
            known = integrate(reference, reward, [1.0, 1e-300, 1e8])
            assert np.isfinite(known.log_z[0, [0, 2]]).all()
            assert known.summary()


def test_half_lines_that_are_coupled():
    domain = [(-math.inf, 0), (0, math.inf)]
    known = integrate(lambda y: y[:, 0] - y[:, 1], lambda y: -y[:, 1], 1.0, domain=domain)
    assert abs(known.log_z[0, 0] + math.log(2)) <= known.error[0, 0] < 1e-10


def test_poles_that_can_be_integrated():
    known = integrate(UNIFORM, lambda y: -np.log(np.abs(y - 0.3)), 2.0, breaks=[0.3])
    truth = math.log(2 * (math.sqrt(0.3) + math.sqrt(0.7)))
    assert abs(known.log_z[0, 0] - truth) <= known.error[0, 0] < 1e-6
