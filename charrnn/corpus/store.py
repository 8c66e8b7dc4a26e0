"""Encoded text on disk: written in one stream, read as memory-mapped arrays.

A folder holds

    header.json            a `Header`
    text.bin               uint8, uint16 or uint32: alphabet ids of all characters, separators included
    alphabet.bin           uint32 code points, in the order in which they first appear
    starts.bin, ends.bin   int64, one of each for every sequence

and is complete or absent, because it is built elsewhere and renamed. Its checksums are verified before it is
used, so damage is noticed; a lost folder can be rebuilt. Knows neither encodings nor how sequences are found.
"""

import os
import zlib
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from charrnn.corpus.sequences import Sequences

DtypeName = Literal["uint8", "uint16", "uint32"]

_ARRAYS = ("text", "alphabet", "starts", "ends")
_CHUNK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 256 << 20


@dataclass(frozen=True)
class FileFacts:
    """What was found in one file of the corpus."""

    num_sequences: int
    num_lf: int
    num_crlf: int
    num_cr: int
    dropped_mark: bool


@dataclass(frozen=True)
class Header:
    """Describes the arrays beside it, and shows whether they are complete and undamaged."""

    key: str
    dtype: DtypeName
    files: tuple[FileFacts, ...]
    sizes: dict[str, int]
    checksums: dict[str, int]


class CorpusWriter:
    """Writes an encoded corpus into a new folder, piece by piece; `finish` makes it complete.

    The alphabet grows as characters appear, and ids are as wide as it requires.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.num_chars = 0
        self.num_sequences = 0
        self._directory = directory
        self._alphabet: list[int] = []
        self._id_of = np.full(0x110000, -1, np.int32)
        self._dtype: DtypeName = "uint8"
        self._files: dict[str, BufferedWriter] = {}
        try:
            for name in _ARRAYS:
                self._files[name] = _path(directory, name).open("wb")
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> "CorpusWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def _close(self) -> None:
        """Closes every file, even if on a full disk the closing of one fails; then raises its error."""
        with ExitStack() as stack:
            for file in self._files.values():
                stack.callback(file.close)

    def add_text(self, code_points: NDArray[np.uint32]) -> None:
        """Appends (C,) characters, C > 0."""
        ids = self._id_of[code_points]
        if ids.min() < 0:
            self._learn(code_points[ids < 0])
            ids = self._id_of[code_points]
        _write(self._files["text"], ids.astype(self._dtype))
        self.num_chars += len(ids)

    def add_sequences(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Appends starts and ends; one call may append different numbers of them."""
        _write(self._files["starts"], starts)
        _write(self._files["ends"], ends)
        self.num_sequences += len(starts)

    def finish(self, key: str, files: list[FileFacts]) -> None:
        """Writes what remains: the alphabet and the header."""
        _write(self._files["alphabet"], np.array(self._alphabet, np.uint32))
        for file in self._files.values():
            file.flush()
        paths = {name: _path(self._directory, name) for name in _ARRAYS}
        header = Header(
            key=key,
            dtype=self._dtype,
            files=tuple(files),
            sizes={name: path.stat().st_size for name, path in paths.items()},
            checksums={name: _checksum(path) for name, path in paths.items()},
        )
        (self._directory / "header.json").write_bytes(msgspec.json.encode(header))

    def _learn(self, code_points: NDArray[np.uint32]) -> None:
        """Adds characters to the alphabet in the order in which they first appear."""
        new, first = np.unique(code_points, return_index=True)
        new = new[np.argsort(first)]
        self._id_of[new] = np.arange(len(self._alphabet), len(self._alphabet) + len(new))
        self._alphabet += new.tolist()
        dtype = _dtype_for(len(self._alphabet))
        if dtype != self._dtype:
            self._widen(dtype)

    def _widen(self, dtype: DtypeName) -> None:
        """Rewrites the text so far with wider ids; a growing alphabet can require this twice."""
        self._files["text"].close()
        path = _path(self._directory, "text")
        narrow = path.rename(path.with_suffix(".narrow"))
        self._files["text"] = path.open("wb")
        with narrow.open("rb") as file:
            while data := file.read(_CHUNK_BYTES):
                _write(self._files["text"], np.frombuffer(data, self._dtype).astype(dtype))
        narrow.unlink()
        self._dtype = dtype


def load(directory: Path, key: str) -> tuple[Sequences, Header] | None:
    """The corpus in `directory`; None if it is missing, incomplete, damaged or has another key."""
    try:
        path = directory / "header.json"
        if path.stat().st_size > _MAX_HEADER_BYTES:
            return None
        header = msgspec.json.decode(path.read_bytes(), type=Header)
        if header.key != key or any(set(found) != set(_ARRAYS) for found in (header.sizes, header.checksums)):
            return None
        for name in _ARRAYS:
            path = _path(directory, name)
            if path.stat().st_size != header.sizes[name] or _checksum(path) != header.checksums[name]:
                return None
        sequences = Sequences(
            text=_map(directory, "text", header.dtype),
            alphabet=_map(directory, "alphabet", "uint32"),
            starts=_map(directory, "starts", "int64"),
            ends=_map(directory, "ends", "int64"),
        )
        return sequences, header
    except (OSError, ValueError, msgspec.MsgspecError):
        return None


def publish(built: Path, kept: Path) -> None:
    """Moves the folder `built` to `kept`, replacing a damaged one.

    Another process may do the same: the second one leaves the first one's folder alone. Arrays that were mapped
    from either folder stay valid. If `kept` cannot be written, it is left as it is.
    """
    with suppress(OSError):
        os.rename(built, kept)
        return
    if load(kept, built.name) is None:
        with suppress(OSError):
            os.rename(kept, built.with_suffix(".damaged"))
            os.rename(built, kept)


def _dtype_for(alphabet_size: int) -> DtypeName:
    if alphabet_size <= 1 << 8:
        return "uint8"
    return "uint16" if alphabet_size <= 1 << 16 else "uint32"


def _path(directory: Path, name: str) -> Path:
    return directory / f"{name}.bin"


def _map(directory: Path, name: str, dtype: str) -> NDArray[Any]:
    return np.asarray(np.memmap(_path(directory, name), dtype, "r"))


def _write(file: BufferedWriter, array: NDArray[Any]) -> None:
    # Not tofile: its error does not say why a write failed.
    file.write(np.ascontiguousarray(array).data)


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK_BYTES):
            checksum = zlib.crc32(data, checksum)
    return checksum
