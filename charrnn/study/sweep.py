"""Attempts with every design at every span with every seed, several at a time, none made twice.

An interrupted sweep continues where it stopped, because finished attempts are kept in a file
(`charrnn.study.attempts.AttemptLog`). An attempt depends on its trial alone, not on how many run in parallel.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch

from charrnn.errors import UsageError
from charrnn.study.attempts import AttemptLog, Design, Outcome, Trial, attempt
from charrnn.study.pool import CancelledError, Notify, Report, results
from charrnn.study.problems import PROBLEMS


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
        ended = results(
            _attempt,
            list(waiting.values()),
            [trial.steps * (trial.span + 1) for trial in waiting.values()],
            processes=self.jobs if self.jobs > 1 else 0,
            threads=1,
            noun="attempt",
            notify=self.notify,
        )
        for trial, outcome in ended:
            self.done.add(trial, outcome)
            for label in labels[trial.key]:
                yield label, trial, outcome


def _attempt(trial: Trial, report: Report) -> Outcome:
    def notify(steps: int) -> None:
        if report.cancelled():
            raise CancelledError
        report(steps / trial.steps)

    with _one_thread():
        return attempt(trial, notify)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
