"""Arrow IPC files and streams -> a table, through pyarrow where it is installed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from tiltz.errors import FileError, MissingExtraError
from tiltz.files.names import FileKind
from tiltz.files.table import FILE, POSITION, POSITION_OF, ROW, refuse_twins

if TYPE_CHECKING:
    import duckdb


def load(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    kinds: Sequence[FileKind],
    text_columns: Collection[str],
) -> tuple[str, tuple[dict[str, str], ...]]:
    """Create the view ``arrow``; return its name and each file's schema metadata."""
    tables = [_read(file) for file in files]
    parts = []
    for i, (file, table) in enumerate(zip(files, tables, strict=True)):
        refuse_twins(table.column_names, file)
        connection.register(f"arrow_{i}", _numbered(table))
        parts.append(f"SELECT *, {i} AS {FILE} FROM arrow_{i}")
    position = POSITION_OF.format(file=FILE, row=ROW)
    connection.execute(
        f"CREATE TEMP VIEW arrow AS SELECT *, {position} AS {POSITION} FROM "
        f"({' UNION ALL BY NAME '.join(parts)})"
    )
    return "arrow", tuple(_metadata(table) for table in tables)


def _read(file: str) -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "arrow", f"Reading the Arrow file {file!r}") from error
    try:
        with pa.memory_map(file) as source:
            if source.read(6) == b"ARROW1":
                return pa.ipc.open_file(source).read_all()
            source.seek(0)
            return pa.ipc.open_stream(source).read_all()
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise FileError(
            f"{file!r} cannot be read as an Arrow file: {first.rstrip('.')}. It may be truncated; write it "
            "anew."
        ) from error


def _numbered(table: Any) -> Any:
    import pyarrow as pa

    return table.append_column(ROW.strip('"'), pa.array(range(table.num_rows), pa.int64()))


def _metadata(table: Any) -> dict[str, str]:
    raw = table.schema.metadata or {}
    return {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in raw.items()}
