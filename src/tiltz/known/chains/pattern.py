"""Regular patterns as rewards: built from symbols, made deterministic, and read as an automaton."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiltz.errors import InputError
from tiltz.known.chains.automaton import Automaton, spelling

_MOST = 100_000  # states of a deterministic automaton


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pattern:
    """A set of sequences, built with ``+`` (then), ``|`` (or) and :meth:`star` (any number of times).

    Begin with :func:`symbol` and :func:`any_symbol`; end with :meth:`matches` or :meth:`found`.

    Attributes
    ----------
    n : int
        States; 0 is where reading begins, ``n - 1`` where the pattern is complete.
    steps : tuple
        State, symbol (None for any) and next state.
    free : tuple
        State and next state that is reached without reading.
    """

    n: int
    steps: tuple[tuple[int, Any, int], ...]
    free: tuple[tuple[int, int], ...]

    def __repr__(self) -> str:
        return f"Pattern: {self.n} states"

    def __add__(self, other: Pattern) -> Pattern:
        shifted = _shifted(_checked(other), self.n)
        return Pattern(
            self.n + other.n,
            self.steps + shifted.steps,
            (*self.free, *shifted.free, (self.n - 1, self.n)),
        )

    def __or__(self, other: Pattern) -> Pattern:
        n = self.n + _checked(other).n + 2
        one, two = _shifted(self, 1), _shifted(other, 1 + self.n)
        between = ((0, 1), (0, 1 + self.n), (self.n, n - 1), (n - 2, n - 1))
        return Pattern(n, one.steps + two.steps, one.free + two.free + between)

    def star(self) -> Pattern:
        """Return the pattern any number of times in a row, none included."""
        n = self.n + 2
        inner = _shifted(self, 1)
        return Pattern(n, inner.steps, (*inner.free, (0, 1), (0, n - 1), (n - 2, 1), (n - 2, n - 1)))

    def matches(
        self, n_symbols: int | None = None, *, reward: float = 1.0, symbols: Sequence[Any] | None = None
    ) -> Automaton:
        """Return a reward for sequences that are the pattern from beginning to end.

        Parameters
        ----------
        n_symbols : int, optional
            How many symbols there are; that of ``symbols`` by default.
        reward : float, default 1.0
            Earned at the end of a sequence that matches.
        symbols : sequence, optional
            Names of the symbols 0, 1, ..., as used in the pattern.

        Returns
        -------
        Automaton
            Deterministic.

        Raises
        ------
        InputError
            If a symbol is not known, or the automaton would have more than 100,000 states.

        Examples
        --------
        >>> balanced = (symbol("a") + symbol("b")).star().matches(symbols="ab")
        >>> balanced
        Automaton: 4 states, 2 symbols
        """
        return _deterministic(self, float(reward), n_symbols, symbols)

    def found(
        self, n_symbols: int | None = None, *, reward: float = 1.0, symbols: Sequence[Any] | None = None
    ) -> Automaton:
        """Return a reward for sequences that contain the pattern anywhere.

        Parameters
        ----------
        n_symbols : int, optional
            How many symbols there are; that of ``symbols`` by default.
        reward : float, default 1.0
            Earned once by a sequence that contains a match.
        symbols : sequence, optional
            Names of the symbols 0, 1, ..., as used in the pattern.

        Returns
        -------
        Automaton
            Deterministic.

        Raises
        ------
        InputError
            If a symbol is not known, or the automaton would have more than 100,000 states.
        """
        anything = any_symbol().star()
        return _deterministic(anything + self + anything, float(reward), n_symbols, symbols)


def symbol(name: Any) -> Pattern:
    """Return the pattern of one symbol.

    Parameters
    ----------
    name : object
        An integer, or a member of the ``symbols`` that are named when the pattern becomes a reward.

    Returns
    -------
    Pattern
        Of one symbol.
    """
    return Pattern(2, ((0, name, 1),), ())


def any_symbol() -> Pattern:
    """Return the pattern of any one symbol."""
    return Pattern(2, ((0, None, 1),), ())


def _deterministic(
    pattern: Pattern, reward: float, n_symbols: int | None, symbols: Sequence[Any] | None
) -> Automaton:
    """Return the automaton whose states are the sets of states in which the pattern can be."""
    names = [name for _, name, _ in pattern.steps if name is not None]
    n = len(symbols) if symbols is not None else n_symbols or 0
    code = dict(zip(names, spelling(names, n_symbols, symbols)[0], strict=True)) if names else {}
    if n < 1:
        spelling(names, n_symbols, symbols)
    reads = [(a, None if name is None else code[name], b) for a, name, b in pattern.steps]
    free: dict[int, set[int]] = {}
    for a, b in pattern.free:
        free.setdefault(a, set()).add(b)
    begin = _closed({0}, free)
    index, table, waiting = {begin: 0}, [], [begin]
    for states in waiting:
        row = []
        for letter in range(n):
            after = _closed({b for a, read, b in reads if a in states and read in (None, letter)}, free)
            if after not in index:
                index[after] = len(waiting)
                waiting.append(after)
            row.append(index[after])
        table.append(row)
        if len(waiting) > _MOST:
            raise InputError(
                f"the automaton of a pattern may have at most {_MOST:,} states; this one has more. Use a shorter one."
            )
    final = np.array([reward if pattern.n - 1 in states else 0.0 for states in waiting])
    return Automaton(table, final=final)


def _closed(states: set[int], free: dict[int, set[int]]) -> frozenset[int]:
    """Return states with all that are reached from them without reading."""
    found, waiting = set(states), list(states)
    while waiting:
        for other in free.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return frozenset(found)


def _shifted(pattern: Pattern, by: int) -> Pattern:
    return Pattern(
        pattern.n,
        tuple((a + by, name, b + by) for a, name, b in pattern.steps),
        tuple((a + by, b + by) for a, b in pattern.free),
    )


def _checked(other: object) -> Pattern:
    if not isinstance(other, Pattern):
        raise InputError(
            f"patterns are joined with patterns; found {other!r:.80}. Begin with symbol({other!r:.20})."
        )
    return other
