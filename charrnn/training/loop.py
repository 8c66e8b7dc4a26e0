"""The training loop. It knows no task: it is handed something that yields losses and can be validated.

The run is a function of the step: the data, the dropout masks and the learning rate of step n depend on n
and the seed alone. Saving, validating and showing never touch them, which is why a run that was killed and
resumed ends in the same weights, bit for bit.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from charrnn.errors import DivergedError
from charrnn.training.schedule import OVERRUN, START_SHARE, Schedule, steps_within

VALIDATIONS = 10
"""Full validation passes in a run of known length, unless it says otherwise."""

VALIDATION_SHARE = 0.1
"""Share of a budget in minutes that validation and saving may take."""

PLANNED_SHARE = 0.95
"""Share of a budget in minutes that is planned; saves, samples and slower stretches take the rest."""

SAVE_SECONDS = 60.0
"""A run that validates more seldom than this is saved in between."""

DIVERGED_NATS = 100.0
"""A window that costs more than this a symbol is beyond repair: the uniform model costs at most 14."""

METRIC_ROWS = 200
"""Rows of metrics in a run, beside those of its validations."""


class Learner(Protocol):
    """What is trained, as the loop sees it."""

    @property
    def parameters(self) -> dict[str, torch.Tensor]: ...

    @property
    def epoch(self) -> float: ...

    def next_loss(self, step: int, share: float) -> tuple[torch.Tensor, float, int]:
        """Reads the next window: Σ nats, what to divide them by, and the characters read.

        share: how much of the run is done, 0 to 1; 0 while its length is unknown.

        The divisor is the usual number of terms, the same for all windows. Were it the window's own, the
        terms of sparse windows would weigh more than others, and as those hold the shortest sequences, a
        model would learn to end too early.
        """

    def validate(self) -> float | None:
        """The loss of a full pass over the validation text, nats per character, if there is one."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: all that the loop must remember beside parameters, optimiser and data."""

    schedule: Schedule
    step: int = 0
    elapsed_seconds: float = 0.0
    eval_every: int | None = None
    best_loss: float | None = None
    best_step: int | None = None
    validations_without_gain: int = 0
    early_stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """A row of `metrics.jsonl`."""

    step: int
    epoch: float
    loss: float
    """Training nats per character, endings paid for, the mean since the last row."""
    eval_loss: float | None = None
    eval_bits_per_char: float | None = None
    learning_rate: float
    grad_norm: float
    chars_per_second: float
    elapsed_seconds: float


class Observer(Protocol):
    """What the loop tells, and to whom it does not matter."""

    def planned(self, progress: Progress) -> None:
        """The number of steps has been fixed."""

    def stepped(self, progress: Progress, metrics: Metrics, seconds_left: float | None) -> None: ...

    def validating(self) -> None: ...

    def validated(self, progress: Progress, loss: float | None, improved: bool) -> None: ...

    def logged(self, metrics: Metrics) -> None:
        """A row for `metrics.jsonl`."""


Save = Callable[[Progress], None]


@dataclass
class _Window:
    """Sums since the last row of metrics."""

    nats: float = 0.0
    chars: int = 0
    seconds: float = 0.0
    grad_norm: float = 0.0


