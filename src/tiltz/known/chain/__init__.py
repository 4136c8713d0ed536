"""Markov references: log Z over all sequences, of fixed or random length, and the tilted chain."""

from tiltz.known.chain.automaton import Automaton, contains, counts
from tiltz.known.chain.pattern import Pattern, any_symbol, symbol
from tiltz.known.chain.references import HiddenMarkov, Markov
from tiltz.known.chain.reward import AdditiveReward
from tiltz.known.chain.summing import KnownChain, chain

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
