"""Parquet files -> a view that reads only the columns that are asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tiltz.files.names import FileKind
from tiltz.files.sql import literal, verbatim
from tiltz.files.table import FILE, POSITION, POSITION_OF, ROW, refuse_twins

if TYPE_CHECKING:
    import duckdb


def load(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    kinds: Sequence[FileKind],
    text_columns: Collection[str],
) -> tuple[str, tuple[dict[str, str], ...]]:
    """Create the view ``parquet``; return its name and each file's key-value metadata."""
    for file, columns in _columns(connection, files).items():
        refuse_twins(columns, file)
    source = f"read_parquet({_listed(files)}, union_by_name = true)"
    names = {row[0].lower() for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    if names & {"file_index", "file_row_number"}:
        connection.execute(f"CREATE TABLE parquet AS {_numbered_by_hand(files)}")
    else:
        position = POSITION_OF.format(file="file_index", row="file_row_number")
        connection.execute(
            f"CREATE VIEW parquet AS SELECT *, CAST(file_index AS INTEGER) AS {FILE}, "
            f"file_row_number AS {ROW}, {position} AS {POSITION} FROM {source}"
        )
    return "parquet", _metadata(connection, files)


def _columns(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of each file as it names them; the engine numbers those that it takes for one."""
    rows = connection.execute(
        f"SELECT file_name, name, coalesce(num_children, 0) FROM parquet_schema({_listed(files)})"
    ).fetchall()
    found: dict[str, list[str]] = {}
    # Each schema is a tree, written depth first from its root.
    to_come = inside = 0
    for file, name, n_children in rows:
        if not to_come and not inside:
            found[file], to_come = [], n_children
            continue
        if not inside:
            found[file].append(name)
            to_come, inside = to_come - 1, 1
        inside += n_children - 1
    return found


def _numbered_by_hand(files: Sequence[str]) -> str:
    """Return a query for files that have columns named like DuckDB's own row numbers."""
    parts = " UNION ALL BY NAME ".join(
        f"SELECT *, {i} AS {FILE}, row_number() OVER () - 1 AS {ROW} FROM read_parquet({_listed([file])})"
        for i, file in enumerate(files)
    )
    return f"SELECT *, {POSITION_OF.format(file=FILE, row=ROW)} AS {POSITION} FROM ({parts})"


def _metadata(connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> tuple[dict[str, str], ...]:
    found: list[dict[str, str]] = []
    for file in files:
        rows = connection.execute(f"SELECT key, value FROM parquet_kv_metadata({_listed([file])})").fetchall()
        found.append({_text(key): _text(value) for key, value in rows})
    return tuple(found)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _listed(files: Sequence[str]) -> str:
    return "[" + ", ".join(literal(verbatim(file)) for file in files) + "]"
