"""Rewards as they come: the same limits as betting on all of them, on a grid whose price is known."""

import json
import zlib

import numpy as np
import pytest

import tiltz
from tests.oracles import precisely
from tiltz.errors import InputError
from tiltz.inference.allocation import FIRST, next_samples

BETAS = [0.05, 0.3, 2.0]
RANGES = [{}, {"reward_range": (-1.0, 3.0)}, {"reward_values": (-1, 0, 0.5, 2)}]


def pushed(rewards, **declared):
    monitor = tiltz.Monitor(**declared)
    for label, some in rewards.items():
        for part in np.array_split(np.asarray(some, float), 3):
            monitor.push(part, prompt=label)
    return monitor


def some_rewards(seed=0):
    rng = np.random.default_rng(seed)
    return {"a": rng.choice([-1.0, 0.0, 0.5, 2.0], size=40), "b": np.zeros(16), "c": [2.0]}


@pytest.mark.parametrize("declared", RANGES)
def test_limits_are_those_of_betting_on_all_rewards(declared):
    rewards = some_rewards()
    found = pushed(rewards, **declared).estimate(BETAS)
    table = tiltz.Outcomes.sampled(
        np.concatenate(list(rewards.values())),
        prompt=np.repeat(list(rewards), [len(r) for r in rewards.values()]),
        stopping="adaptive",
        **declared,
    )
    wanted = tiltz.estimate(table, BETAS, interval="betting")
    np.testing.assert_allclose(found.lo, wanted.lo, atol=1e-7)
    np.testing.assert_allclose(found.hi, wanted.hi, atol=1e-7)
    np.testing.assert_allclose(found.log_z, wanted.log_z, atol=1e-12)
    assert found.prompt.tolist() == ["a", "b", "c"]
    assert found.n.tolist() == [40, 16, 1]
    assert set(found.kind.reshape(-1)) == ({"certified"} if declared else {"lower-only"})


@pytest.mark.parametrize("spacing", [1e-3, 0.1, 1.0])
def test_the_grid_rounds_outward_and_costs_what_it_says(spacing):
    rewards = np.random.default_rng(1).beta(2, 5, size=200)
    fine = tiltz.estimate(tiltz.Outcomes.sampled(rewards, reward_range=(0, 1)), BETAS, interval="betting")
    coarse = pushed({0: rewards}, reward_range=(0, 1), spacing=spacing).estimate(BETAS)
    price = spacing / np.array(BETAS)
    assert np.all(coarse.lo <= fine.lo + 1e-9)
    assert np.all(coarse.hi >= fine.hi - 1e-9)
    assert np.all(coarse.lo >= fine.lo - price - 1e-9)
    assert np.all(coarse.hi <= fine.hi + price + 1e-9)
    assert any("grid" in note for note in coarse.notes)


def test_rewards_on_the_grid_cost_nothing():
    monitor = tiltz.Monitor(spacing=0.25)
    monitor.push([-np.inf, 0.25, -0.75, 0.0])
    low, high = monitor._ends(monitor._arrays()[0])
    assert low.tolist() == high.tolist() == [-np.inf, -0.75, 0.0, 0.25]


@pytest.mark.parametrize("spacing", [0.1, 1 / 3, 1e-3, 7e5])
def test_cells_hold_their_rewards_whatever_is_rounded(spacing):
    rng = np.random.default_rng(2)
    rewards = np.concatenate([rng.normal(size=2000) * 1e3, np.arange(-300, 300) * spacing])
    monitor = tiltz.Monitor(spacing=spacing)
    low, high = monitor._ends(monitor._cells_of(rewards))
    assert np.all(low <= rewards)
    assert np.all(rewards <= high)
    assert np.all(high - low <= spacing * (1 + 1e-9))


def test_merging_and_storing_lose_nothing():
    first, second = (
        pushed(some_rewards(1), reward_range=(-1, 2)),
        pushed(some_rewards(2), reward_range=(-1, 2)),
    )
    merged = first.merge(tiltz.Monitor.from_bytes(second.to_bytes()))
    both = {label: np.concatenate([some_rewards(1)[label], some_rewards(2)[label]]) for label in "abc"}
    wanted, found = pushed(both, reward_range=(-1, 2)).estimate(BETAS), merged.estimate(BETAS)
    assert found.lo.tobytes() == wanted.lo.tobytes()
    assert found.hi.tobytes() == wanted.hi.tobytes()
    assert first.n.tolist() == [40, 16, 1]
    assert len(merged.to_bytes()) < 500


