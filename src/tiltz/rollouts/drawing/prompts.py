"""Prompts from files: text, chat messages, and whatever columns their rewards need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiltz.errors import FileError, InputError
from tiltz.files import expand, open_table
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
        rows = [dict(p) if isinstance(p, Mapping) else {"prompt": p} for p in prompts]
        if not rows:
            raise InputError("there must be at least one prompt; found none.")
        for i, row in enumerate(rows):
            if not _is_prompt(row.get("prompt")):
                raise InputError(
                    "every prompt must be text or a list of chat messages with role and content, in a column named "
                    f"prompt; prompt {i + 1} is {row.get('prompt')!r:.80}."
                )
        ids = [str(row.get("prompt_id", i)) for i, row in enumerate(rows)]
        twice = (
            next((i for i, one in enumerate(ids) if one in ids[:i]), None)
            if len(set(ids)) < len(ids)
            else None
        )
        if twice is not None:
            raise InputError(f"every prompt_id must be there once; {ids[twice]!r:.80} comes twice.")
        names = dict.fromkeys(name for row in rows for name in row if name not in ("prompt", "prompt_id"))
        return cls(
            ids=tuple(ids),
            prompts=tuple(row["prompt"] for row in rows),
            columns={name: [row.get(name) for row in rows] for name in names},
        )


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
    if Path(path).suffix in _LINES:
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as reason:
            raise FileError(f"{str(path)!r} cannot be read: {reason}.") from reason
        return Prompts.of([line for line in lines if line.strip()])
    table = open_table(expand(path))
    if "prompt" not in table.columns:
        raise InputError(
            f"a file of prompts must have a column named prompt; {path} has {', '.join(table.columns)}."
        )
    names = list(table.columns)
    listed = ", ".join(f'"{name}"' for name in names)
    rows = table.query(f"SELECT {listed} FROM {table.relation} ORDER BY {POSITION}")
    return Prompts.of([dict(zip(names, row, strict=True)) for row in rows])


def _is_prompt(prompt: Any) -> bool:
    if isinstance(prompt, str):
        return True
    return (
        isinstance(prompt, list)
        and bool(prompt)
        and all(isinstance(message, Mapping) and {"role", "content"} <= set(message) for message in prompt)
    )