@dataclass
class Loop:
    learner: Learner
    optimizer: torch.optim.Optimizer
    progress: Progress
    observer: Observer
    save: Save
    grad_clip: float
    seconds: float | None = None
    """The budget in wall time, from the first to the last step, validations and saves included."""
    save_every: int | None = None
    patience: int | None = None
    should_stop: Callable[[], bool] = lambda: False
    """Asked after each step; a run that is told to stop has been saved when `run` returns."""
    _sums: _Window = field(default_factory=_Window)
    _step_seconds: list[float] = field(default_factory=list)

    def run(self) -> Progress:
        """Trains to the end of the budget. Raises DivergedError, leaving what was saved before."""
        self._clock = time.perf_counter() - self.progress.elapsed_seconds
        self._saved_at, self._saved_step = time.perf_counter(), self.progress.step
        while not self.finished:
            self._step()
            if self._budget_measured():
                self._fix_steps()
            elif self._validation_due():
                self._validate()
                self._save()
            elif self._row_due():
                self._log()
            if self.should_stop():
                break
            if self._save_due():
                self._save()
        if self._saved_step != self.progress.step:
            self._save()
        return self.progress

    @property
    def finished(self) -> bool:
        """Whether the budget is spent, or validation has not improved for too long."""
        progress = self.progress
        if progress.early_stopped:
            return True
        if progress.schedule.steps is not None and progress.step >= progress.schedule.steps:
            return True
        return self.seconds is not None and self._elapsed() > OVERRUN * self.seconds and progress.step > 0

    def _elapsed(self) -> float:
        return time.perf_counter() - self._clock

    def _step(self) -> None:
        begin = time.perf_counter()
        step = self.progress.step
        rate = self.progress.schedule.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        nats, terms, chars = self.learner.next_loss(step, self.progress.schedule.share(step))
        self.optimizer.zero_grad(set_to_none=True)
        (nats / max(terms, 1)).backward()  # type: ignore[no-untyped-call]
        parameters = list(self.learner.parameters.values())
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.grad_clip))
        value = float(nats.detach())
        if not (math.isfinite(norm) and value < DIVERGED_NATS * max(terms, 1)):
            raise DivergedError(
                f"training diverged at step {step + 1}: the loss is {value / max(terms, 1):.3g} nats per symbol, "
                f"its gradient's norm {norm:.3g}; what was saved before is kept; "
                f"try --learning-rate below {self.progress.schedule.peak:.2g}"
            )
        self.optimizer.step()
        took = time.perf_counter() - begin
        self._step_seconds.append(took)
        sums = self._sums
        sums.nats += value
        sums.chars += chars
        sums.seconds += took
        sums.grad_norm = norm
        self._advance(step=step + 1)
        self.observer.stepped(self.progress, self._metrics(), self._seconds_left())

    def _advance(self, **changes: object) -> None:
        self.progress = replace(self.progress, elapsed_seconds=self._elapsed(), **changes)  # type: ignore[arg-type]

    def _metrics(self, eval_loss: float | None = None) -> Metrics:
        sums = self._sums
        rate = self.progress.schedule.rate(max(self.progress.step - 1, 0))
        return Metrics(
            step=self.progress.step,
            epoch=self.learner.epoch,
            loss=sums.nats / max(sums.chars, 1),
            eval_loss=eval_loss,
            eval_bits_per_char=None if eval_loss is None else eval_loss / math.log(2),
            learning_rate=rate,
            grad_norm=sums.grad_norm,
            chars_per_second=sums.chars / max(sums.seconds, 1e-9),
            elapsed_seconds=self.progress.elapsed_seconds,
        )

    def _row_due(self) -> bool:
        total = self.progress.schedule.steps
        return total is not None and self.progress.step % max(1, total // METRIC_ROWS) == 0

    def _log(self, eval_loss: float | None = None) -> None:
        self.observer.logged(self._metrics(eval_loss))
        self._sums = _Window()

    def _seconds_left(self) -> float | None:
        steps = self.progress.schedule.steps
        if steps is None:
            return None if self.seconds is None else max(0.0, self.seconds - self._elapsed())
        return (steps - self.progress.step) * self._elapsed() / max(self.progress.step, 1)

    # A budget in minutes -----------------------------------------------------------------------------------

    def _budget_measured(self) -> bool:
        return (
            self.seconds is not None
            and self.progress.schedule.steps is None
            and self._elapsed() >= START_SHARE * self.seconds
        )

    def _fix_steps(self) -> None:
        """Ends the measured start: a validation is timed too, then the steps are fixed."""
        assert self.seconds is not None
        begin = time.perf_counter()
        self._validate()
        pause = time.perf_counter() - begin
        recent = self._step_seconds[len(self._step_seconds) // 2 :]
        affordable = int(VALIDATION_SHARE * self.seconds / max(pause, 1e-3))
        pauses = max(1, min(VALIDATIONS, affordable))
        progress = self.progress
        steps = steps_within(
            PLANNED_SHARE * self.seconds,
            elapsed=self._elapsed(),
            step=progress.step,
            step_seconds=sum(recent) / len(recent),
            pause_seconds=pause,
            pauses=pauses,
        )
        every = progress.eval_every or max(1, (steps - progress.step) // pauses)
        self._advance(schedule=progress.schedule.fix(progress.step, steps), eval_every=every)
        self._save()
        self.observer.planned(self.progress)

    # Validating and saving ---------------------------------------------------------------------------------

    def _validation_due(self) -> bool:
        progress = self.progress
        if progress.schedule.steps is None or progress.eval_every is None:
            return False
        since = progress.step - progress.schedule.decay_from
        if progress.step == progress.schedule.steps:
            return True
        # A validation just before the last one would tell nothing new.
        close_to_end = progress.schedule.steps - progress.step < progress.eval_every // 2
        return since > 0 and since % progress.eval_every == 0 and not close_to_end

    def _validate(self) -> None:
        self.observer.validating()
        loss = self.learner.validate()
        progress = self.progress
        if loss is not None and not math.isfinite(loss):
            raise DivergedError(
                f"the validation loss is not finite at step {progress.step}; what was saved before is kept"
            )
        improved = loss is not None and (progress.best_loss is None or loss < progress.best_loss)
        if improved:
            self._advance(best_loss=loss, best_step=progress.step, validations_without_gain=0)
        elif loss is not None:
            without = progress.validations_without_gain + 1
            stop = self.patience is not None and without >= self.patience
            self._advance(validations_without_gain=without, early_stopped=stop)
        self._log(loss)
        self.observer.validated(self.progress, loss, improved)

    def _save_due(self) -> bool:
        if self._saved_step == self.progress.step:
            return False
        if self.save_every is not None:
            return self.progress.step % self.save_every == 0
        return time.perf_counter() - self._saved_at > SAVE_SECONDS

    def _save(self) -> None:
        self.save(self.progress)
        self._saved_at, self._saved_step = time.perf_counter(), self.progress.step
