"""Arrays and folders that may not fit into memory: they are on disk, and are removed after use."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from charrnn.errors import ResourceError

CACHE = ".corpus"
"""Folder beside the runs for files that are safe to delete."""

IN_MEMORY_BYTES = 32 << 20
"""An array up to this size is held in memory."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The system's errors for a full disk."""

_PREFIX = ".tmp-"


@contextmanager
def full_disk_reported(directory: Path | None) -> Iterator[None]:
    """Turns the system's error for a full disk into a ResourceError that names `directory`."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = directory or _temporary_folder()
        raise ResourceError(
            f"{where}: no room left for the encoded corpus ({os.strerror(error.errno)}); free some space"
        ) from error


@contextmanager
def workspace(directory: Path | None) -> Iterator[Path]:
    """A new folder inside `directory` (by default the system's temporary folder), removed at the end.

    Arrays mapped from files in it stay valid: a mapped file lives on until it is unmapped. A full disk, at
    any write while the folder is in use, is reported as a ResourceError.
    """
    with full_disk_reported(directory):
        if directory is not None:
            _remove_abandoned(directory)
        path, lock = _locked(directory)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _locked(directory: Path | None) -> tuple[Path, int]:
    """A new folder, and a descriptor that locks it until it is closed or the process ends."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory or _temporary_folder()))
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            # Between the two lines above another process may have locked the folder, to remove it.
            if _lock(descriptor) and path.exists():
                return path, descriptor
            os.close(descriptor)


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise ResourceError("no temporary folder can be written to; name one in TMPDIR") from error


def _remove_abandoned(directory: Path) -> None:
    """Removes the folders of processes that were killed: nobody locks them any more."""
    for path in directory.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if _lock(descriptor, unsupported=False):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _lock(descriptor: int, *, unsupported: bool = True) -> bool:
    """Whether this process now holds the lock; `unsupported` is the answer of a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return unsupported
    return True


def allocate(size: int, dtype: DTypeLike, directory: Path | None = None) -> NDArray[Any]:
    """A zeroed array of shape (size,): in memory when small, else mapped from a nameless file in `directory`.

    Raises ResourceError when the disk cannot hold it.
    """
    num_bytes = size * np.dtype(dtype).itemsize
    if num_bytes <= IN_MEMORY_BYTES:
        return np.zeros(size, dtype)
    with full_disk_reported(directory), tempfile.TemporaryFile(dir=directory or _temporary_folder()) as file:
        # With a sparse file, a full disk would cause a fatal SIGBUS at some later store.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        else:
            file.truncate(num_bytes)
        return np.asarray(np.memmap(file, dtype, "r+", shape=(size,)))
