"""What a whole outcome is: how a sequence of tokens ends, and which sequences are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from tiltz.errors import InputError
from tiltz.lm.protocol import Completion
from tiltz.lm.spec import SamplingSpec


class Tokens(Protocol):
    """What of a model says how its outcomes end; every :class:`tiltz.lm.TokenModel` does."""

    @property
    def spec(self) -> SamplingSpec:
        """How completions are drawn."""
        ...

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


def end_of(ids: Sequence[int], model: Tokens) -> Literal["end", "stop", "length"] | None:
    """Return how a sequence ends, or None where it goes on."""
    if ids and ids[-1] == model.end_id:
        return "end"
    if has_stopped(ids, model):
        return "stop"
    return "length" if len(ids) >= model.spec.max_tokens else None


def has_stopped(ids: Sequence[int], model: Tokens) -> bool:
    """Return whether the text of tokens contains a stop string."""
    if not model.spec.stop:
        return False
    said = model.decode(ids)
    return any(text in said for text in model.spec.stop)


def can_be_drawn(ids: Sequence[int], model: Tokens) -> bool:
    """Tell whether a sequence goes on after what ends one: then it is never drawn."""
    before = ids[:-1]
    return len(ids) <= model.spec.max_tokens and model.end_id not in before and not has_stopped(before, model)


def outcome_of(completion: Any, model: Tokens) -> tuple[int, ...]:
    """Return the ids of a whole outcome.

    Parameters
    ----------
    completion : Completion, sequence of int or str
        Text is tokenised and ended.
    model : Tokens
        Of which it is an outcome.

    Raises
    ------
    InputError
        If ids neither end with the end token or a stop string nor have ``max_tokens`` tokens.
    """
    if isinstance(completion, Completion):
        return completion.ids
    longest = model.spec.max_tokens
    if isinstance(completion, str):
        ids = model.encode(completion)
        stopped = any(text in completion for text in model.spec.stop)
        return tuple(ids) if stopped or len(ids) >= longest else (*ids, model.end_id)
    ids = tuple(int(i) for i in completion)
    if not ids or min(ids) < 0 or max(ids) >= model.vocab_size:
        raise InputError(
            f"ids must be tokens from 0 to {model.vocab_size - 1}, at least one; found {ids!r:.80}."
        )
    if end_of(ids, model) is None:
        raise InputError(
            f"ids must be a whole outcome: end with the end token ({model.end_id}), with a stop string, or have "
            f"max_tokens ({longest}) tokens; found {len(ids)} tokens that end with {ids[-1]}."
        )
    return ids
