"""Language models that run here: one loop draws, scores and searches for every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.lm.protocol import Completion, Prompt, Streams
from tiltz.lm.spec import SamplingSpec

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Engine(Protocol):
    """What computes logits; rows are sequences that share no tokens but those that they were forked from.

    Attributes
    ----------
    vocab_size, end_id : int
        Number of tokens, and the one that ends a completion.
    """

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        ...

    @property
    def end_id(self) -> int:
        """The end token."""
        ...

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Return the tokens of a prompt, with whatever comes before it; at least one."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a completion's text, without the end token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        ...

    def begin(self) -> Any:
        """Return the state before any token, with one row."""
        ...

    def extend(self, state: Any, rows: Ints, tokens: Ints, lengths: Ints) -> tuple[Any, npt.NDArray[Any]]:
        """Feed tokens.

        Parameters
        ----------
        state : object
            Of an earlier call; it may be used up.
        rows : int array, shape (n,)
            Which rows of the state to go on from; repeated ones fork.
        tokens : int array, shape (n, k)
            What follows in each row; what is beyond its length is ignored.
        lengths : int array, shape (n,)
            Number of tokens of each row.

        Returns
        -------
        tuple of (state, array of shape (n, k, vocab_size))
            Logits after each token.
        """
        ...


class LocalModel:
    """A language model over an engine; see :class:`tiltz.lm.TokenModel` for its laws.

    Parameters
    ----------
    engine : Engine
        Computes logits.
    spec : SamplingSpec
        What is drawn from.
    ref_id : dict
        What the engine is.
    batch_size : int
        Sequences at once.
    """

    def __init__(
        self, engine: Engine, spec: SamplingSpec, *, ref_id: dict[str, Any], batch_size: int = 256
    ) -> None:
        self.engine, self.spec, self.batch_size = engine, spec, batch_size
        self.ref_id = {**ref_id, **spec.to_dict()}

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return self.engine.vocab_size

    @property
    def end_id(self) -> int:
        """The end token."""
        return self.engine.end_id

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a completion's text, without the end token."""
        return self.engine.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without the end token."""
        return self.engine.decode([i for i in ids if i != self.end_id])

    def sample(self, prompts: Sequence[Prompt], n: int, rng: Streams) -> list[list[Completion]]:
        """Draw completions.

        Parameters
        ----------
        prompts : sequence
            Texts or chat messages.
        n : int
            Completions of each.
        rng : numpy.random.Generator, or one for each prompt
            With one for each prompt, what is drawn for it does not depend on the others but for rounding.

        Returns
        -------
        list of list of Completion
            ``n`` for each prompt.
        """
        streams = rng.spawn(len(prompts)) if isinstance(rng, np.random.Generator) else list(rng)
        if len(streams) != len(prompts):
            raise InputError(
                f"there must be one generator, or one for each of the {len(prompts)} prompts; found {len(streams)}."
            )
        if not streams:
            return []
        uniforms = np.concatenate([stream.random((n, self.spec.max_tokens)) for stream in streams])
        drawn: list[Completion] = []
        for first in range(0, len(uniforms), self.batch_size):
            rows = np.arange(first, min(first + self.batch_size, len(uniforms)))
            places, n_each = np.unique(rows // n, return_counts=True)
            nothing = [[()] * size for size in n_each]
            drawn += self._complete([prompts[i] for i in places], nothing, uniforms[rows])
        return [drawn[i * n : (i + 1) * n] for i in range(len(prompts))]

    def complete(
        self, prompt: Prompt, prefixes: Sequence[Sequence[int]], rng: np.random.Generator
    ) -> list[Completion]:
        """Draw one completion that begins with each prefix; its log-probability is that of the whole."""
        uniform = rng.random((len(prefixes), self.spec.max_tokens))
        drawn: list[Completion] = []
        for first in range(0, len(prefixes), self.batch_size):
            some = slice(first, first + self.batch_size)
            drawn += self._complete([prompt], [prefixes[some]], uniform[some])
        return drawn

    def log_prob(self, prompts: Sequence[Prompt], completions: Sequence[Any]) -> Floats:
        """Return the log-probability of each completion of the prompt beside it.

        Parameters
        ----------
        prompts : sequence
            Texts or chat messages.
        completions : sequence, as many
            A :class:`Completion`, its ids, or its text, which is tokenised and ended.

        Returns
        -------
        array, shape (n,)
            In nats; ``-inf`` for what the spec can never draw.

        Raises
        ------
        InputError
            If ids neither end with the end token nor have ``max_tokens`` tokens: they are no whole outcome.
        """
        if len(prompts) != len(completions):
            raise InputError(
                f"there must be one prompt for each completion; found {len(prompts)} and {len(completions)}."
            )
        ids = [self._outcome(completion) for completion in completions]
        total = np.empty(len(ids))
        order = sorted(range(len(ids)), key=lambda i: (str(prompts[i]), len(ids[i])))
        for first in range(0, len(order), self.batch_size):
            some = order[first : first + self.batch_size]
            distinct: list[Prompt] = []
            members: list[list[Sequence[int]]] = []
            for i in some:
                if not distinct or distinct[-1] != prompts[i]:
                    distinct.append(prompts[i])
                    members.append([])
                members[-1].append(ids[i])
            total[some] = self._follow(distinct, members)[1]
        return total

    def next_log_probs(self, prompt: Prompt, prefixes: Sequence[Sequence[int]]) -> Floats:
        """Return the log-probabilities of what may follow each prefix, shape (n_prefixes, vocab_size)."""
        parts = [
            self._follow([prompt], [prefixes[first : first + self.batch_size]])[2]
            for first in range(0, len(prefixes), self.batch_size)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.vocab_size))

    def _outcome(self, completion: Any) -> tuple[int, ...]:
        """Return the ids of a whole outcome."""
        if isinstance(completion, Completion):
            return completion.ids
        if isinstance(completion, str):
            ids = self.encode(completion)[: self.spec.max_tokens]
            stopped = any(text in completion for text in self.spec.stop)
            return tuple(ids) if stopped or len(ids) == self.spec.max_tokens else (*ids, self.end_id)
        ids = tuple(int(i) for i in completion)
        if not ids or min(ids) < 0 or max(ids) >= self.vocab_size:
            raise InputError(
                f"ids must be tokens from 0 to {self.vocab_size - 1}, at least one; found {ids!r:.80}."
            )
        whole = ids[-1] == self.end_id or len(ids) >= self.spec.max_tokens or self._stops(ids)
        if not whole:
            raise InputError(
                f"ids must be a whole outcome: end with the end token ({self.end_id}), with a stop string, or have "
                f"max_tokens ({self.spec.max_tokens}) tokens; found {len(ids)} tokens that end with {ids[-1]}."
            )
        return ids

    def _stops(self, ids: Sequence[int]) -> bool:
        return bool(self.spec.stop) and any(text in self.decode(ids) for text in self.spec.stop)

    def _begun(self, prompts: Sequence[Prompt], n_each: Sequence[int]) -> tuple[Any, Floats]:
        """Return the state after every prompt, a row for each of its sequences, and what may follow."""
        encoded = [self.engine.encode_prompt(prompt) for prompt in prompts]
        tokens, lengths = _padded(encoded)
        state, logits = self.engine.extend(
            self.engine.begin(), np.zeros(len(prompts), dtype=np.int64), tokens, lengths
        )
        after = self.spec.log_probs(logits[np.arange(len(prompts)), lengths - 1])
        rows = np.repeat(np.arange(len(prompts)), n_each)
        return (state, rows), after[rows]

    def _follow(
        self, prompts: Sequence[Prompt], prefixes: Sequence[Sequence[Sequence[int]]]
    ) -> tuple[Any, Floats, Floats]:
        """Feed prefixes of several prompts; return the state, their log-probabilities, and what may follow them."""
        flat = [tuple(prefix) for group in prefixes for prefix in group]
        (state, rows), after = self._begun(prompts, [len(group) for group in prefixes])
        tokens, lengths = _padded(flat)
        total = np.zeros(len(flat))
        if tokens.shape[1] == 0:
            return (state, rows), total, after
        state, logits = self.engine.extend(state, rows, tokens, lengths)
        rows = np.arange(len(flat))
        steps = np.concatenate([after[:, None, :], self.spec.log_probs(logits)], axis=1)
        taken = np.take_along_axis(steps[:, :-1], tokens[:, :, None], axis=2)[:, :, 0]
        total = np.where(np.arange(tokens.shape[1]) < lengths[:, None], taken, 0.0).sum(axis=1)
        # What comes after an end, or beyond the longest, is never drawn.
        total[self._impossible(tokens, lengths)] = -np.inf
        return (state, rows), total, steps[rows, lengths]

    def _impossible(self, tokens: Ints, lengths: Ints) -> npt.NDArray[np.bool_]:
        inner = np.arange(tokens.shape[1]) < lengths[:, None] - 1
        return np.any((tokens == self.end_id) & inner, axis=1) | (lengths > self.spec.max_tokens)

    def _complete(
        self, prompts: Sequence[Prompt], prefixes: Sequence[Sequence[Sequence[int]]], uniform: Floats
    ) -> list[Completion]:
        """Draw one completion after each prefix, by inversion of uniforms of shape (n, max_tokens)."""
        (state, rows), total, after = self._follow(prompts, prefixes)
        ids = [list(prefix) for group in prefixes for prefix in group]
        ended: list[Any] = [self._end_of(sequence) for sequence in ids]
        live = np.array([how is None for how in ended], dtype=bool).nonzero()[0]
        rows, after = rows[live], after[live]
        for step in range(self.spec.max_tokens):
            if not len(live):
                break
            token = _drawn(after, uniform[live, step])
            total[live] += np.take_along_axis(after, token[:, None], axis=1)[:, 0]
            for i, chosen in zip(live, token, strict=True):
                ids[i].append(int(chosen))
                ended[i] = self._end_of(ids[i])
            on = np.array([ended[i] is None for i in live], dtype=bool)
            live, rows, token = live[on], rows[on], token[on]
            if len(live):
                state, logits = self.engine.extend(
                    state, rows, token[:, None], np.ones(len(live), dtype=np.int64)
                )
                rows, after = np.arange(len(live)), self.spec.log_probs(logits[:, 0])
        return [
            Completion(ids=tuple(sequence), text=self.decode(sequence), log_prob=float(log_prob), ended=how)
            for sequence, log_prob, how in zip(ids, total, ended, strict=True)
        ]

    def _end_of(self, ids: Sequence[int]) -> Literal["end", "stop", "length"] | None:
        if ids and ids[-1] == self.end_id:
            return "end"
        if self._stops(ids):
            return "stop"
        return "length" if len(ids) >= self.spec.max_tokens else None


def _padded(sequences: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Return sequences as a matrix, padded with zeros at the right, and their lengths."""
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    tokens = np.zeros((len(sequences), int(lengths.max(initial=0))), dtype=np.int64)
    for row, sequence in zip(tokens, sequences, strict=True):
        row[: len(sequence)] = sequence
    return tokens, lengths


def _drawn(log_probs: Floats, uniform: Floats) -> Ints:
    """Return the token whose share of the unit interval holds each uniform."""
    cumulative = np.cumsum(np.exp(log_probs), axis=1)
    chosen = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(axis=1)
    # Rounding at the upper end must not choose what cannot be drawn.
    last = log_probs.shape[1] - 1 - np.argmax((log_probs > -np.inf)[:, ::-1], axis=1)
    return np.minimum(chosen, last)
