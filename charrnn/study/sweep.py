"""Attempts with every design at every span with every seed, several at a time, none made twice.

An interrupted sweep continues where it stopped, because finished attempts are kept in a file
(`charrnn.study.attempts.AttemptLog`). An attempt depends on its trial alone, not on how many run in parallel.
"""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import msgspec
import torch

from charrnn.errors import CharRNNError, UsageError
from charrnn.study.attempts import AttemptLog, Design, Outcome, Trial, attempt
from charrnn.study.problems import PROBLEMS

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TICK_SECONDS = 0.5

Notify = Callable[[str, float], object]


def grid(
    problem: str, designs: Mapping[str, Design], spans: Sequence[int], seeds: Sequence[int], steps: int
) -> list[tuple[str, Trial]]:
    """Every trial with the label of its design, ordered by seed, then by span as given.

    Raises UsageError for a design that cannot be built or a span below the problem's shortest.
    """
    shortest = PROBLEMS[problem].shortest_span
    for span in spans:
        if span < shortest:
            raise UsageError(f"--span {span}: {problem} needs at least {shortest}")
    for label, design in designs.items():
        try:
            attempt(Trial(problem=problem, span=max(2, shortest), seed=0, steps=1, design=design))
        except ValueError as error:
            raise UsageError(f"{label}: {error}") from error
    return [
        (label, Trial(problem=problem, span=span, seed=seed, steps=steps, design=design))
        for seed in seeds
        for span in spans
        for label, design in designs.items()
    ]


@dataclass
class Sweep:
    """Runs the trials that are not done yet, `jobs` at a time."""

    trials: Sequence[tuple[str, Trial]]
    done: AttemptLog
    jobs: int = 1
    notify: Notify = lambda _what, _share: None
    """Called with the current task and the share of all work that is done."""

    def outcomes(self) -> Iterator[tuple[str, Trial, Outcome]]:
        """Yields label, trial and outcome: first the known outcomes, then the others as their attempts end.

        Two labels of one design share its attempts. Raises CharRNNError if a worker process is lost.
        """
        waiting: dict[bytes, Trial] = {}
        labels: dict[bytes, list[str]] = {}
        for label, trial in self.trials:
            outcome = self.done.outcome(trial)
            if outcome is None:
                waiting[trial.key] = trial
                labels.setdefault(trial.key, []).append(label)
            else:
                yield label, trial, outcome
        pace = _Pace(waiting, self.notify)
        run = _in_turn if self.jobs == 1 else _side_by_side
        for trial, outcome in run(list(waiting.values()), self.jobs, pace):
            self.done.add(trial, outcome)
            for label in labels[trial.key]:
                yield label, trial, outcome


@dataclass
class _Pace:
    """How much is done and how long the rest takes at most, judged by the time steps computed so far."""

    trials: Mapping[bytes, Trial]
    notify: Notify
    _begun: float = field(default_factory=time.monotonic)
    _steps: dict[bytes, int] = field(default_factory=dict)
    _ended: set[bytes] = field(default_factory=set)

    def took(self, trial: Trial, steps: int, *, ended: bool = False) -> None:
        self._steps[trial.key] = steps
        if ended:
            self._ended.add(trial.key)

    def tell(self) -> None:
        made = left = total = 0
        for key, trial in self.trials.items():
            steps, length = self._steps.get(key, 0), trial.span + 1
            made += steps * length
            left += 0 if key in self._ended else (trial.steps - steps) * length
            total += trial.steps * length
        what = f"{len(self._ended)} of {len(self.trials)} attempts"
        if made:
            minutes, seconds = divmod(round(left * (time.monotonic() - self._begun) / made), 60)
            what += f", at most {minutes}:{seconds:02} left"
        self.notify(what, 1.0 - left / max(1, total))


Ended = Iterator[tuple[Trial, Outcome]]


def _in_turn(trials: Sequence[Trial], _jobs: int, pace: _Pace) -> Ended:
    """Runs the trials in this process, one after another."""

    def heard(trial: Trial, steps: int) -> None:
        pace.took(trial, steps)
        pace.tell()

    with _one_thread():
        for trial in trials:
            pace.tell()
            outcome = attempt(trial, partial(heard, trial))
            pace.took(trial, outcome.steps, ended=True)
            yield trial, outcome


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _side_by_side(trials: Sequence[Trial], jobs: int, pace: _Pace) -> Ended:
    """Runs the trials in single-threaded processes, each fed by a thread of this process that mostly waits."""
    waiting: queue.SimpleQueue[Trial] = queue.SimpleQueue()
    for trial in trials:
        waiting.put(trial)
    heard: queue.SimpleQueue[tuple[Trial, int | Outcome | CharRNNError]] = queue.SimpleQueue()
    processes = [_begin() for _ in range(min(jobs, len(trials)))]
    feeding = [
        threading.Thread(target=_feed, args=(process, waiting, heard), daemon=True) for process in processes
    ]
    for thread in feeding:
        thread.start()
    try:
        left = len(trials)
        while left:
            pace.tell()
            try:
                trial, news = heard.get(timeout=TICK_SECONDS)
            except queue.Empty:
                continue
            if isinstance(news, CharRNNError):
                raise news
            if isinstance(news, int):
                pace.took(trial, news)
                continue
            pace.took(trial, news.steps, ended=True)
            left -= 1
            yield trial, news
    finally:
        for process in processes:
            process.terminate()
        for process, thread in zip(processes, feeding, strict=True):
            with process:  # Closes its pipes once it has ended and no thread reads from them.
                thread.join()


def _begin() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "charrnn.study.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **dict.fromkeys(THREADS, "1")},
        start_new_session=True,  # A Ctrl-C then reaches this process alone.
    )


def _feed(
    process: "subprocess.Popen[bytes]",
    waiting: "queue.SimpleQueue[Trial]",
    heard: "queue.SimpleQueue[tuple[Trial, int | Outcome | CharRNNError]]",
) -> None:
    """Sends trials to a process, one after another, and puts its replies on the queue `heard`."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    while True:
        try:
            trial = waiting.get_nowait()
        except queue.Empty:
            return
        with suppress(OSError):  # If the process is gone, its output shows it.
            process.stdin.write(msgspec.json.encode(trial) + b"\n")
            process.stdin.flush()
        for line in process.stdout:
            news = msgspec.json.decode(line, type=int | Outcome)
            heard.put((trial, news))
            if isinstance(news, Outcome):
                break
        else:
            said = process.stderr.read().decode(errors="replace").strip().splitlines()
            reason = said[-1] if said else f"it ended with code {process.wait()}"
            heard.put((trial, CharRNNError(f"{trial.problem}, span {trial.span}, seed {trial.seed}: {reason}")))
            return


# Summary ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Successes:
    """The attempts of one design at one span."""

    label: str
    span: int
    attempts: int
    solved: int
    median_steps: float | None
    """Steps to success, over the attempts that succeeded; None if none did."""
    median_loss: float | None
    """The final loss on fresh rows, over all attempts; None if the median is that of one that diverged."""


def summary(label: str, span: int, outcomes: Sequence[Outcome]) -> Successes:
    """Every attempt counts. One that diverged counts as having an infinite loss."""
    steps = [outcome.steps for outcome in outcomes if outcome.solved]
    losses = [float("inf") if outcome.loss is None else outcome.loss for outcome in outcomes]
    middle = median(losses)
    return Successes(
        label=label,
        span=span,
        attempts=len(outcomes),
        solved=len(steps),
        median_steps=median(steps) if steps else None,
        median_loss=middle if middle < float("inf") else None,
    )
