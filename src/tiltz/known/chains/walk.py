"""A chain together with its rewards: what the sums run over."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiltz.known.chains.automaton import Automaton
from tiltz.known.chains.process import ENDED, Process, absorbed
from tiltz.known.chains.reward import AdditiveReward

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A chain and the rewards of its steps.

    Attributes
    ----------
    process : Process
        Of fixed length, or with an end and no length.
    first : array, shape (n,)
        Reward of the first step, by state.
    gain : array, shape (n_steps, n or 1, n)
        Reward of each further step, by the state before (one row where it does not matter) and the state reached;
        ``n_steps`` is 1 where it is the same at every step.
    last : array, shape (n,)
        Reward at the end, by the last state.
    empty : float
        Reward of the sequence without a step, where nothing bounds the length.
    """

    process: Process
    first: Floats
    gain: Floats
    last: Floats
    empty: float

    @property
    def by_state(self) -> bool:
        """Whether rewards do not depend on the state before."""
        return self.gain.shape[1] == 1 and len(self.first) > 1

    @property
    def homogeneous(self) -> bool:
        """Whether every step is like every other, but for the reward of the first."""
        return not self.process.varies and len(self.gain) == 1

    def gain_at(self, step: int) -> Floats:
        """Return the rewards of what follows step ``step``, shape (n or 1, n)."""
        return self.gain[step if len(self.gain) > 1 else 0]


def walk(process: Process, reward: AdditiveReward) -> Walk:
    """Return a chain with its rewards; states are pairs with those of the automata, if there are any."""
    found = _ended(_plain(process, reward))
    for automaton in reward.automata:
        found = _product(found, automaton)
    return found


def forbids(walk: Walk) -> bool:
    """Return whether a sequence of positive probability, of fixed length, has the reward -inf."""
    process = walk.process
    assert process.length is not None
    if not any(np.any(np.isneginf(reward)) for reward in (walk.first, walk.gain, walk.last)):
        return False
    reached = process.initial > 0
    if np.any(reached & np.isneginf(walk.first)):
        return True
    for step in range(process.length - 1):
        follows = reached[:, None] & (process.transition_at(step) > 0)
        if np.any(follows & np.isneginf(walk.gain_at(step))):
            return True
        before, reached = reached, np.any(follows, axis=0)
        if walk.homogeneous and np.array_equal(before, reached):
            break
    return bool(np.any(reached & np.isneginf(walk.last)))


def _plain(process: Process, reward: AdditiveReward) -> Walk:
    """Return the rewards of symbols and pairs of symbols as rewards of states."""
    symbol, n = process.symbol, len(process.initial)
    first, gain = np.zeros(n), np.zeros((1, 1, n))
    if reward.state is not None:
        state = reward.state[..., symbol]
        first = state if state.ndim == 1 else state[0]
        gain = state[None, None] if state.ndim == 1 else state[1:, None]
    if reward.transition is not None:
        pairs = reward.transition[..., symbol[:, None], symbol]
        gain = gain + (pairs if pairs.ndim == 3 else pairs[None])
    last = np.zeros(n) if reward.end is None else reward.end[symbol]
    if len(gain) == 0:  # a single step
        gain = np.zeros((1, 1, n))
    return Walk(process=process, first=first, gain=gain, last=last, empty=0.0)


def _ended(plain: Walk) -> Walk:
    """Return a walk of fixed length where the length is limited: after the end nothing more is earned."""
    process = plain.process
    if process.end is None or process.length is None:
        return plain
    n = len(process.initial)
    gain = np.zeros((len(plain.gain), n + 1, n + 1))
    gain[:, :n, :n] = plain.gain
    gain[:, :n, n] = plain.last
    return Walk(
        process=absorbed(process),
        first=np.append(plain.first, 0.0),
        gain=gain,
        last=np.append(plain.last, 0.0),
        empty=0.0,
    )


def _product(before: Walk, automaton: Automaton) -> Walk:
    """Return the walk whose states also remember the state of the automaton, those that can be reached alone."""
    process = before.process
    state, memory = _reachable(process, automaton)
    reads = process.symbol[state] != ENDED
    target, earned = _read(automaton, process.symbol, memory)
    follows = target[:, state] == memory
    transition = process.transition[..., state[:, None], state] * follows
    begins, bonus = _read(automaton, process.symbol, np.zeros(1, dtype=np.int64))
    initial = np.where(begins[0, state] == memory, process.initial[state], 0.0)
    extra = earned[:, state]
    rows = state if before.gain.shape[1] > 1 else np.zeros(1, dtype=np.int64)
    gain = before.gain[:, rows[:, None], state]
    by_target = _by_target(transition, extra)
    gain = gain + (extra if by_target is None else by_target)
    # A sequence that is over has been given the final reward of the automaton only at the last step of all.
    final = automaton.final[memory]
    return Walk(
        process=dataclasses.replace(
            process,
            initial=initial,
            transition=transition,
            end=None if process.end is None else process.end[..., state],
            symbol=process.symbol[state],
        ),
        first=before.first[state] + np.where(reads, bonus[0, state], 0.0),
        gain=gain,
        last=before.last[state] + final,
        empty=before.empty + float(automaton.final[0]),
    )


def _read(automaton: Automaton, symbol: Ints, memory: Ints) -> tuple[Ints, Floats]:
    """Return where the automaton goes from each memory on what each state shows, and what it earns."""
    reads = symbol != ENDED
    shown = np.where(reads, symbol, 0)
    target = np.where(reads, automaton.next[memory[:, None], shown], memory[:, None])
    return target, np.where(reads, automaton.reward[memory[:, None], shown], 0.0)


def _reachable(process: Process, automaton: Automaton) -> tuple[Ints, Ints]:
    """Return the pairs of a state and a memory that have positive probability at some step."""
    follows = process.transition > 0
    if process.varies:
        follows = np.any(follows, axis=0)
    n, n_memories = len(process.initial), len(automaton.final)
    target, _ = _read(automaton, process.symbol, np.arange(n_memories))
    seen = np.zeros((n, n_memories), dtype=bool)
    waiting = [(int(i), int(target[0, i])) for i in np.flatnonzero(process.initial > 0)]
    for pair in waiting:
        seen[pair] = True
    while waiting:
        state, memory = waiting.pop()
        for other in np.flatnonzero(follows[state]):
            pair = (int(other), int(target[memory, other]))
            if not seen[pair]:
                seen[pair] = True
                waiting.append(pair)
    found = np.argwhere(seen)
    return found[:, 0], found[:, 1]


def _by_target(transition: Floats, extra: Floats) -> Floats | None:
    """Return the rewards of steps as rewards of the states reached, shape (1, n), where they are that."""
    occurs = transition > 0
    if occurs.ndim == 3:
        occurs = np.any(occurs, axis=0)
    high = np.max(np.where(occurs, extra, -np.inf), axis=0)
    low = np.min(np.where(occurs, extra, np.inf), axis=0)
    if np.any(high > low):
        return None
    return np.where(np.any(occurs, axis=0), high, 0.0)[None]
