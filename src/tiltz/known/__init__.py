"""Where the entire domain can be summed or integrated: sources whose log Z is known exactly, or known to be infinite.

Nothing here is drawn at random to estimate anything; every source returns :class:`tiltz.known.Known`.
"""

from tiltz.known.chains import (
    AdditiveReward,
    Automaton,
    HiddenMarkov,
    KnownChain,
    Markov,
    Pattern,
    any_symbol,
    chain,
    contains,
    counts,
    symbol,
)
from tiltz.known.exhaustive import sum_over
from tiltz.known.from_laws import from_laws
from tiltz.known.integrals import KnownIntegral, integrate
from tiltz.known.result import Known

__all__ = [
    "AdditiveReward",
    "Automaton",
    "HiddenMarkov",
    "Known",
    "KnownChain",
    "KnownIntegral",
    "Markov",
    "Pattern",
    "any_symbol",
    "chain",
    "contains",
    "counts",
    "from_laws",
    "integrate",
    "sum_over",
    "symbol",
]
