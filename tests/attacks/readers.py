"""Reads a run while another process saves and removes its checkpoints as fast as it can."""

import os
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from helpers_cli import train, write_names
from report import Try
from starts import SECONDS, Forked, command, fault, json_fault

import charrnn
from charrnn.checkpoint import Checkpoint, RunDirectory, RunWriter, resolve_checkpoint

KIND = "read while checkpoints are rotated"


def attack(tries: int, seed: int, folder: Path) -> Iterator[Try]:
    """Each read is a try; so is the writing."""
    train(folder / "runs", write_names(folder), "--stop", "all", "--name", "names")
    run = RunDirectory(folder / "runs" / "names")
    checkpoint = resolve_checkpoint(str(run.path), run.path)
    files = {name: (checkpoint.path / name).read_bytes() for name in checkpoint.manifest.files}
    writer = Forked(lambda report: _write(run.path, files, report), folder / "errors")
    reports = writer.reports()
    next(reports)  # it has begun
    before = signal.signal(signal.SIGALRM, _give_up)
    try:
        reads = _reads(run)
        for number in range(tries):
            what = list(reads)[(number + seed) % len(reads)]
            yield Try(KIND, f"read {number}, {what}", _read(reads[what]))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        # It saves at least once a read, or there was nothing to be seen.
        last = max(run.steps(), default=0)
        os.kill(writer.pid, signal.SIGTERM)
        list(reports)
    ended = "it was killed by SIGTERM, ''"
    wrong = f"only {last} checkpoints for {tries} reads" if last < tries // 10 else None
    yield Try(KIND, "the writer", wrong if writer.death == ended else writer.death)


def _write(path: Path, files: dict[str, bytes], report: Callable[[Any], object]) -> None:
    """Saves one checkpoint after another, each better than those before it, and keeps one."""
    os.fsync = lambda _descriptor: None  # type: ignore[assignment]
    with RunWriter.open(path) as writer:
        first = writer.steps()[-1] + 1
        for step in count(first):
            writer.append_metrics({"step": step, "epoch": 0.0, "loss": 1.0, "elapsed_seconds": 0.0})
            writer.save_checkpoint(step, files)
            writer.write_best(step, 1 / step)
            writer.rotate(keep=1)
            if step == first:
                report("begun")


def _reads(run: RunDirectory) -> dict[str, Callable[[], str | None]]:
    """The ways to read a run, each of which says what was wrong."""

    def loaded(checkpoint: Checkpoint) -> None:
        checkpoint.json("config.json", dict)

    def shown(*arguments: str | Path) -> str | None:
        ended = command(*arguments, "--checkpoints", run.path.parent)
        return fault(ended, (0,)) or (json_fault(ended.out) if "--json" in arguments else None)

    return {
        "charrnn.load": lambda: charrnn.load(run.path) and None,
        "charrnn.load, the last": lambda: charrnn.load(run.path, checkpoint="last") and None,
        "charrnn.load, the newest run": lambda: charrnn.load(checkpoints=run.path.parent) and None,
        "select the best": lambda: loaded(run.select("best")),
        "select the last": lambda: loaded(run.select("last")),
        "info": lambda: shown("info", "--json"),
        "info of the run": lambda: shown("info", run.name),
        "sample": lambda: shown("sample", run.name, "--max-chars", "20"),
    }


def _read(read: Callable[[], str | None]) -> str | None:
    signal.alarm(SECONDS)
    try:
        return read()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def _give_up(_number: int, _frame: object) -> None:
    raise TimeoutError("it never ended")
