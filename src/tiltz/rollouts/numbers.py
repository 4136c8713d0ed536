"""Numbers in columns of any type: what counts as numeric, and SQL that reads text such as "-inf" too."""

from __future__ import annotations

import re

_NUMERIC = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL.*|BOOLEAN)")
_TEXT = re.compile(r"(VARCHAR|ENUM.*)")
_WHOLE = re.compile(r"(U?(TINY|SMALL)INT|U?INTEGER|BIGINT)")
_LARGE = re.compile(r"U(BIG|HUGE)INT|HUGEINT")
EXACT = 2**53
"""Up to this, every whole number is a float of its own."""


def is_numeric(type_: str) -> bool:
    """Say whether a DuckDB type is a number or a truth value."""
    return _NUMERIC.fullmatch(type_) is not None


def is_whole(type_: str) -> bool:
    """Say whether every value of a DuckDB type fits a signed 64-bit integer."""
    return _WHOLE.fullmatch(type_) is not None


def is_text(type_: str) -> bool:
    """Say whether a DuckDB type is text."""
    return _TEXT.fullmatch(type_) is not None


def as_number(column: str, type_: str) -> str | None:
    """Return SQL for a column as floats, null where text is not a number; None for nested types."""
    if is_numeric(type_):
        return f"CAST({column} AS DOUBLE)"
    if type_ != "JSON" and not is_text(type_):
        return None
    text = f"{column} ->> '$'" if type_ == "JSON" else f"CAST({column} AS VARCHAR)"
    return (
        f"CASE lower(trim({text})) WHEN 'true' THEN 1.0::DOUBLE WHEN 'false' THEN 0.0::DOUBLE "
        f"ELSE TRY_CAST(trim({text}) AS DOUBLE) END"
    )


def as_whole(column: str, type_: str) -> str | None:
    """Return SQL for a column as 64-bit integers, null where a value is none; None for nested types.

    Floats and text count only up to ``EXACT``, beyond which two whole numbers may be one float.
    """
    if is_whole(type_) or _LARGE.fullmatch(type_):
        return f"TRY_CAST({column} AS BIGINT)"
    number = as_number(column, type_)
    if number is None:
        return None
    return (
        f"CASE WHEN abs({number}) <= {EXACT} AND {number} = floor({number}) THEN CAST({number} AS BIGINT) END"
    )
