"""Reads files that may be missing, damaged or hostile: only regular files, with bounded sizes and checked types.

Every failure is a one-line CheckpointError that names the file. Nothing here knows what a file means.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from charrnn.errors import CheckpointError, ResourceError, UsageError

T = TypeVar("T")

MAX_JSON_BYTES = 64 << 20
_MAX_DETAIL = 200


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file, following links; a directory, pipe or device is refused without blocking."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CheckpointError(f"{path}: not a regular file")
            yield file
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error.strerror or error}") from error
    except MemoryError as error:
        raise ResourceError(f"{path}: out of memory while reading") from error


def file_size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def read_bytes(path: Path) -> bytes:
    """The contents of a small file. Raises CheckpointError."""
    with open_regular(path) as file:
        size = file_size(file)
        check_json_size(size, path)
        return file.read(size)


def read_json(path: Path, as_type: type[T]) -> T:
    """The JSON file at `path` as `as_type`; msgspec checks types and bounds. Raises CheckpointError."""
    return decode_json(read_bytes(path), as_type, path)


def check_json_size(size: int, path: Path) -> None:
    if size > MAX_JSON_BYTES:
        raise CheckpointError(f"{path}: {size} bytes, but no such file is larger than {MAX_JSON_BYTES}")


def decode_json(data: bytes, as_type: type[T], where: Path | str) -> T:
    try:
        return msgspec.json.decode(data, type=as_type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"{where}: {one_line(error)}") from error


def encode_json(value: object) -> bytes:
    """Strict JSON, indented, ending in a newline; a float that is not finite becomes null.

    Raises: UsageError for text that UTF-8 cannot hold, such as a file name in another encoding.
    """
    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    except UnicodeEncodeError as error:
        raise UsageError(f"{error.object!a} is not valid Unicode and cannot be stored; rename it") from error


def one_line(error: Exception) -> str:
    """An error's text, which may quote a hostile file, truncated and without control characters."""
    return ascii(str(error)[:_MAX_DETAIL])[1:-1]


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