def test_labels_keep_their_type_in_bytes():
    monitor = tiltz.Monitor(reward_values=(-np.inf, 1))
    monitor.push([1, -np.inf], prompt=[7, 8])
    again = tiltz.Monitor.from_bytes(monitor.to_bytes())
    assert again.prompt == [7, 8]
    assert again.estimate(1.0).lo.tobytes() == monitor.estimate(1.0).lo.tobytes()


@pytest.mark.parametrize(
    "state", [b"", b"x", b"tiltz monitor 1\n", b"tiltz monitor 1\n" + zlib.compress(b"{}")]
)
def test_other_bytes_are_refused(state):
    with pytest.raises(InputError, match="not the state of a monitor"):
        tiltz.Monitor.from_bytes(state)


def test_a_cut_state_is_refused():
    with pytest.raises(InputError, match="damaged"):
        tiltz.Monitor.from_bytes(pushed(some_rewards()).to_bytes()[:-4])
    text = json.dumps({"declared": {}, "counts": []}).encode()
    with pytest.raises(InputError, match="damaged"):
        tiltz.Monitor.from_bytes(b"tiltz monitor 1\n" + zlib.compress(text))


@pytest.mark.parametrize(
    ("declared", "rewards", "said"),
    [
        ({}, [0.0, np.nan], "found nan at position 1"),
        ({}, [np.inf], r"found inf at position 0"),
        ({"reward_range": (0, 1)}, [0.5, 1.5], "declared range"),
        ({"reward_values": (0, 1)}, [0.5], "one of the declared"),
        ({}, [[1.0]], "1-D"),
        ({}, ["a"], "must hold numbers"),
        ({}, [1e300], "coarser grid"),
    ],
)
def test_a_bad_reward_is_refused_and_nothing_is_added(declared, rewards, said):
    monitor = tiltz.Monitor(**declared)
    monitor.push([0.0], prompt="a")
    with pytest.raises(InputError, match=said):
        monitor.push(rewards, prompt="a")
    assert monitor.n.tolist() == [1]


def test_what_is_asked_too_early_or_wrongly_is_refused():
    with pytest.raises(InputError, match="at least one reward"):
        tiltz.Monitor().estimate(1.0)
    with pytest.raises(InputError, match="spacing must be"):
        tiltz.Monitor(spacing=0)
    with pytest.raises(InputError, match="level must lie"):
        tiltz.Monitor(level=2)
    with pytest.raises(InputError, match="declared alike"):
        tiltz.Monitor(reward_range=(0, 1)).merge(tiltz.Monitor())
    with pytest.raises(InputError, match="one label or one for each"):
        tiltz.Monitor().push([0, 1], prompt=["a", "b", "c"])
    with pytest.raises(InputError, match="integer of at least 0"):
        pushed(some_rewards()).allocate(-1, beta=1.0)


def test_values_and_range_must_agree_and_values_win():
    with pytest.raises(InputError, match="must lie in reward_range"):
        tiltz.Monitor(reward_range=(0, 0.5), reward_values=(0, 1))
    monitor = tiltz.Monitor(reward_range=(0, 2), reward_values=(0, 1))
    monitor.push([0, 1, 1])
    again = monitor.merge(tiltz.Monitor.from_bytes(monitor.to_bytes()))
    assert again.n.tolist() == [6]
    assert monitor.estimate(0.1).hi[0, 0] <= 10.0


@pytest.mark.parametrize(
    "counts",
    [
        [["a", [0], [-5]]],
        [["a", [0], [0]]],
        [["a", [], []]],
        [["a", [9], [1]]],
        [["a", [-1], [1]]],
        [["a", [0], [1.5]]],
        [["a", [0], [10**40]]],
        [["a", [0, 0], [1, 1]]],
        [["a", [0], [1]], ["a", [1], [1]]],
        [["a", [0], [1]], [1, [1], [1]]],
        [[1.5, [0], [1]]],
        [[None, [0], [1]]],
        [["a", [0]]],
    ],
)
def test_damaged_counts_are_refused(counts):
    state = tiltz.Monitor(reward_values=(0, 1)).to_bytes()
    magic = b"tiltz monitor 1\n"
    held = json.loads(zlib.decompress(state[len(magic) :]))
    held["counts"] = counts
    with pytest.raises(InputError):
        tiltz.Monitor.from_bytes(magic + zlib.compress(json.dumps(held).encode()))


