"""Reads a run on disk: its configuration, metrics and checkpoints.

    NAME/run.json  metrics.jsonl  best.json  .lock  checkpoint-00001000/ ...

Reading takes no lock: every file under its final name is complete. Only `RunWriter` writes.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

from msgspec import Struct

from charrnn.checkpoint.checkpoint import Checkpoint, checkpoint_name, step_of
from charrnn.checkpoint.manifest import MANIFEST
from charrnn.checkpoint.reading import decode_json, open_regular, read_json
from charrnn.errors import CheckpointError

T = TypeVar("T")

RUN_SCHEMA = "charrnn.run/1"
Which = Literal["best", "last"] | int

MAX_ROW_BYTES = 1 << 20


class Best(Struct, frozen=True):
    """The checkpoint with the lowest validation loss, in nats per character."""

    step: int
    loss: float


class _RunFile(Struct):
    schema: Literal["charrnn.run/1"]


class RunDirectory:
    """One run. Raises CheckpointError for files that are missing, damaged or not charrnn's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def run_path(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def best_path(self) -> Path:
        return self.path / "best.json"

    def checkpoint_path(self, step: int) -> Path:
        return self.path / checkpoint_name(step)

    def has_run_file(self) -> bool:
        """Whether there is a run.json that says charrnn wrote it."""
        try:
            read_json(self.run_path, _RunFile)
        except CheckpointError:
            return False
        return True

    def read_run(self, as_type: type[T]) -> T:
        return read_json(self.run_path, as_type)

    def metrics(self, as_type: type[T]) -> Iterator[T]:
        """The lines of metrics.jsonl, oldest first; none when there is no such file.

        A last line without a line end was being written when the process died, and is skipped.
        """
        if not os.path.exists(self.metrics_path):
            return
        with open_regular(self.metrics_path) as file:
            number = 0
            while (line := file.readline(MAX_ROW_BYTES)).endswith(b"\n"):
                number += 1
                yield decode_json(line, as_type, f"{self.metrics_path}, line {number}")
            if len(line) == MAX_ROW_BYTES:
                raise CheckpointError(f"{self.metrics_path}, line {number + 1}: longer than {len(line)} bytes")

    def steps(self) -> list[int]:
        """The steps of the finished checkpoints, ascending. None of them has been verified."""
        try:
            names = os.listdir(self.path)
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot read: {error.strerror}") from error
        found = [step for step in map(step_of, names) if step is not None]
        return sorted(step for step in found if os.path.isfile(self.checkpoint_path(step) / MANIFEST))

    def best(self) -> Best | None:
        """The contents of best.json; None when no checkpoint has been validated yet."""
        if not os.path.exists(self.best_path):
            return None
        try:
            return read_json(self.best_path, Best)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; remove the file, or ask for --checkpoint last") from error

    def latest_valid(self) -> Checkpoint | None:
        """The checkpoint of the highest step whose files all match its manifest."""
        for step in reversed(self.steps()):
            try:
                checkpoint = Checkpoint.open(self.checkpoint_path(step))
                checkpoint.verify()
            except CheckpointError:
                continue
            return checkpoint
        return None

    def select(self, which: Which = "best") -> Checkpoint:
        """The best checkpoint (the last if none has been validated yet), the last intact one, or a step's.

        A run that is being trained may remove a checkpoint that has just been chosen: then it is chosen again.
        """
        while True:
            before = self._state()
            try:
                return self._select(which)
            except CheckpointError:
                if self._state() == before:
                    raise

    def _state(self) -> tuple[list[int], int]:
        """Changes whenever a checkpoint is saved, removed, or becomes the best."""
        return self.steps(), _modified_ns(self.best_path)

    def _select(self, which: Which) -> Checkpoint:
        steps = self.steps()
        if not steps:
            raise CheckpointError(
                f"{self.path}: no checkpoint yet; let it train longer, or go on with it by --resume"
            )
        best = self.best() if which == "best" else None
        if best is None and isinstance(which, str):
            last = self.latest_valid()
            if last is None:
                raise CheckpointError(f"{self.path}: damaged: none of its {len(steps)} checkpoints is whole")
            return last
        step = best.step if best else which
        if step not in steps:
            there = ", ".join(map(str, steps))
            raise CheckpointError(
                f"{self.path}: no checkpoint of step {step}; --checkpoint takes last or one of {there}"
            )
        return Checkpoint.open(self.checkpoint_path(step))

    def modified_ns(self) -> int:
        """When the run was last saved to, in nanoseconds: the newest of its run.json and its manifests."""
        manifests = [self.checkpoint_path(step) / MANIFEST for step in self.steps()]
        return max(map(_modified_ns, [self.run_path, *manifests]))


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def is_run(path: Path) -> bool:
    """Whether `path` is a directory with a run.json from charrnn, or with at least one checkpoint."""
    run = RunDirectory(path)
    try:
        return run.has_run_file() or bool(run.steps())
    except CheckpointError:
        return False
