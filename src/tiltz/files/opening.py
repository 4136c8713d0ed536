"""Files -> one Table: the format comes from the suffix, and the content must agree with it."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from tiltz.errors import FileError
from tiltz.files import arrow, csv, jsonl, parquet
from tiltz.files.completeness import check_complete
from tiltz.files.names import READABLE, FileKind, checked_name, kind_of
from tiltz.files.sql import connect, engine_error, first_row, interruptible
from tiltz.files.table import Table, columns_of, damaged, listed

_MAGIC = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\xff\xff\xff\xff": "arrow",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_LOADERS = {"parquet": parquet.load, "jsonl": jsonl.load, "csv": csv.load, "arrow": arrow.load}
_UNITS = {"parquet": "row", "jsonl": "line", "csv": "data row", "arrow": "row"}


@interruptible()
def open_table(files: Sequence[str], *, text_columns: Collection[str] = ()) -> Table:
    """Open files of one format as one table, rows in the order of the files.

    Parameters
    ----------
    files : sequence of str
        File names, as :func:`expand` returns them.
    text_columns : collection of str, optional
        Columns of CSV files that are text whatever they hold. Other columns become numbers where every value
        is written as one.

    Returns
    -------
    Table
        Columns that only some files have are null in the others.

    Raises
    ------
    FileError
        If a file is missing, empty, damaged, or is not what its name says; or if the formats differ.
    MissingExtraError
        If the files are Arrow files and pyarrow is not installed.
    """
    kinds = [_checked_kind(file) for file in files]
    formats = sorted({kind.format for kind in kinds})
    if len(formats) > 1:
        raise FileError(
            f"files read together must have one format; found {' and '.join(formats)} among {len(files)} "
            "files. Name the files of one format with a pattern such as 'folder/*.parquet'."
        )
    connection = connect()
    try:
        relation, metadata = _LOADERS[formats[0]](connection, files, kinds, text_columns)
        columns = columns_of(connection, relation)
        empty = first_row(connection, f"SELECT 1 FROM {relation} LIMIT 1") is None
    except engine_error() as error:
        raise damaged(files, error) from error
    if empty:
        raise FileError(f"{listed(files)} must hold at least one row; found none.")
    return Table(connection, relation, columns, tuple(files), _UNITS[formats[0]], metadata)


def _checked_kind(file: str) -> FileKind:
    """Return the kind of a file whose first bytes agree with its name."""
    kind = kind_of(checked_name(file))
    if kind is None:
        raise FileError(f"the name of {file!r} does not say its format; name it {READABLE}.")
    start, end = _ends(file)
    if not start:
        raise FileError(f"{file!r} is empty (0 bytes); it may still be being written, or its writer failed.")
    found = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "text")
    wanted = kind.compression if kind.compression != "none" else kind.format
    if found != ("text" if wanted in ("jsonl", "csv") else wanted):
        raise FileError(
            f"the content of {file!r} must be {wanted}, as its name says; its first bytes "
            f"({start[:8]!r}) are those of {found}. Name the file after what it holds, or write it anew."
        )
    if wanted == "parquet" and (len(end) < 4 or not end.endswith(b"PAR1")):
        raise FileError(
            f"{file!r} is a truncated Parquet file: it must end with the bytes PAR1, and ends with "
            f"{end[-4:]!r}. It may still be being written, or a copy of it broke off; copy or write it anew."
        )
    check_complete(file, kind.compression)
    return kind


def _ends(file: str) -> tuple[bytes, bytes]:
    try:
        with open(file, "rb") as stream:
            start = stream.read(16)
            stream.seek(-min(8, os.fstat(stream.fileno()).st_size), os.SEEK_END)
            return start, stream.read()
    except FileNotFoundError as error:
        raise FileError(f"{file!r} does not exist.") from error
    except OSError as error:
        raise FileError(f"{file!r} cannot be opened: {error.strerror}. Check its permissions.") from error
