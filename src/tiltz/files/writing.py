"""Columns -> Parquet, JSON lines or CSV; a file appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tiltz.errors import FileError, InputError
from tiltz.files.json_structure import structure_of
from tiltz.files.json_text import json_line, json_ready, utf8_text
from tiltz.files.names import PathLike, checked_name, kind_of
from tiltz.files.plain_values import json_value, scalar_text
from tiltz.files.sql import connect, engine_error, first_row, identifier, interruptible, literal, reason
from tiltz.files.table import POSITION, Table, twins

if TYPE_CHECKING:
    import duckdb

_PICK = '"tiltz:pick"'
_WRITABLE = ".parquet, .jsonl or .csv (.jsonl and .csv also with .gz or .zst)"


@interruptible()
def write_columns(
    columns: Mapping[str, Any], path: PathLike, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write columns to a file whose suffix names the format.

    Parameters
    ----------
    columns : mapping of str to sequence
        Equally long columns: NumPy arrays or lists of numbers, text, booleans, None, nested lists or dicts.
    path : str or path
        ``.parquet``, ``.jsonl`` or ``.csv`` (the last two also with ``.gz`` or ``.zst``).
    metadata : mapping of str to str, optional
        Key-value metadata, kept in Parquet files only.

    Raises
    ------
    FileError
        If the suffix is unknown, the folder is missing or the file cannot be written.
    InputError
        If the columns differ in length, or two have one name, or there are none.

    Notes
    -----
    The file is written under a temporary name in the same folder and renamed when complete. JSON lines hold
    no NaN or Infinity literals: non-finite floats are the strings "-inf", "inf" and "nan".
    """
    with connect() as connection:
        names = _register(connection, "columns", columns)
        if not names:
            raise InputError("a file needs at least one column to be written; found none.")
        _copy(connection, f"SELECT {', '.join(names)} FROM columns ORDER BY {_PICK}", path, metadata)


