"""A DuckDB connection (loaded on first use), and names and values quoted for it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb


_WHERE_IN_QUERY = re.compile(r"\n\s*\nLINE \d+:.*", re.DOTALL)
_KIND = re.compile(r"^[A-Za-z ]*(Error|Exception): |^Scalar function .* must call SetFallible\(\)\. Error: ")
_NESTED_ERROR = re.compile(r'\{"exception_type".*\}')
_RAGGED = re.compile(
    r"CSV Error on Line: ([0-9]+)\n(?:.*\n)*?Expected Number of Columns: ([0-9]+) Found: ([0-9]+)"
)
_TELLING = ("Invalid unicode", "Value with unterminated quote", "Expected")


def connect() -> duckdb.DuckDBPyConnection:
    """Return a private in-memory database that keeps row order and spills to the temporary folder."""
    import duckdb

    spill = os.path.join(tempfile.gettempdir(), f"tiltz-duckdb-{os.getpid()}")
    return duckdb.connect(
        config={
            "temp_directory": spill,
            "preserve_insertion_order": True,
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        }
    )


def engine_error() -> type[Exception]:
    """Return the base of the engine's errors; a function, so that the engine is loaded on first use."""
    import duckdb

    return duckdb.Error


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt where the engine makes an error of an interrupted query."""
    try:
        yield
    except RuntimeError as error:
        if "interrupted" in str(error).lower():
            raise KeyboardInterrupt from error
        raise


def first_row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...] | None:
    """Return the first row of a short result, which is fetched whole so that the connection is free again."""
    return next(iter(connection.execute(sql).fetchall()), None)


def identifier(name: str) -> str:
    """Quote a column or table name for SQL.

    Parameters
    ----------
    name : str
        Any text.

    Returns
    -------
    str
        The name in double quotes, with quotes inside doubled.
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text value for SQL.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The text in single quotes, with quotes inside doubled.
    """
    return "'" + text.replace("'", "''") + "'"


def verbatim(file: str) -> str:
    """Return a file name in which DuckDB sees no pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in file)


def reason(error: Exception) -> str:
    """Return what an engine's error says, on one line, without the query it happened in."""
    text = _KIND.sub("", _WHERE_IN_QUERY.sub("", str(error)).strip())
    ragged = _RAGGED.search(text)
    if ragged:
        line, wanted, found = ragged.groups()
        return f"line {line} has {found} columns where the header has {wanted}"
    nested = _NESTED_ERROR.search(text)
    if nested:
        return _nested_reason(nested[0])
    text = text.replace("CSV Error on Line: ", "line ")
    first, *more = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    telling = [line for line in more if line.startswith(_TELLING)]
    return ", ".join([first, *telling])[:300].rstrip(".")


def _nested_reason(text: str) -> str:
    """Return what an error written as JSON inside another one says."""
    try:
        inner = json.loads(text)
        if "errno" in inner:
            return os.strerror(int(inner["errno"]))
        return str(inner["exception_message"]).rstrip(".")
    except (ValueError, KeyError):
        return text[:300]
