"""What chains, rewards and automata refuse, and how they say it."""

import re

import numpy as np
import pytest

from tiltz.errors import InputError
from tiltz.known.chains import (
    AdditiveReward,
    Automaton,
    HiddenMarkov,
    Markov,
    any_symbol,
    chain,
    contains,
    counts,
    symbol,
)

P = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Markov([0.5, 0.6], P, length=3), r"initial must sum to 1 .* sums to 1\.1"),
        (
            lambda: Markov([0.5, 0.5], [[0.9, 0.1], [0.2, 0.7]], length=3),
            r"row 1 of transition .* sums to 0\.9",
        ),
        (lambda: Markov([0.5, 0.5], P, end=[0.1, 0.1]), r"row 0 of transition must sum to 0\.9"),
        (lambda: Markov([0.5, 0.5], P), "must have a length, or end"),
        (lambda: Markov([0.5, 0.5], P, end=[0, 0]), "must end at last"),
        (lambda: Markov([1.5, -0.5], P, length=3), "between 0 and 1; found 1.5 at 0"),
        (lambda: Markov([0.5, np.nan], P, length=3), "found nan at 1"),
        (lambda: Markov(["a", "b"], P, length=3), "array of numbers"),
        (lambda: Markov([], [], length=3), "at least one state"),
        (lambda: Markov([0.5, 0.5], [[0.9, 0.1]], length=3), r"shape \(2, 2\)"),
        (lambda: Markov([0.5, 0.5], [P, P, P], length=3), r"\(2, 2, 2\).* found shape \(3, 2, 2\)"),
        (lambda: Markov([0.5, 0.5], [[0.9, 0.1], [1.0]], length=3), "rows of one length"),
        (lambda: Markov([0.5, 0.5], P, length=0), "length must be a positive whole number"),
        (lambda: Markov([0.5, 0.5], P, length=2.5), "length must be a positive whole number"),
        (lambda: Markov([0.5, 0.5], P, length=3, empty=0.2), "empty is for sequences of random length"),
        (lambda: Markov([0.5, 0.5], P, end=[0.1], length=3), "end must have shape"),
        (lambda: HiddenMarkov([0.5, 0.5], P, [[1, 0]], length=2), "emission must have shape"),
        (lambda: HiddenMarkov([0.5, 0.5], P, [[1, 0], [0.5, 0.4]], length=2), "row 1 of emission"),
        (lambda: Automaton([[0, 2], [1, 1]]), "found 2 for state 0 and symbol 1"),
        (lambda: Automaton([[0, 0.5], [1, 1]]), "found 0.5"),
        (lambda: Automaton([0, 1]), "shape"),
        (lambda: Automaton([[0, 0]], reward=[[0, np.nan]]), "found nan"),
        (lambda: Automaton([[0, 0]], final=[0, 1]), "same shape"),
        (lambda: contains("", symbols="ab"), "empty word"),
        (lambda: contains("abz", symbols="ab"), "'z'"),
        (lambda: counts([0, 5], 3), "found 5"),
        (lambda: contains([0, 1]), "number of symbols must be given"),
        (lambda: symbol("z").found(symbols="ab"), "'z'"),
        (lambda: symbol("a").__add__("b"), "patterns are joined with patterns"),
        (lambda: any_symbol().matches(), "number of symbols"),
        (lambda: AdditiveReward([[[1.0]]]), "dimensions"),
        (lambda: AdditiveReward([1.0], automata=[3]), "Automaton"),
        (lambda: AdditiveReward([np.inf]), "found inf"),
    ],
)
def test_what_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize(
    ("reward", "says"),
    [
        ([1.0, 2.0, 3.0], r"shape \(2,\) or \(4, 2\).* found shape \(3,\)"),
        (np.zeros((3, 2)), r"found shape \(3, 2\)"),
        ([1.0, np.nan], "found nan at 1"),
        ("ab", "array of numbers"),
        (AdditiveReward(transition=np.zeros((4, 2, 2))), r"\(3, 2, 2\)"),
        (contains([2], 3), "must read the 2 symbols"),
    ],
)
def test_rewards_that_do_not_fit(reward, says):
    with pytest.raises(InputError, match=says):
        chain(Markov([0.5, 0.5], P, length=4), reward, 1.0)


