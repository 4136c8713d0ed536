"""Markov references: log Z over all sequences, of fixed or random length, and the tilted chain."""

from tiltz.known.chains.automaton import Automaton, contains, counts
from tiltz.known.chains.pattern import Pattern, any_symbol, symbol
from tiltz.known.chains.references import HiddenMarkov, Markov
from tiltz.known.chains.reward import AdditiveReward
from tiltz.known.chains.summing import KnownChain, chain

__all__ = [
    "AdditiveReward",
    "Automaton",
    "HiddenMarkov",
    "KnownChain",
    "Markov",
    "Pattern",
    "any_symbol",
    "chain",
    "contains",
    "counts",
    "symbol",
]
