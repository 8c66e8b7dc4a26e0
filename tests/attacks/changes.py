"""Changes the corpus while it is read, while a model is trained on it, and afterwards.

The change is made just before one of the calls that open, read or look at files, or rename what was saved. So it
comes between any two of them, where another process may make it, and the same seed makes it there again.
"""

import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

from helpers_cli import NAMES, succeed
from report import Try
from starts import Ended, Forked, command, fault, json_fault

KIND = "corpus changed during or after training"
SECONDS = 10
MEMORY = 8 << 30
CALLS = {"open", "read", "readinto", "readline", "stat", "lstat", "listdir", "scandir", "rename", "replace"}

_SMALL = ("--json", "--quiet", "--seed", "1", "--threads", "1", "--hidden-size", "8", "--save-every", "2")
_TRAIN = ("train", "--steps", "5", "--name", "run", *_SMALL)
_RESUME = ("train", "--resume", "--name", "run", "--json", "--quiet")
TRAININGS = {
    "text.txt": (*_TRAIN, "text.txt"),
    "table.tsv": (*_TRAIN, "table.tsv", "--task", "classify", "--text-column", "text", "--label-column", "kind"),
}
COMMANDS = {
    "train": TRAININGS,
    "resume": dict.fromkeys(TRAININGS, _RESUME),
    "eval": dict.fromkeys(TRAININGS, ("eval", "run", "--json")),
    "novel": {"text.txt": ("sample", "run", "--novel", "-n", "2", "--max-chars", "20", "--json")},
}


def _anew(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "a.txt").write_text("kind\ttext\na\tabc\n")


def _overwrite(path: Path, new: bytes) -> None:
    with path.open("r+b") as file:
        file.write((new * path.stat().st_size)[: path.stat().st_size])


def _append(path: Path) -> None:
    with path.open("a") as file:
        file.write("a\tbc\n" * 50)


CHANGES: dict[str, Callable[[Path], object]] = {
    "appended to": _append,
    "cut to half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut to nothing": lambda path: os.truncate(path, 0),
    "replaced": lambda path: _anew(path, lambda path: path.write_text("kind\ttext\n" + "b\tcab\na\tabc\n" * 99)),
    "removed": Path.unlink,
    "replaced by a folder": lambda path: _anew(path, _folder),
    "replaced by an empty folder": lambda path: _anew(path, Path.mkdir),
    "replaced by a FIFO": lambda path: _anew(path, os.mkfifo),
    "replaced by a link to /dev/zero": lambda path: _anew(path, lambda path: path.symlink_to("/dev/zero")),
    "replaced by a link to itself": lambda path: _anew(path, lambda path: path.symlink_to(path)),
    "rewritten with the same size": lambda path: _overwrite(path, b"a\tbca\n"),
    "overwritten with NUL": lambda path: _overwrite(path, b"\0"),
}


def attack(tries: int, seed: int, folder: Path) -> Iterator[Try]:
    """Each change of a corpus, followed by a resumption of the run, is a try."""
    chance = random.Random(seed)
    place, errors = folder / "place", folder / "errors"
    for corpus in TRAININGS:
        _prepare(folder, corpus)
    calls: dict[tuple[str, str, bool], tuple[int, int]] = {}
    for _ in range(tries):
        name = chance.choice(list(COMMANDS))
        corpus = chance.choice(list(COMMANDS[name]))
        change = chance.choice(list(CHANGES))
        encoded = chance.random() < 0.5
        key = (name, corpus, encoded)
        if key not in calls:
            _restore(folder, *key)
            first, number = next(Forked(_Watched(place, name, corpus).count, errors).reports())
            # Someone who names a pipe for a new run wants it read; once the corpus is read nobody wants another.
            calls[key] = (first if name == "train" else 0, number)
        at = chance.randrange(*calls[key])
        _restore(folder, *key)
        child = Forked(_Watched(place, name, corpus, at, change).work, errors)
        doing, failure = "", None
        for doing, ended in child.reports():
            failure = failure or (ended and f"{doing}: {ended}")
        failure = failure or (child.death and f"{doing}: {child.death}")
        what = f"{name} of {corpus}{', encoded before' * encoded}, {change} before call {at} of {calls[key][1]}"
        yield Try(KIND, what, failure)


def _prepare(folder: Path, corpus: str) -> None:
    """A run that has stopped before its end, where its corpus is, and a copy to begin again from."""
    place = folder / "place"
    place.mkdir()
    lines = NAMES if corpus == "text.txt" else ["kind\ttext", *(f"{name[0]}\t{name}" for name in NAMES)]
    (place / corpus).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    with chdir(place):
        succeed(*TRAININGS[corpus], "--keep", "9")
    for step in (4, 5):
        shutil.rmtree(place / "checkpoints" / "run" / f"checkpoint-{step:08d}")
    (place / "checkpoints" / "run" / "best.json").unlink()
    place.rename(folder / corpus.removesuffix(Path(corpus).suffix))


def _restore(folder: Path, name: str, corpus: str, encoded: bool) -> None:
    place = folder / "place"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / Path(corpus).stem, place)
    if name == "train":
        shutil.rmtree(place / "checkpoints" / "run")
    if not encoded:
        shutil.rmtree(place / "checkpoints" / ".corpus", ignore_errors=True)


class _Watched:
    """A command and its calls, before one of which the corpus is changed."""

    def __init__(self, place: Path, name: str, corpus: str, at: int | None = None, change: str = "") -> None:
        self._place, self._name, self._corpus, self._at, self._change = place, name, corpus, at, change
        self._calls = self._opened = 0

    def count(self, report: Callable[[Any], object]) -> None:
        """Reports the number of the first call after the corpus was opened, and the number of all calls."""
        sys.addaudithook(self._notice)
        assert self._run().code == 0
        report((self._opened + 1, self._calls))

    def work(self, report: Callable[[Any], object]) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
        report((self._name, None))
        signal.alarm(SECONDS)
        ended = self._run()
        if self._calls <= (self._at or 0):
            self._tamper()
        report((self._name, fault(ended, (0, 3)) or json_fault(ended.out)))
        report(("then resume", None))
        signal.alarm(SECONDS)
        # A training that refused its corpus may have left no run.
        codes = (0, 3, 4) if self._name == "train" and ended.code else (0, 3)
        report(("then resume", fault(command(*_RESUME), codes)))

    def _run(self) -> Ended:
        os.chdir(self._place)
        sys.setprofile(self._called)
        try:
            return command(*COMMANDS[self._name][self._corpus])
        finally:
            sys.setprofile(None)

    def _called(self, _frame: object, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in CALLS:
            if self._calls == self._at:
                self._tamper()
            self._calls += 1

    def _tamper(self) -> None:
        CHANGES[self._change](self._place / self._corpus)

    def _notice(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not self._opened and str(arguments[0]).endswith(self._corpus):
            self._opened = self._calls
