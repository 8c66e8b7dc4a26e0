"""One saved step of a run: a directory that loads on its own, wherever it is copied.

Every byte returned has been checked against the manifest. The caller knows what a configuration or a tensor
means, and passes types and shapes as arguments.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
from msgspec import Meta, Struct

from charrnn.checkpoint.manifest import MANIFEST, FileEntry, Manifest, open_listed, read_manifest
from charrnn.checkpoint.reading import OpenFile, check_json_size, decode_json, encode_json
from charrnn.checkpoint.tensors import read_tensors
from charrnn.config import TaskName
from charrnn.errors import CheckpointError

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """The first fields of the configuration of every checkpoint, whatever its task."""

    model_type: Literal["charrnn"] = "charrnn"
    format_version: Annotated[int, Meta(ge=1, le=FORMAT_VERSION)] = FORMAT_VERSION
    task: TaskName


T = TypeVar("T")

CONFIG = "config.json"
VOCAB = "vocab.json"
MODEL = "model.safetensors"
TRAINING_STATE = "training_state.safetensors"
TRAINER_STATE = "trainer_state.json"

_REQUIRED = (CONFIG, VOCAB, MODEL)
_NAME = re.compile(r"checkpoint-(\d{8,15})")
_BLOCK = 1 << 20


def checkpoint_name(step: int) -> str:
    return f"checkpoint-{step:08d}"


def step_of(name: str) -> int | None:
    """The step that a directory's name states; None for a name that `checkpoint_name` never returns."""
    match = _NAME.fullmatch(name)
    step = int(match[1]) if match else None
    return step if step is not None and checkpoint_name(step) == name else None


_Symbols = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(min_length=1, max_length=0x110000)
]


class _Vocabulary(Struct, frozen=True, omit_defaults=True):
    symbols: _Symbols
    outputs: _Symbols | None = None


def encode_vocab(symbols: Sequence[str], outputs: Sequence[str] | None = None) -> bytes:
    """The bytes of vocab.json for the input symbols, and for the output symbols if these are different.

    A symbol has one or more characters; symbols are stored in code point order.
    """
    return encode_json(_Vocabulary(sorted(symbols), None if outputs is None else sorted(outputs)))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory whose manifest has been read. Every method raises CheckpointError.

    The files of its model have been opened: a run that goes on training may remove the directory, but not the
    model from its reader.
    """

    path: Path
    manifest: Manifest
    _opened: Mapping[str, OpenFile] = field(repr=False, compare=False)

    @classmethod
    def open(cls, path: Path) -> "Checkpoint":
        manifest = read_manifest(path)
        for name in _REQUIRED:
            if name not in manifest.files:
                raise CheckpointError(f"{path}: {MANIFEST} does not list {name}, so this is no whole checkpoint")
        if step_of(path.name) not in (None, manifest.step):
            raise CheckpointError(
                f"{path}: {MANIFEST} says step {manifest.step}; the checkpoint was renamed or damaged"
            )
        return cls(path, manifest, {name: OpenFile(path / name) for name in _REQUIRED})

    @property
    def step(self) -> int:
        return self.manifest.step

    @property
    def run_name(self) -> str:
        """The name of the run that contains the checkpoint, or its own name if it is outside a run."""
        path = self.path.resolve()
        return path.parent.name if path.name.startswith("checkpoint-") else self.path.name

    @property
    def model_sha256(self) -> str:
        return self.manifest.files[MODEL].sha256

    def config(self, as_type: type[T]) -> T:
        return self.json(CONFIG, as_type)

    def vocab(self) -> list[str]:
        """The symbols that the model reads, unique and sorted by code point: id i is the i-th symbol."""
        return self._ordered(self.json(VOCAB, _Vocabulary).symbols)

    def output_vocab(self) -> list[str]:
        """The symbols that the model writes, sorted likewise, if it has separate ones."""
        outputs = self.json(VOCAB, _Vocabulary).outputs
        if outputs is None:
            raise CheckpointError(f"{self.path / VOCAB}: has no outputs, which this model needs")
        return self._ordered(outputs)

    def _ordered(self, symbols: list[str]) -> list[str]:
        if any(first >= second for first, second in pairwise(symbols)):
            raise CheckpointError(
                f"{self.path / VOCAB}: symbols must be unique and in the order of their code points"
            )
        return symbols

    def tensors(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        """The model's parameters, float32, which must have exactly these names and shapes."""
        return self._read_tensors(MODEL, shapes)

    def training_tensors(self) -> dict[str, np.ndarray]:
        """The arrays of the training state; only the size of the file bounds how much is read."""
        return self._read_tensors(TRAINING_STATE, None)

    def json(self, name: str, as_type: type[T]) -> T:
        entry, path = self._entry(name), self.path / name
        check_json_size(entry.size, path)
        with open_listed(path, entry, self._opened.get(name)) as read:
            data = read(entry.size)
        return decode_json(data, as_type, path)

    def verify(self) -> None:
        """Read every file and compare it with the manifest."""
        for name, entry in self.manifest.files.items():
            with open_listed(self.path / name, entry, self._opened.get(name)) as read:
                while read(_BLOCK):
                    pass

    def _read_tensors(self, name: str, shapes: Mapping[str, tuple[int, ...]] | None) -> dict[str, np.ndarray]:
        entry, path = self._entry(name), self.path / name
        with open_listed(path, entry, self._opened.get(name)) as read:
            return read_tensors(read, entry.size, path, shapes)

    def _entry(self, name: str) -> FileEntry:
        if name not in self.manifest.files:
            raise CheckpointError(f"{self.path}: this checkpoint was saved without {name}")
        return self.manifest.files[name]
