"""One attempt of a sweep: its trial, its outcome, and the log file that keeps finished attempts."""

import fcntl
import math
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec

from charrnn.checkpoint.atomic import writing
from charrnn.checkpoint.reading import one_line
from charrnn.config import Option
from charrnn.corpus.readers import without_waiting
from charrnn.errors import CheckpointError, RunLockedError
from charrnn.study.problems import PROBLEMS
from charrnn.study.remedies import USUAL, Remedies
from charrnn.study.span import train_on

MAX_LINE_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Design:
    """A cell, its training settings and its remedies."""

    cell: str
    options: dict[str, Option] = field(default_factory=dict)
    """The cell's own options."""
    hidden_size: int = 32
    batch_size: int = 32
    learning_rate: float = 3e-3
    remedies: Remedies = USUAL


@dataclass(frozen=True, kw_only=True)
class Trial:
    """All that an attempt's outcome depends on."""

    problem: str
    span: int
    seed: int
    steps: int
    """The maximum number of training steps."""
    design: Design

    @property
    def key(self) -> bytes:
        """Two keys are equal if and only if their trials are equal."""
        return msgspec.json.encode(self, order="deterministic")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    solved: bool
    steps: int
    """Steps taken until the problem was solved, training diverged or the budget was spent."""
    loss: float | None
    """The final loss on fresh rows; None if training diverged."""
    error: float | None
    """The error on the same rows, which decides `solved`."""
    seconds: float


def attempt(trial: Trial, notify: Callable[[int], object] = lambda _steps: None) -> Outcome:
    """Trains and measures; calls `notify` now and then with the number of steps taken.

    Raises ValueError for a design that cannot be built or a span below the problem's shortest.
    """
    begun, design = time.monotonic(), trial.design
    trained = train_on(
        PROBLEMS[trial.problem],
        design.cell,
        trial.span,
        trial.seed,
        trial.steps,
        options=design.options,
        hidden_size=design.hidden_size,
        batch_size=design.batch_size,
        learning_rate=design.learning_rate,
        remedies=design.remedies,
        notify=notify,
    )
    error = float(trained.errors[-1])
    finite = math.isfinite(error) and math.isfinite(trained.fresh_loss)
    return Outcome(
        solved=trained.solved,
        steps=len(trained.losses),
        loss=trained.fresh_loss if finite else None,
        error=error if finite else None,
        seconds=time.monotonic() - begun,
    )


# The log of finished attempts ------------------------------------------------------------------------------


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    schema: Literal["charrnn.study.span.attempt/1"]
    trial: Trial
    outcome: Outcome


_BEGINNING = msgspec.json.encode({"schema": "charrnn.study.span.attempt/1"})[:-1]


class AttemptLog:
    """A file of outcomes, one JSON line each; until `close`, only this process may add to it.

    A line is added when its attempt has ended. A line cut short, by a kill or a full disk, is removed when the
    file is opened again, so that its attempt is repeated.
    """

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError, without changing the file, if it is not such a log or cannot be opened;
        RunLockedError if another process has locked it."""
        self.path = path
        self._outcomes: dict[bytes, Outcome] = {}
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b", buffering=0, opener=without_waiting)  # noqa: SIM115
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def outcome(self, trial: Trial) -> Outcome | None:
        return self._outcomes.get(trial.key)

    def add(self, trial: Trial, outcome: Outcome) -> None:
        """Raises ResourceError when the disk is full and CheckpointError when the file cannot be written."""
        line = msgspec.json.encode(_Line("charrnn.study.span.attempt/1", trial, outcome)) + b"\n"
        with writing(self.path):
            self._file.write(line)
            os.fsync(self._file.fileno())
        self._outcomes[trial.key] = outcome

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "AttemptLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            raise CheckpointError(f"{self.path}: not a regular file")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunLockedError(
                f"{self.path}: another sweep is writing to it; wait for it, or choose another --results"
            ) from None

    def _read(self) -> None:
        whole = 0
        with open(self.path, "rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE_BYTES), b""), start=1):
                if not line.endswith(b"\n") and _is_torn(line):
                    break
                try:
                    found = msgspec.json.decode(line, type=_Line)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    raise CheckpointError(
                        f"{self.path}: line {number}: no attempt of a sweep: {one_line(error)}; "
                        "choose another --results"
                    ) from error
                self._outcomes[found.trial.key] = found.outcome
                whole += len(line)
        with writing(self.path):
            self._file.truncate(whole)


def _is_torn(tail: bytes) -> bool:
    """Whether `tail` can be the beginning of a line of this log, and not the end of some other file."""
    return len(tail) < MAX_LINE_BYTES and (_BEGINNING.startswith(tail) or tail.startswith(_BEGINNING))
