"""A finite reference from a file: every completion of every prompt with its probability, as a language model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tiltz.errors import InputError
from tiltz.files import expand, open_table
from tiltz.files.table import POSITION
from tiltz.lm.local import LocalModel
from tiltz.lm.protocol import Prompt
from tiltz.lm.spec import SamplingSpec

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MASS_TOLERANCE = 1e-6
_DEAD = 0  # the node from which nothing follows


@dataclass(slots=True)
class _Node:
    mass: float = 0.0
    after: dict[int, int] = field(default_factory=dict)


class TableEngine:
    """Next-token distributions of a finite reference, whose tokens are words.

    Parameters
    ----------
    completions : mapping of str to mapping of str to float
        Prompt to completion to probability; those of a prompt sum to 1.
    """

    def __init__(self, completions: Mapping[str, Mapping[str, float]]) -> None:
        words = {word for table in completions.values() for text in table for word in text.split()}
        self.words = sorted(words)
        self.id_of = {word: i for i, word in enumerate(self.words)}
        self.end_id = len(self.words)
        self.vocab_size = len(self.words) + 1
        self.nodes = [_Node()]
        self.root_of: dict[str, int] = {}
        self.longest = 1
        for prompt, table in completions.items():
            self._add(prompt, table)

    def _add(self, prompt: str, table: Mapping[str, float]) -> None:
        mass = sum(table.values())
        if any(not p >= 0 for p in table.values()) or not abs(mass - 1) <= _MASS_TOLERANCE:
            raise InputError(
                f"the completions of a prompt must have probabilities that sum to 1; those of {prompt!r:.80} sum to "
                f"{mass:.6g}."
            )
        root = self.root_of[prompt] = self._new()
        for text, p in table.items():
            ids = [*self.encode(text), self.end_id]
            self.longest = max(self.longest, len(ids))
            at = root
            self.nodes[at].mass += p
            for token in ids:
                if token not in self.nodes[at].after:
                    self.nodes[at].after[token] = self._new()
                at = self.nodes[at].after[token]
                self.nodes[at].mass += p

    def _new(self) -> int:
        self.nodes.append(_Node())
        return len(self.nodes) - 1

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Return the one token of a prompt."""
        if prompt not in self.root_of:
            raise InputError(f"the table must list the prompt; found no completion of {prompt!r:.100}.")
        return [self.root_of[prompt]]

    def encode(self, text: str) -> list[int]:
        """Return the words of a text as tokens."""
        unknown = [word for word in text.split() if word not in self.id_of]
        if unknown:
            raise InputError(
                f"every word must be in the table; {unknown[0]!r:.50} is in none of its completions."
            )
        return [self.id_of[word] for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        """Return tokens as words with spaces between."""
        return " ".join(self.words[i] for i in ids)

    def begin(self) -> Ints:
        """Return the row before any prompt."""
        return np.array([-1])

    def extend(
        self, state: Ints, rows: Ints, tokens: Ints, lengths: Ints, *, last: bool = False
    ) -> tuple[Ints, Floats]:
        """Walk down the tree; see :class:`tiltz.lm.Engine`."""
        at = state[rows]
        logits = np.zeros((*tokens.shape, self.vocab_size))
        for k in range(tokens.shape[1]):
            for row in range(len(at)):
                if k < lengths[row]:
                    here, token = int(at[row]), int(tokens[row, k])
                    at[row] = token if here < 0 else self.nodes[here].after.get(token, _DEAD)
            logits[:, k] = [self._logits(node) for node in at]
        return at, logits[:, -1:] if last else logits

    def _logits(self, node: int) -> Floats:
        found = self.nodes[node]
        if not found.after:
            return np.zeros(self.vocab_size)
        logits = np.full(self.vocab_size, -np.inf)
        with np.errstate(divide="ignore"):
            for token, child in found.after.items():
                logits[token] = np.log(self.nodes[child].mass)
        return logits


def table_model(
    completions: Mapping[str, Mapping[str, float]], *, spec: SamplingSpec | None = None, name: str = "table"
) -> LocalModel:
    """Return a finite reference as a language model.

    Parameters
    ----------
    completions : mapping of str to mapping of str to float
        Prompt to completion (words with spaces between) to probability.
    spec : SamplingSpec, optional
        By default drawn as it is, as long as the longest completion.
    name : str
        For file metadata.

    Examples
    --------
    >>> import numpy as np
    >>> model = table_model({"toss": {"heads": 0.5, "tails": 0.4, "lost it": 0.1}})
    >>> np.exp(model.log_prob(["toss", "toss"], ["tails", "lost it"])).round(3)
    array([0.4, 0.1])
    """
    engine = TableEngine(completions)
    listed = json.dumps({prompt: dict(table) for prompt, table in completions.items()})
    ref_id = {"model": name, "weights": hashlib.sha256(listed.encode()).hexdigest()[:16]}
    return LocalModel(engine, spec or SamplingSpec(max_tokens=engine.longest), ref_id=ref_id)


def read_table_model(path: str | Path, *, spec: SamplingSpec | None = None) -> LocalModel:
    """Return the finite reference in a file.

    Parameters
    ----------
    path : str or Path
        Parquet, JSONL or CSV with the columns ``prompt``, ``completion`` (words with spaces between), and ``log_ref``
        (nats) or ``prob``.
    spec : SamplingSpec, optional
        By default drawn as it is.

    Raises
    ------
    InputError
        If a column is missing, or the probabilities of a prompt do not sum to 1 within 1e-6.
    FileError
        If the file cannot be read.
    """
    table = open_table(expand(path))
    weight = next((name for name in ("log_ref", "prob") if name in table.columns), None)
    missing = [name for name in ("prompt", "completion") if name not in table.columns]
    if weight is None or missing:
        raise InputError(
            f"a table of completions must have the columns prompt, completion and log_ref or prob; {path} has "
            f"{', '.join(table.columns)}."
        )
    rows = table.query(f"SELECT prompt, completion, {weight} FROM {table.relation} ORDER BY {POSITION}")
    completions: dict[str, dict[str, float]] = {}
    for i, (prompt, text, value) in enumerate(rows):
        prob = _probability(value, weight)
        if prompt is None or text is None or prob is None:
            raise InputError(
                f"every row of a table of completions must have a prompt, a completion and a number as its {weight}; "
                f"row {i + 1} of {path} has {prompt!r:.40}, {text!r:.40} and {value!r:.40}."
            )
        listed = completions.setdefault(str(prompt), {})
        listed[str(text)] = listed.get(str(text), 0.0) + prob
    return table_model(completions, spec=spec, name=str(path))


def _probability(value: Any, weight: str) -> float | None:
    """Return the probability that a cell says, None where it says none."""
    try:
        return math.exp(float(value)) if weight == "log_ref" else float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None
