"""Writing to a run, by one process at a time.

A `RunWriter` holds the lock of its directory for as long as it exists, so nothing is written without the lock.
Whenever the process dies, the run can be opened again, and the checkpoints saved before are intact.
"""

import fcntl
import math
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from charrnn.checkpoint.atomic import (
    is_temporary,
    make_directories,
    remove_directory,
    remove_temporaries,
    sync_directory,
    write_directory,
    write_file,
    writing,
)
from charrnn.checkpoint.checkpoint import Checkpoint
from charrnn.checkpoint.manifest import MANIFEST, make_manifest
from charrnn.checkpoint.reading import encode_json, open_to_change
from charrnn.checkpoint.run_directory import MAX_ROW_BYTES, RUN_SCHEMA, Best, RunDirectory
from charrnn.errors import CheckpointError, RunLockedError, UsageError

LOCK = ".lock"
_MAX_NAME_BYTES = 200


class _Row(msgspec.Struct):
    step: int


class RunWriter(RunDirectory):
    """A run locked for writing until `close`, the end of a `with` block, or the death of the process.

    Every method raises ResourceError if the disk is full and CheckpointError if the run cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        """Raises RunLockedError, at once, when another process is writing there."""
        super().__init__(path)
        self._lock = _lock(path)
        try:
            remove_temporaries(path)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: Path) -> "RunWriter":
        """Continue the run at `path`."""
        if not RunDirectory(path).has_run_file():
            raise CheckpointError(f"{path}: no charrnn run to go on with: its run.json is missing or damaged")
        return cls(path)

    @classmethod
    def create(cls, root: Path, stem: str) -> "RunWriter":
        """A new run under `root`, named after `stem`: `stem`, or `stem-2`, `stem-3`, … when that is taken."""
        stem = as_name(stem)
        with writing(root):
            make_directories(root)
            for number in count(1):
                path = root / (stem if number == 1 else f"{stem}-{number}")
                with suppress(FileExistsError):
                    path.mkdir()
                    break
            sync_directory(root)
        return cls(path)

    @classmethod
    def create_named(cls, root: Path, name: str, *, overwrite: bool = False) -> "RunWriter":
        """A new run `root/name`; it replaces an existing run only if `overwrite`.

        Raises: UsageError for a name that is taken or invalid; CheckpointError for a directory that charrnn did
        not make, which is left unchanged.
        """
        if as_name(name) != name:
            raise UsageError(f"{name!r} cannot name a run, but {as_name(name)!r} can")
        path = root / name
        with writing(path):
            make_directories(path)
            if not (_is_vacant(path) or RunDirectory(path).has_run_file()):
                raise CheckpointError(f"{path}: exists and is not a charrnn run; choose another --name")
        run = cls(path)
        try:
            if not overwrite:
                refuse_taken(path)
            elif run.has_run_file():
                run._clear()
        except BaseException:
            run.close()
            raise
        return run

    def close(self) -> None:
        self._lock.close()

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write_run(self, value: object) -> None:
        """Replace run.json with `value`, a dataclass, Struct or dict, to which the schema's name is added."""
        write_file(self.run_path, encode_json({"schema": RUN_SCHEMA, **msgspec.to_builtins(value)}))

    def append_metrics(self, row: object) -> None:
        """Add a line to metrics.jsonl. A float that is not finite becomes null."""
        with writing(self.metrics_path), open_to_change(self.metrics_path, "ab") as file:
            file.write(msgspec.json.encode(row) + b"\n")

    def save_checkpoint(self, step: int, files: Mapping[str, bytes]) -> Checkpoint:
        """Save `files` as the checkpoint of `step`, completely or not at all.

        An intact checkpoint of that step is kept as it is, because the step determines its content.
        """
        path = self.checkpoint_path(step)
        if os.path.lexists(path):
            try:
                standing = Checkpoint.open(path)
                standing.verify()
                return standing
            except CheckpointError:
                remove_directory(path)
        write_directory(path, {**files, MANIFEST: encode_json(make_manifest(step, files))})
        return Checkpoint.open(path)

    def write_best(self, step: int, loss: float) -> None:
        """Mark the checkpoint of `step`, already saved, as the best one; `loss` is in nats per character."""
        if not math.isfinite(loss):
            raise ValueError(f"a loss of {loss} is no best loss")
        write_file(self.best_path, encode_json(Best(step, loss)))

    def rotate(self, keep: int = 2) -> None:
        """Remove all checkpoints but the newest `keep` and the best. Call it after a save."""
        best = self.best()
        for step in self.steps()[:-keep]:
            if best is None or step != best.step:
                remove_directory(self.checkpoint_path(step))

    def cut_back(self, step: int) -> None:
        """Remove all that came after `step`, so that continuing there writes each step once; -1 removes all."""
        best = self.best()
        if best and best.step > step:
            with writing(self.best_path):
                self.best_path.unlink()
                # Or after a loss of power it could name a checkpoint that has gone.
                sync_directory(self.path)
        for later in self.steps():
            if later > step:
                remove_directory(self.checkpoint_path(later))
        self._cut_metrics(step)

    def _cut_metrics(self, step: int) -> None:
        if not os.path.lexists(self.metrics_path):
            return
        # Truncating a file is a single operation of the file system, so a reader sees all lines or those kept.
        with writing(self.metrics_path), open_to_change(self.metrics_path, "r+b") as file:
            kept = 0
            while _step_of_row(line := file.readline(MAX_ROW_BYTES)) <= step:
                kept += len(line)
            file.truncate(kept)
            os.fsync(file.fileno())

    def _clear(self) -> None:
        """Remove what a run writes, run.json last: a crash before that leaves a run that can be overwritten."""
        with writing(self.path):
            self.best_path.unlink(missing_ok=True)
            sync_directory(self.path)
            for step in self.steps():
                remove_directory(self.checkpoint_path(step))
            self.metrics_path.unlink(missing_ok=True)
            sync_directory(self.path)
            self.run_path.unlink(missing_ok=True)
            sync_directory(self.path)


def refuse_taken(path: Path) -> None:
    """Raises UsageError if there is already a run at `path`."""
    if RunDirectory(path).has_run_file():
        raise UsageError(f"{path}: exists; --resume goes on with it, --overwrite replaces it")


def _lock(path: Path) -> BinaryIO:
    with writing(path / LOCK), ExitStack() as stack:
        file = stack.enter_context(open_to_change(path / LOCK, "ab"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunLockedError(
                f"{path}: another process is writing to this run; wait for it, or choose another --name"
            ) from None
        stack.pop_all()
        return file


def _is_vacant(path: Path) -> bool:
    """Whether a directory holds nothing but the leftovers of a run that stopped before writing run.json."""
    return all(name == LOCK or is_temporary(name) for name in os.listdir(path))


def as_name(stem: str) -> str:
    """`stem` as the name of a run: letters, digits and `_.+-`, neither hidden nor like an option."""
    name = re.sub(r"[^\w.+-]+", "-", stem).strip(".-")
    return name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore") or "run"


def _step_of_row(line: bytes) -> float:
    """The step of a line of metrics; infinity for an incomplete or damaged line, or the end of the file."""
    try:
        return msgspec.json.decode(line, type=_Row).step if line.endswith(b"\n") else math.inf
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return math.inf