@interruptible()
def write_rows(
    table: Table,
    positions: np.ndarray,
    path: PathLike,
    *,
    columns: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write chosen rows of a table, with further columns beside them.

    Parameters
    ----------
    table : Table
        Where the rows are.
    positions : ndarray of int64
        Positions of the rows to write, in the order wanted, repeats allowed.
    path : str or path
        As in :func:`write_columns`.
    columns : mapping of str to sequence, optional
        One value per written row; a name that the table has too replaces the table's column.
    metadata : mapping of str to str, optional
        Key-value metadata, kept in Parquet files only.

    Raises
    ------
    FileError
        If the suffix is unknown, the folder is missing or the file cannot be written.
    InputError
        If the columns differ in length from ``positions``.
    """
    key = "tiltz:wanted"
    extra = _register(table.connection, "picked", {key: np.asarray(positions, np.int64), **(columns or {})})
    added = {name.lower() for name in columns or {}}
    kept = [f"source.{identifier(name)}" for name in table.columns if name.lower() not in added]
    try:
        _copy(
            table.connection,
            f"SELECT {', '.join([*kept, *extra[1:]])} FROM picked JOIN {table.relation} AS source "
            f"ON picked.{identifier(key)} = source.{POSITION} ORDER BY picked.{_PICK}",
            path,
            metadata,
        )
    finally:
        # After some failures the engine refuses this too; the first error is the one to see.
        with contextlib.suppress(engine_error()):
            table.connection.execute("DROP TABLE picked")


def _register(connection: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, Any]) -> list[str]:
    """Create a table of the columns and their order; return their quoted names."""
    pair = twins(list(columns))
    if pair:
        raise InputError(
            f"the names of columns must differ, and not only in upper and lower case; found {pair[0]!r} and "
            f"{pair[1]!r}. Rename one of them."
        )
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"columns must have one length; found {lengths}.")
    n_rows = next(iter(lengths.values()), 0)
    arrays: dict[str, np.ndarray] = {"pick": np.arange(n_rows)}
    select = [f"pick AS {_PICK}"]
    for i, (column, values) in enumerate(columns.items()):
        expression, parts = _as_column(connection, f"c{i}", values)
        arrays |= parts
        select.append(f"{expression} AS {identifier(column)}")
    connection.register("incoming", arrays)
    connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT {', '.join(select)} FROM incoming")
    connection.unregister("incoming")
    return [f"{name}.{identifier(column)}" for column in columns]


def _as_column(
    connection: duckdb.DuckDBPyConnection, name: str, values: Any
) -> tuple[str, dict[str, np.ndarray]]:
    """Return the SQL expression of a column and the arrays that it is made from."""
    array = _array(values)
    if array.dtype.kind == "f" and np.isnan(array).any():
        # DuckDB reads NaN in a NumPy array as null.
        parts = {name: array, f"{name}_nan": np.isnan(array)}
        return f"CASE WHEN {name}_nan THEN 'nan'::DOUBLE ELSE {name} END", parts
    if array.dtype.kind in "biuf":
        return name, {name: array}
    if all(value is None or type(value) is str for value in array):
        text = np.empty(len(array), dtype=object)
        text[:] = [value if value is None else utf8_text(value) for value in array]
        return f"CAST({name} AS VARCHAR)", {name: text}
    return _as_json_column(connection, name, array)


def _as_json_column(
    connection: duckdb.DuckDBPyConnection, name: str, array: np.ndarray
) -> tuple[str, dict[str, np.ndarray]]:
    text = np.empty(len(array), dtype=object)
    text[:] = [None if value is None else json_line(json_ready(value)) for value in array]
    connection.register("texts", {"text": text, "i": np.arange(len(text))})
    structure = structure_of(connection, "texts", "text", order="i")
    connection.unregister("texts")
    if structure is None:
        return f"CAST({name} AS VARCHAR)", {name: text}
    return f"from_json({name}, {literal(json.dumps(structure))})", {name: text}


def _array(values: Any) -> np.ndarray:
    """Return a one-dimensional array; of objects where the values are not all plain numbers."""
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values.astype(object) if values.dtype.kind not in "biuf" else values
    listed = list(values)
    kinds = {type(value) for value in listed}
    if kinds and (kinds <= {int, float} or kinds == {bool}):
        array = np.asarray(listed)
        # NumPy makes floats of integers that no integer type of its own holds together.
        if array.dtype.kind in "biu" or (array.dtype.kind == "f" and float in kinds):
            return array
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def _copy(
    connection: duckdb.DuckDBPyConnection, query: str, path: PathLike, metadata: Mapping[str, str] | None
) -> None:
    name = checked_name(path)
    kind = kind_of(name)
    if kind is None or kind.format == "arrow":
        raise FileError(f"the name of {name!r} must say the format to write: {_WRITABLE}.")
    with _replacing(name) as temporary:
        options = [f"COMPRESSION {kind.compression}"] if kind.format != "parquet" else ["COMPRESSION zstd"]
        if kind.format == "parquet":
            options.append("FORMAT parquet")
            query = _without_quotes(connection, query)
            if metadata:
                options.append(f"KV_METADATA {_struct(metadata)}")
        else:
            options.append("FORMAT json" if kind.format == "jsonl" else "FORMAT csv, HEADER true")
            query = _without_literals(connection, query, nested_only=kind.format == "csv")
        connection.execute(f"COPY ({query}) TO {literal(temporary)} ({', '.join(options)})")


def _without_literals(connection: duckdb.DuckDBPyConnection, query: str, *, nested_only: bool) -> str:
    """Wrap a query so that no value is written as a NaN or Infinity literal."""
    described = connection.sql(query)
    parts = []
    for name, type_ in zip(described.columns, described.types, strict=True):
        parts.append(f"{json_value(identifier(name), type_, nested_only=nested_only)} AS {identifier(name)}")
    return f"SELECT {', '.join(parts)} FROM ({query})"


def _without_quotes(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """Wrap a query so that JSON columns which hold nothing but text and numbers are columns of text."""
    described = connection.sql(query)
    names = [
        identifier(name)
        for name, type_ in zip(described.columns, described.types, strict=True)
        if str(type_) == "JSON"
    ]
    if not names:
        return query
    scalar = ", ".join(
        f"coalesce(bool_and(json_type({name}) NOT IN ('OBJECT', 'ARRAY')), true)" for name in names
    )
    found = first_row(connection, f"SELECT {scalar} FROM ({query})") or ()
    texts = [f"{scalar_text(name)} AS {name}" for name, is_text in zip(names, found, strict=True) if is_text]
    return f"SELECT * REPLACE ({', '.join(texts)}) FROM ({query})" if texts else query


def _struct(metadata: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{identifier(key)}: {literal(value)}" for key, value in metadata.items()) + "}"


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[str]:
    """Yield a temporary name in the same folder, renamed on success and removed on any failure."""
    folder, name = os.path.split(path)
    if not os.path.isdir(folder or "."):
        raise FileError(f"{path!r} cannot be written: the folder {folder!r} does not exist. Create it first.")
    temporary = os.path.join(folder, f".{name[:40]}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    except (engine_error(), OSError) as error:
        detail = error.strerror if isinstance(error, OSError) else reason(error)
        raise FileError(f"{path!r} cannot be written: {detail}. Nothing was left behind.") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
