"""What can be asked of sequences that a chain emits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.known.chains import paths
from tiltz.known.chains.checks import checked_count
from tiltz.known.chains.process import Process
from tiltz.known.chains.reward import as_reward, check_fits
from tiltz.outcomes import Outcomes

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Sequences(ABC):
    """What can be asked of every reference here; one chain, or several side by side.

    Where there are several chains, arrays have an axis of chains in front.
    """

    __slots__ = ()
    initial: Floats
    length: int | None

    @property
    def n_chains(self) -> int:
        """Number of chains side by side."""
        return 1 if self.initial.ndim == 1 else len(self.initial)

    @abstractmethod
    def processes(self) -> list[Process]:
        """Return each chain over states that show one symbol each."""

    def marginals(self) -> Floats:
        """Return the probability of each symbol at each step.

        Returns
        -------
        array, shape (length, n_symbols)
            Rows sum to the probability that the sequence is that long. Without a limit to the length, shape
            (n_symbols,): how often each symbol is expected in a sequence.
        """
        return self._each(paths.marginals)

    def pairwise(self) -> Floats:
        """Return the probability of each pair of consecutive symbols at each step.

        Returns
        -------
        array, shape (length - 1, n_symbols, n_symbols)
            Of symbol and next symbol. Without a limit to the length, shape (n_symbols, n_symbols): how often each pair
            is expected in a sequence.
        """
        return self._each(paths.pairwise)

    def sample(self, n: int, rng: np.random.Generator) -> Ints:
        """Draw sequences.

        Parameters
        ----------
        n : int
            How many, of each chain.
        rng : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        int array, shape (n, n_steps)
            Symbols; -1 after the end of a sequence.

        Raises
        ------
        InputError
            If ``n`` is not a positive whole number, or ``rng`` no generator.
        """
        size = checked_count(n, "n")
        if not isinstance(rng, np.random.Generator):
            raise InputError(
                f"rng must be a numpy.random.Generator, such as numpy.random.default_rng(0); found {rng!r}."
            )
        drawn = [paths.sample(process, size, rng) for process in self.processes()]
        width = max(d.shape[1] for d in drawn)
        filled = [np.pad(d, ((0, 0), (0, width - d.shape[1])), constant_values=-1) for d in drawn]
        return filled[0] if self.initial.ndim == 1 else np.stack(filled)

    def log_prob(self, sequences: npt.ArrayLike) -> Floats:
        """Return the log-probabilities of sequences.

        Parameters
        ----------
        sequences : array_like of int, shape (n_paths, n_steps)
            Symbols; -1 after the end of a sequence.

        Returns
        -------
        array, shape (n_paths,)
            In nats, the end included.

        Raises
        ------
        InputError
            If a symbol does not exist, or one follows an end.
        """
        symbols = paths.checked_paths(sequences, self.processes()[0].n_symbols)
        return self._each(lambda one: paths.log_prob(one, symbols))

    def outcomes(self, reward: Any) -> Outcomes:
        """Return every sequence as a complete table, one prompt per chain.

        Parameters
        ----------
        reward : array_like, AdditiveReward or Automaton
            As in :func:`tiltz.known.chain`.

        Returns
        -------
        Outcomes
            ``source`` holds the sequences of each row, an int array with -1 after the end.

        Raises
        ------
        InputError
            If there are more than a million sequences, or infinitely many.
        """
        additive, found = as_reward(reward), self.processes()
        check_fits(additive, found[0].n_symbols, self.length)
        symbols = paths.every_path(found[0], len(found))
        return Outcomes.complete(
            np.concatenate([np.minimum(paths.log_prob(process, symbols), 0.0) for process in found]),
            np.tile(additive.score(symbols), len(found)),
            prompt=np.repeat(np.arange(len(found)), len(symbols)),
            source=np.tile(symbols, (len(found), 1)),
        )

    def _each(self, question: Callable[[Process], Floats]) -> Floats:
        answers = [question(process) for process in self.processes()]
        return answers[0] if self.initial.ndim == 1 else np.stack(answers)
