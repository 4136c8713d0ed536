"""Rewards that remember: finite automata that read a sequence and earn on the way or at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.chains.checks import checked_reward, real_array

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Automaton:
    """A reward given by a deterministic finite automaton that starts in its state 0 and reads every symbol.

    Add automata, and :class:`AdditiveReward`, with ``+``.

    Parameters
    ----------
    next : array_like of int, shape (n_states, n_symbols)
        State after reading a symbol.
    reward : array_like, shape (n_states, n_symbols), optional
        Earned by reading a symbol in a state; ``-inf`` forbids it. Nothing by default.
    final : array_like, shape (n_states,), optional
        Earned in the state in which the sequence ends, that of the empty one too. Nothing by default.

    Raises
    ------
    InputError
        If shapes differ, a state does not exist, or a reward is NaN or ``+inf``.

    Examples
    --------
    One for every 1 that follows a 1:

    >>> Automaton([[0, 1], [0, 1]], reward=[[0, 0], [0, 1]])
    Automaton: 2 states, 2 symbols
    """

    next: Ints
    reward: Floats
    final: Floats

    def __init__(
        self, next: npt.ArrayLike, reward: npt.ArrayLike | None = None, final: npt.ArrayLike | None = None
    ) -> None:
        table = _checked_table(next)
        rewards = (
            np.zeros(table.shape) if reward is None else checked_reward(reward, "reward of an automaton")
        )
        at_end = np.zeros(len(table)) if final is None else checked_reward(final, "final of an automaton")
        if rewards.shape != table.shape or at_end.shape != table.shape[:1]:
            raise InputError(
                f"an automaton with next of shape {table.shape} needs reward of the same shape and final of shape "
                f"({len(table)},); found {rewards.shape} and {at_end.shape}."
            )
        object.__setattr__(self, "next", table)
        object.__setattr__(self, "reward", rewards)
        object.__setattr__(self, "final", at_end)

    __array_ufunc__ = None  # an array + an automaton is a reward too

    def __repr__(self) -> str:
        return f"Automaton: {self.next.shape[0]} states, {self.next.shape[1]} symbols"

    def __add__(self, other: Any) -> Any:
        from tiltz.known.chains.reward import AdditiveReward

        return AdditiveReward(automata=(self,)) + other

    __radd__ = __add__


def contains(
    word: Sequence[Any],
    n_symbols: int | None = None,
    *,
    reward: float = 1.0,
    symbols: Sequence[Any] | None = None,
) -> Automaton:
    """Return a reward for sequences that contain a word.

    Parameters
    ----------
    word : sequence
        Symbols in a row, at least one: integers below ``n_symbols``, or members of ``symbols``.
    n_symbols : int, optional
        How many symbols there are; that of ``symbols`` by default.
    reward : float, default 1.0
        Earned once, by sequences that contain the word.
    symbols : sequence, optional
        Names of the symbols 0, 1, ...

    Returns
    -------
    Automaton
        With one state more than the word has symbols.

    Raises
    ------
    InputError
        If the word is empty or a symbol is not known.

    Examples
    --------
    >>> contains("ab", symbols="abc").next.tolist()
    [[1, 0, 0], [1, 2, 0], [2, 2, 2]]
    """
    spelled, n = spelling(word, n_symbols, symbols)
    table = _prefixes(spelled, n)
    table[-1] = len(spelled)
    final = np.zeros(len(table))
    final[-1] = reward
    return Automaton(table, final=final)


def counts(
    word: Sequence[Any],
    n_symbols: int | None = None,
    *,
    reward: float = 1.0,
    symbols: Sequence[Any] | None = None,
) -> Automaton:
    """Return a reward for every occurrence of a word; occurrences may overlap.

    Parameters
    ----------
    word : sequence
        Symbols in a row, at least one: integers below ``n_symbols``, or members of ``symbols``.
    n_symbols : int, optional
        How many symbols there are; that of ``symbols`` by default.
    reward : float, default 1.0
        Earned at the end of each occurrence.
    symbols : sequence, optional
        Names of the symbols 0, 1, ...

    Returns
    -------
    Automaton
        With one state more than the word has symbols.

    Raises
    ------
    InputError
        If the word is empty or a symbol is not known.

    Notes
    -----
    The state is the longest beginning of the word that ends here (Knuth, Morris and Pratt).

    Examples
    --------
    >>> counts([1, 1], 2).reward.tolist()
    [[0.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    spelled, n = spelling(word, n_symbols, symbols)
    table = _prefixes(spelled, n)
    return Automaton(table, reward=np.where(table == len(spelled), float(reward), 0.0))


def spelling(
    word: Sequence[Any], n_symbols: int | None, symbols: Sequence[Any] | None
) -> tuple[list[int], int]:
    """Return a word as integers, and the number of symbols."""
    names = list(range(n_symbols or 0)) if symbols is None else list(symbols)
    if not names or (n_symbols is not None and len(names) != n_symbols):
        raise InputError(
            "the number of symbols must be given, as n_symbols or by their names, symbols; found "
            f"n_symbols={n_symbols!r} and symbols={symbols!r}."
        )
    index = {name: i for i, name in enumerate(names)}
    letters = list(word)
    unknown = [letter for letter in letters if letter not in index]
    if not letters or unknown:
        found = f"{unknown[0]!r}, which is none of {names[:8]!r}" if unknown else "an empty word"
        raise InputError(
            f"a word must have at least one symbol, all of them among the {len(names)}; found {found}."
        )
    return [index[letter] for letter in letters], len(names)


def _prefixes(word: list[int], n_symbols: int) -> Ints:
    """Return the table of Knuth, Morris and Pratt, with a last row that goes on from a whole word."""
    table = np.zeros((len(word) + 1, n_symbols), dtype=np.int64)
    fallback = 0
    for i, letter in enumerate([*word, -1]):
        if i > 0:
            table[i] = table[fallback]
        if letter >= 0:
            behind = int(table[fallback, letter]) if i > 0 else 0
            table[i, letter] = i + 1
            fallback = behind
    return table


def _checked_table(table: npt.ArrayLike) -> Ints:
    found = real_array(table, "next of an automaton")
    if found.ndim != 2 or 0 in found.shape:
        raise InputError(
            f"next of an automaton must have shape (n_states, n_symbols); found shape {found.shape}."
        )
    wrong = ~((found >= 0) & (found < len(found)) & (found == np.floor(found)))
    if np.any(wrong):
        state, symbol = np.argwhere(wrong)[0]
        raise InputError(
            f"next of an automaton must hold its states, the integers 0 to {len(found) - 1}; found "
            f"{found[state, symbol]:g} for state {state} and symbol {symbol}."
        )
    return found.astype(np.int64)
