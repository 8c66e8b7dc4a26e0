"""Arrays and folders that may not fit into memory: they are on disk, and are removed after use."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from charrnn.errors import ResourceError

CACHE = ".corpus"
"""Folder beside the runs for files that are safe to delete."""

IN_MEMORY_BYTES = 32 << 20
"""An array up to this size is held in memory."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def full_disk_reported(directory: Path | None) -> Iterator[None]:
    """Turns the system's error for a full disk into a ResourceError that names `directory`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        where = directory or tempfile.gettempdir()
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
        path = Path(tempfile.mkdtemp(prefix=".tmp-", dir=directory))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def allocate(size: int, dtype: DTypeLike, directory: Path | None = None) -> NDArray[Any]:
    """A zeroed array of shape (size,): in memory when small, else mapped from a nameless file in `directory`.

    Raises ResourceError when the disk cannot hold it.
    """
    num_bytes = size * np.dtype(dtype).itemsize
    if num_bytes <= IN_MEMORY_BYTES:
        return np.zeros(size, dtype)
    with full_disk_reported(directory), tempfile.TemporaryFile(dir=directory) as file:
        # With a sparse file, a full disk would cause a fatal SIGBUS at some later store.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        else:
            file.truncate(num_bytes)
        return np.asarray(np.memmap(file, dtype, "r+", shape=(size,)))
