"""Prompts from files: text, chat messages, and whatever columns their rewards need."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiltz.errors import FileError, InputError
from tiltz.files import expand, identifier, open_table
from tiltz.files.table import POSITION

_LINES = (".txt", ".prompts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What is to be completed.

    Attributes
    ----------
    ids : tuple of str
        One for each, all different.
    prompts : tuple
        Texts or lists of chat messages.
    columns : dict of str to list
        Further columns, which reward functions receive.
    """

    ids: tuple[str, ...]
    prompts: tuple[Any, ...]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        """Return the number of prompts."""
        return len(self.prompts)

    @classmethod
    def of(cls, prompts: Sequence[Any]) -> Prompts:
        """Return prompts given as texts, chat messages, or rows with a ``prompt`` and further columns."""
        if isinstance(prompts, str | Mapping):
            raise InputError(
                f"prompts must be a list of prompts; found {prompts!r:.80}. Put one alone into a list."
            )
        rows = [dict(p) if isinstance(p, Mapping) else {"prompt": p} for p in prompts]
        if not rows:
            raise InputError("there must be at least one prompt; found none.")
        for i, row in enumerate(rows):
            if not _is_prompt(row.get("prompt")):
                raise InputError(
                    "every prompt must be text or a list of chat messages with role and content, in a column named "
                    f"prompt; prompt {i + 1} is {row.get('prompt')!r:.80}."
                )
        names = dict.fromkeys(name for row in rows for name in row if name not in ("prompt", "prompt_id"))
        return cls(
            ids=_ids(rows),
            prompts=tuple(row["prompt"] for row in rows),
            columns={name: [row.get(name) for row in rows] for name in names},
        )

    def some(self, first: int, n: int) -> Prompts:
        """Return n of them, from one on; fewer at the end."""
        rows = slice(first, first + n)
        return Prompts(
            ids=self.ids[rows],
            prompts=self.prompts[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )

    def digest(self) -> str:
        """Return a hash of all ids, prompts and columns."""
        found = hashlib.sha256(json.dumps(list(self.columns)).encode())
        for row in zip(self.ids, self.prompts, *self.columns.values(), strict=True):
            found.update(json.dumps(row, default=str).encode())
        return found.hexdigest()[:16]


def read_prompts(path: str | Path) -> Prompts:
    """Return the prompts of a file.

    Parameters
    ----------
    path : str or Path
        JSONL, Parquet or CSV with a column ``prompt`` (text or chat messages), perhaps ``prompt_id``, and columns that
        rewards need, such as ``answer``; or ``.txt``, one prompt per line.

    Returns
    -------
    Prompts
        In the order of the file.

    Raises
    ------
    FileError
        If the file cannot be read.
    InputError
        If it has no prompts, or two with the same ``prompt_id``.
    """
    if Path(path).suffix.lower() in _LINES:
        return _read_lines(path)
    table = open_table(expand(path))
    if "prompt" not in table.columns:
        raise InputError(
            f"a file of prompts must have a column named prompt; {path} has {', '.join(table.columns)}."
        )
    # Where texts and lists share a column, its values are JSON.
    mixed = [name for name, type_ in table.columns.items() if "JSON" in type_]
    listed = ", ".join(
        f"CAST(to_json({identifier(name)}) AS VARCHAR)" if name in mixed else identifier(name)
        for name in table.columns
    )
    found = table.query(f"SELECT {listed} FROM {table.relation} ORDER BY {POSITION}")
    rows = [dict(zip(table.columns, row, strict=True)) for row in found]
    for row in rows:
        row |= {name: json.loads(row[name]) for name in mixed if row[name] is not None}
        row["prompt"] = _without_nulls(row["prompt"])
    return Prompts.of(rows)


def _read_lines(path: str | Path) -> Prompts:
    try:
        # A byte order mark is no text, and a line ends where an editor shows its end.
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as reason:
        raise FileError(f"{str(path)!r} cannot be read: {reason}.") from reason
    written = [line for line in lines if line.strip()]
    if not written:
        raise InputError(f"{str(path)!r} must hold at least one prompt, one per line; found none.")
    return Prompts.of(written)


def _ids(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the prompt_id of every row, its number where no row has one."""
    if all(row.get("prompt_id") is None for row in rows):
        return tuple(str(i) for i in range(len(rows)))
    without = next((i for i, row in enumerate(rows) if row.get("prompt_id") is None), None)
    if without is not None:
        raise InputError(
            f"a prompt_id must be in every row or in none; some rows have one, prompt {without + 1} has none."
        )
    ids = tuple(str(row["prompt_id"]) for row in rows)
    one, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise InputError(f"every prompt_id must be there once; {one!r:.80} is there {times} times.")
    return ids


def _without_nulls(prompt: Any) -> Any:
    """Return chat messages without keys that only other messages of the file have."""
    if not isinstance(prompt, list):
        return prompt
    return [
        {key: value for key, value in message.items() if value is not None or key == "content"}
        if isinstance(message, Mapping)
        else message
        for message in prompt
    ]


def _is_prompt(prompt: Any) -> bool:
    if isinstance(prompt, str):
        return True
    return (
        isinstance(prompt, list)
        and bool(prompt)
        and all(isinstance(message, Mapping) and {"role", "content"} <= set(message) for message in prompt)
    )
