"""Changes a corpus while it is read, between training and resuming, and before it is read again.

A command does its work or says in one line what is wrong; it never waits for a pipe or reads a device.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helpers_cli import NAMES
from kills import RESUME, RUN, SETTINGS
from report import Try
from starts import SECONDS, Ended, Forked, command, fault

LINES = "".join(f"{name}\n" for name in NAMES)


def attack(tries: int, seed: int, folder: Path) -> Iterator[Try]:
    chance = random.Random(seed)
    corpus, root = folder / "corpus.txt", folder / "runs"
    train = ("train", corpus, *RUN, *SETTINGS)
    corpus.write_text(LINES, encoding="utf-8")
    begin = time.perf_counter()
    command(*train, "--checkpoints", folder / "trained")
    seconds = time.perf_counter() - begin
    for number in range(tries):
        name, change = CHANGES[number % len(CHANGES)]
        _restore(corpus)
        shutil.rmtree(root, ignore_errors=True)
        words = (train, RESUME, ("eval", "names"), ("sample", "names", "-n", "3", "--novel"))[number % 4]
        if words is train:
            when = chance.uniform(0.0, seconds)
            wrong = _run(words, root, folder, lambda change=change, when=when: _later(change, corpus, when))
            yield Try("corpus changed while it is read", f"try {number}, {name} after {when:.3f} s", wrong)
        else:
            shutil.copytree(folder / "trained", root)
            change(corpus)
            wrong = _run(words, root, folder, lambda: None)
            yield Try("corpus changed after training", f"try {number}, {name}, {words[0]}", wrong)


def _run(words: tuple[Any, ...], root: Path, folder: Path, begin: Callable[[], object]) -> str | None:
    """What is wrong with a command that has to end soon, whatever happens to its corpus."""

    def work(report: Callable[[Any], object]) -> None:
        signal.alarm(SECONDS)
        report(command(*words, "--checkpoints", root))

    process = Forked(work, folder / "errors")
    begin()
    ends = [Ended(*report) for report in process.reports()]
    return process.death or fault(ends[0], (0, 3, 4), data=words[0] == "sample")


def _later(change: Callable[[Path], object], corpus: Path, seconds: float) -> None:
    time.sleep(seconds)
    change(corpus)


def _restore(corpus: Path) -> None:
    _remove(corpus)
    corpus.write_text(LINES, encoding="utf-8")


def _remove(corpus: Path) -> None:
    if corpus.is_dir() and not corpus.is_symlink():
        shutil.rmtree(corpus)
    else:
        corpus.unlink(missing_ok=True)


def _append(corpus: Path) -> None:
    with corpus.open("a", encoding="utf-8") as file:
        file.write("another\n")


def _same_size(corpus: Path) -> None:
    corpus.write_text(LINES[::-1].lstrip("\n") + "\n", encoding="utf-8")


def _replaced_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(corpus: Path) -> None:
        _remove(corpus)
        make(corpus)

    return change


CHANGES: list[tuple[str, Callable[[Path], object]]] = [
    ("appended to", _append),
    ("cut short", lambda corpus: os.truncate(corpus, 100)),
    ("emptied", lambda corpus: os.truncate(corpus, 0)),
    ("other text of its size", _same_size),
    ("removed", _remove),
    ("now a folder", _replaced_by(Path.mkdir)),
    ("now a pipe", _replaced_by(os.mkfifo)),
    ("now a link to a device", _replaced_by(lambda corpus: corpus.symlink_to("/dev/zero"))),
    ("now a link to itself", _replaced_by(lambda corpus: corpus.symlink_to(corpus))),
    ("binary", lambda corpus: corpus.write_bytes(b"\0\xff" * 300)),
    ("without its permissions", lambda corpus: corpus.chmod(0)),
]
