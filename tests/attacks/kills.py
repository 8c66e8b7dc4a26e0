"""Kills trainings: at each of their file operations, at any time, and once more after they were resumed.

Whenever it was killed, a run opens, has lost nothing that was saved, and ends as if it had never been killed.
"""

import builtins
import io
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from helpers_cli import NAMES, write_names
from report import Try
from starts import SECONDS, Ended, Forked, command, fault

from charrnn.checkpoint import TRAINER_STATE, Checkpoint, RunDirectory, RunWriter
from charrnn.errors import CharRNNError

AT_OPERATION, AT_TIME = "kill at a file operation", "kill at a random time"
AGAIN = "double kill: in the first save after a resume"

STEPS, SAVE_OPERATIONS = 5, 45
RUN = ("--name", "names", "--json", "--quiet")
SETTINGS = (
    "--seed", "1", "--threads", "1", "--hidden-size", "8", "--stop", "all", "--keep", "1", "--steps", str(STEPS),
    "--save-every", "1", "--eval-every", "2",
)  # fmt: skip
RESUME = ("train", "--resume", *RUN)
TEXT = "".join(f"{name}\n" for name in NAMES)


class Place(NamedTuple):
    """Where a process dies."""

    operation: int
    """Counted from 0."""
    size: int | None = None
    """The file that the operation opens is written up to this size; None: it dies before the operation."""
    saving: bool = False
    """Operations are counted from the beginning of the first save."""


class Operations:
    """Counts what this process changes under a folder, and kills it at one of these operations."""

    def __init__(self, root: Path, place: Place | None) -> None:
        self.log: list[str] = []
        self.counts = place is not None and not place.saving
        self._root, self._place = str(root), place

    def watch(self) -> None:
        """From now on, until the process ends."""
        # A killed process loses nothing that it has written, so there is no need to wait for the disk.
        os.fsync = self._watched("fsync", lambda _descriptor: None)
        for name in ("mkdir", "rename", "replace", "rmdir", "unlink"):
            setattr(os, name, self._watched(name, getattr(os, name)))
        builtins.open = io.open = self._watched("open", open)
        os.open = self._watched("open", os.open)

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *args: Any, **kwargs: Any) -> Any:
            how = args[0] if args else kwargs.get("mode", "r")
            if self._is_inside(name, target, kwargs) and (name != "open" or _changes(how)):
                self._step(name)
            return real(target, *args, **kwargs)

        return call

    def _is_inside(self, name: str, target: Any, kwargs: dict[str, Any]) -> bool:
        if name == "fsync" or kwargs.get("dir_fd") is not None:
            return True
        return not isinstance(target, int) and os.fsdecode(target).startswith(self._root)

    def _step(self, name: str) -> None:
        self.log.append(name)
        if self.counts and self._place is not None and len(self.log) - 1 == self._place.operation:
            if self._place.size is None:
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                _die_at_size(self._place.size)


