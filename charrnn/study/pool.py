"""Long tasks side by side, each in a process of its own, with one clock over all of them."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from charrnn.errors import CharRNNError
from charrnn.training.threads import limit_omp_spinning
from charrnn.words import clock, count

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TICK_SECONDS = 0.2

Task = TypeVar("Task")
Result = TypeVar("Result")
Notify = Callable[[str, float], object]


class CancelledError(Exception):
    """Raised by a task that ends early because it is cancelled; nobody waits for its result."""


@dataclass
class Report:
    """A task's progress: call it with the share that is done, 0 to 1."""

    send: Callable[[float], object]
    cancelled: Callable[[], bool]
    """Whether nobody waits for the result any more: the task should save what it has, and end."""
    _sent_at: float = -float("inf")

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now - self._sent_at > TICK_SECONDS:
            self._sent_at = now
            self.send(share)


def results(
    work: Callable[[Task, Report], Result],
    tasks: Sequence[Task],
    costs: Sequence[float],
    *,
    processes: int,
    threads: int | None,
    noun: str,
    notify: Notify,
) -> Iterator[tuple[Task, Result]]:
    """Yields each task with its result, in the order in which they end; closing the iterator cancels the rest.

    work: a function of a module, as it is sent to other processes.
    costs: how long the tasks take at most, in any unit, to estimate the time that is left.
    processes: 0 does the tasks one after another in this process.
    threads: of each process; None leaves them to the task.

    Raises what the work raises, and CharRNNError if a process is lost.
    """
    progress = _Clock(costs, noun, notify)
    progress.tell()
    if not processes:
        for number, task in enumerate(tasks):
            result = work(task, Report(lambda share, n=number: progress.reached(n, share), lambda: False))  # type: ignore[misc]
            progress.ended.add(number)
            yield task, result
        return
    context = multiprocessing.get_context("spawn")
    with _to_this_process_only({signal.SIGHUP}):
        resource_tracker.ensure_running()  # It ignores SIGINT itself, and unblocks it here.
    with _to_this_process_only({signal.SIGINT, signal.SIGHUP}):
        news, closing = context.SimpleQueue(), context.Event()
        executor = ProcessPoolExecutor(
            min(processes, max(1, len(tasks))), context, initializer=_enter, initargs=(news, closing, threads)
        )
        running = {executor.submit(_do, work, number, task): number for number, task in enumerate(tasks)}
    try:
        while running:
            done, _ = wait(running, TICK_SECONDS, FIRST_COMPLETED)
            while not news.empty():
                progress.reached(*news.get())
            for future in done:
                number = running.pop(future)
                progress.ended.add(number)
                yield tasks[number], future.result()
            progress.tell()
    except BrokenProcessPool as error:
        raise CharRNNError("a process ended without a result: was it killed, or is memory short?") from error
    finally:
        closing.set()
        executor.shutdown(cancel_futures=True)


@contextmanager
def _to_this_process_only(signals: set[signal.Signals]) -> Iterator[None]:
    """Blocks signals, and so for good in the processes that are started meanwhile.

    Ctrl-C and a closed terminal reach every process; the first one decides.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class _Clock:
    """How much is done and how long the rest takes at most, judged by what was done so far."""

    costs: Sequence[float]
    noun: str
    notify: Notify
    ended: set[int] = field(default_factory=set)
    _shares: dict[int, float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    def reached(self, number: int, share: float) -> None:
        self._shares[number] = share
        self.tell()

    def tell(self) -> None:
        made = sum(share * self.costs[number] for number, share in self._shares.items())
        # A task may end early, so what it did is less than its cost.
        left = sum(
            (1.0 - self._shares.get(number, 0.0)) * cost
            for number, cost in enumerate(self.costs)
            if number not in self.ended
        )
        what = f"{len(self.ended)} of {count(len(self.costs), self.noun)}"
        if made:
            what += f", at most {clock(left * (time.monotonic() - self._begun) / made)} left"
        self.notify(what, 1.0 - left / max(sum(self.costs), 1e-9))


# In another process ----------------------------------------------------------------------------------------

_shared: Any = None


def _enter(news: Any, closing: Any, threads: int | None) -> None:
    """Prepares a process, before NumPy and torch are loaded."""
    global _shared
    _shared = (news, closing)
    os.environ |= dict.fromkeys(THREADS, str(threads)) if threads else {"OPENBLAS_NUM_THREADS": "1"}
    limit_omp_spinning()


def _do(work: Callable[[Any, Report], Any], number: int, task: Any) -> Any:
    news, closing = _shared
    return work(task, Report(lambda share: news.put((number, share)), closing.is_set))
