"""The rows that are used: where each stands, and which prompt and step it belongs to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tiltz.errors import LayoutError
from tiltz.files import Table, identifier
from tiltz.files.table import FILE, POSITION, ROW
from tiltz.rollouts.layouts.layout import Draws
from tiltz.rollouts.numbers import as_whole, is_text, is_whole
from tiltz.rollouts.wording import count, shortened


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table, with their prompts and steps.

    Parameters
    ----------
    table : Table
        What they are rows of.
    index : ndarray of int
        Where they stand among all rows of the table, in reading order.
    position, file, row : ndarray of int
        Hidden columns of the table.
    code : ndarray of int
        Prompt of each row, an index into ``labels``.
    labels : ndarray
        Labels of the prompts: integers, or text in an object array.
    step : ndarray of int or None
        Training step of each row.
    """

    table: Table
    index: np.ndarray
    position: np.ndarray
    file: np.ndarray
    row: np.ndarray
    code: np.ndarray
    labels: np.ndarray
    step: np.ndarray | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.index)

    def where(self, i: int) -> str:
        """Return file, row and prompt of the i-th row, in words."""
        label = self.labels[self.code[i]]
        return f"{self.table.place(self.file[i], self.row[i])}, prompt {shortened(label)}"

    def keep(self, mask: np.ndarray) -> Rows:
        """Return some of the rows."""
        names = ("index", "position", "file", "row", "code")
        step = None if self.step is None else self.step[mask]
        return replace(self, step=step, **{name: getattr(self, name)[mask] for name in names})

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the group of each row (step and prompt, numbered by first appearance) and the sizes."""
        key = self.code
        if self.step is not None:
            key = np.unique(self.step, return_inverse=True)[1] * len(self.labels) + key
        _, first, inverse, sizes = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return rank[inverse], sizes[order]


def rows_of(draws: Draws) -> Rows:
    """Return all rows of a table of draws.

    Raises
    ------
    LayoutError
        If a row has no prompt, one prompt_id has two texts, or a step is not a whole number.
    """
    key, type_ = _key(draws)
    _refuse_missing(draws, key)
    _refuse_two_texts(draws)
    table = draws.table
    table.query(
        "CREATE OR REPLACE TABLE labels AS SELECT row_number() OVER (ORDER BY first) - 1 AS code, label, "
        f"first FROM (SELECT {key} AS label, min({POSITION}) AS first FROM {table.relation} GROUP BY ALL)"
    )
    found = table.arrays(
        f"SELECT source.{POSITION} AS position, source.{FILE} AS file, source.{ROW} AS row, labels.code AS "
        "code "
        f"FROM {table.relation} AS source JOIN labels ON labels.label = {key} ORDER BY source.{POSITION}"
    )
    labels = table.arrays("SELECT label FROM labels ORDER BY code")["label"]
    table.query("DROP TABLE labels")
    code, labels = _canonical(found["code"].astype(np.int64), np.ma.getdata(labels), type_)
    return Rows(
        table=table,
        index=np.arange(len(code)),
        position=found["position"].astype(np.int64),
        file=found["file"],
        row=found["row"],
        code=code,
        labels=labels,
        step=_steps(draws, found),
    )


def _key(draws: Draws) -> tuple[str, str]:
    """Return the SQL of the column that names the prompt, and the type of its labels."""
    word = "prompt_id" if "prompt_id" in draws.names else "prompt"
    if word not in draws.names:
        raise LayoutError(
            f"rollouts need a column prompt or prompt_id; found none in {draws.table.files[0]!r}."
        )
    type_ = draws.table.columns[draws.names[word]]
    column = draws.column(word)
    if is_whole(type_):
        return f"CAST({column} AS BIGINT)", "integer"
    if type_ in ("FLOAT", "DOUBLE"):
        raise LayoutError(
            f"the column {draws.names[word]!r} must hold text or whole numbers, since floats cannot be "
            "compared safely; "
            f"found type {type_.lower()} in {draws.table.files[0]!r}. Write the labels as text or integers."
        )
    if type_ == "JSON" or type_.endswith("]") or type_.startswith(("STRUCT", "MAP")):
        return f"CAST(to_json({column}) AS VARCHAR)", "json"
    return f"CAST({column} AS VARCHAR)" if not is_text(type_) or type_ != "VARCHAR" else column, "text"


def _refuse_missing(draws: Draws, key: str) -> None:
    table = draws.table
    row = table.first(
        f"SELECT {FILE}, {ROW} FROM {table.relation} WHERE {key} IS NULL ORDER BY {POSITION} LIMIT 1"
    )
    if row:
        word = draws.names.get("prompt_id", draws.names.get("prompt"))
        raise LayoutError(
            f"every row must name its prompt; the column {word!r} is null in {table.place(*row)}. Fill it, "
            "or remove the row."
        )


def _refuse_two_texts(draws: Draws) -> None:
    if not {"prompt_id", "prompt"} <= set(draws.names):
        return
    table, label, text = draws.table, draws.column("prompt_id"), draws.column("prompt")
    hashed = (
        f"hash(CAST(to_json({text}) AS VARCHAR))"
        if table.columns[draws.names["prompt"]] != "VARCHAR"
        else f"hash({text})"
    )
    row = table.first(
        f"SELECT CAST(any_value({label}) AS VARCHAR), arg_min({FILE}, {POSITION}), arg_min({ROW}, "
        f"{POSITION}), arg_max({FILE}, {hashed}), arg_max({ROW}, {hashed}), arg_min({FILE}, {hashed}), "
        f"arg_min({ROW}, {hashed}) FROM {table.relation} WHERE {text} IS NOT NULL GROUP BY {label} HAVING "
        f"min({hashed}) <> max({hashed}) ORDER BY min({POSITION}) LIMIT 1"
    )
    if row:
        places = sorted([(row[3], row[4]), (row[5], row[6])])
        raise LayoutError(
            f"one prompt_id must stand for one prompt; {shortened(row[0])} has different texts in "
            f"{table.place(*places[0])} and "
            f"{table.place(*places[1])}. Give each prompt its own prompt_id, or leave the column out to "
            "group by text."
        )


def _canonical(code: np.ndarray, labels: np.ndarray, type_: str) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and labels with equal chat messages under one label."""
    if type_ == "integer":
        return code, labels.astype(np.int64)
    texts = [str(label) for label in labels.tolist()]
    if type_ == "json":
        texts = [canonical_messages(text) for text in texts]
    numbers: dict[str, int] = {}
    renumbered = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
    distinct = np.empty(len(numbers), dtype=object)
    distinct[:] = list(numbers)
    return renumbered[code], distinct


