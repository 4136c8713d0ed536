"""Chains of random length: linear systems by mpmath, closed forms, and where Z is infinite."""

import mpmath
import numpy as np
import pytest

from tiltz.errors import InputError
from tiltz.known.chains import AdditiveReward, HiddenMarkov, Markov, chain, contains, counts, symbol
from tiltz.known.chains.process import expected_visits

BETAS = (0.3, 1.0, 20.0, 1e4, 1e8, 1e12)


def geometric_log_z(end, reward, beta):
    """A token that earns ``reward`` until the sequence ends, with probability ``end`` after each; at least one."""
    with mpmath.workdps(60):
        end, grows = mpmath.mpf(end), mpmath.exp(mpmath.mpf(reward) / mpmath.mpf(beta))
        going = (1 - end) * grows
        z = end * grows / (1 - going)
        mean = reward * (1 + going / (1 - going))
        t = 1 / mpmath.mpf(beta)
        mean_ref = reward / end
        log_z = mpmath.log(z)
        found = {
            "log_z": log_z,
            "mean_reward": mean,
            "kl": t * mean - log_z,
            "kl_reverse": log_z - t * mean_ref,
        }
        return {name: float(v) for name, v in found.items()}


def close(found, wanted, tolerance=1e-12):
    for name, value in wanted.items():
        one = float(getattr(found, name)[0, 0])
        assert abs(one - value) <= tolerance * abs(value), (name, one, value)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("reward", [-1.0, 0.125, -0.03125])
def test_a_single_token(beta, reward):
    known = chain(Markov([1.0], [[0.5]], end=[0.5]), [reward], beta)
    close(known, geometric_log_z(0.5, reward, beta))
    assert known.reason[0, 0] == ""


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-8])
def test_digits_near_the_critical_beta_are_as_many_as_the_error_says(gap):
    critical = 1 / np.log(2)
    beta = critical * (1 + gap)
    known = chain(Markov([1.0], [[0.5]], end=[0.5]), [1.0], beta)
    wanted = geometric_log_z(0.5, 1.0, beta)
    assert abs(known.log_z[0, 0] - wanted["log_z"]) <= known.error[0, 0]
    assert known.error[0, 0] < 1e-12 / gap
    close(known, {"mean_reward": wanted["mean_reward"]}, tolerance=1e-13 / gap)


def solved(reference, reward, beta):
    """log Z and mean reward of a general chain by solving h = b + M h and its derivative at 60 digits."""
    n, t = len(reference.initial), 1 / mpmath.mpf(beta)
    first = [mpmath.mpf(p) for p in reference.initial]
    rows = [
        [mpmath.mpf(p) for p in (*row, end)]
        for row, end in zip(reference.transition, reference.end, strict=True)
    ]
    rows = [[p / mpmath.fsum(row) for p in row] for row in rows]
    grows = [mpmath.exp(t * mpmath.mpf(r)) for r in reward]
    m = mpmath.matrix([[rows[i][j] * grows[j] for j in range(n)] for i in range(n)])
    slope = mpmath.matrix([[m[i, j] * mpmath.mpf(reward[j]) for j in range(n)] for i in range(n)])
    h = mpmath.lu_solve(mpmath.eye(n) - m, mpmath.matrix([row[n] for row in rows]))
    d = mpmath.lu_solve(mpmath.eye(n) - m, slope * h)
    start = [p / mpmath.fsum(first) * g for p, g in zip(first, grows, strict=True)]
    z = mpmath.fsum(start[i] * h[i] for i in range(n))
    mean = mpmath.fsum(start[i] * (h[i] * mpmath.mpf(reward[i]) + d[i]) for i in range(n)) / z
    return mpmath.log(z), mean


@pytest.mark.parametrize("beta", [0.2, 1.0, 50.0, 1e4, 1e8, 1e12])
def test_a_general_chain_solves_its_linear_system(beta):
    rng = np.random.default_rng(2)
    n, end = 5, np.array([0.1, 0.0, 0.3, 0.05, 0.6])
    initial, transition = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n), n) * (1 - end)[:, None]
    reward = -rng.exponential(size=n) if beta < 1 else rng.normal(size=n) * 0.1
    reference = Markov(initial, transition, end=end)
    with mpmath.workdps(60):
        log_z, mean = solved(reference, reward, beta)
        _, mean_ref = solved(reference, reward, mpmath.mpf(10) ** 55)
        t = 1 / mpmath.mpf(beta)
        wanted = {
            "log_z": log_z,
            "mean_reward": mean,
            "kl": t * mean - log_z,
            "kl_reverse": log_z - t * mean_ref,
        }
        close(chain(reference, reward, beta), {k: float(v) for k, v in wanted.items()})


