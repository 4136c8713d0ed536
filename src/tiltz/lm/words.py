"""Word-level tokenizers: one word is one token, and text and tokens say the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tiltz.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The vocabulary of a word-level tokenizer.

    Attributes
    ----------
    words : tuple of str
        By token.
    begin : tuple of int
        Tokens that come before a prompt.
    end_id : int
        What ends a completion.
    special : frozenset of int
        Tokens that are no words.
    """

    words: tuple[str, ...]
    begin: tuple[int, ...]
    end_id: int
    special: frozenset[int]

    @classmethod
    def read(cls, folder: Path) -> Words:
        """Return the tokenizer of a model's folder."""
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        model = tokenizer["model"]
        if model["type"] != "WordLevel":
            raise InputError(
                f"the NumPy engine reads word-level tokenizers; the one in {folder} is {model['type']}. Load this "
                "folder as hf:PATH."
            )
        by_id = sorted(model["vocab"].items(), key=lambda item: item[1])
        words = tuple(word for word, _ in by_id)
        template = (tokenizer.get("post_processor") or {}).get("single", [])
        begin = [piece["SpecialToken"]["id"] for piece in template if "SpecialToken" in piece]
        return cls(
            words=words,
            begin=tuple(words.index(word) for word in begin if word != _word(settings["eos_token"])),
            end_id=words.index(_word(settings["eos_token"])),
            special=frozenset(added["id"] for added in tokenizer["added_tokens"] if added["special"]),
        )

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, whose words must all be known."""
        id_of = {word: i for i, word in enumerate(self.words)}
        unknown = [word for word in text.split() if word not in id_of]
        if unknown:
            raise InputError(
                f"every word must be in the vocabulary of {len(self.words)} words; {unknown[0]!r:.50} is not."
            )
        return [id_of[word] for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        """Return tokens as words with spaces between, without those that are no words."""
        return " ".join(self.words[i] for i in ids if i not in self.special)


def _word(token: str | dict[str, str]) -> str:
    return token if isinstance(token, str) else token["content"]
