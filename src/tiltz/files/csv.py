"""CSV files -> a table; a column is a column of numbers only if every value is written as one."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tiltz.errors import FileError
from tiltz.files.lines import first_lines
from tiltz.files.names import FileKind
from tiltz.files.sql import engine_error, first_row, identifier, reason, verbatim
from tiltz.files.table import FILE, POSITION, POSITION_OF, ROW, columns_of, refuse_twins

if TYPE_CHECKING:
    import duckdb

_DIALECT = (
    "delim = ',', quote = '\"', escape = '\"', header = true, allow_quoted_nulls = false, nullstr = '', "
    "auto_detect = false, strict_mode = true, max_line_size = 100000000"
)
_OTHER_SEPARATORS = {";": "';'", "\t": "a tab", "|": "'|'"}
_LEADING_ZERO = r"[+-]?0[0-9].*"
# A header may hold line breaks between quotes, though hardly ever this many.
_HEADER_LINES = 100


def load(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    kinds: Sequence[FileKind],
    text_columns: Collection[str],
) -> tuple[str, tuple[dict[str, str], ...]]:
    """Create the table ``csv``; return its name and empty metadata."""
    parts = []
    for i, (file, kind) in enumerate(zip(files, kinds, strict=True)):
        names = _read_text(connection, i, file, kind)
        columns = ", ".join(f"c{j} AS {identifier(name)}" for j, name in enumerate(names))
        parts.append(f"SELECT {columns}, {i} AS {FILE}, rowid AS {ROW} FROM csv_{i}")
    connection.execute(f"CREATE VIEW csv_text AS {' UNION ALL BY NAME '.join(parts)}")
    typed = ", ".join(
        _typed(connection, name) if name not in text_columns else identifier(name)
        for name in columns_of(connection, "csv_text")
    )
    position = POSITION_OF.format(file=FILE, row=ROW)
    connection.execute(
        f"CREATE TABLE csv AS SELECT {typed}, {FILE}, {ROW}, {position} AS {POSITION} FROM csv_text"
    )
    connection.execute("DROP VIEW csv_text")
    for i in range(len(files)):
        connection.execute(f"DROP TABLE csv_{i}")
    return "csv", tuple({} for _ in files)


def _read_text(connection: duckdb.DuckDBPyConnection, i: int, file: str, kind: FileKind) -> list[str]:
    """Create a table of text with the columns ``c0, c1, ...`` and return their names in the file."""
    try:
        names = _header(connection, file, kind)
        columns = ", ".join(f"'c{j}': 'VARCHAR'" for j in range(len(names)))
        connection.execute(
            f"CREATE TABLE csv_{i} AS SELECT * FROM read_csv([$file], compression = '{kind.compression}', "
            f"columns = {{{columns}}}, {_DIALECT})",
            {"file": verbatim(file)},
        )
    except engine_error() as error:
        raise FileError(
            f"{file!r} cannot be read as CSV: {reason(error)}. It must be UTF-8 text with a header line, "
            "commas between columns, and double quotes around text that holds commas, quotes or line breaks."
        ) from error
    return names


def _header(connection: duckdb.DuckDBPyConnection, file: str, kind: FileKind) -> list[str]:
    lines = first_lines(connection, file, kind, _HEADER_LINES)
    found = next(csv.reader(line + "\n" for line in lines), [])
    if len(found) == 1:
        _refuse_other_separator(file, found[0])
    names = [name.strip() or f"column{j}" for j, name in enumerate(found)]
    refuse_twins(names, file)
    return names


def _refuse_other_separator(file: str, header: str) -> None:
    for separator, words in _OTHER_SEPARATORS.items():
        if separator in header:
            raise FileError(
                f"the columns of {file!r} must be separated by commas; its header {header[:80]!r} has "
                f"none, and seems to be separated by {words}. Write the file with commas."
            )


def _typed(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """Return the expression that gives a column the type in which all its values are written."""
    column = identifier(name)
    row = first_row(
        connection,
        f"SELECT bool_and(coalesce(CAST(TRY_CAST({column} AS BIGINT) AS VARCHAR) = {column}, false)), "
        f"bool_and(TRY_CAST({column} AS DOUBLE) IS NOT NULL "
        f"AND NOT regexp_full_match({column}, '{_LEADING_ZERO}')), "
        f"bool_and(lower({column}) IN ('true', 'false')) "
        f"FROM csv_text WHERE {column} IS NOT NULL",
    )
    whole, number, truth = row or (False, False, False)
    type_ = "BIGINT" if whole else "DOUBLE" if number else "BOOLEAN" if truth else "VARCHAR"
    return f"CAST({column} AS {type_}) AS {column}"
