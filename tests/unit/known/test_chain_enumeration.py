"""Chains against the enumeration of all their sequences, summed by mpmath."""

import itertools

import mpmath
import numpy as np
import pytest

from tiltz.known.chains import (
    AdditiveReward,
    Automaton,
    HiddenMarkov,
    Markov,
    chain,
    columns,
    contains,
    counts,
    fixed,
    powers,
)
from tiltz.known.chains.reward import as_reward

BETAS = (1e-3, 0.05, 1.0, 30.0, 1e4, 1e8, 1e12)
QUANTITIES = ("log_z", "mean_reward", "kl", "kl_reverse")


def rows(rng, *shape):
    return rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def every_sequence(reference):
    """Sequences of states and their probabilities, by multiplication of what was given."""
    n, length = len(reference.initial), reference.length
    many = reference.transition.ndim == 3
    found = []
    if reference.end is not None:
        found.append(((), mpmath.mpf(float(reference.empty))))
    for steps in [length] if reference.end is None else range(1, length + 1):
        for path in itertools.product(range(n), repeat=steps):
            mass = mpmath.mpf(reference.initial[path[0]])
            for t, (i, j) in enumerate(itertools.pairwise(path)):
                mass *= mpmath.mpf((reference.transition[t] if many else reference.transition)[i, j])
            if reference.end is not None and steps < length:
                mass *= mpmath.mpf(reference.end[path[-1]])
            found.append((path, mass))
    return found


def observed(reference, states):
    """Sequences of symbols and their probabilities, summed over the hidden states."""
    found = {}
    for path, mass in states:
        for symbols in itertools.product(range(reference.emission.shape[1]), repeat=len(path)):
            shown = mass
            for i, y in zip(path, symbols, strict=True):
                shown *= mpmath.mpf(reference.emission[i, y])
            found[symbols] = found.get(symbols, mpmath.mpf(0)) + shown
    return list(found.items())


def earned(reward, path):
    """The reward of a sequence, by its definition."""
    total = mpmath.mpf(0)
    for t, y in enumerate(path):
        if reward.state is not None:
            total += mpmath.mpf((reward.state[t] if reward.state.ndim == 2 else reward.state)[y])
        if t and reward.transition is not None:
            pairs = reward.transition[t - 1] if reward.transition.ndim == 3 else reward.transition
            total += mpmath.mpf(pairs[path[t - 1], y])
    if path and reward.end is not None:
        total += mpmath.mpf(reward.end[path[-1]])
    for automaton in reward.automata:
        state = 0
        for y in path:
            total += mpmath.mpf(automaton.reward[state, y])
            state = automaton.next[state, y]
        total += mpmath.mpf(automaton.final[state])
    return total


def sequences(reference):
    found = every_sequence(reference)
    return observed(reference, found) if isinstance(reference, HiddenMarkov) else found


def truth(reference, reward, beta):
    """log Z, mean reward and both divergences, and the tilted probability of every sequence."""
    with mpmath.workdps(60):
        listed = [(path, mass, earned(reward, path)) for path, mass in sequences(reference) if mass > 0]
        total = mpmath.fsum(mass for _, mass, _ in listed)
        top = max(r for _, _, r in listed)
        weight = [
            m / total * mpmath.exp((r - top) / beta) if r > -mpmath.inf else mpmath.mpf(0)
            for _, m, r in listed
        ]
        z = mpmath.fsum(weight)
        log_z = top / beta + mpmath.log(z)
        tilted = [w / z for w in weight]
        mean = mpmath.fsum(q * r for q, (_, _, r) in zip(tilted, listed, strict=True) if q > 0)
        forbidden = any(r == -mpmath.inf for _, _, r in listed)
        mean_ref = -mpmath.inf if forbidden else mpmath.fsum(m / total * r for _, m, r in listed)
        curves = {
            "log_z": log_z,
            "mean_reward": mean,
            "kl": mean / beta - log_z,
            "kl_reverse": mpmath.inf if forbidden else log_z - mean_ref / beta,
        }
        return {name: float(v) for name, v in curves.items()}, {
            path: float(q) for (path, _, _), q in zip(listed, tilted, strict=True)
        }


