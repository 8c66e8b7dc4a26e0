"""Signals every command in every phase: Ctrl-C, SIGTERM, SIGHUP, a reader that goes away, and Ctrl-C twice.

A command ends soon, with the exit code of the signal and at most one line that says so. A training that had begun
has saved, is whole, and goes on to the end that it would have had. No process is left behind.
"""

import errno
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import IO, NamedTuple

from helpers_cli import train, write_names
from kills import RUN, SETTINGS, Training
from report import Try
from starts import Ended, fault

from charrnn.checkpoint import RunDirectory
from charrnn.errors import CharRNNError
from charrnn.study.attempts import AttemptLog

SECONDS = 60
"""A command that takes longer than this, to its phase or to its end, never ends."""
TWICE = "Ctrl-C twice"
SIGNALS = {"SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM, "SIGHUP": signal.SIGHUP, "SIGPIPE": signal.SIGPIPE}

_PROGRAM = """
import importlib, os, signal, sys
module, name, number, here, go = sys.argv[1:6]
sys.argv[:6] = ["charrnn"]
number, here, go = int(number), int(here), int(go)
signal.signal(signal.SIGINT, signal.default_int_handler)
for other in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(other, signal.SIG_DFL)
if not name:
    class Watch:
        def find_spec(self, found, *_):
            if found == module:
                stop()
sys.dont_write_bytecode = True
def stop():
    global number
    number -= 1
    if number == 0:
        os.write(here, b"!")
        os.read(go, 1)
if name:
    *above, last = name.split(".")
    owner = importlib.import_module(module)
    for part in above:
        owner = getattr(owner, part)
    real = getattr(owner, last)
    def call(*args, **kwargs):
        stop()
        return real(*args, **kwargs)
    setattr(owner, last, call)
elif module:
    sys.meta_path.insert(0, Watch())
from charrnn.cli import main
main()
"""
"""Runs a command that says when it imports a module, or calls a function for the n-th time, and waits there."""

TRAIN, OTHER = "train", "other commands"


class Phase(NamedTuple):
    what: str
    words: tuple[str, ...]
    """The command; FIFO, RUNS, LINES stand for paths."""
    module: str = ""
    name: str = ""
    """The function of the module that is about to be called; empty: the module is about to be imported."""
    number: int = 1
    saves: bool = False
    """A signal lets the command save and stop, and a second one stops it at once."""
    signals: tuple[str, ...] = tuple(SIGNALS)


_TRAIN = ("train", "LINES", *RUN, *SETTINGS)
_STATES = ("study", "states", "all", "LINES")
_COMPARE = ("study", "compare", "LINES", "--cell", "tanh", "--cell", "gru", "--", "--hidden-size", "8", "--steps")
_SPAN = ("study", "span", "--cell", "tanh", "--span", "25", "--seeds", "2", "--jobs", "1", "--steps", "3000")
_LOOP, _WRITER, _KILLS = "charrnn.training.loop", "charrnn.checkpoint.run_writer", ("SIGINT", "SIGTERM", "SIGHUP")
PHASES = (
    Phase("importing the command", _TRAIN, "charrnn.cli.train"),
    Phase("importing torch", _TRAIN, "torch.nn"),
    Phase("reading a pipe", ("train", "FIFO", *RUN, *SETTINGS)),
    Phase("reading the corpus", _TRAIN, "charrnn.corpus.readers", "TextReader._decode"),
    Phase(
        "a trial of the machine",
        ("train", "LINES", "--quiet"),
        "charrnn.tasks.generate.trial",
        "_chars_per_second",
    ),
    Phase("creating the run", _TRAIN, _WRITER, "RunWriter.write_run"),
    Phase("the first step", _TRAIN, _LOOP, "Loop._step", 1, True),
    Phase("training", _TRAIN, _LOOP, "Loop._step", 3, True),
    Phase("validation", _TRAIN, _LOOP, "Loop._validate", 1, True),
    Phase("a row of metrics", _TRAIN, _WRITER, "RunWriter.append_metrics", 2, True),
    Phase("a save", _TRAIN, _WRITER, "RunWriter.save_checkpoint", 2, True),
    Phase("inside a save", _TRAIN, "os", "fsync", 15, True),
    Phase("inside the first save", _TRAIN, "os", "replace", 2, True),
    Phase("removing a checkpoint", _TRAIN, _WRITER, "remove_directory", 1, True),
    Phase("the report at the end", _TRAIN, "charrnn.cli.train", "write_json"),
    Phase("importing NumPy", ("sample", "all"), "numpy"),
    Phase("drawing", ("sample", "all", "-n", "100000"), "charrnn.cli.sample", "Writer._written", 300),
    Phase("drawing one text", ("sample", "all", "--num-chars", "30"), "charrnn.cli.sample", "Writer.stream"),
    Phase("waiting for a line", ("score", "all")),
    Phase("scoring", ("score", "all", "LINES"), "charrnn.cli.score", "plain_line", 20),
    Phase("waiting for a line", ("predict", "tag")),
    Phase("measuring", ("eval", "all"), "charrnn.cli.eval", "Progress.__call__", 2),
    Phase("printing", ("info", "all", "-v"), "charrnn.cli.info", "print_facts"),
    Phase(
        "measuring", ("study", "gradients", "all", "LINES"), "charrnn.cli.study_gradients", "Progress.__call__", 2
    ),
    Phase("measuring", _STATES, "charrnn.cli.study_states", "Progress.__call__", 1),
    Phase("starting", (*_COMPARE, "20"), "charrnn.cli.study_compare", "Progress.__call__", 3),
    Phase("training", (*_COMPARE, "100000"), "charrnn.cli.study_compare", "Progress.__call__", 30, signals=_KILLS),
    Phase("training", _SPAN, "charrnn.cli.study_span", "Progress.__call__", 20, signals=_KILLS),
)


def attack(tries: int, seed: int, folder: Path) -> Iterator[Try]:
    """Each phase with each signal, in a random order; phases inside a save differ when they come again."""
    chance = random.Random(seed)
    corpus, nothing = write_names(folder), folder / "nothing"
    nothing.mkdir()
    train(folder / "runs", corpus, "--stop", "all", "--name", "all")
    table = folder / "tags.tsv"
    table.write_text("".join(f"ab{n}\tAB{n}\n" for n in range(40)), encoding="utf-8")
    train(folder / "runs", table, "--task", "tag", "--name", "tag")
    training = Training("of a file", folder / "stopped" / "runs", nothing, ("train", corpus, *RUN, *SETTINGS))
    cases = [(phase, name) for phase in PHASES for name in (*phase.signals, *([TWICE] if phase.saves else []))]
    made = 0
    for around in count():
        for phase, name in chance.sample(cases, len(cases)):
            if around and phase.name == "fsync":
                phase = phase._replace(number=chance.randrange(15, 41))
            kind = f"{name}: {TRAIN if phase.words[0] == TRAIN else OTHER}"
            yield Try(
                kind,
                f"{' '.join(phase.words[:2])}, {phase.what} {phase.number}",
                _try(phase, name, training, folder),
            )
            made += 1
            if made == tries:
                return


def _try(phase: Phase, name: str, training: Training, folder: Path) -> str | None:
    trains = phase.words[0] == TRAIN
    training.begin()
    root = training.root if trains else folder / "runs"
    if phase.words[:2] in (_COMPARE[:2], _SPAN[:2]):
        root = folder / "studied"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
    fifo = folder / "pipe"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    paths = {"FIFO": str(fifo), "LINES": str(folder / "names.txt")}
    words = tuple(paths.get(word, word) for word in phase.words)
    root_words = ("--checkpoints", str(root))
    at = words.index("--") if "--" in words else len(words)
    words = (*words[:at], *root_words, *words[at:])
    if trains and name in ("SIGPIPE", TWICE):
        words = tuple(word for word in words if word != "--quiet")  # or nothing is written that nobody reads
    command = Interrupted(words, phase, folder, piped=name == "SIGPIPE")
    try:
        wrong = command.reach(fifo) or command.interrupt(name)
    finally:
        command.close()
    wrong = wrong or _fault(command, phase, name)
    if wrong is None and "LINES" in phase.words and "names" in phase.words:
        wrong = training.fault_when_killed(0) or training.fault_when_continued()
    return wrong or (None if trains else _not_whole(root))


class Interrupted:
    """A command in a process group of its own, until it is interrupted in its phase."""

    def __init__(self, words: tuple[str, ...], phase: Phase, folder: Path, *, piped: bool) -> None:
        """piped: its output goes to pipes that nobody reads, and not to files."""
        self._phase, self._folder = phase, folder
        (self._here, here), (go, self._go) = os.pipe(), os.pipe()
        self._out, self._err = folder / "stdout", folder / "stderr"
        arguments = (phase.module, phase.name, str(phase.number), str(here), str(go))
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *arguments, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if piped else out,
                stderr=subprocess.PIPE if piped else err,
                pass_fds=(here, go),
                start_new_session=True,
            )
        os.close(here)
        os.close(go)
        self._written: list[int] = []

    def reach(self, fifo: Path) -> str | None:
        """Waits until the command is in its phase; says if it never is."""
        if self._phase.module:
            ready, _, _ = select.select([self._here], [], [], SECONDS)
            reached = bool(ready and os.read(self._here, 1))
        elif str(fifo) in self.process.args:  # type: ignore[operator]
            reached = self._until(lambda: self._write_to(fifo))
        else:
            assert self.process.stdin is not None
            self.process.stdin.write(b"ab\nba\n")
            self.process.stdin.flush()
            reached = self._until(self._wrote)
        return None if reached else f"it never came so far, exit {self.process.poll()}, {self.err[-300:]!r}"

    def interrupt(self, name: str) -> str | None:
        """Sends the signal and waits for the end; says if there is none."""
        if name == "SIGPIPE":
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()
        else:
            self._send(signal.SIGINT if name == TWICE else SIGNALS[name])
        if name == TWICE:
            if not self._until(lambda: "stopping" in self.err):
                return f"nothing was said of the first Ctrl-C, {self.err!r}"
            self._send(signal.SIGINT)
        with suppress(BrokenPipeError):  # It has ended already.
            os.write(self._go, b"!")
        if name == "SIGPIPE":
            self._end_input()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            return f"it went on, {self.err!r}"
        # Processes that it has started end a moment later.
        return None if self._until(lambda: not self._left()) else "it left processes behind"

    def close(self) -> None:
        """Ends what is left of it."""
        if self._left():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._close(self.process.stdin, self.process.stdout, self.process.stderr)
        self._close(None, self._here, self._go, *self._written)

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8", errors="replace")

    def _send(self, number: int) -> None:
        # The terminal signals all processes; `kill` and a system that shuts down only the first.
        (os.kill if number == signal.SIGTERM else os.killpg)(self.process.pid, number)

    def _left(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _end_input(self) -> None:
        """One more line to be answered, to whom nobody listens."""
        if self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.write(b"ab\n")
            self._close(self.process.stdin, *self._written)

    def _wrote(self) -> bool:
        # stdout may be a pipe that nobody has read yet.
        stream = self.process.stdout
        return bool(select.select([stream], [], [], 0)[0]) if stream is not None else self._out.stat().st_size > 0

    def _write_to(self, fifo: Path) -> bool:
        """Writes a part of a corpus, once the command has opened the pipe."""
        try:
            end = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return False
            raise
        self._written.append(end)
        return os.write(end, b"ab\nba\n" * 1000) > 0

    def _until(self, happened: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + SECONDS
        while not (done := happened()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return done

    @staticmethod
    def _close(stream: IO[bytes] | None, *others: int | IO[bytes] | None) -> None:
        for one in (stream, *others):
            with suppress(OSError):  # It was closed before, or its reader has gone.
                os.close(one) if isinstance(one, int) else one and one.close()


def _fault(command: Interrupted, phase: Phase, name: str) -> str | None:
    """What is wrong with how it ended."""
    code, err = command.process.returncode, command.err
    number = SIGNALS.get(name, signal.SIGINT)
    codes = [128 + number]
    if number in (signal.SIGTERM, signal.SIGHUP) and not phase.saves:
        codes.append(-number)  # The signal's own effect, where there is nothing to save.
    if code not in codes:
        return f"exit {code}, {err[-300:]!r}"
    quiet = name != TWICE and phase.words[0] == TRAIN
    if wrong := fault(Ended(0, "", err), (0,)):
        return wrong
    if quiet and err.count("\n") > 1:
        return f"more than one line, {err!r}"
    if phase.saves and name in ("SIGINT", "SIGTERM", "SIGHUP") and "and saved; go on with: " not in err:
        return f"it does not say how to go on, {err!r}"
    return None


def _not_whole(root: Path) -> str | None:
    """What is wrong with the runs and the attempts in a folder."""
    try:
        for path in root.iterdir():
            run = RunDirectory(path)
            for step in run.steps():
                run.select(step).verify()
        for path in root.glob(".span/*"):
            AttemptLog(path).close()
    except CharRNNError as error:
        return str(error)
    return None