def canonical_messages(text: str) -> str:
    """Return JSON text with sorted keys and without null fields; a JSON string is its text.

    Parameters
    ----------
    text : str
        JSON of a prompt, usually a list of chat messages.

    Returns
    -------
    str
        The same for the same messages, whatever wrote them.

    Examples
    --------
    >>> canonical_messages('[{"role": "user", "content": "Hi", "name": null}]')
    '[{"content": "Hi", "role": "user"}]'
    """
    value = json.loads(text)
    return (
        value
        if isinstance(value, str)
        else json.dumps(_without_nulls(value), sort_keys=True, ensure_ascii=False)
    )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _steps(draws: Draws, found: Mapping[str, np.ndarray]) -> np.ndarray | None:
    if "step" not in draws.names:
        return _steps_from_names(draws.table, found["file"]) if draws.layout.moving else None
    name = draws.names["step"]
    column, type_ = identifier(name), draws.table.columns[name]
    whole = as_whole(column, type_)
    if whole is None:
        raise LayoutError(f"the column {name!r} must hold whole numbers; found type {type_}.")
    step = draws.fetch(step=whole)["step"]
    bad = np.ma.getmaskarray(step)
    if bad.any():
        i = int(np.argmax(bad))
        position = int(found["position"][i])
        row = draws.table.first(f"SELECT {column} FROM {draws.table.relation} WHERE {POSITION} = {position}")
        value = "null" if row is None or row[0] is None else shortened(row[0])
        raise LayoutError(
            f"every step must be a whole number of at most 64 bits (as a float, at most 2**53); found {value} "
            f"in {draws.table.place(found['file'][i], found['row'][i])}, column {name!r} "
            f"({count(int(bad.sum()), 'such row')}). Write the steps as integers."
        )
    return np.ma.getdata(step).astype(np.int64)


def _steps_from_names(table: Table, file: np.ndarray) -> np.ndarray | None:
    """Return the numbers that the files are named by, if all are."""
    stems = [os.path.basename(name).split(".")[0] for name in table.files]
    if not all(stem.isdecimal() and stem.isascii() and int(stem) < 2**63 for stem in stems):
        return None
    return np.array([int(stem) for stem in stems], dtype=np.int64)[file]
