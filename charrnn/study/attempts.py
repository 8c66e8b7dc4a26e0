"""One attempt of a sweep: what is tried, what came of it, and the file in which what is done is kept."""

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
from charrnn.errors import CheckpointError, RunLockedError
from charrnn.study.problems import PROBLEMS
from charrnn.study.remedies import USUAL, Remedies
from charrnn.study.span import train_on

MAX_LINE_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Design:
    """A cell, how it is trained, and what helps it."""

    cell: str
    options: dict[str, Option] = field(default_factory=dict)
    """The cell's own."""
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
    """At most."""
    design: Design

    @property
    def key(self) -> bytes:
        """The same for trials that are the same, and only for those."""
        return msgspec.json.encode(self, order="deterministic")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    solved: bool
    steps: int
    """Taken, until it was solved, came to nothing or the budget was spent."""
    loss: float | None
    """On fresh rows at the end; None where training diverged."""
    error: float | None
    """Of the same rows: what `solved` was judged by."""
    seconds: float


def attempt(trial: Trial, notify: Callable[[int], object] = lambda _steps: None) -> Outcome:
    """Trains and measures; `notify` is told now and then how many steps were taken.

    Raises ValueError for a design that cannot be built or a span that the problem does not have.
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


# What is done ----------------------------------------------------------------------------------------------


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    schema: Literal["charrnn.study.span.attempt/1"]
    trial: Trial
    outcome: Outcome


_BEGINNING = msgspec.json.encode({"schema": "charrnn.study.span.attempt/1"})[:-1]


class AttemptLog:
    """The outcomes in a file, a line of JSON each, and the one process that may add to it, until `close`.

    A line is added when its attempt has ended. One that was cut short, by a kill or a full disk, is taken away
    when the file is opened again, so that its attempt is made anew.
    """

    def __init__(self, path: Path) -> None:
        """Raises CheckpointError, touching nothing, for a file that is not one of these or cannot be opened;
        RunLockedError when another process has it."""
        self.path = path
        self._outcomes: dict[bytes, Outcome] = {}
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b", buffering=0, opener=_without_waiting)  # noqa: SIM115
        try:
            self._lock()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def outcome(self, trial: Trial) -> Outcome | None:
        return self._outcomes.get(trial.key)

    def add(self, trial: Trial, outcome: Outcome) -> None:
        """Raises ResourceError when the disk is full and CheckpointError when it cannot be written to."""
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
    """Whether it can be the beginning of one of our lines, and not the end of somebody else's file."""
    return len(tail) < MAX_LINE_BYTES and (_BEGINNING.startswith(tail) or tail.startswith(_BEGINNING))


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK, 0o666)