def chains():
    rng = np.random.default_rng(7)
    plain = Markov(rows(rng, 3), rows(rng, 3, 3), length=5)
    varying = Markov(rows(rng, 3), rows(rng, 4, 3, 3), length=5)
    e = np.array([0.1, 0.4])
    ending = Markov(rows(rng, 2) * 0.8, rows(rng, 2, 2) * (1 - e)[:, None], end=e, empty=0.2, length=5)
    hidden = HiddenMarkov(rows(rng, 2), rows(rng, 2, 2), rows(rng, 2, 3), length=4)
    hidden_end = HiddenMarkov(
        rows(rng, 2), rows(rng, 2, 2) * (1 - e)[:, None], rows(rng, 2, 2), end=e, length=4
    )
    sparse = Markov([0, 1, 0], [[0, 1, 0], [0.5, 0, 0.5], [0, 0, 1]], length=6)
    state, pairs, last = rng.normal(size=3), rng.normal(size=(3, 3)), rng.normal(size=3)
    forbidden = np.array([0.3, -np.inf, 1.0])
    two = AdditiveReward(rng.normal(size=2), rng.normal(size=(2, 2)), rng.normal(size=2))
    wild = Automaton([[1, 0], [1, 2], [0, 2]], reward=rng.normal(size=(3, 2)), final=[0.5, -1, 0.25])
    return {
        "state": (plain, state),
        "steps": (plain, rng.normal(size=(5, 3))),
        "pairs": (plain, AdditiveReward(state, pairs, last)),
        "varying pairs": (varying, AdditiveReward(transition=rng.normal(size=(4, 3, 3)))),
        "varying": (varying, rng.normal(size=(5, 3))),
        "forbidden": (plain, forbidden),
        "ending": (ending, two),
        "ending, state": (ending, [1.0, -0.5]),
        "ending, automaton": (ending, wild),
        "ending, counts": (ending, counts([1, 1], 2) + two),
        "hidden": (hidden, AdditiveReward(state, pairs)),
        "hidden, word": (hidden, contains([0, 2], 3)),
        "hidden, ending": (hidden_end, wild + np.array([0.1, -0.2])),
        "word": (plain, contains([0, 1, 0], 3, reward=2.0)),
        "counts and steps": (plain, counts([0, 0], 3) + rng.normal(size=(5, 3))),
        "sparse": (sparse, AdditiveReward(state, pairs)),
        "one step": (Markov([0.5, 0.3, 0.2], np.eye(3), length=1), AdditiveReward(state, end=last)),
        "one state": (Markov([1.0], [[1.0]], length=4), [0.7]),
        "sure": (Markov([1, 0], [[0, 1], [1, 0]], length=7), [0.7, 0.1]),
    }


CHAINS = chains()


