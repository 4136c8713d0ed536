"""JSON lines -> a table whose columns have the types that the whole file shows.

DuckDB's own JSON reader guesses dates and numbers inside strings and knows no line numbers. Here every line
is taken as text, its structure is read from the JSON alone, and all lines count.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from tiltz.errors import FileError
from tiltz.files.json_text import json_ready
from tiltz.files.names import FileKind
from tiltz.files.sql import engine_error, first_row, identifier, literal, reason, verbatim
from tiltz.files.table import FILE, POSITION, POSITION_OF, ROW, columns_of

if TYPE_CHECKING:
    import duckdb

# A raw control character is not legal in JSON, so no line of a sound file is cut by this one.
_ONE_COLUMN = (
    "columns = {'line': 'VARCHAR'}, delim = '\x01', quote = '', escape = '', header = false, "
    "auto_detect = false, strict_mode = false, max_line_size = 1000000000"
)
# Whole numbers of 19 digits may need the 64th bit.
_LONG_NUMBER = "(^|[^0-9.])[0-9]{19}"
_NUMBERS = ("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE")
_NON_FINITE = "('nan', 'inf', '+inf', '-inf', 'infinity', '+infinity', '-infinity')"


def load(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    kinds: Sequence[FileKind],
    text_columns: Collection[str],
) -> tuple[str, tuple[dict[str, str], ...]]:
    """Create the table ``jsonl``; return its name and empty metadata."""
    connection.execute(f"CREATE TABLE read ({FILE} INTEGER, line VARCHAR)")
    connection.execute(f"CREATE TABLE starts ({FILE} INTEGER, start BIGINT)")
    connection.execute(
        f"CREATE VIEW lines AS SELECT {FILE}, read.rowid - start AS {ROW}, line FROM read JOIN starts USING "
        f"({FILE})"
    )
    for i, (file, kind) in enumerate(zip(files, kinds, strict=True)):
        _read_lines(connection, i, file, kind)
    _repair(connection, files)
    _refuse_other_than_objects(connection, files)
    structure = structure_of(connection, "lines", "line")
    if not structure:
        raise FileError(
            f"{files[0]!r} must hold at least one line with a JSON object with columns; found none."
        )
    parse_json(connection, "lines", "line", structure, "jsonl")
    connection.execute("DROP VIEW lines; DROP TABLE read; DROP TABLE starts")
    return _plain_scalars(connection, "jsonl"), tuple({} for _ in files)


def structure_of(connection: duckdb.DuckDBPyConnection, relation: str, column: str) -> Any:
    """Return the structure that all JSON texts of a column share, as nested lists, dicts and type names."""
    merged: Any = "NULL"
    for structure in _structures(connection, relation, column):
        merged = _merge(merged, structure)
    if merged == "NULL":
        return None
    long = first_row(
        connection, f"SELECT bool_or(regexp_matches({column}, '{_LONG_NUMBER}')) FROM {relation}"
    )
    return _named_types(merged, "UBIGINT" if long and long[0] else "BIGINT")


def _read_lines(connection: duckdb.DuckDBPyConnection, i: int, file: str, kind: FileKind) -> None:
    connection.execute(f"INSERT INTO starts SELECT {i}, count(*) FROM read")
    try:
        connection.execute(
            f"INSERT INTO read SELECT {i}, line "
            f"FROM read_csv([$file], compression = '{kind.compression}', {_ONE_COLUMN})",
            {"file": verbatim(file)},
        )
    except engine_error() as error:
        raise FileError(
            f"{file!r} cannot be read as lines of JSON: {reason(error)}. It must be UTF-8 text with one "
            f"JSON object per line; write it anew."
        ) from error


def _repair(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    """Rewrite the lines that Python's JSON accepts and DuckDB's does not; refuse the rest."""
    broken = connection.execute(
        f"SELECT {FILE}, {ROW}, line FROM lines "
        "WHERE trim(line, ' \t\r') <> '' AND NOT json_valid(line) ORDER BY 1, 2"
    ).fetchall()
    for file, row, line in broken:
        try:
            text = (
                json.dumps(json_ready(json.loads(line)), ensure_ascii=False)
                .encode("utf-8", "replace")
                .decode()
            )
        except ValueError as error:
            raise FileError(_broken_line(files[int(file)], row, line, error)) from error
        connection.execute(
            f"UPDATE read SET line = $text WHERE rowid = $row + (SELECT start FROM starts WHERE {FILE} = "
            "$file)",
            {"text": text, "file": file, "row": row},
        )


def _broken_line(file: str, row: int, line: str, error: ValueError) -> str:
    what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    column = error.colno if isinstance(error, json.JSONDecodeError) else 1
    around = line[max(0, column - 21) : column + 19]
    if row == 0 and line.strip() == "[":
        return (
            f"{file!r} must hold one JSON object per line; it holds one JSON array over several lines. Write "
            "JSON lines."
        )
    return (
        f"{file!r}, line {row + 1} must be one complete JSON object; found: {what} at character {column}, "
        f"near {around!r}. Repair or remove that line."
    )


def _refuse_other_than_objects(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
    found = first_row(
        connection,
        f"SELECT {FILE}, {ROW}, lower(json_type(line)) FROM lines "
        "WHERE trim(line, ' \t\r') <> '' AND json_type(line) <> 'OBJECT' ORDER BY 1, 2 LIMIT 1",
    )
    if found:
        raise FileError(
            f"{files[found[0]]!r}, line {found[1] + 1} must be a JSON object such as "
            f'{{"prompt": ..., "reward": ...}}; found a JSON value of type {found[2]}. Write one object per '
            "line."
        )


def _structures(connection: duckdb.DuckDBPyConnection, relation: str, column: str) -> list[Any]:
    rows = connection.execute(
        f"SELECT DISTINCT json_structure({column}::JSON) FROM {relation} "
        f"WHERE trim({column}, ' \t\r') NOT IN ('', '{{}}')"
    ).fetchall()
    return [json.loads(row[0]) for row in rows]


def _merge(a: Any, b: Any) -> Any:
    """Return the narrowest structure that holds both."""
    if a == b or b == "NULL":
        return a
    if a == "NULL":
        return b
    if isinstance(a, dict) and isinstance(b, dict):
        return a | {key: _merge(a.get(key, "NULL"), value) for key, value in b.items()}
    if isinstance(a, list) and isinstance(b, list):
        return [_merge(a[0], b[0])]
    if isinstance(a, str) and isinstance(b, str) and {a, b} <= set(_NUMBERS):
        return "DOUBLE" if "DOUBLE" in (a, b) else "BIGINT"
    return "JSON"


def _named_types(structure: Any, whole: str) -> Any:
    """Replace the types of nothing but nulls, and of numbers without a sign, by the usual ones."""
    if isinstance(structure, dict):
        return {key: _named_types(value, whole) for key, value in structure.items()}
    if isinstance(structure, list):
        return [_named_types(structure[0], whole)]
    return {"NULL": "VARCHAR", "UBIGINT": whole}.get(structure, structure)


def parse_json(
    connection: duckdb.DuckDBPyConnection, relation: str, column: str, structure: Any, target: str
) -> None:
    """Create a table with one column per key of the JSON objects in a column of text."""
    hidden = f"{FILE}, {ROW}, {POSITION_OF.format(file=FILE, row=ROW)} AS {POSITION}"
    connection.execute(
        f"CREATE TABLE {target} AS SELECT {hidden}, unnest(from_json({column}, {literal(json.dumps(structure))})) "
        f"FROM {relation} WHERE trim({column}, ' \t\r') <> ''"
    )


def _plain_scalars(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    """Type the columns that mix strings with other scalars: numbers where the strings are "nan" or "-inf"."""
    replaced = []
    for name, type_ in columns_of(connection, relation).items():
        if type_ == "JSON":
            target = _scalar_type(connection, relation, identifier(name))
            if target:
                replaced.append(f"CAST({identifier(name)} ->> '$' AS {target}) AS {identifier(name)}")
    if not replaced:
        return relation
    connection.execute(f"CREATE TABLE plain AS SELECT * REPLACE ({', '.join(replaced)}) FROM {relation}")
    connection.execute(f"DROP TABLE {relation}")
    return "plain"


def _scalar_type(connection: duckdb.DuckDBPyConnection, relation: str, column: str) -> str | None:
    row = first_row(
        connection,
        f"SELECT bool_and(type IN {_NUMBERS} OR (type = 'VARCHAR' AND lower(trim({column} ->> '$')) IN "
        f"{_NON_FINITE})), bool_and(type NOT IN ('OBJECT', 'ARRAY')) FROM (SELECT {column}, "
        f"json_type({column}) AS type FROM {relation}) WHERE type <> 'NULL'",
    )
    if row is None or not row[1]:
        return None
    return "DOUBLE" if row[0] else "VARCHAR"
