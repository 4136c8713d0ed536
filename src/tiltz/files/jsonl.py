"""JSON lines -> a table whose columns have the types that the whole file shows.

DuckDB's own JSON reader guesses dates and numbers inside strings and knows no line numbers. Here every line
is taken as text, its structure is read from the JSON alone, and all lines count.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tiltz.errors import FileError
from tiltz.files.json_structure import holds_json, parse_json, structure_of, written
from tiltz.files.json_text import json_line, json_ready
from tiltz.files.lines import lines_of
from tiltz.files.names import FileKind
from tiltz.files.sql import engine_error, first_row, identifier, literal, reason, verbatim
from tiltz.files.table import FILE, POSITION_OF, ROW, columns_of, listed, twins

if TYPE_CHECKING:
    import duckdb

_NUMBERS = ("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE")
_NON_FINITE = "('nan', 'inf', '+inf', '-inf', 'infinity', '+infinity', '-infinity')"
# DuckDB reads these literals of Python as numbers, but keeps them where a value stays JSON.
_MAY_HOLD_LITERALS = "contains(line, 'NaN') OR contains(line, 'Infinity')"
_REPAIRED_AT_ONCE = 100_000
MOST_COLUMNS = 5_000
"""Rows with more different keys than this hold a mapping, not columns."""


def load(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    kinds: Sequence[FileKind],
    text_columns: Collection[str],
) -> tuple[str, tuple[dict[str, str], ...]]:
    """Create the table ``jsonl``; return its name and empty metadata."""
    connection.execute(f"CREATE TABLE read ({FILE} INTEGER, start BIGINT, line VARCHAR)")
    for i, (file, kind) in enumerate(zip(files, kinds, strict=True)):
        _read_lines(connection, i, file, kind)
    _repair(connection, files, f"CASE WHEN json_valid(line) THEN false ELSE {written('line')} END")
    connection.execute(
        f"CREATE VIEW lines AS SELECT {FILE}, rowid - start AS {ROW}, line FROM read WHERE {written('line')}"
    )
    _refuse_other_than_objects(connection, files)
    structure = structure_of(connection, "lines", "line", order=POSITION_OF.format(file=FILE, row=ROW))
    if not isinstance(structure, dict):
        raise FileError(
            f"{files[0]!r} must hold at least one line with a JSON object with columns; found none."
        )
    mixed = {key for key, value in structure.items() if holds_json(value)}
    if mixed:
        _repair(connection, files, _MAY_HOLD_LITERALS, words_in=mixed)
    _refuse_unclear_keys(connection, files, structure)
    parse_json(connection, "lines", "line", structure, "jsonl")
    connection.execute("DROP VIEW lines; DROP TABLE read")
    return _plain_numbers(connection, "jsonl"), tuple({} for _ in files)


def _read_lines(connection: duckdb.DuckDBPyConnection, i: int, file: str, kind: FileKind) -> None:
    try:
        connection.execute(
            f"INSERT INTO read SELECT {i}, (SELECT count(*) FROM read), line FROM {lines_of(kind)}",
            {"file": verbatim(file)},
        )
    except engine_error() as error:
        raise FileError(
            f"{file!r} cannot be read as lines of JSON: {reason(error)}. It must be UTF-8 text with one "
            f"JSON object per line; write it anew."
        ) from error


def _repair(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    condition: str,
    words_in: Collection[str] = (),
) -> None:
    """Rewrite lines as the engine's parser accepts them, or refuse those that Python's parser refuses too.

    Under the keys ``words_in``, numbers that are not finite become words.
    """
    last = -1
    while broken := connection.execute(
        f"SELECT rowid, {FILE}, rowid - start, line FROM read WHERE rowid > {last} AND ({condition}) "
        f"ORDER BY rowid LIMIT {_REPAIRED_AT_ONCE}"
    ).fetchall():
        repaired = np.empty(len(broken), dtype=object)
        repaired[:] = [_repaired(line, files[int(file)], row, words_in) for _, file, row, line in broken]
        connection.register("repaired", {"id": np.array([row[0] for row in broken]), "text": repaired})
        connection.execute("UPDATE read SET line = text FROM repaired WHERE read.rowid = repaired.id")
        connection.unregister("repaired")
        last = broken[-1][0]


def _repaired(line: str, file: str, row: int, words_in: Collection[str]) -> str:
    try:
        value = json.loads(line, object_pairs_hook=_each_key_once)
        if isinstance(value, dict):
            value |= {key: json_ready(inner) for key, inner in value.items() if key in words_in}
        return json_line(value)
    except (ValueError, RecursionError) as error:
        raise FileError(_broken_line(file, row, line, error)) from error


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key, n = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {key!r} {n} times in one object")
    return found


def _broken_line(file: str, row: int, line: str, error: Exception) -> str:
    if row == 0 and line.strip() == "[":
        return (
            f"{file!r} must hold one JSON object per line; it holds one JSON array over several lines. Write "
            "JSON lines."
        )
    what = str(error)
    if isinstance(error, json.JSONDecodeError):
        around = line[max(0, error.colno - 21) : error.colno + 19]
        what = f"{error.msg.removesuffix(' at')} at character {error.colno}, near {around!r}"
    return f"{file!r}, line {row + 1} must be one complete JSON object; found: {what}. Repair or remove that line."


def _refuse_other_than_objects(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    found = first_row(
        connection,
        f"SELECT {FILE}, {ROW}, lower(json_type(line)) FROM lines "
        "WHERE NOT starts_with(line, '{') AND json_type(line) <> 'OBJECT' ORDER BY 1, 2 LIMIT 1",
    )
    if found:
        raise FileError(
            f"{files[found[0]]!r}, line {found[1] + 1} must be a JSON object such as "
            f'{{"prompt": ..., "reward": ...}}; found a JSON value of type {found[2]}. Write one object per '
            "line."
        )


def _refuse_unclear_keys(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], structure: dict[str, Any]
) -> None:
    """Refuse keys that name no column, or that name two columns alike, or that are too many for columns."""
    if len(structure) > MOST_COLUMNS:
        raise FileError(
            f"rows must have the same columns, at most {MOST_COLUMNS}; found {len(structure)} different keys in "
            f"{listed(files)}, such as {list(structure)[-1]!r}. Put keys that change from row to row into one "
            "object."
        )
    if "" in structure:
        raise FileError(
            f"every key of a row must name its column; found an empty key in "
            f"{_place_of(connection, files, '')}. Name that column, or leave it out."
        )
    pair = twins(list(structure))
    if pair:
        raise FileError(
            f"the names of columns must differ, and not only in upper and lower case; found {pair[0]!r} in "
            f"{_place_of(connection, files, pair[0])} and {pair[1]!r} in "
            f"{_place_of(connection, files, pair[1])}. Rename or remove one of them."
        )
    for (keys,) in connection.execute("SELECT DISTINCT json_keys(line) FROM lines").fetchall():
        if len(set(keys)) < len(keys):
            key, n = Counter(keys).most_common(1)[0]
            raise FileError(
                f"a row must hold each key once; found {key!r} {n} times in "
                f"{_place_of(connection, files, key, n)}. Remove all but one."
            )


def _place_of(connection: duckdb.DuckDBPyConnection, files: Sequence[str], key: str, n: int = 1) -> str:
    """Return the first line with a key that stands there at least so many times."""
    row = first_row(
        connection,
        f"SELECT {FILE}, {ROW} FROM lines WHERE len(list_filter(json_keys(line), lambda x: x = {literal(key)})) "
        f">= {n} ORDER BY 1, 2 LIMIT 1",
    )
    return f"{files[row[0]]!r}, line {row[1] + 1}" if row else repr(files[0])


def _plain_numbers(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    """Make a column of numbers of each that mixes them with words such as "nan" and "-inf"."""
    replaced = [
        f"CAST({identifier(name)} ->> '$' AS DOUBLE) AS {identifier(name)}"
        for name, type_ in columns_of(connection, relation).items()
        if type_ == "JSON" and _only_numbers(connection, relation, identifier(name))
    ]
    if not replaced:
        return relation
    connection.execute(f"CREATE TABLE plain AS SELECT * REPLACE ({', '.join(replaced)}) FROM {relation}")
    connection.execute(f"DROP TABLE {relation}")
    return "plain"


def _only_numbers(connection: duckdb.DuckDBPyConnection, relation: str, column: str) -> bool:
    row = first_row(
        connection,
        f"SELECT bool_and(type IN {_NUMBERS} OR (type = 'VARCHAR' AND lower(trim({column} ->> '$')) IN "
        f"{_NON_FINITE})) FROM (SELECT {column}, json_type({column}) AS type FROM {relation}) "
        "WHERE type <> 'NULL'",
    )
    return bool(row and row[0])