def test_tilted_draws_marginals_and_pairs_of_random_length():
    reference = Markov([0.5, 0.2], [[0.5, 0.2], [0.1, 0.3]], end=[0.3, 0.6], empty=0.3)
    tilted = chain(reference, AdditiveReward([0.3, -1.0], end=[0.2, 0.0]), 1.0).tilted()
    assert tilted.length is None
    n = 40_000
    drawn = tilted.sample(n, np.random.default_rng(0))
    per_path = (drawn[..., None] == np.arange(2)).sum(axis=1)
    standard_error = per_path.std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(per_path.mean(axis=0) - tilted.marginals()) < 4.89 * standard_error)
    assert np.any(np.abs(per_path.mean(axis=0) - reference.marginals()) > 4.89 * standard_error)
    pair = (drawn[:, :-1, None, None] == np.arange(2)[:, None]) & (drawn[:, 1:, None, None] == np.arange(2))
    per_path = pair.sum(axis=1)
    z = (per_path.mean(axis=0) - tilted.pairwise()) / (per_path.std(axis=0) / np.sqrt(n))
    assert np.all(np.abs(z) < 4.89)
    empty = np.mean(drawn[:, 0] == -1)
    assert abs(empty - tilted.empty) < 4.89 * np.sqrt(tilted.empty * (1 - tilted.empty) / n)


def test_the_tilted_chain_is_normalised_by_log_z():
    reference = Markov([0.5, 0.2], [[0.5, 0.2], [0.1, 0.3]], end=[0.3, 0.6], empty=0.3)
    reward = AdditiveReward([0.3, -1.0], end=[0.2, 0.0]) + counts([1, 1], 2, reward=0.5)
    known = chain(reference, reward, 1.3)
    paths = np.array([[-1, -1, -1, -1], [0, -1, -1, -1], [1, 1, -1, -1], [0, 1, 1, 1]])
    ratio = known.tilted().log_prob(paths) - reference.log_prob(paths)
    np.testing.assert_allclose(ratio, reward.score(paths) / 1.3 - float(known), rtol=1e-13)
    hidden = HiddenMarkov([0.5, 0.5], [[0.2, 0.3], [0.4, 0.1]], [[0.1, 0.9], [0.6, 0.4]], end=[0.5, 0.5])
    known = chain(hidden, reward, 1.3)
    ratio = known.tilted().log_prob(paths[1:]) - hidden.log_prob(paths[1:])
    np.testing.assert_allclose(ratio, reward.score(paths[1:]) / 1.3 - float(known), rtol=1e-12)


def test_patterns_and_words_of_random_length():
    reference = Markov([0.5, 0.5], np.full((2, 2), 0.35), end=[0.3, 0.3])
    # P(contains 1) = sum over lengths of (1 - 2^-n) 0.3 0.7^(n-1) = 1 - 0.15 / (1 - 0.35)
    for one in (contains([1], 2, reward=2.0), symbol(1).found(2, reward=2.0)):
        known = chain(reference, one, 0.5)
        p = 1 - 0.15 / 0.65
        assert abs(float(known) - np.log1p(p * np.expm1(4.0))) < 1e-13
        assert known.beta_min[0] == 0
    alternating = (symbol("b") + symbol("a")).star().matches(symbols="ab")
    p = sum(0.3 * 0.7 ** (2 * k - 1) / 2 ** (2 * k) for k in range(1, 200))
    assert abs(float(chain(reference, alternating, 1.0)) - np.log1p(p * np.expm1(1.0))) < 1e-14


def test_the_least_beta():
    known = chain(Markov([0.5, 0.2], [[0.5, 0.2]] * 2, end=[0.3] * 2, empty=0.3), [0.4, -1.0], [0.7, 0.6])
    assert abs(known.beta_min[0] - 0.6122707573589361) < 1e-14
    assert known.log_z[0, 1] == np.inf
    assert np.isnan(known.kl[0, 1])
    assert known.reason[0, 0] == ""
    assert "0.612271" in known.reason[0, 1]
    assert "0.612271" in known.summary()
    with pytest.raises(InputError, match="infinite"):
        known.tilted(0.6)