def check(found, wanted, tolerance=1e-12):
    for name in QUANTITIES:
        one, other = float(getattr(found, name).ravel()[0]), wanted[name]
        near_zero = name in ("kl", "kl_reverse") and abs(other) < 1e-25  # a sure outcome
        assert one == other or abs(one - other) <= tolerance * max(abs(other), 1e-13 * near_zero), (
            name,
            one,
            other,
        )
        assert name not in ("kl", "kl_reverse") or one >= 0


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("name", CHAINS)
def test_every_quantity_is_that_of_the_enumeration(name, beta):
    reference, reward = CHAINS[name]
    known = chain(reference, reward, beta)
    wanted, _ = truth(reference, as_reward(reward), beta)
    check(known, wanted)
    assert abs(float(known.log_z[0, 0]) - wanted["log_z"]) <= known.error[0, 0] + 1e-300
    assert known.error[0, 0] <= 1e-12 * max(1.0, abs(wanted["log_z"]))


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("beta", [0.05, 1.0, 1e6])
def test_the_tilted_chain_is_the_tilted_distribution(name, beta):
    reference, reward = CHAINS[name]
    tilted = chain(reference, reward, beta).tilted()
    _, wanted = truth(reference, as_reward(reward), beta)
    length = reference.length
    paths = np.array([[*path, *[-1] * (length - len(path))] for path in wanted])
    probs = np.array([*wanted.values()])
    np.testing.assert_allclose(np.exp(tilted.log_prob(paths)), probs, rtol=1e-11, atol=1e-300)
    n = int(paths.max()) + 1
    at = [[np.sum(probs[paths[:, t] == y]) for y in range(n)] for t in range(length)]
    np.testing.assert_allclose(tilted.marginals()[:, :n], at, rtol=1e-11, atol=1e-15)
    for t in range(length - 1):
        both = [
            [np.sum(probs[(paths[:, t] == y) & (paths[:, t + 1] == z)]) for z in range(n)] for y in range(n)
        ]
        np.testing.assert_allclose(tilted.pairwise()[t][:n, :n], both, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("name", CHAINS)
def test_draws_of_the_tilted_chain_have_its_probabilities(name):
    reference, reward = CHAINS[name]
    _, wanted = truth(reference, as_reward(reward), 0.8)
    n, rng = 20_000, np.random.default_rng(3)
    drawn, count = np.unique(
        chain(reference, reward, 0.8).tilted().sample(n, rng), axis=0, return_counts=True
    )
    seen = {tuple(int(y) for y in path if y >= 0): c for path, c in zip(drawn, count, strict=True)}
    assert set(seen) <= {path for path, q in wanted.items() if q > 0}
    assert largest_z(seen, wanted, n) < 5.5  # at most 364 sequences: a false alarm in 1e5
    _, reference_probs = truth(reference, as_reward(np.zeros(n_symbols(reference))), 0.8)
    moved = max(abs(reference_probs[path] - wanted[path]) for path in wanted)
    assert moved < 0.05 or largest_z(seen, reference_probs, n) > 5.5  # draws of the reference would fail


def n_symbols(reference):
    return getattr(reference, "emission", reference.initial).shape[-1]


def largest_z(seen, wanted, n):
    """Standard errors by which counts differ, of sequences expected at least 30 times."""
    worst = 0.0
    for path, q in wanted.items():
        if 30 <= n * q < n * (1 - 1e-12):
            worst = max(worst, abs(seen.get(path, 0) - n * q) / np.sqrt(n * q * (1 - q)))
    return worst


@pytest.mark.parametrize("name", CHAINS)
def test_the_table_of_all_sequences_agrees(name):
    reference, reward = CHAINS[name]
    table = reference.outcomes(reward)
    wanted = sequences(reference)
    assert len(table.reward) == len(wanted)
    mass = {
        tuple(int(y) for y in path if y >= 0): w
        for path, w in zip(table.source, table.log_weight, strict=True)
    }
    for path, prob in wanted:
        assert abs(np.exp(mass[path]) - float(prob)) <= 1e-14
    one, other = chain(reference, reward, 0.7), reference.outcomes(reward)
    top = other.reward.max()
    direct = top / 0.7 + np.log(np.sum(np.exp(other.log_weight + (other.reward - top) / 0.7)))
    assert abs(float(one) - direct) < 1e-12


@pytest.mark.parametrize("way", ["_squared", "_paired", "_stepwise"])
def test_all_orders_of_joining_agree(way):
    reference, reward = CHAINS["pairs"]
    one = chain(reference, reward, BETAS)
    with np.errstate(all="ignore"):
        beta = np.array(BETAS)
        found = fixed.answer(getattr(fixed, way)(one.walks[0], 1 / beta), beta)
    for name in QUANTITIES:
        np.testing.assert_allclose(getattr(found, name), getattr(one, name)[0], rtol=3e-14)


def test_many_chains_side_by_side_are_each_by_itself():
    rng = np.random.default_rng(1)
    initial, one, each = rows(rng, 3, 4), rows(rng, 4, 4), rows(rng, 3, 5, 4, 4)
    reward = rng.normal(size=4)
    for transition in (one, rows(rng, 3, 4, 4), each):
        many = chain(Markov(initial, transition, length=6), reward, [0.5, 1e7], prompt=["a", "b", "c"])
        assert many.log_z.shape == (3, 2)
        for i in range(3):
            part = transition if transition.ndim == 2 else transition[i]
            alone = chain(Markov(initial[i], part, length=6), reward, [0.5, 1e7])
            for name in QUANTITIES:
                assert np.array_equal(getattr(alone, name)[0], getattr(many, name)[i])
            np.testing.assert_array_equal(alone.tilted(0.5).marginals(), many.tilted(0.5).marginals()[i])
    assert Markov(initial, one, length=2).outcomes(reward).groups.prompt.tolist() == [0, 1, 2]


@pytest.mark.parametrize("beta", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("name", CHAINS)
def test_extreme_betas_give_the_limits(name, beta):
    reference, reward = CHAINS[name]
    known = chain(reference, reward, beta)
    listed = [(m, earned(as_reward(reward), p)) for p, m in sequences(reference) if m > 0]
    with np.errstate(over="ignore"):
        assert np.all(~np.isnan(known.log_z))
    assert known.kl[0, 0] >= 0
    if beta < 1:
        assert abs(known.mean_reward[0, 0] - float(max(r for _, r in listed))) < 1e-12
    elif all(r > -mpmath.inf for _, r in listed):
        assert abs(known.mean_reward[0, 0] - float(mpmath.fsum(m * r for m, r in listed))) < 1e-12


@pytest.mark.parametrize(
    ("way", "betas"), [(columns.from_top, (0.3, 2.0)), (columns.from_mean, (50.0, 1e6, 1e12))]
)
def test_the_fast_ways_agree_with_segments_where_they_can_be_trusted(way, betas):
    rng = np.random.default_rng(5)
    walk = chain(Markov(rows(rng, 9), rows(rng, 9, 9), length=40), rng.normal(size=(40, 9)), 1.0).walks[0]
    beta = np.array(betas)
    with np.errstate(all="ignore"):
        found, sound = way(walk, beta)
        wanted = fixed.by_segments(walk, beta)
        _, far = way(walk, np.array([1e-4]) if way is columns.from_mean else np.array([1e9]))
    assert np.all(sound)
    assert not np.any(far)
    for name in QUANTITIES:
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 7, 1000])
def test_powers_agree_with_segments_where_they_can_be_trusted(length):
    rng = np.random.default_rng(6)
    transition = rows(rng, 9, 9) * (rng.random((9, 9)) < 0.6) + 0.01 * np.eye(9)
    transition /= transition.sum(axis=1, keepdims=True)
    reward = AdditiveReward(rng.normal(size=9), rng.normal(size=(9, 9)), rng.normal(size=9))
    forbidding = AdditiveReward(np.where(np.arange(9) == 4, -np.inf, 0.2))
    beta = np.array([0.1, 0.3, 2.0, 1e9])
    for earned in (reward, reward + forbidding):
        walk = chain(Markov(rows(rng, 9), transition, length=length), earned, 1.0).walks[0]
        with np.errstate(all="ignore"):
            found, sound = powers.from_powers(walk, beta)
            wanted = fixed.by_segments(walk, beta)
        assert np.all(sound[:3])
        assert not sound[3] or earned is not reward
        for name in QUANTITIES:
            np.testing.assert_allclose(getattr(found, name)[sound], getattr(wanted, name)[sound], rtol=1e-12)
        assert np.all(np.abs(found.log_z - wanted.log_z)[sound] <= (found.error + wanted.error)[sound])


