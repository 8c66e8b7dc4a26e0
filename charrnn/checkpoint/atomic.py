"""Writes files and directories completely or not at all, whenever the process or the machine stops.

Everything is written under a temporary name beside its target and synced to disk; then it is renamed, and the
rename is synced too. Nothing here knows what is written. Permissions follow the umask.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from charrnn.errors import CheckpointError, ResourceError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM}
_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.ENOTSUP}
_TEMPORARY = re.compile(r"\.tmp-.+-\d+")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write `path` into a one-line error.

    Raises: ResourceError when disk or memory is full, CheckpointError for everything else the system refuses.
    """
    try:
        yield
    except MemoryError as error:
        raise ResourceError(f"{path}: out of memory while writing; make the model or the batch smaller") from error
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise ResourceError(f"{path}: cannot write: {reason}; free some space and try again") from error
        raise CheckpointError(f"{path}: cannot write: {reason}; choose a place that can be written to") from error


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing any existing file in one step. Raises like `writing`."""
    temporary = _temporary(path)
    with writing(path):
        try:
            temporary.unlink(missing_ok=True)
            _write_synced(temporary, data)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def write_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Create the directory `path`, which must not exist, from `files`, in their order. Raises like `writing`."""
    temporary = _temporary(path)
    with writing(path):
        try:
            _remove(temporary)
            temporary.mkdir()
            for name, data in files.items():
                _write_synced(temporary / name, data)
            sync_directory(temporary)
            os.rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                _remove(temporary)
            raise
        sync_directory(path.parent)


def make_directories(path: Path) -> None:
    """Create a directory and those above it, where they are missing; on return all their names are on the disk.

    Whoever reads the corpus may have made them a moment ago, so the names on the whole way are synced.
    """
    path.mkdir(parents=True, exist_ok=True)
    for parent in path.absolute().parents:
        with suppress(PermissionError):
            sync_directory(parent)


def remove_directory(path: Path) -> None:
    """Remove a directory in one step: it is never seen half-removed under its name. Raises like `writing`."""
    temporary = _temporary(path)
    with writing(path):
        _remove(temporary)
        os.rename(path, temporary)
        sync_directory(path.parent)
        _remove(temporary)


def remove_temporaries(directory: Path) -> None:
    """Remove the temporary files of crashed writers from `directory`. No other writer may be active there."""
    with writing(directory):
        for entry in directory.iterdir():
            if is_temporary(entry.name):
                _remove(entry)


def is_temporary(name: str) -> bool:
    return _TEMPORARY.fullmatch(name) is not None


def sync_directory(path: Path) -> None:
    """Sync the names in a directory to disk, if the file system supports it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    return path.with_name(f".tmp-{path.name}-{os.getpid()}")


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
