"""Rewards that are sums over the steps of a sequence, and what automata add to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.chains.automaton import Automaton
from tiltz.known.chains.checks import checked_reward
from tiltz.known.chains.paths import checked_paths

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AdditiveReward:
    """A sum of rewards of the symbols of a sequence; ``-inf`` forbids.

    Parameters
    ----------
    state : array_like, shape (n_symbols,) or (length, n_symbols), optional
        Earned at every symbol, or at the one of each step.
    transition : array_like, shape (n_symbols, n_symbols) or (length - 1, n_symbols, n_symbols), optional
        Earned by a symbol that follows another.
    end : array_like, shape (n_symbols,), optional
        Earned by the last symbol.
    automata : sequence of Automaton, optional
        What they earn is added.

    Raises
    ------
    InputError
        If a reward is NaN or ``+inf``, or a shape is another.

    Examples
    --------
    >>> AdditiveReward([1, 0], transition=[[0, 0], [0, 0.5]]).score([[0, 1, 1], [1, 1, 1]])
    array([1.5, 1. ])
    """

    state: Floats | None
    transition: Floats | None
    end: Floats | None
    automata: tuple[Automaton, ...]

    def __init__(
        self,
        state: npt.ArrayLike | None = None,
        transition: npt.ArrayLike | None = None,
        end: npt.ArrayLike | None = None,
        *,
        automata: Any = (),
    ) -> None:
        object.__setattr__(self, "state", _shaped(state, "state", (1, 2)))
        object.__setattr__(self, "transition", _shaped(transition, "transition", (2, 3)))
        object.__setattr__(self, "end", _shaped(end, "end", (1,)))
        object.__setattr__(self, "automata", tuple(automata))
        wrong = [a for a in self.automata if not isinstance(a, Automaton)]
        if wrong:
            raise InputError(f"automata must hold Automaton objects; found {wrong[0]!r:.80}.")

    __array_ufunc__ = None  # an array + a reward is a reward too

    def __repr__(self) -> str:
        given = [name for name in ("state", "transition", "end") if getattr(self, name) is not None]
        return f"AdditiveReward: {', '.join([*given, f'{len(self.automata)} automata'])}"

    def __add__(self, other: Any) -> AdditiveReward:
        other = as_reward(other)
        return AdditiveReward(
            _sum(self.state, other.state, 2),
            _sum(self.transition, other.transition, 3),
            _sum(self.end, other.end, 1),
            automata=self.automata + other.automata,
        )

    __radd__ = __add__

    def score(self, paths: npt.ArrayLike) -> Floats:
        """Return the rewards of sequences.

        Parameters
        ----------
        paths : array_like of int, shape (n_paths, n_steps)
            Symbols, -1 after the end of a sequence.

        Returns
        -------
        array, shape (n_paths,)
            Rewards.

        Raises
        ------
        InputError
            If there is no reward for a symbol or for so many steps.
        """
        symbols = checked_paths(paths, self._n_symbols())
        _check_steps(self, symbols.shape[1])
        there = symbols >= 0
        total = np.zeros(len(symbols))
        step = np.arange(symbols.shape[1])
        if self.state is not None:
            state = self.state[symbols] if self.state.ndim == 1 else self.state[step, symbols]
            total += np.sum(np.where(there, state, 0.0), axis=1)
        if self.transition is not None and len(step) > 1:
            pairs = (
                self.transition
                if self.transition.ndim == 3
                else self.transition[None].repeat(len(step) - 1, 0)
            )
            earned = pairs[step[:-1], symbols[:, :-1], symbols[:, 1:]]
            total += np.sum(np.where(there[:, 1:], earned, 0.0), axis=1)
        if self.end is not None:
            n_steps = np.sum(there, axis=1)
            final = symbols[np.arange(len(symbols)), np.maximum(n_steps - 1, 0)]
            total += np.where(n_steps > 0, self.end[final], 0.0)
        for automaton in self.automata:
            total += _read(automaton, symbols)
        return total

    def _n_symbols(self) -> int:
        arrays = [a for a in (self.state, self.transition, self.end) if a is not None]
        sizes = [a.shape[-1] for a in arrays] + [a.next.shape[1] for a in self.automata]
        return min(sizes, default=np.iinfo(np.int64).max)


def as_reward(reward: Any) -> AdditiveReward:
    """Return any form of reward as an :class:`AdditiveReward`."""
    if isinstance(reward, AdditiveReward):
        return reward
    if isinstance(reward, Automaton):
        return AdditiveReward(automata=(reward,))
    return AdditiveReward(checked_reward(reward, "reward"))


def check_fits(reward: AdditiveReward, n_symbols: int, length: int | None) -> None:
    """Refuse rewards for another number of symbols or steps."""
    for name, array, per_step in (
        ("reward per state", reward.state, 1),
        ("reward per transition", reward.transition, 2),
        ("reward at the end", reward.end, 1),
    ):
        if array is None:
            continue
        n_steps = None if length is None else length - (per_step == 2)
        steps = array.shape[:-per_step]
        if array.shape[-per_step:] != (n_symbols,) * per_step or (steps and steps != (n_steps,)):
            one = ", ".join([str(n_symbols)] * per_step)
            shapes = f"({one},)" if per_step == 1 else f"({one})"
            more = f" or ({n_steps}, {one})" if n_steps is not None and name != "reward at the end" else ""
            raise InputError(
                f"{name} must have shape {shapes}{more}, one number for each of the {n_symbols} symbols"
                f"{'' if length is None else f' (at each of {length} steps)'}; found shape {array.shape}."
                + ("" if length is not None else " A chain without a length has no reward per step.")
            )
    for automaton in reward.automata:
        if automaton.next.shape[1] != n_symbols:
            raise InputError(
                f"an automaton must read the {n_symbols} symbols of the chain; found one that reads "
                f"{automaton.next.shape[1]}."
            )


def _check_steps(reward: AdditiveReward, n_steps: int) -> None:
    for array, dimensions, fewer in ((reward.state, 2, 0), (reward.transition, 3, 1)):
        if array is not None and array.ndim == dimensions and len(array) < n_steps - fewer:
            raise InputError(
                f"the reward is given for {len(array) + fewer} steps; found sequences of {n_steps} steps."
            )


def _read(automaton: Automaton, symbols: Ints) -> Floats:
    state, total = np.zeros(len(symbols), dtype=np.int64), np.zeros(len(symbols))
    for column in symbols.T:
        there = column >= 0
        total += np.where(there, automaton.reward[state, column], 0.0)
        state = np.where(there, automaton.next[state, column], state)
    return total + automaton.final[state]


def _shaped(values: npt.ArrayLike | None, name: str, dimensions: tuple[int, ...]) -> Floats | None:
    if values is None:
        return None
    array = checked_reward(values, f"reward ({name})")
    if array.ndim not in dimensions or 0 in array.shape:
        wanted = " or ".join(map(str, dimensions))
        raise InputError(
            f"reward ({name}) must be an array of {wanted} dimensions; found shape {array.shape}."
        )
    return array


def _sum(one: Floats | None, other: Floats | None, full: int) -> Floats | None:
    if one is None or other is None:
        return other if one is None else one
    if one.ndim == other.ndim < full or one.ndim == other.ndim:
        return one + other
    short, long = sorted((one, other), key=lambda array: array.ndim)
    return short[None] + long
