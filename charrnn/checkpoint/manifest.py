"""MANIFEST.json: the size and sha256 of each file of a checkpoint, written last.

A checkpoint without a manifest was never finished, and a file that does not match the manifest is refused.
This detects damage, but does not protect against someone who rewrites the manifest as well.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from charrnn.checkpoint.reading import OpenFile, decode_json, encode_json, file_size, open_regular, read_bytes
from charrnn.errors import CheckpointError

MANIFEST = "MANIFEST.json"


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True):
    size: Annotated[int, Meta(ge=0, le=1 << 50)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\Z")]
"""A plain name: no separator and no leading dot, so that a manifest cannot point out of its directory."""


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    step: Annotated[int, Meta(ge=0)]
    files: Annotated[dict[FileName, FileEntry], Meta(max_length=100)]


def make_manifest(step: int, files: Mapping[str, bytes]) -> Manifest:
    return Manifest(
        step, {name: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}
    )


def read_manifest(directory: Path) -> Manifest:
    """Raises CheckpointError."""
    path = directory / MANIFEST
    data = read_bytes(path)
    manifest = decode_json(data, Manifest, path)
    # No checksum covers the manifest itself, so only the exact bytes that charrnn writes are accepted.
    if encode_json(manifest) != data:
        raise CheckpointError(f"{path}: not as charrnn wrote it; the checkpoint is damaged")
    return manifest


@contextmanager
def open_listed(path: Path, entry: FileEntry, opened: OpenFile | None = None) -> Iterator[Callable[[int], bytes]]:
    """Yield `read(count)` for a listed file; on exit, the bytes read must have the listed sha256.

    opened: the file, if it has been opened before.

    Raises: CheckpointError for a file that is missing, not regular, or not of the size and sha256 of `entry`.
    """
    digest = hashlib.sha256()
    with open_regular(path, opened) as file:
        if file_size(file) != entry.size:
            raise CheckpointError(f"{path}: {file_size(file)} bytes, but {MANIFEST} says {entry.size}")

        def read(count: int) -> bytes:
            data = file.read(count)
            digest.update(data)
            return data

        yield read
        if digest.hexdigest() != entry.sha256:
            raise CheckpointError(f"{path}: damaged: its sha256 is not the one in {MANIFEST}")
