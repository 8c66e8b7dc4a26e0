"""Opens files that may be missing, damaged or hostile: only regular files, with bounded sizes and checked types.

Every failure is a one-line CheckpointError that names the file. Nothing here knows what a file means.
"""

import errno
import io
import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import msgspec

from charrnn.corpus.readers import without_waiting
from charrnn.errors import CheckpointError, ResourceError, UsageError

T = TypeVar("T")

MAX_JSON_BYTES = 64 << 20
_MAX_DETAIL = 200


@contextmanager
def open_regular(path: Path, opened: "OpenFile | None" = None) -> Iterator[BinaryIO]:
    """Open a regular file, following links; a directory, pipe or device is refused without blocking.

    opened: the file, if it has been opened before.
    """
    try:
        with open(path, "rb", opener=without_waiting) if opened is None else opened.reader() as file:
            _require_regular(file, path)
            yield file
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error.strerror or error}") from error
    except MemoryError as error:
        raise ResourceError(f"{path}: out of memory while reading") from error


class OpenFile:
    """A regular file that has been opened, and so can be read even after it was removed or replaced.

    It is closed when the last reference to it goes. Raises CheckpointError as `open_regular` does.
    """

    def __init__(self, path: Path) -> None:
        with open_regular(path) as file:
            self.descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.descriptor)

    def reader(self) -> BinaryIO:
        """A stream from its beginning; several can be read at once."""
        return io.BufferedReader(_FromStart(self))


class _FromStart(io.RawIOBase):
    """The bytes of an open file, at a position of its own."""

    def __init__(self, file: OpenFile) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.descriptor

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._file.descriptor, len(buffer), self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def open_to_change(path: Path, mode: Literal["ab", "r+b"]) -> BinaryIO:
    """Open a file that is changed in place: a link is not followed, so nothing outside the run can be changed.

    Raises: CheckpointError for a link, directory, pipe or device; OSError for what the system refuses.
    """
    flags = {"ab": os.O_WRONLY | os.O_APPEND | os.O_CREAT, "r+b": os.O_RDWR}[mode]
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise
        raise CheckpointError(_not_regular(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(_not_regular(path))
    return os.fdopen(descriptor, mode)


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


def _require_regular(file: BinaryIO, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise CheckpointError(_not_regular(path))


def _not_regular(path: Path) -> str:
    return f"{path}: not a regular file"
