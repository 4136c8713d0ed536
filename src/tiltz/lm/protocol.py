"""What a language model must offer, and the completions that it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from tiltz.lm.spec import SamplingSpec

Floats = npt.NDArray[np.float64]
Prompt = Any
"""Text, or chat messages: a list of {"role": ..., "content": ...}."""
Streams = np.random.Generator | Sequence[np.random.Generator]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One outcome: a sequence of tokens.

    Attributes
    ----------
    ids : tuple of int
        Tokens, the end token included where there is one.
    text : str
        What they say, without the end token.
    log_prob : float
        Of the whole sequence under the model and its spec, in nats; of a truncated one it is that of its prefix.
    ended : {"end", "stop", "length"}
        By the end token, by a stop string, or at ``max_tokens``.
    """

    ids: tuple[int, ...]
    text: str
    log_prob: float
    ended: Literal["end", "stop", "length"]

    @property
    def truncated(self) -> bool:
        """Whether it was cut at ``max_tokens``."""
        return self.ended == "length"


@runtime_checkable
class LanguageModel(Protocol):
    """A model that draws completions and scores them under one and the same distribution.

    The laws, which :func:`tiltz.testbeds.check_language_model` tries:

    - what ``sample`` draws has the probability that ``log_prob`` says, and the one that it came with;
    - the probabilities of all completions of a prompt sum to 1: those that end, and those cut at ``max_tokens``;
    - a prompt or completion scores the same alone and among others;
    - the end token counts once.

    Attributes
    ----------
    spec : SamplingSpec
        What is drawn from: it belongs to the reference.
    ref_id : dict
        What the model is, for file metadata: model, revision or file hash, tokenizer, template.
    """

    @property
    def spec(self) -> SamplingSpec:
        """How completions are drawn."""
        ...

    @property
    def ref_id(self) -> dict[str, Any]:
        """What the model is, for file metadata."""
        ...

    def sample(self, prompts: Sequence[Prompt], n: int, rng: Streams) -> list[list[Completion]]:
        """Draw ``n`` completions of every prompt; ``rng`` is a generator, or one for each prompt."""
        ...

    def log_prob(self, prompts: Sequence[Prompt], completions: Sequence[Any]) -> Floats:
        """Return the log-probability of each completion (ids, text or :class:`Completion`) of the prompt beside it."""
        ...


@runtime_checkable
class TokenModel(LanguageModel, Protocol):
    """A language model that also shows its next-token distribution, so that its completions can be searched.

    Attributes
    ----------
    vocab_size : int
        Number of tokens.
    end_id : int
        The end token.
    """

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        ...

    @property
    def end_id(self) -> int:
        """The end token."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a completion's text, without the end token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without the end token."""
        ...

    def next_log_probs(self, prompt: Prompt, prefixes: Sequence[Sequence[int]]) -> Floats:
        """Return the log-probabilities of what may follow each prefix, shape (n_prefixes, vocab_size)."""
        ...

    def complete(
        self, prompt: Prompt, prefixes: Sequence[Sequence[int]], rng: np.random.Generator
    ) -> list[Completion]:
        """Draw one completion that begins with each prefix."""
        ...
