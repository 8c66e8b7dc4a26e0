"""Many trainings that start at the same moment: under one name, and without a name."""

import json
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from helpers_cli import invoke, train, write_names
from report import Try

from charrnn.checkpoint import RunDirectory
from charrnn.checkpoint.atomic import is_temporary
from charrnn.errors import CharRNNError

SECONDS = 20
TOGETHER = 20
"""Trainings that start at one moment."""
STEPS = 30

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.err.rstrip("\n").split("\n")[-1]


def command(*arguments: str | Path, stdin: str | None = None) -> Ended:
    result = invoke(*arguments, stdin=stdin)
    return Ended(result.exit_code, result.stdout, result.stderr)


def fault(ended: Ended, codes: tuple[int, ...], *, data: bool = False) -> str | None:
    """What is wrong with the way a command ended; None if it did its work or refused in one line.

    codes: the exit codes that it may have. data: stdout is data, which may hold any character.
    """
    shown = ended.err if data else ended.out + ended.err
    if ended.code not in codes:
        return f"exit {ended.code}, {ended.last_line!r}"
    if "Warning: " in ended.err or "Traceback" in ended.err:
        return f"a warning, {ended.err!r}"
    if control := _CONTROL.search(shown):
        return f"{control[0]!a} in {shown[max(0, control.start() - 40) : control.end() + 10]!a}"
    if ended.code and not (ended.last_line.startswith("Error: ") and ended.err.count("\nError: ") < 2):
        return f"exit {ended.code} without one line that says why, {ended.err!r}"
    return None


def json_fault(out: str) -> str | None:
    """What is wrong with lines of JSON: one that is none, or a number in it that is not finite."""
    try:
        for line in out.splitlines():
            json.loads(line, parse_constant=_refuse, parse_float=_finite)
    except ValueError as error:
        return f"no strict JSON: {error}"
    return None


def _refuse(word: str) -> None:
    raise ValueError(f"it says {word}")


def _finite(number: str) -> float:
    found = float(number)
    if abs(found) == float("inf"):
        raise ValueError(f"it says {number}")
    return found


class Forked:
    """A forked process that works and reports in JSON. It begins with everything imported, so it is quick.

    Whoever works calls `signal.alarm` to limit the time: nothing in charrnn catches that signal.
    """

    def __init__(self, work: Callable[[Callable[[Any], object]], object], errors: Path) -> None:
        """errors: a file for what is written to stderr without Python's knowing, or when the work fails."""
        self._errors = errors
        read, write = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(read)
            _work(work, write, errors)
        os.close(write)
        self._reports = os.fdopen(read, encoding="utf-8")

    def reports(self) -> Iterator[Any]:
        """What the process reports, until it ends; then `death` is known."""
        with self._reports as lines:
            for line in lines:
                # A process that dies in the middle of a line has not finished what the line says.
                if line.endswith("\n"):
                    yield json.loads(line)
        _, status = os.waitpid(self.pid, 0)
        self.death = self._death(os.waitstatus_to_exitcode(status))

    def _death(self, code: int) -> str | None:
        if code == -signal.SIGALRM:
            return "it never ended"
        end = f"it was killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}"
        said = self._errors.read_text(encoding="utf-8", errors="replace").strip()
        return f"{end}, {said[-500:]!r}" if code or said else None


def _work(work: Callable[[Callable[[Any], object]], object], write: int, errors: Path) -> None:
    """Works in the child, which never returns to the caller's code."""
    code = 1
    try:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # Every warning is shown, on stderr and each time, whatever the test runner makes of warnings.
        warnings.resetwarnings()
        warnings.simplefilter("always")
        with os.fdopen(write, "w", encoding="utf-8") as file:
            work(lambda report: print(json.dumps(report), file=file, flush=True))
        code = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}".encode(errors="replace"))
    finally:
        os._exit(code)


def attack(tries: int, seed: int, folder: Path) -> Iterator[Try]:
    """Each start is a try, and so is what the starts of one moment leave together."""
    corpus = write_names(folder)
    train(folder / "warm", corpus, "--stop", "all")  # loads all that a training needs
    for number, begin in enumerate(range(0, tries, TOGETHER)):
        count = min(TOGETHER, tries - begin)
        root = folder / f"one-{number}"
        kind, name = "starts of one name", "names"
        ends = _together(root, corpus, count, seed, "--name", name)
        for start, ended in enumerate(ends):
            yield Try(kind, f"round {number}, start {start} of {count}", _loser_or_winner(ended))
        trained = sum(ended.code == 0 for ended in ends if isinstance(ended, Ended))
        wrong = _not_whole(root / name) if trained == 1 else f"{trained} of them trained"
        yield Try(kind, f"round {number}, the run", wrong)

        root = folder / f"any-{number}"
        kind = "starts without a name"
        ends = _together(root, corpus, count, seed)
        for start, ended in enumerate(ends):
            wrong = ended if isinstance(ended, str) else fault(ended, (0,)) or json_fault(ended.out)
            yield Try(kind, f"round {number}, start {start} of {count}", wrong)
        names = {json.loads(ended.out)["run"] for ended in ends if isinstance(ended, Ended) and ended.code == 0}
        wrong = None if len(names) == count else f"{count} starts made only the runs {sorted(names)}"
        yield Try(
            kind, f"round {number}, the runs", wrong or next(filter(None, map(_not_whole, root.glob("n*"))), None)
        )


def _together(root: Path, corpus: Path, count: int, seed: int, *options: str) -> list[Ended | str]:
    """How `count` trainings end that start when all their processes are there; a text if one has died."""
    wait, release = os.pipe()

    def start(report: Callable[[Any], object]) -> None:
        os.close(release)
        os.read(wait, 1)
        signal.alarm(3 * SECONDS)  # they share the cores
        report(
            command(
                "train", corpus, "--checkpoints", root, "--json", "--quiet", "--seed", str(seed),
                "--threads", "1", "--hidden-size", "8", "--steps", str(STEPS), *options,
            )
        )  # fmt: skip

    root.mkdir()
    children = [Forked(start, root.with_name(f"errors-{number}")) for number in range(count)]
    os.close(wait)
    os.close(release)
    found: list[Ended | str] = []
    for child in children:
        ends = [Ended(*report) for report in child.reports()]
        found.append(child.death or ends[0])
    return found


def _loser_or_winner(ended: Ended | str) -> str | None:
    if isinstance(ended, str):
        return ended
    return fault(ended, (0, 2, 7)) or (json_fault(ended.out) if ended.code == 0 else None)


def _not_whole(path: Path) -> str | None:
    """What is wrong with a run that has been trained to its end."""
    run = RunDirectory(path)
    try:
        for step in run.steps():
            found = run.select(step)
            found.verify()
        steps = [row["step"] for row in run.metrics(dict[str, Any])]
    except CharRNNError as error:
        return str(error)
    if run.steps()[-1] != STEPS:
        return f"its last checkpoint is {run.steps()[-1]} of {STEPS}"
    if steps != sorted(set(steps)) or steps[-1] != STEPS:
        return f"its rows of metrics are of the steps {steps}"
    left = [name for name in os.listdir(path) if is_temporary(name)]
    return f"left behind: {left}" if left else None