@pytest.mark.parametrize("other", [1, "1"])
def test_labels_that_look_alike_are_not_mixed(other):
    monitor = tiltz.Monitor()
    monitor.push([0.0], prompt="1" if other == 1 else 1)
    with pytest.raises(InputError, match="all strings or all integers"):
        monitor.push([0.0], prompt=other)
    with pytest.raises(InputError, match="all strings or all integers"):
        monitor.push([0.0, 0.0, 0.0], prompt=["a", "b", 3])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"beta": [0.1, 0.2]}, "one beta"),
        ({"beta": 0.1, "width": -1}, "width must be"),
        ({"beta": 0.1, "patience": 0}, "patience must be"),
        ({"beta": 0.1, "patience": "a"}, "patience must be"),
        ({"beta": 0.1, "prompts": [None]}, "prompts must be labels"),
        ({"beta": 0.1, "prompts": 5.5}, "prompts must be labels"),
    ],
)
def test_what_allocate_cannot_use_is_refused(arguments, said):
    with pytest.raises(InputError, match=said):
        pushed(some_rewards()).allocate(5, **arguments)
    with pytest.raises(InputError, match="merges with a monitor"):
        pushed(some_rewards()).merge(None)


def test_rewards_in_one_gap_of_the_grid_are_not_known_to_be_equal():
    monitor = tiltz.Monitor(reward_range=(0, 1))
    monitor.push([0.50001, 0.50002, 0.5003] * 30)
    assert "all_equal" not in monitor.estimate(0.5).flags[0, 0]
    assert monitor.allocate(5, beta=0.001) == {0: 5}


def test_an_empty_push_changes_nothing():
    monitor = tiltz.Monitor()
    monitor.push([])
    assert monitor.prompt == []


# Allocation


def test_prompts_that_are_done_get_no_more():
    rng = np.random.default_rng(3)
    monitor = tiltz.Monitor(reward_values=(0, 1))
    monitor.push((rng.random(2000) < 0.5) * 1.0, prompt="narrow")
    monitor.push(np.zeros(64), prompt="impossible")
    monitor.push((rng.random(20) < 0.3) * 1.0, prompt="wide")
    assert monitor.allocate(10, beta=0.3) == {"wide": 10}
    assert set(monitor.allocate(1000, beta=0.1, patience=65)) == {"wide", "impossible"}
    assert monitor.allocate(10, beta=0.3, prompts=["narrow"]) == {}
    found = monitor.estimate(0.3)
    assert found.kind[1, 0] == "certified"
    assert 0.3 * found.hi[1, 0] < 1.0


def test_unseen_prompts_come_first():
    monitor = tiltz.Monitor(reward_values=(0, 1))
    monitor.push([0, 1, 0, 1], prompt="seen")
    given = monitor.allocate(10, beta=0.5, prompts=["seen", "new"])
    assert given["new"] >= FIRST
    assert sum(given.values()) == 10
    assert tiltz.Monitor().allocate(3, beta=0.5, prompts=["a", "b"]) == {"a": 2, "b": 1}


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_the_next_sample_is_worth_the_same_everywhere(n):
    width, drawn = np.array([2.0, 1.5, 0.0, 4.0, np.inf]), np.array([10, 100, 5, 30, 8])
    given = next_samples(n, width, drawn)
    assert given.sum() == n
    assert given[2] == 0
    if n == 1000:
        worth = np.minimum(width, 4.0)[given > 0] / (drawn + given)[given > 0]
        assert worth.max() == pytest.approx(worth.min(), rel=0.05)


def test_stopping_when_narrow_enough_keeps_the_promise():
    """Look after every batch and stop at will: the limits excluded the truth in at most 5% of runs."""
    p, beta, misses, rounds = 0.3, 0.5, 0, 300
    truth = np.log1p(p * np.expm1(1 / beta))
    rng = np.random.default_rng(4)
    for _ in range(rounds):
        monitor, missed = tiltz.Monitor(reward_values=(0, 1)), False
        for _ in range(20):
            monitor.push((rng.random(8) < p) * 1.0)
            est = monitor.estimate(beta)
            missed = not est.lo[0, 0] <= truth <= est.hi[0, 0]
            if missed or est.hi[0, 0] - est.lo[0, 0] <= 0.5:
                break
        misses += missed
    assert misses <= 0.05 * rounds + 4.89 * np.sqrt(0.05 * 0.95 * rounds)


def test_limits_at_the_ends_by_hand():
    monitor = tiltz.Monitor(reward_values=(0, 1))
    monitor.push(np.ones(50))
    est = monitor.estimate(0.5)
    assert est.hi[0, 0] == precisely(2.0, rel=1e-12)
    assert est.log_z[0, 0] == precisely(2.0, rel=1e-12)
    assert est.flags[0, 0][0] == "all_equal"