def _changes(how: str | int) -> bool:
    """Whether a file that is opened with this mode or these flags may be changed."""
    return how.strip("bt") != "r" if isinstance(how, str) else bool(how & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _die_at_size(size: int) -> None:
    """The system kills this process as soon as a file would grow beyond `size` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class Child:
    """What a command did in a process of its own, which may have been killed."""

    def __init__(
        self,
        words: tuple[str | Path, ...],
        root: Path,
        *,
        stdin: str | None = None,
        place: Place | None = None,
        seconds: float | None = None,
    ) -> None:
        """place, seconds: where or after how long it is killed."""

        def work(report: Callable[[Any], object]) -> None:
            signal.alarm(SECONDS)
            operations = Operations(root, place)
            _report_saves(report, operations)
            operations.watch()
            begin = time.perf_counter()
            ended = command(*words, "--checkpoints", root, stdin=stdin)
            report({"ended": ended, "log": operations.log, "seconds": time.perf_counter() - begin})

        process = Forked(work, root.with_name("errors"))
        if seconds is not None:
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGKILL)
        found: dict[str, Any] = {}
        self.saved: dict[int, int] = {}
        """The steps whose saving was complete, and how many operations there had been then."""
        for report in process.reports():
            found.update(report)
            if "saved" in report:
                self.saved[report["saved"]] = report["operations"]
        self.log: list[str] = found.get("log", [])
        self.seconds: float = found.get("seconds", 0.0)
        killed = process.death in ("it was killed by SIGKILL, ''", "it was killed by SIGXFSZ, ''")
        self.fault = None if killed else process.death or fault(Ended(*found["ended"]), (0,))
        """What went wrong, besides that it was killed."""


def _report_saves(report: Callable[[Any], object], operations: Operations) -> None:
    real = RunWriter.save_checkpoint

    def save(self: RunWriter, step: int, files: Any) -> Checkpoint:
        if not operations.counts:
            operations.counts = True
            operations.log.clear()
        found = real(self, step, files)
        report({"saved": step, "operations": len(operations.log)})
        return found

    RunWriter.save_checkpoint = save  # type: ignore[method-assign]


class Training:
    """A training that is to be killed, and how it ends if nobody kills it."""

    def __init__(
        self, name: str, root: Path, before: Path, words: tuple[str | Path, ...], *, stdin: str | None = None
    ) -> None:
        """before: what is in `root` when it begins."""
        self.name, self.root, self.words, self.stdin = name, root, words, stdin
        self._before = before
        self.begin()
        self.whole = Child(self.words, self.root, stdin=stdin, place=Place(-1))
        self.end = self._end()

    def begin(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._before, self.root)

    def run(self) -> Ended:
        """Trains in this process."""
        return command(*self.words, "--checkpoints", self.root, stdin=self.stdin)

    def places(self) -> Iterator[Place]:
        """Everywhere it can be killed."""
        for number, name in enumerate(self.whole.log):
            yield Place(number)
            if name == "open":
                yield from (Place(number, size) for size in (0, 40, 300))

    def _end(self) -> dict[str, Any]:
        """All that does not depend on the clock, or on when checkpoints were removed."""
        run = RunDirectory(self.root / "names")
        last = run.select("last")
        files = {name: entry.sha256 for name, entry in last.manifest.files.items() if name != TRAINER_STATE}
        return {
            "step": last.step,
            "best": run.best(),
            "corpus": sorted(os.listdir(self.root / ".corpus")),
            **files,
        }

    def fault_when_killed(self, saved: int) -> str | None:
        """What is wrong with the run of a process that had saved a step and was killed."""
        run = RunDirectory(self.root / "names")
        if not run.path.exists():
            return None
        try:
            steps, best = run.steps(), run.best()
            for step in steps:
                run.select(step).verify()
            if steps:
                run.select("best")
            list(run.metrics(dict[str, Any]))
        except CharRNNError as error:
            return str(error)
        if saved > max(steps, default=0):
            return f"step {saved} was saved, and there are {steps}"
        return f"step {best.step} is the best, and there are {steps}" if best and best.step not in steps else None

    def fault_when_continued(self) -> str | None:
        """What is wrong with the way a killed run goes on to its end."""
        run = RunDirectory(self.root / "names")
        if run.has_run_file():
            wrong = Child(RESUME, self.root).fault
        else:
            refused = fault(command(*RESUME, "--checkpoints", self.root), (4,))
            wrong = refused or Child(self.words, self.root, stdin=self.stdin).fault
        if wrong is not None:
            return f"going on: {wrong}"
        wrong = self.fault_when_killed(STEPS)
        if wrong is not None:
            return f"at the end: {wrong}"
        end = self._end()
        if differ := [name for name in self.end if end.get(name) != self.end[name]]:
            return f"it ended with another {', '.join(differ)}"
        steps = [row["step"] for row in run.metrics(dict[str, Any])]
        if steps != list(range(1, STEPS + 1)):
            return f"its rows of metrics are of the steps {steps}"
        left = [str(path.relative_to(self.root)) for path in self.root.rglob(".tmp-*")]
        return f"left behind: {left}" if left else None


def _try(training: Training, again: Place | None = None, **kill: Any) -> str | None:
    """Kills a training, and again if it is to be, and says what is wrong with what is left and how it goes on."""
    training.begin()
    child = Child(training.words, training.root, stdin=training.stdin, **kill)
    wrong = child.fault or training.fault_when_killed(max(child.saved, default=0))
    if again is not None and wrong is None:
        child = Child(RESUME, training.root, place=again)
        wrong = child.fault or training.fault_when_killed(max(child.saved, default=0))
    return wrong or training.fault_when_continued()


def attack(tries: int, seed: int, folder: Path) -> Iterator[Try]:
    """A fifth of the tries are at random times, and another fifth kills twice."""
    chance = random.Random(seed)
    trainings = _trainings(folder)
    places = [(training, place) for training in trainings for place in training.places()]
    fifth = max(1, tries // 5)
    wanted = max(1, tries - 2 * fifth)
    begin = chance.random()
    for number in range(wanted):
        training, place = places[int((number + begin) * len(places) / wanted)]
        yield Try(AT_OPERATION, f"{training.name}, {place}", _try(training, place=place))
    for _ in range(fifth):
        training = chance.choice(trainings)
        seconds = chance.uniform(0.0, training.whole.seconds)
        yield Try(AT_TIME, f"{training.name}, {seconds:.4f} s", _try(training, seconds=seconds))
    for _ in range(fifth):
        training = chance.choice(trainings)
        saved = training.whole.saved
        first = Place(chance.randrange(saved[1], saved[STEPS - 1]))
        second = Place(chance.randrange(SAVE_OPERATIONS), chance.choice((None, 0, 40, 300)), saving=True)
        yield Try(AGAIN, f"{training.name}, {first}, {second}", _try(training, again=second, place=first))


def _trainings(folder: Path) -> list[Training]:
    corpus, root, nothing, over = (
        write_names(folder),
        folder / "killed" / "runs",
        folder / "nothing",
        folder / "over",
    )
    nothing.mkdir()
    train = ("train", corpus, *RUN, *SETTINGS)
    # It also loads all that a training needs, once for all processes.
    command(*train, "--checkpoints", over)
    return [
        Training("of a file", root, nothing, train),
        Training("of standard input", root, nothing, ("train", "-", *RUN, *SETTINGS), stdin=TEXT),
        Training("over another", root, over, (*train, "--overwrite")),
    ]
