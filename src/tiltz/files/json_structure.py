"""The structure that JSON texts share, and the columns that follow from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tiltz.files.sql import first_row, literal
from tiltz.files.table import FILE, POSITION, POSITION_OF, ROW, twins

if TYPE_CHECKING:
    import duckdb

MOST_KEYS = 200
"""A nested object with more keys over all rows than this is a mapping of its own, and stays JSON."""

# Whole numbers of 19 digits may need the 64th bit.
_LONG_NUMBER = "(^|[^0-9.])[0-9]{19}"
_EMPTY_OBJECT = '"JSON"'
_NUMBERS = {"BIGINT", "UBIGINT", "HUGEINT", "DOUBLE"}


def written(column: str) -> str:
    """Return the condition that a line of text is not blank."""
    return f"(starts_with({column}, '{{') OR trim({column}, ' \t\r') <> '')"


def structure_of(connection: duckdb.DuckDBPyConnection, relation: str, column: str, *, order: str) -> Any:
    """Return the structure that all JSON texts of a column share, as nested lists, dicts and type names.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Where they are.
    relation, column : str
        Quoted names of their table and column.
    order : str
        Expression that says which comes first; keys stand in the order of their appearance.

    Returns
    -------
    dict, list, str or None
        What ``from_json`` takes; None where there are only nulls. Values of several kinds, and nested objects
        whose keys cannot be columns (more than ``MOST_KEYS``, empty, or alike up to upper and lower case), are
        "JSON".
    """
    rows = connection.execute(
        f"SELECT json_structure({column}) AS structure FROM {relation} WHERE {column} IS NOT NULL "
        f"GROUP BY structure ORDER BY min({order})"
    ).fetchall()
    merged: Any = "NULL"
    for (text,) in rows:
        if text != _EMPTY_OBJECT:
            merged = _merge(merged, json.loads(text), nested=False)
    if merged == "NULL":
        return "JSON" if (_EMPTY_OBJECT,) in rows else None
    long = first_row(
        connection, f"SELECT bool_or(regexp_matches({column}, '{_LONG_NUMBER}')) FROM {relation}"
    )
    whole = {} if long and long[0] else {"UBIGINT": "BIGINT", "HUGEINT": "BIGINT"}
    if isinstance(merged, dict):
        return {key: _named_types(value, whole) for key, value in merged.items()}
    return _named_types(merged, whole)


def _merge(a: Any, b: Any, *, nested: bool = True) -> Any:
    """Return the narrowest structure that holds both."""
    if a == b or b == "NULL":
        return a
    if a == "NULL":
        return b
    if isinstance(a, dict) and isinstance(b, dict):
        for key, value in b.items():
            a[key] = _merge(a[key], value) if key in a else value
        return "JSON" if nested and len(a) > MOST_KEYS else a
    if isinstance(a, list) and isinstance(b, list):
        return [_merge(a[0], b[0])]
    if isinstance(a, str) and isinstance(b, str) and {a, b} <= _NUMBERS:
        return "DOUBLE" if "DOUBLE" in (a, b) else "HUGEINT"
    return "JSON"


def _named_types(structure: Any, whole: dict[str, str]) -> Any:
    """Replace the types of nothing but nulls, of numbers without a sign, and of objects that are no row."""
    if isinstance(structure, dict):
        if len(structure) > MOST_KEYS or "" in structure or twins(list(structure)):
            return "JSON"
        return {key: _named_types(value, whole) for key, value in structure.items()}
    if isinstance(structure, list):
        return [_named_types(structure[0], whole)]
    return {"NULL": "VARCHAR", **whole}.get(structure, structure)


def holds_json(structure: Any) -> bool:
    """Say whether some value stays JSON."""
    if isinstance(structure, dict):
        return any(map(holds_json, structure.values()))
    return holds_json(structure[0]) if isinstance(structure, list) else structure == "JSON"


def parse_json(
    connection: duckdb.DuckDBPyConnection, relation: str, column: str, structure: Any, target: str
) -> None:
    """Create a table with one column per key of the JSON objects in a column of text."""
    hidden = f"{FILE}, {ROW}, {POSITION_OF.format(file=FILE, row=ROW)} AS {POSITION}"
    connection.execute(
        f"CREATE TABLE {target} AS SELECT {hidden}, unnest(from_json({column}, {literal(json.dumps(structure))})) "
        f"FROM {relation}"
    )
