"""CSV files -> a table; a column is a column of numbers only if every value is written as one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tiltz.errors import FileError
from tiltz.files.names import FileKind
from tiltz.files.sql import engine_error, first_row, identifier, reason, verbatim
from tiltz.files.table import FILE, POSITION, POSITION_OF, ROW, columns_of

if TYPE_CHECKING:
    import duckdb

_DIALECT = (
    "delim = ',', quote = '\"', escape = '\"', header = true, all_varchar = true, allow_quoted_nulls = "
    "false, nullstr = '', auto_detect = true, sample_size = -1, skip = 0, strict_mode = true, max_line_size "
    "= 100000000"
)
_WHOLE = r"-?(0|[1-9][0-9]{0,17})"
_LEADING_ZERO = r"[+-]?0[0-9].*"


def load(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    kinds: Sequence[FileKind],
    text_columns: Collection[str],
) -> tuple[str, tuple[dict[str, str], ...]]:
    """Create the table ``csv``; return its name and empty metadata."""
    for i, (file, kind) in enumerate(zip(files, kinds, strict=True)):
        _read_text(connection, i, file, kind)
    parts = " UNION ALL BY NAME ".join(
        f"SELECT *, {i} AS {FILE}, rowid AS {ROW} FROM csv_{i}" for i in range(len(files))
    )
    connection.execute(f"CREATE TABLE csv_text AS {parts}")
    typed = ", ".join(
        _typed(connection, name) if name not in text_columns else identifier(name)
        for name in columns_of(connection, "csv_text")
    )
    position = POSITION_OF.format(file=FILE, row=ROW)
    connection.execute(
        f"CREATE TABLE csv AS SELECT {typed}, {FILE}, {ROW}, {position} AS {POSITION} FROM csv_text"
    )
    for name in ("csv_text", *(f"csv_{i}" for i in range(len(files)))):
        connection.execute(f"DROP TABLE {name}")
    return "csv", tuple({} for _ in files)


def _read_text(connection: duckdb.DuckDBPyConnection, i: int, file: str, kind: FileKind) -> None:
    source = f"read_csv([$file], compression = '{kind.compression}', "
    try:
        connection.execute(
            f"CREATE TABLE csv_{i} AS SELECT * FROM {source}{_DIALECT})", {"file": verbatim(file)}
        )
    except engine_error() as error:
        raise FileError(
            f"{file!r} cannot be read as CSV: {reason(error)}. It must be UTF-8 text with a header line, "
            "commas between columns, and double quotes around text that holds commas, quotes or line breaks."
        ) from error


def _typed(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """Return the expression that gives a column the type in which all its values are written."""
    column = identifier(name)
    row = first_row(
        connection,
        f"SELECT count({column}) > 0 AND bool_and(regexp_full_match({column}, '{_WHOLE}')), "
        f"count({column}) > 0 AND bool_and(TRY_CAST({column} AS DOUBLE) IS NOT NULL "
        f"AND NOT regexp_full_match({column}, '{_LEADING_ZERO}')), "
        f"count({column}) > 0 AND bool_and(lower({column}) IN ('true', 'false')) "
        f"FROM csv_text WHERE {column} IS NOT NULL",
    )
    whole, number, truth = row or (False, False, False)
    type_ = "BIGINT" if whole else "DOUBLE" if number else "BOOLEAN" if truth else "VARCHAR"
    return f"CAST({column} AS {type_}) AS {column}"
