"""Tasks for other processes, which import them by this file's name."""

import os
import time
from pathlib import Path

from charrnn.errors import CorpusError
from charrnn.study.pool import THREADS, CancelledError, Report


def double(task: int, report: Report) -> int:
    report(0.5)
    return 2 * task


def environment(_task: int, _report: Report) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in THREADS}


def fail(_task: int, _report: Report) -> None:
    raise CorpusError("names.txt: is gone")


def die(_task: int, _report: Report) -> None:
    os._exit(9)


def wait_and_write(task: Path, report: Report) -> None:
    """Ends only when cancelled."""
    task.touch()
    while not report.cancelled():
        time.sleep(0.01)
    task.write_text("saved")
    raise CancelledError


def at_once(task: int | Path, report: Report) -> int | None:
    return wait_and_write(task, report) if isinstance(task, Path) else task