@pytest.mark.parametrize(
    ("transition", "reward", "least"),
    [
        ([[0.5, 0.0], [0.0, 0.5]], [-1.0, 0.0], 0.0),  # a cycle that costs, and one that is free
        ([[0.0, 0.5], [0.5, 0.0]], [3.0, -3.0], 0.0),  # what is gained is given back
        ([[0.0, 0.5], [0.5, 0.0]], [0.1 + 0.2, -0.3], 0.0),  # but for rounding
        ([[0.0, 0.5], [0.5, 0.0]], [3.0, -1.0], 1 / np.log(2.0)),  # 1/4 e^(2 t) = 1
        ([[0.0, 0.5], [0.0, 0.0]], [5.0, 7.0], 0.0),  # no cycle
    ],
)
def test_the_least_beta_of_cycles(transition, reward, least):
    transition = np.array(transition)
    reference = Markov([0.5, 0.5], transition, end=1 - transition.sum(axis=1))
    known = chain(reference, reward, [least * (1 + 1e-9) if least else 1e-3, 10.0])
    assert abs(known.beta_min[0] - least) <= 1e-13
    assert np.all(np.isfinite(known.log_z))
    if least:
        assert chain(reference, reward, least * (1 - 1e-9)).log_z[0, 0] == np.inf
    else:
        extreme = chain(reference, reward, [1e-300, 1e-30, 1e300])
        assert not np.any(np.isnan(extreme.log_z) | np.isnan(extreme.kl) | np.isnan(extreme.mean_reward))


def test_states_that_are_never_reached_or_forbidden_do_not_matter():
    transition = np.array([[0.5, 0.0, 0.1], [0.0, 0.9, 0.0], [0.4, 0.0, 0.0]])
    end = 1 - transition.sum(axis=1)
    known = chain(Markov([1, 0, 0], transition, end=end), [-1.0, 9.0, -np.inf], 0.5)
    # State 2 is forbidden: a geometric length with 0.5 to go on and 0.4 to end.
    grows = np.exp(-2.0)
    assert abs(float(known) - np.log(0.4 * grows / (1 - 0.5 * grows))) < 1e-14
    assert known.beta_min[0] == 0
    assert known.kl_reverse[0, 0] == np.inf
    assert np.isfinite(known.kl[0, 0])
    nothing = chain(Markov([1, 0, 0], transition, end=end), [-np.inf, 0, 0], 0.5)
    assert float(nothing) == -np.inf
    with pytest.raises(InputError, match="0 or infinite"):
        nothing.tilted()


def test_long_sequences_keep_relative_digits():
    """The mean length is 1e10, so that 1 - 0.9999999999 must not be formed."""
    end = 1e-10
    visits = expected_visits(np.array([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([end, end]))
    np.testing.assert_allclose(visits, [0.5 / end, 0.5 / end], rtol=1e-9)
    known = chain(Markov([1.0], [[1 - end]], end=[end]), [-1.0], 1e12)
    assert abs(float(known) + 0.01 - 0.01**2 / 2 + 0.01**3 / 3) < 1e-8


def test_the_limit_of_a_limited_length_is_that_without_one():
    parts = ([0.5, 0.2], [[0.5, 0.2], [0.1, 0.3]])
    more = {"end": [0.3, 0.6], "empty": 0.3}
    free = chain(Markov(*parts, **more), [0.2, -0.4], [1.0, 1e8])
    limited = chain(Markov(*parts, **more, length=400), [0.2, -0.4], [1.0, 1e8])
    for name in ("log_z", "mean_reward", "kl", "kl_reverse"):
        np.testing.assert_allclose(getattr(free, name), getattr(limited, name), rtol=1e-12)


def test_many_chains_of_random_length():
    end = np.array([[0.3, 0.6], [0.5, 0.5]])
    transition = np.stack([np.array([[0.5, 0.2], [0.1, 0.3]]), np.full((2, 2), 0.25)])
    initial, empty = np.array([[0.5, 0.2], [0.4, 0.6]]), np.array([0.3, 0.0])
    many = chain(Markov(initial, transition, end=end, empty=empty), [0.2, -0.4], [0.1, 1.0, 1e8])
    for i in range(2):
        alone = chain(
            Markov(initial[i], transition[i], end=end[i], empty=empty[i]), [0.2, -0.4], [0.1, 1.0, 1e8]
        )
        for name in ("log_z", "mean_reward", "kl", "kl_reverse", "error"):
            assert np.array_equal(getattr(many, name)[i], getattr(alone, name)[0], equal_nan=True)
        assert many.beta_min[i] == alone.beta_min[0]
        assert np.array_equal(many.tilted(1.0).marginals()[i], alone.tilted(1.0).marginals())
    assert many.tilted(1.0).sample(50, np.random.default_rng(0)).shape[:2] == (2, 50)
    assert many.reason.shape == (2, 3)