def test_questions_that_cannot_be_answered():
    coin = Markov([0.5, 0.5], P, length=40)
    with pytest.raises(InputError, match=r"1,099,511,627,776"):
        coin.outcomes([0, 1])
    with pytest.raises(InputError, match="infinitely many"):
        Markov([0.5, 0.5], np.array(P) / 2, end=[0.5, 0.5]).outcomes([0, 1])
    with pytest.raises(InputError, match="beta"):
        chain(coin, [0, 1], -1.0)
    with pytest.raises(InputError, match="2 betas"):
        chain(coin, [0, 1], [1.0, 2.0]).tilted()
    with pytest.raises(InputError, match="reference must be"):
        chain(P, [0, 1], 1.0)
    with pytest.raises(InputError, match="one label per chain"):
        chain(coin, [0, 1], 1.0, prompt=["a", "b"])
    with pytest.raises(InputError, match="reward per step"):
        chain(Markov([0.5, 0.5], np.array(P) / 2, end=[0.5, 0.5]), np.zeros((3, 2)), 1.0)
    with pytest.raises(InputError, match="n must be"):
        coin.sample(0, np.random.default_rng(0))
    with pytest.raises(InputError, match="Generator"):
        coin.sample(2, 0)
    with pytest.raises(InputError, match="found 2 in row 0"):
        coin.log_prob([[0, 2]])
    with pytest.raises(InputError, match="found 2 in row 0"):
        AdditiveReward([0.0, 1.0]).score([[0, 2]])
    with pytest.raises(InputError, match="given for 3 steps; found sequences of 4"):
        AdditiveReward(np.zeros((3, 2))).score([[0, 1, 1, 1]])
    with pytest.raises(InputError, match="row 1 at step 1"):
        coin.log_prob([[0, 1], [-1, 1]])


def test_wholly_forbidden_chains_have_nothing():
    known = chain(Markov([0.5, 0.5], P, length=3), [-np.inf, -np.inf], [1.0, 1e-300])
    assert np.all(known.log_z == -np.inf)
    with pytest.raises(InputError, match="0 or infinite"):
        known.tilted(1.0)


def test_arrays_of_the_caller_are_neither_kept_nor_changed():
    initial, transition, reward = np.array([0.5, 0.5]), np.array(P), np.array([0.0, 1.0])
    copies = initial.copy(), transition.copy(), reward.copy()
    reference = Markov(initial, transition, length=3)
    before = chain(reference, reward, 1.0).log_z.copy()
    for one, other in zip((initial, transition, reward), copies, strict=True):
        assert np.array_equal(one, other)
    transition[:] = 0.5
    assert np.array_equal(chain(reference, reward, 1.0).log_z, before)


def test_words_and_patterns_read_alike():
    rng = np.random.default_rng(0)
    paths = rng.integers(0, 3, size=(500, 12))
    text = ["".join("abc"[y] for y in path) for path in paths]
    word, pattern = contains("aba", symbols="abc"), symbol("a") + symbol("b") + symbol("a")
    expected = np.array([1.0 if "aba" in line else 0.0 for line in text])
    for automaton in (word, pattern.found(symbols="abc")):
        assert np.array_equal(AdditiveReward(automata=[automaton]).score(paths), expected)
    overlapping = np.array([sum(line.startswith("aba", i) for i in range(12)) for line in text], dtype=float)
    assert np.array_equal((counts("aba", symbols="abc") + np.zeros(3)).score(paths), overlapping)
    either = (symbol("a") | symbol("b")).star() + symbol("c") + any_symbol()
    wanted = np.array([3.0 if re.fullmatch("[ab]*c.", line[:4]) else 0.0 for line in text])
    found = AdditiveReward(automata=[either.matches(symbols="abc", reward=3.0)]).score(paths[:, :4])
    assert np.array_equal(found, wanted)
    assert wanted.sum() > 0
