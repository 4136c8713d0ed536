"""Whether a compressed file is whole: the engine that reads it takes what comes before a cut for all of it."""

from __future__ import annotations

import gzip
import os
import zlib
from typing import BinaryIO

from tiltz.errors import FileError

_PIECE = 1 << 20
_FRAME = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_DICTIONARY_BYTES = (0, 1, 2, 4)
_REPEATED_BYTE, _RESERVED = 1, 3


def check_complete(file: str, compression: str) -> None:
    """Refuse a compressed file that breaks off or is damaged.

    Parameters
    ----------
    file : str
        A file.
    compression : str
        "gzip", "zstd" or "none".

    Raises
    ------
    FileError
        If a member's end or checksum is missing or wrong (gzip), or the last frame has no end (zstd).

    Notes
    -----
    A gzip file is decompressed piece by piece, once. Of a zstd file only the headers of frames and blocks are
    read [1]_; checksums of its content are compared by the engine.

    References
    ----------
    .. [1] Y. Collet, M. Kucherawy, *Zstandard Compression and the application/zstd Media Type*, RFC 8878.
    """
    check = {"gzip": _check_gzip, "zstd": _check_zstd}.get(compression)
    if check is None:
        return
    try:
        check(file)
    except EOFError as error:
        raise FileError(
            f"{file!r} is a truncated {compression} file: it must end where its compressed data end, and "
            "breaks off before that. It may still be being written, or a copy of it broke off; copy or write it "
            "anew."
        ) from error
    except (ValueError, zlib.error, gzip.BadGzipFile) as error:
        raise FileError(
            f"{file!r} is a damaged {compression} file: {error}. Copy or write it anew."
        ) from error
    except OSError as error:
        raise FileError(f"{file!r} cannot be read: {error.strerror}.") from error


def _check_gzip(file: str) -> None:
    with gzip.open(file) as stream:
        while stream.read(_PIECE):
            pass


def _check_zstd(file: str) -> None:
    with open(file, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        while stream.tell() < size:
            _pass_frame(stream, size)


def _pass_frame(stream: BinaryIO, size: int) -> None:
    start = stream.tell()
    magic = _taken(stream, 4)
    if int.from_bytes(magic, "little") in _SKIPPABLE:
        _pass(stream, int.from_bytes(_taken(stream, 4), "little"), size)
        return
    if magic != _FRAME:
        raise ValueError(f"a frame must begin at byte {start}, found {magic!r}")
    checksum = _pass_frame_header(stream, size)
    last = False
    while not last:
        header = int.from_bytes(_taken(stream, 3), "little")
        last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == _RESERVED:
            raise ValueError(f"the block before byte {stream.tell()} has no known type")
        _pass(stream, 1 if kind == _REPEATED_BYTE else length, size)
    _pass(stream, 4 if checksum else 0, size)


def _pass_frame_header(stream: BinaryIO, size: int) -> bool:
    """Pass a frame's header and return whether a checksum follows its blocks."""
    descriptor = _taken(stream, 1)[0]
    single_segment = bool(descriptor & 0x20)
    content_size = _CONTENT_SIZE_BYTES[descriptor >> 6] or int(single_segment)
    _pass(stream, int(not single_segment) + _DICTIONARY_BYTES[descriptor & 3] + content_size, size)
    return bool(descriptor & 4)


def _taken(stream: BinaryIO, n: int) -> bytes:
    found = stream.read(n)
    if len(found) < n:
        raise EOFError
    return found


def _pass(stream: BinaryIO, n: int, size: int) -> None:
    if stream.tell() + n > size:
        raise EOFError
    stream.seek(n, os.SEEK_CUR)
