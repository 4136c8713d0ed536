"""File names: which format a name stands for, and which files a path, folder or pattern stands for."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tiltz.errors import FileError

PathLike = str | os.PathLike[str]

_FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_COMPRESSED_FORMATS = ("jsonl", "csv")
_SETTINGS = ".json"
READABLE = ".parquet, .jsonl, .csv, .arrow or .feather (.jsonl and .csv also with .gz or .zst)"


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file name says about its content."""

    format: str
    compression: str


def checked_name(path: PathLike) -> str:
    """Return a file name as text, or refuse one whose bytes are no text."""
    name = os.fspath(path)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FileError(
            f"the name of a file must be valid UTF-8; found {name!r}. Give the file another name."
        ) from error
    return name


def kind_of(path: PathLike) -> FileKind | None:
    """Return the kind that a name's suffix stands for, or None."""
    stem, suffix = os.path.splitext(os.fspath(path).lower())
    compression = _COMPRESSIONS.get(suffix)
    if compression is None:
        return FileKind(_FORMATS[suffix], "none") if suffix in _FORMATS else None
    format_ = _FORMATS.get(os.path.splitext(stem)[1])
    return FileKind(format_, compression) if format_ in _COMPRESSED_FORMATS else None


def natural_order(path: PathLike) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that puts step 2 before step 10.

    Parameters
    ----------
    path : str or path
        A file name.

    Returns
    -------
    tuple
        The name cut into text and whole numbers.

    Examples
    --------
    >>> sorted(["10.jsonl", "9.jsonl"], key=natural_order)
    ['9.jsonl', '10.jsonl']
    """
    pieces = re.split(r"([0-9]+)", os.fspath(path))
    return tuple((1, int(p), p) if p.isdecimal() and p.isascii() else (0, 0, p) for p in pieces)


def expand(path: PathLike | Sequence[PathLike]) -> tuple[str, ...]:
    """Return the data files that a path, a folder, a pattern or a list of these stands for.

    Parameters
    ----------
    path : str, path or sequence of these
        A file; a folder, for the data files directly in it; or a pattern with ``*``, ``?`` or ``[...]``.
        A name that exists is taken as it is, whatever it contains.

    Returns
    -------
    tuple of str
        File names, each file once under whatever names it is found; those of one folder or pattern in natural
        order.

    Raises
    ------
    FileError
        If nothing is there, or a folder holds no file that can be read.
    """
    if isinstance(path, str | os.PathLike):
        return _expand_one(os.path.expanduser(os.fspath(path)))
    files = each_once(file for one in path for file in expand(one))
    if not files:
        raise FileError("a list of files to read must name at least one; found an empty list.")
    return files


def each_once(files: Iterable[str]) -> tuple[str, ...]:
    """Return the files without those that are another one under a second name, such as a link."""
    found: dict[str, str] = {}
    for file in files:
        found.setdefault(os.path.realpath(file), file)
    return tuple(found.values())


def _expand_one(path: str) -> tuple[str, ...]:
    if os.path.isdir(path):
        return _in_folder(path)
    if os.path.lexists(path):
        return (path,)
    if glob.has_magic(path):
        found = _data_files(glob.glob(path, recursive=True), settings=True)
        if found:
            return found
        raise FileError(f"no data file matches {path!r}; check the pattern, or name a file or a folder.")
    raise FileError(
        f"{path!r} does not exist; give the path of a file, a folder or a pattern such as 'run/*.parquet'."
    )


def _in_folder(folder: str) -> tuple[str, ...]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise FileError(f"the folder {folder!r} cannot be read: {error.strerror}.") from error
    found = _data_files(
        (os.path.join(folder, name) for name in names if not name.startswith(".")), settings=False
    )
    if found:
        return found
    raise FileError(
        f"the folder {folder!r} holds no data file ({len(names)} entries looked at, folders inside it are "
        f"not searched); rollouts are read from {READABLE}."
    )


def _data_files(paths: Iterable[str], *, settings: bool) -> tuple[str, ...]:
    """Keep what can be read; a ``.json`` found in a folder is a trainer's settings, not rollouts."""
    wanted = (p for p in paths if kind_of(p) and (settings or not p.lower().endswith(_SETTINGS)))
    return each_once(sorted((p for p in wanted if os.path.isfile(p)), key=natural_order))
