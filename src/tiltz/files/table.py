"""A table that was read from files and can say where each of its rows stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tiltz.errors import FileError
from tiltz.files.sql import engine_error, identifier, interruptible, reason

if TYPE_CHECKING:
    import duckdb

# Columns that every table carries beside those of its files. A colon keeps them apart from real ones.
FILE, ROW, POSITION = '"tiltz:file"', '"tiltz:row"', '"tiltz:position"'
# The position of row r of file f; positions increase in reading order.
POSITION_OF = "(CAST({file} AS BIGINT) << 40) + {row}"
_TWO_TYPES = re.compile(r'reading file "(.*)": failed to cast column "(.*)" from type (.*?) to (.*?): ')


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

    @interruptible()
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
            raise damaged(self.files, error) from error

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

    @interruptible()
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
            raise damaged(self.files, error) from error

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


def damaged(files: Sequence[str], error: Exception) -> FileError:
    """Return the error that says why files cannot be read, though they could be opened."""
    two_types = _TWO_TYPES.search(str(error))
    if two_types:
        file, column, type_, other = two_types.groups()
        return FileError(
            f"files read together must hold the same kind of value in each column; the column {column!r} is "
            f"{type_[:60]} in {file!r} and {other[:60]} in another of {len(files)} files (text and chat "
            "messages, for example, do not mix). Read the files of each kind by themselves."
        )
    return FileError(f"{listed(files)} cannot be read: {reason(error)}. Repair the file or write it anew.")


def listed(files: Sequence[str]) -> str:
    """Return how messages call one of some files that is not known more closely."""
    return repr(files[0]) if len(files) == 1 else f"one of {len(files)} files ({files[0]!r}, ...)"


def refuse_twins(names: Sequence[str], file: str) -> None:
    """Refuse columns whose names are the same up to upper and lower case, which SQL takes for one."""
    pair = twins(names)
    if pair:
        raise FileError(
            f"the names of columns must differ, and not only in upper and lower case; found {pair[0]!r} and "
            f"{pair[1]!r} in {file!r}. Rename or remove one of them."
        )


def twins(names: Sequence[str]) -> tuple[str, str] | None:
    """Return the first two names that are the same up to upper and lower case, if any are."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            return seen[name.lower()], name
        seen[name.lower()] = name
    return None


def columns_of(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return names and types of a relation's columns, without the hidden ones."""
    described = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    hidden = {FILE, ROW, POSITION}
    return {row[0]: row[1] for row in described if identifier(row[0]) not in hidden}
