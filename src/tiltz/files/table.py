"""A table that was read from files and can say where each of its rows stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tiltz.errors import FileError
from tiltz.files.sql import engine_error, identifier, reason

if TYPE_CHECKING:
    import duckdb

# Columns that every table carries beside those of its files. A colon keeps them apart from real ones.
FILE, ROW, POSITION = '"tiltz:file"', '"tiltz:row"', '"tiltz:position"'
# The position of row r of file f; positions increase in reading order.
POSITION_OF = "(CAST({file} AS BIGINT) << 40) + {row}"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one or several files, in their order.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        The private database that holds or reads them.
    relation : str
        Quoted name to select from. It has the hidden columns ``FILE`` (index into ``files``), ``ROW`` (from
        0) and ``POSITION`` (increasing in reading order) beside those of the files.
    columns : dict of str to str
        Names and DuckDB types of the files' own columns.
    files : tuple of str
        What was read.
    unit : str
        What one row is called in messages: "row", "line" or "data row".
    metadata : tuple of dict
        Key-value metadata, one mapping per file.
    """

    connection: duckdb.DuckDBPyConnection = field(repr=False)
    relation: str
    columns: dict[str, str]
    files: tuple[str, ...]
    unit: str
    metadata: tuple[dict[str, str], ...]

    def place(self, file: int, row: int) -> str:
        """Return where a row stands, in words.

        Parameters
        ----------
        file, row : int
            Values of the hidden columns.

        Returns
        -------
        str
            For example ``'run.jsonl', line 3``.
        """
        return f"{self.files[int(file)]!r}, {self.unit} {int(row) + 1}"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run SQL on the table's database.

        Parameters
        ----------
        sql : str
            A query.

        Returns
        -------
        list of tuple
            All rows of its result.

        Raises
        ------
        FileError
            If the files turn out to be damaged while they are read.
        """
        try:
            return self.connection.execute(sql).fetchall()
        except engine_error() as error:
            raise self._damaged(error) from error

    def first(self, sql: str) -> tuple[Any, ...] | None:
        """Return the first row of a short result.

        Parameters
        ----------
        sql : str
            A query.

        Returns
        -------
        tuple or None
            None where the result is empty.
        """
        return next(iter(self.query(sql)), None)

    def arrays(self, sql: str) -> dict[str, Any]:
        """Run SQL and return its columns as NumPy arrays.

        Parameters
        ----------
        sql : str
            A query.

        Returns
        -------
        dict of str to ndarray
            Masked arrays where a column has nulls.

        Raises
        ------
        FileError
            If the files turn out to be damaged while they are read.
        """
        try:
            return dict(self.connection.execute(sql).fetchnumpy())
        except engine_error() as error:
            raise self._damaged(error) from error

    def type_of(self, column: str) -> Any:
        """Return the DuckDB type of a column, with its children.

        Parameters
        ----------
        column : str
            Its name.

        Returns
        -------
        duckdb type
            With ``id`` and ``children``.
        """
        return self.connection.sql(f"SELECT {identifier(column)} FROM {self.relation}").types[0]

    def derive(self, name: str, select: str) -> Table:
        """Return a table of the same files made by a query, held in memory.

        Parameters
        ----------
        name : str
            A new name for it.
        select : str
            A query that yields the hidden columns too.

        Returns
        -------
        Table
            With the columns of the query.
        """
        self.query(f"CREATE OR REPLACE TABLE {identifier(name)} AS {select}")
        return replace(self, relation=identifier(name), columns=columns_of(self.connection, identifier(name)))

    def _damaged(self, error: Exception) -> FileError:
        first = repr(self.files[0])
        where = first if len(self.files) == 1 else f"one of {len(self.files)} files ({first}, ...)"
        return FileError(f"{where} cannot be read to the end: {reason(error)}. Write it anew.")


def columns_of(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return names and types of a relation's columns, without the hidden ones."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    hidden = {FILE, ROW, POSITION}
    return {row[0]: row[1] for row in described if identifier(row[0]) not in hidden}
