"""Tokenizers: what makes tokens of prompts and of completions, and texts of tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tiltz.errors import InputError, MissingExtraError
from tiltz.lm.protocol import Prompt
from tiltz.lm.words import Words


@runtime_checkable
class Tokenizer(Protocol):
    """What makes tokens of texts, and texts of tokens; an engine is one too.

    Attributes
    ----------
    end_id : int
        The end token.
    """

    @property
    def end_id(self) -> int:
        """The end token."""
        ...

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Return the tokens of a prompt, with whatever comes before it."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a completion's text, without the end token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without the end token."""
        ...


class WordTokenizer:
    """A word-level tokenizer, without any package."""

    def __init__(self, words: Words) -> None:
        self.words, self.end_id = words, words.end_id
        self.encode, self.decode = words.encode, words.decode

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Return the tokens of a text, after those with which the tokenizer begins."""
        if not isinstance(prompt, str):
            raise InputError(f"a word-level tokenizer takes prompts as text; found {type(prompt).__name__}.")
        return [*self.words.begin, *self.words.encode(prompt)]


class TransformersTokenizer:
    """A tokenizer of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None:
            raise InputError(
                "the tokenizer must have an end token (eos_token); without one no completion ends."
            )
        self.tokenizer, self.end_id = tokenizer, int(tokenizer.eos_token_id)

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Return the tokens of a text as the tokenizer begins it, or of chat messages by its template."""
        if not isinstance(prompt, str):
            if not self.tokenizer.chat_template:
                raise InputError("chat messages need a tokenizer with a chat template; this one has none.")
            ids = self.tokenizer.apply_chat_template(
                prompt, add_generation_prompt=True, tokenize=True, return_dict=False
            )
            return [int(i) for i in ids]
        ids = self.tokenizer(prompt, add_special_tokens=True)["input_ids"]
        # A tokenizer that closes a text with its end token means a whole text, and this is the beginning of one.
        if ids and ids[-1] == self.end_id:
            ids = ids[:-1]
        first = self.tokenizer.bos_token_id
        return list(ids) if ids else [self.end_id if first is None else int(first)]

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a completion's text, without the end token."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)


def tokenizer_of(given: Any) -> Tokenizer:
    """Return a tokenizer.

    Parameters
    ----------
    given : str, Path or object
        Folder or identifier of the hub; or a tokenizer of transformers, :class:`tiltz.lm.words.Words`, or anything with
        ``end_id``, ``encode_prompt``, ``encode`` and ``decode``.

    Returns
    -------
    Tokenizer
        The tokenizer.
    """
    if isinstance(given, Words):
        return WordTokenizer(given)
    if isinstance(given, Tokenizer):
        return given
    if hasattr(given, "eos_token_id"):
        return TransformersTokenizer(given)
    if not isinstance(given, str | Path):
        raise InputError(
            "tokenizer must be a folder, an identifier of the hub, or an object with end_id, encode_prompt, encode and "
            f"decode; found {type(given).__name__}."
        )
    if _is_word_level(Path(given)):
        return WordTokenizer(Words.read(Path(given)))
    try:
        import transformers
    except ImportError as reason:
        raise MissingExtraError(
            reason.name or "transformers", "hf", f"the tokenizer {given!s:.80}"
        ) from reason
    return TransformersTokenizer(transformers.AutoTokenizer.from_pretrained(str(given)))


def _is_word_level(folder: Path) -> bool:
    path = folder / "tokenizer.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["model"]["type"] == "WordLevel"
