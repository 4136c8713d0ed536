"""Markov references: sequences of symbols that a chain emits, of fixed or random length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.chains.checks import checked_probabilities, summing_to
from tiltz.known.chains.parts import check_ends, checked_parts, read_only
from tiltz.known.chains.process import Process
from tiltz.known.chains.sequences import Sequences

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Markov(Sequences):
    """A Markov chain over symbols, of fixed or of random length.

    Parameters
    ----------
    initial : array_like, shape (n,) or (n_chains, n)
        Probabilities of the first symbol; they sum to 1 - ``empty``.
    transition : array_like, shape (n, n) or (length - 1, n, n)
        Probabilities of the next symbol (column) given one (row), the same at every step or not. Rows sum to
        1 - ``end``. Of several chains: (n, n) for all, (n_chains, n, n) or (n_chains, length - 1, n, n).
    length : int, optional
        Steps of every sequence; with ``end``, the most that there can be.
    end : array_like, shape (n,), optional
        Probability that the sequence ends after each symbol; or with the leading axes of ``transition``.
    empty : float or array_like of shape (n_chains,), default 0.0
        Probability of the sequence without a symbol.

    Raises
    ------
    InputError
        If probabilities do not sum to 1 within 1e-9 (naming the row), shapes differ, or there is neither a length nor a
        sure end.

    Examples
    --------
    >>> coin = Markov([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], length=3)
    >>> coin
    Markov: 2 symbols, length 3
    >>> coin.pairwise()[0]
    array([[0.45, 0.05],
           [0.05, 0.45]])
    """

    initial: Floats
    transition: Floats
    length: int | None
    end: Floats | None
    empty: Floats

    def __init__(
        self,
        initial: npt.ArrayLike,
        transition: npt.ArrayLike,
        *,
        length: int | None = None,
        end: npt.ArrayLike | None = None,
        empty: npt.ArrayLike = 0.0,
    ) -> None:
        parts = checked_parts(initial, transition, length=length, end=end, empty=empty)
        _fill(self, parts)

    def __repr__(self) -> str:
        return f"Markov: {_described(self, self.initial.shape[-1])}"

    def processes(self) -> list[Process]:
        """Return each chain over states that show one symbol each."""
        symbol = np.arange(self.initial.shape[-1])
        return [
            Process(**parts, length=self.length, symbol=symbol, n_symbols=len(symbol))
            for parts in _split(self)
        ]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HiddenMarkov(Sequences):
    """Symbols emitted by a Markov chain over hidden states; the outcome is the sequence of symbols.

    Parameters
    ----------
    initial, transition
        Of the hidden states, as in :class:`Markov`.
    emission : array_like, shape (n, n_symbols) or (n_chains, n, n_symbols)
        Probabilities of the symbols, given the state; rows sum to 1.
    length, end, empty
        As in :class:`Markov`.

    Raises
    ------
    InputError
        As :class:`Markov`.

    Notes
    -----
    The reward depends on the symbols alone. Given the symbols the hidden states are distributed alike under the
    reference and under the tilted law, so that KL divergences between laws of symbols are those between joint laws.

    Examples
    --------
    >>> weather = HiddenMarkov([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]], [[1, 0], [0.3, 0.7]], length=2)
    >>> weather.marginals()[0]
    array([0.65, 0.35])
    """

    initial: Floats
    transition: Floats
    length: int | None
    end: Floats | None
    empty: Floats
    emission: Floats

    def __init__(
        self,
        initial: npt.ArrayLike,
        transition: npt.ArrayLike,
        emission: npt.ArrayLike,
        *,
        length: int | None = None,
        end: npt.ArrayLike | None = None,
        empty: npt.ArrayLike = 0.0,
    ) -> None:
        parts = checked_parts(initial, transition, length=length, end=end, empty=empty)
        given = checked_probabilities(emission, "emission")
        n = parts["initial"].shape[-1]
        chains = parts["initial"].shape[:-1]
        if given.ndim < 2 or given.shape[-2] != n or given.shape[:-2] not in ((), chains):
            raise InputError(
                f"emission must have shape (n_states, n_symbols), here ({n}, ...); found shape {given.shape}."
            )
        parts["emission"] = read_only(summing_to(given, np.zeros(given.shape[:-1]), "emission", "1")[0])
        _fill(self, parts)

    def __repr__(self) -> str:
        n, m = self.emission.shape[-2:]
        return f"HiddenMarkov: {n} hidden states, {_described(self, m)}"

    def processes(self) -> list[Process]:
        """Return each chain over pairs of a hidden state and a symbol."""
        emissions = self.emission if self.emission.ndim == 3 else [self.emission] * self.n_chains
        return [
            _emitting(parts, emission, self.length)
            for parts, emission in zip(_split(self), emissions, strict=True)
        ]


def _fill(chains: Markov | HiddenMarkov, parts: dict[str, Any]) -> None:
    """Set checked fields, and refuse a chain without a limit to its length that may never end."""
    for name, value in parts.items():
        object.__setattr__(chains, name, value)
    if chains.length is None:
        for process in chains.processes():
            check_ends(process)


def _emitting(parts: dict[str, Any], emission: Floats, length: int | None) -> Process:
    state, symbol = np.nonzero(emission)
    shown = emission[state, symbol]
    return Process(
        initial=parts["initial"][state] * shown,
        transition=parts["transition"][..., state[:, None], state] * shown,
        end=None if parts["end"] is None else parts["end"][..., state],
        empty=parts["empty"],
        length=length,
        symbol=symbol,
        n_symbols=emission.shape[1],
    )


def _split(chains: Markov | HiddenMarkov) -> list[dict[str, Any]]:
    """Return the arrays of each chain."""
    if chains.initial.ndim == 1:
        return [
            {
                "initial": chains.initial,
                "transition": chains.transition,
                "end": chains.end,
                "empty": float(chains.empty),
            }
        ]
    n = len(chains.initial)
    shared = chains.transition.ndim == 2
    return [
        {
            "initial": chains.initial[i],
            "transition": chains.transition if shared else chains.transition[i],
            "end": chains.end if shared or chains.end is None else chains.end[i],
            "empty": float(chains.empty[i]),
        }
        for i in range(n)
    ]


def _described(chains: Markov | HiddenMarkov, n_symbols: int) -> str:
    many = f"{chains.n_chains} chains, " if chains.initial.ndim == 2 else ""
    if chains.length is None:
        long = "random length"
    else:
        long = f"length {'' if chains.end is None else 'at most '}{chains.length}"
    return f"{many}{n_symbols} symbols, {long}"