def test_digits_are_kept_where_rows_are_nearly_sure():
    n, small = 10, 1e-9
    transition = np.full((n, n), small / (n - 1))
    np.fill_diagonal(transition, 1 - small)
    initial = np.zeros(n)
    initial[0] = 1.0
    reward = np.linspace(-1, 1, n)
    known = chain(Markov(initial, transition, length=3), np.tile(reward, (3, 1)), 1e6)
    wanted, _ = truth(Markov(initial, transition, length=3), as_reward(reward), 1e6)
    check(known, wanted)


@pytest.mark.parametrize("beta", [1e-300, 1e-3, 0.5, 5.0, 1e3, 1e9])
@pytest.mark.parametrize("forbids", [False, True])
def test_large_chains_choose_a_way_that_keeps_their_digits(beta, forbids):
    rng = np.random.default_rng(8)
    n, length = 12, 60
    reward = rng.integers(-3, 4, size=(length, n)).astype(float)
    reward[:, 0] = -np.inf if forbids else 0.0
    known = chain(Markov(rows(rng, n), rows(rng, n, n), length=length), reward, beta)
    with np.errstate(all="ignore"):
        wanted = fixed.by_segments(known.walks[0], np.array([beta]))
    for name in QUANTITIES:
        np.testing.assert_allclose(getattr(known, name)[0], getattr(wanted, name), rtol=1e-12)


@pytest.mark.parametrize("beta", [1e-3, 0.5, 2.0, 1e8])
@pytest.mark.parametrize("varying", [False, True])
def test_a_hundred_thousand_spins(beta, varying):
    length = 100_000 if not varying else 20_000
    pairs = np.array([[1.0, -1.0], [-1.0, 1.0]])
    reward = np.tile(pairs, (length - 1, 1, 1)) if varying else pairs
    known = chain(
        Markov([0.5, 0.5], np.full((2, 2), 0.5), length=length), AdditiveReward(transition=reward), beta
    )
    with mpmath.workdps(40):
        t = 1 / mpmath.mpf(beta)
        log_z, mean = (length - 1) * mpmath.log(mpmath.cosh(t)), (length - 1) * mpmath.tanh(t)
        wanted = {"log_z": log_z, "mean_reward": mean, "kl": mean * t - log_z, "kl_reverse": log_z}
        check(known, {key: float(value) for key, value in wanted.items()})
