"""Columns in and out of files, through DuckDB; what the columns mean is not known here."""

from tiltz.files.json_text import json_ready
from tiltz.files.names import expand, natural_order
from tiltz.files.opening import open_table
from tiltz.files.sql import identifier, literal
from tiltz.files.table import Table
from tiltz.files.writing import write_columns, write_rows

__all__ = [
    "Table",
    "expand",
    "identifier",
    "json_ready",
    "literal",
    "natural_order",
    "open_table",
    "write_columns",
    "write_rows",
]
