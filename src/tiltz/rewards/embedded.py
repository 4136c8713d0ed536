"""The embedded reward model: it rates reviews and stories of the embedded language models, on NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from tiltz.lm.llama import Llama
from tiltz.lm.load import EMBEDDED
from tiltz.lm.words import Words

_AT_ONCE = 256


class EmbeddedReward:
    """The one logit of the embedded classifier, as a reward.

    Attributes
    ----------
    name : str
        "tiny".
    reward_range : None
        Logits have no range; on what it was trained for they lie between -1 and 1, about.

    Examples
    --------
    >>> rate = EmbeddedReward()
    >>> kind, unkind = rate(["review the old hotel : ->"] * 2, ["the bed is very nice .", "the staff is rude ."])
    >>> kind > unkind
    True
    """

    name = "tiny"
    reward_range = None

    def __init__(self) -> None:
        folder = EMBEDDED / "reward"
        self.words, self.llama = Words.read(folder), Llama(folder)
        self.score = self.llama.weights["score.weight"][0]

    def __call__(self, prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        """Return the logit of each completion of the prompt beside it, ended."""
        rows = [
            [*self.words.begin, *self.words.encode(prompt), *self.words.encode(text), self.words.end_id]
            for prompt, text in zip(prompts, completions, strict=True)
        ]
        found: list[float] = []
        for first in range(0, len(rows), _AT_ONCE):
            found += self._logits(rows[first : first + _AT_ONCE])
        return found

    def _logits(self, rows: list[list[int]]) -> list[float]:
        lengths = np.array([len(row) for row in rows])
        tokens = np.zeros((len(rows), lengths.max()), dtype=np.int64)
        for padded, row in zip(tokens, rows, strict=True):
            padded[: len(row)] = row
        _, hidden = self.llama.hidden(
            self.llama.begin(), np.zeros(len(rows), dtype=np.int64), tokens, lengths
        )
        return (hidden[np.arange(len(rows)), lengths - 1] @ self.score).astype(float).tolist()
