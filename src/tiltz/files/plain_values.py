"""SQL expressions for values as text files can hold them."""

from __future__ import annotations

from typing import Any

from tiltz.files.sql import identifier, literal

_FLOATS = ("double", "float")
_NESTED = ("list", "array", "struct", "map", "union")


def json_value(column: str, type_: Any, *, nested_only: bool) -> str:
    """Return an expression for a column without NaN or Infinity literals.

    Parameters
    ----------
    column : str
        Quoted name or expression.
    type_ : duckdb type
        Its type.
    nested_only : bool
        Leave scalars as they are (CSV), where words such as ``inf`` need no quotes.

    Returns
    -------
    str
        The column itself, or JSON text of it.
    """
    if type_.id in _NESTED:
        return f"to_json({_finite(column, type_)})"
    if nested_only:
        return scalar_text(column) if str(type_) == "JSON" else column
    return _finite(column, type_)


def scalar_text(column: str) -> str:
    """Return an expression for a column of JSON in which strings have no quotes and null is null."""
    return f"({column} ->> '$')"


def _finite(value: str, type_: Any) -> str:
    """Return the value as JSON in which non-finite floats are strings; anything else unchanged."""
    if type_.id in _FLOATS:
        return f"CASE WHEN isfinite({value}) THEN to_json({value}) ELSE to_json(CAST({value} AS VARCHAR)) END"
    if not _holds_floats(type_):
        return value
    children = dict(type_.children)
    if type_.id == "struct":
        fields = ", ".join(
            f"{literal(key)}: {_finite(f'({value}).{identifier(key)}', inner)}"
            for key, inner in children.items()
        )
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE {{{fields}}} END"
    if type_.id in ("list", "array"):
        return f"list_transform({value}, lambda x: {_finite('x', children['child'])})"
    if type_.id == "map":
        entry = f"{{k: x.key, v: {_finite('x.value', children['value'])}}}"
        return f"map_from_entries(list_transform(map_entries({value}), lambda x: {entry}))"
    return value


def _holds_floats(type_: Any) -> bool:
    if type_.id in _FLOATS:
        return True
    if type_.id not in ("list", "array", "struct", "map"):
        return False
    return any(_holds_floats(inner) for _, inner in type_.children if not isinstance(inner, int))
