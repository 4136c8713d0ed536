"""One Markov chain in the form that everything here works on: states, and the symbol that each of them shows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ENDED = -1
"""The symbol that stands after the end of a sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A chain over ``n`` states.

    Attributes
    ----------
    initial : array, shape (n,)
        Probabilities of the first state; they sum to 1 - ``empty``.
    transition : array, shape (n, n) or (length - 1, n, n)
        Rows sum to 1 - ``end``.
    end : array, shape (n,) or (length - 1, n), or None
        Probability that the sequence ends after a state; None for a fixed length.
    length : int or None
        Number of steps, at most if there is ``end``; None where nothing bounds it.
    empty : float
        Probability of the sequence without a step.
    symbol : int array, shape (n,)
        What each state shows, ``ENDED`` where the sequence is over.
    n_symbols : int
        Symbols are below this.
    """

    initial: Floats
    transition: Floats
    end: Floats | None
    length: int | None
    empty: float
    symbol: Ints
    n_symbols: int

    @property
    def varies(self) -> bool:
        """Whether transitions differ between steps."""
        return self.transition.ndim == 3

    def transition_at(self, step: int) -> Floats:
        """Return the probabilities of what follows step ``step``, which counts from 0."""
        return self.transition[step] if self.varies else self.transition

    def end_at(self, step: int) -> Floats:
        """Return the probabilities of the end after step ``step``."""
        if self.end is None:
            return np.zeros(len(self.initial))
        return self.end[step] if self.end.ndim == 2 else self.end


def absorbed(process: Process) -> Process:
    """Return a chain of fixed length, in which a sequence that is over stays in a state of its own, the last."""
    if process.end is None:
        return process
    n = len(process.initial)
    steps = process.transition.shape[:-2] if process.varies else process.end.shape[:-1]
    transition = np.zeros((*steps, n + 1, n + 1))
    transition[..., :n, :n] = process.transition
    transition[..., :n, n] = process.end
    transition[..., n, n] = 1.0
    return dataclasses.replace(
        process,
        initial=np.append(process.initial, process.empty),
        transition=transition,
        end=None,
        empty=0.0,
        symbol=np.append(process.symbol, ENDED),
    )


def occupied(process: Process) -> Floats:
    """Return the probability of each state at each step, shape (length, n), of a chain of fixed or limited length."""
    assert process.length is not None
    found = np.empty((process.length, len(process.initial)))
    found[0] = process.initial
    for step in range(process.length - 1):
        found[step + 1] = found[step] @ process.transition_at(step)
    return found


def visits(process: Process) -> Floats:
    """Return the expected number of visits to each state, shape (n,), of a chain that runs until it ends."""
    return expected_visits(process.initial, process.transition, process.end_at(0))


def expected_visits(initial: Floats, transition: Floats, end: Floats) -> Floats:
    """Return the expected visits to each state of a chain with constant transitions that ends surely.

    Notes
    -----
    States are censored one by one: what leaves a state is divided by one minus what stays, and that difference is
    summed from its positive parts, so that no digits are lost where the end is nearly never reached.

    References
    ----------
    .. [1] W. K. Grassmann, M. I. Taksar, D. P. Heyman, "Regenerative analysis and steady state distributions for
       Markov chains", Operations Research 33 (1985), 1107-1116.
    """
    n = len(initial)
    flow = np.zeros((n + 1, n + 1))  # row n: the start; column n: the end
    flow[:n, :n], flow[:n, n], flow[n, :n] = transition, end, initial
    leaves = np.empty(n)
    for state in range(n - 1, -1, -1):
        leaves[state] = np.sum(flow[state, :state]) + flow[state, n]
        if leaves[state] > 0:
            onward = flow[state] / leaves[state]
            onward[state:n] = 0.0
            flow[:state] += flow[:state, state, None] * onward
            flow[n] += flow[n, state] * onward
    visits = np.zeros(n)
    for state in range(n):
        into = flow[n, state] + visits[:state] @ flow[:state, state]
        visits[state] = into / leaves[state] if into > 0 else 0.0
    return visits
