"""Language models that run here: one loop draws, scores and searches for every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.lm.calls import check_pairs, streams_of
from tiltz.lm.following import Following
from tiltz.lm.protocol import Completion, Prompt, Streams
from tiltz.lm.spec import SamplingSpec
from tiltz.lm.whole import can_be_drawn, end_of, outcome_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MOST_LOGITS = 2**25  # that are held at once while sequences are scored


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

    def extend(
        self, state: Any, rows: Ints, tokens: Ints, lengths: Ints, *, last: bool = False
    ) -> tuple[Any, Any]:
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
        last : bool
            Whether only the logits after the last token of each row are wanted.

        Returns
        -------
        tuple of (state, array of shape (n, k, vocab_size), or (n, 1, vocab_size) of the last)
            Logits after each token; NumPy or torch.
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
        streams = streams_of(rng, prompts)
        if not streams:
            return []
        self._check_room(prompts)
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
            If ids neither end with the end token or a stop string nor have ``max_tokens`` tokens: they are no whole
            outcome.
        """
        check_pairs(prompts, completions)
        ids = [outcome_of(completion, self) for completion in completions]
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
            total[some] = self._scored(distinct, members)
        return total

    def next_log_probs(self, prompt: Prompt, prefixes: Sequence[Sequence[int]]) -> Floats:
        """Return the log-probabilities of what may follow each prefix, shape (n_prefixes, vocab_size)."""
        parts = [
            self._follow([prompt], [prefixes[first : first + self.batch_size]])[2].log_probs()
            for first in range(0, len(prefixes), self.batch_size)
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.vocab_size))

    def _check_room(self, prompts: Sequence[Prompt]) -> None:
        """Refuse a prompt after which the longest completion has no room, whatever will be drawn."""
        room: int | None = getattr(self.engine, "n_positions", None)
        if room is None:
            return
        for prompt in prompts:
            n_tokens = len(self.engine.encode_prompt(prompt))
            if n_tokens > room:
                raise InputError(
                    f"a prompt must have at most {room} tokens for this model; {prompt!r:.60} has {n_tokens}. Shorten "
                    "it, or leave it out."
                )
            if n_tokens + self.spec.max_tokens - 1 > room:
                raise InputError(
                    f"a prompt and its longest completion must have at most {room + 1} tokens for this model; the "
                    f"prompt {prompt!r:.60} has {n_tokens}, max_tokens is {self.spec.max_tokens}. Shorten the prompt, "
                    f"or set max_tokens to {room + 1 - n_tokens} or less."
                )

    def _begun(self, prompts: Sequence[Prompt], n_each: Sequence[int]) -> tuple[Any, Ints, Following]:
        """Return the state after every prompt, its row for each of its sequences, and what may follow there."""
        tokens, lengths = _padded([self.engine.encode_prompt(prompt) for prompt in prompts])
        nowhere = np.zeros(len(prompts), dtype=np.int64)
        state, logits = self.engine.extend(self.engine.begin(), nowhere, tokens, lengths, last=True)
        rows = np.repeat(np.arange(len(prompts)), n_each)
        return state, rows, Following.of(logits[:, 0], self.spec)[rows]

    def _scored(self, prompts: Sequence[Prompt], wholes: Sequence[Sequence[Sequence[int]]]) -> Floats:
        """Return the log-probabilities of whole outcomes, whose last tokens need not be fed."""
        state, rows, after = self._begun(prompts, [len(group) for group in wholes])
        tokens, lengths = _padded([whole for group in wholes for whole in group])
        return self._fed(state, rows, after, tokens, lengths, go_on=False)[1]

    def _follow(
        self, prompts: Sequence[Prompt], prefixes: Sequence[Sequence[Sequence[int]]]
    ) -> tuple[tuple[Any, Ints], Floats, Following]:
        """Feed prefixes of several prompts; return the state, their log-probabilities, and what may follow them."""
        state, rows, after = self._begun(prompts, [len(group) for group in prefixes])
        tokens, lengths = _padded([prefix for group in prefixes for prefix in group])
        return self._fed(state, rows, after, tokens, lengths, go_on=True)

    def _fed(
        self, state: Any, rows: Ints, after: Following, tokens: Ints, lengths: Ints, *, go_on: bool
    ) -> tuple[tuple[Any, Ints], Floats, Following]:
        """Score the tokens of each row, some columns at a time; to go on after them, feed the last ones too."""
        total, n_fed = np.zeros(len(rows)), lengths if go_on else lengths - 1
        if not tokens.shape[1]:
            return (state, rows), total, after
        begun = np.flatnonzero(lengths)
        total[begun] = after[begun].log_prob(tokens[begun, 0])
        done = np.flatnonzero(go_on & (n_fed == 0))
        ends, ended = [after[done]], [done]
        step = max(1, _MOST_LOGITS // max(1, len(rows) * self.vocab_size))
        for first in range(0, int(n_fed.max(initial=0)), step):
            some = tokens[:, first : first + step]
            size = np.clip(n_fed - first, 0, some.shape[1])
            state, logits = self.engine.extend(state, rows, some, size)
            rows = np.arange(len(rows))
            row, column = np.nonzero(first + 1 + np.arange(some.shape[1]) < lengths[:, None])
            taken = Following.of(logits[row, column], self.spec).log_prob(tokens[row, first + 1 + column])
            total += np.bincount(row, taken, minlength=len(rows))
            done = np.flatnonzero(go_on & (size > 0) & (first + size == n_fed))
            ends.append(Following.of(logits[done, size[done] - 1], self.spec))
            ended.append(done)
        # What comes after an end or a stop string, or beyond the longest, is never drawn.
        ids = [row[:size].tolist() for row, size in zip(tokens, lengths, strict=True)]
        total[[not can_be_drawn(some, self) for some in ids]] = -np.inf
        _check_numbers(total)
        return (state, rows), total, Following.joined(ends)[np.argsort(np.concatenate(ended))]

    def _complete(
        self, prompts: Sequence[Prompt], prefixes: Sequence[Sequence[Sequence[int]]], uniform: Floats
    ) -> list[Completion]:
        """Draw one completion after each prefix, by inversion of uniforms of shape (n, max_tokens)."""
        (state, rows), total, after = self._follow(prompts, prefixes)
        ids = [list(prefix) for group in prefixes for prefix in group]
        ended: list[Any] = [end_of(sequence, self) for sequence in ids]
        live = np.array([how is None for how in ended], dtype=bool).nonzero()[0]
        rows, after = rows[live], after[live]
        for step in range(self.spec.max_tokens):
            if not len(live):
                break
            token, log_prob = after.draw(uniform[live, step])
            total[live] += log_prob
            for i, chosen in zip(live, token, strict=True):
                ids[i].append(int(chosen))
                ended[i] = end_of(ids[i], self)
            on = np.array([ended[i] is None for i in live], dtype=bool)
            live, rows, token = live[on], rows[on], token[on]
            if len(live):
                state, logits = self.engine.extend(
                    state, rows, token[:, None], np.ones(len(live), dtype=np.int64)
                )
                rows, after = np.arange(len(live)), Following.of(logits[:, 0], self.spec)
        _check_numbers(total)
        return [
            Completion(ids=tuple(sequence), text=self.decode(sequence), log_prob=float(log_prob), ended=how)
            for sequence, log_prob, how in zip(ids, total, ended, strict=True)
        ]


def _check_numbers(log_prob: Floats) -> None:
    if np.any(np.isnan(log_prob)):
        raise InputError(
            "a model must give finite numbers as logits; found NaN or infinity, as half precision gives where it "
            "overflows. Compute in another precision (dtype='float32'), or look at the weights."
        )


def _padded(sequences: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Return sequences as a matrix, padded with zeros at the right, and their lengths."""
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    tokens = np.zeros((len(sequences), int(lengths.max(initial=0))), dtype=np.int64)
    for row, sequence in zip(tokens, sequences, strict=True):
        row[: len(sequence)] = sequence
    return tokens, lengths
