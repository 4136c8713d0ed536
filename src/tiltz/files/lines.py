"""Lines of text files, compressed or not, as the engine reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiltz.files.names import FileKind
from tiltz.files.sql import verbatim

if TYPE_CHECKING:
    import duckdb

# With the end of the line as the separator of its columns, a line is one column, whatever characters it holds.
_DIALECT = (
    "columns = {'line': 'VARCHAR'}, delim = '\n', quote = '', escape = '', header = false, auto_detect = false, "
    "strict_mode = false, max_line_size = 1000000000"
)


def lines_of(kind: FileKind) -> str:
    """Return the relation of the lines, in order, of the file that is its parameter ``$file``; null is blank."""
    return f"read_csv([$file], compression = '{kind.compression}', {_DIALECT})"


def first_lines(connection: duckdb.DuckDBPyConnection, file: str, kind: FileKind, n: int) -> list[str]:
    """Return the first lines of a file, without blank ones."""
    rows = connection.execute(
        f"SELECT line FROM {lines_of(kind)} LIMIT {n}", {"file": verbatim(file)}
    ).fetchall()
    return [row[0] for row in rows if row[0]]
