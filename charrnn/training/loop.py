"""The training loop. It is independent of the task: it takes a learner that yields losses and can be validated.

The run is a function of the step: the data, the dropout masks and the learning rate of step n depend on n, the
seed and the schedule alone. Saving, validating and showing never affect them, so a run that was killed and
resumed ends with the same weights, bit for bit. Only a budget in minutes may change the schedule during a run,
when the machine's speed has changed; the change is saved with the run.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, NamedTuple, Protocol

import torch
from msgspec import Meta

from charrnn.config import Count
from charrnn.errors import DivergedError
from charrnn.training.gears import Gears
from charrnn.training.optimizer import Optimizer
from charrnn.training.pace import Pace
from charrnn.training.schedule import Schedule

VALIDATIONS = 10
"""The default number of validation passes in a run."""

FEWEST_VALIDATIONS = 4
"""At least this many passes, over a part of the validation text rather than fewer over the whole."""

VALIDATED_SHARE = 0.12
"""Characters validated per character trained on. A validated one costs a third as much: 1/25 of the time."""

LEAST_VALIDATED = 16
"""A validation pass reads at least this many training windows, if the text is long enough."""

SAVE_SECONDS = 60.0
"""A run that validates less often than this is saved in between."""

TIE = 1e-3
"""A later loss that exceeds the best by less than this share is equally good: chance differences are larger."""

DIVERGED_NATS = 100.0
"""A window that costs more than this per symbol cannot be recovered from: the uniform model costs at most 14."""

METRIC_ROWS = 200
"""Rows of metrics in a run, besides those of its validations."""


class Loss(NamedTuple):
    """The loss on a window."""

    nats: torch.Tensor
    """Σ nats."""
    terms: float
    """The usual number of terms, the same for all windows. If it were the window's own, the terms of sparse
    windows would weigh more than others, and because sparse windows hold the shortest sequences, a model would
    learn to end too early."""
    chars: int
    """Characters read."""

    @property
    def mean(self) -> torch.Tensor:
        return self.nats / max(self.terms, 1)


class Learner(Protocol):
    """What is trained, as the loop sees it."""

    @property
    def parameters(self) -> dict[str, torch.Tensor]: ...

    @property
    def epoch(self) -> float: ...

    def next_loss(self, step: int, share: float) -> Loss:
        """Reads the next window.

        share: how much of the run is done, 0 to 1; 0 while its length is unknown.
        """

    @property
    def validation_size(self) -> int:
        """Characters of the validation text, in the unit of `next_loss`."""

    def validate(self, share: float) -> float | None:
        """The loss on a share of the validation text, in nats per character; None without such a text."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of a run: all that the loop must remember besides parameters, optimiser and data."""

    schedule: Schedule
    step: Count = 0
    elapsed_seconds: Annotated[float, Meta(ge=0)] = 0.0
    eval_every: int | None = None
    """Steps from one validation to the next, if requested."""
    validations: Annotated[int, Meta(ge=1, le=VALIDATIONS)] | None = None
    """Validation passes in the whole run; None before they are planned."""
    validation_share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """The share of the validation text that each pass reads."""
    best_loss: float | None = None
    best_step: Count | None = None
    """The step of the last validation whose loss is the smallest so far, or equally good."""
    least_loss: float | None = None
    validations_without_gain: Count = 0
    early_stopped: bool = False

    @property
    def finished(self) -> bool:
        """Whether the budget is spent, or validation has not improved for too long."""
        return self.early_stopped or (self.schedule.steps is not None and self.step >= self.schedule.steps)

    def for_budget(self, step: int, steps: int) -> "Progress":
        """The state in which a run goes on from `step` under a new budget, to `steps` steps in all."""
        schedule = self.schedule.for_budget(step, steps)
        return replace(self, schedule=schedule, validations_without_gain=0, early_stopped=False)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """A row of `metrics.jsonl`."""

    step: int
    epoch: float
    loss: float
    """Training nats per character, endings included, averaged since the last row."""
    eval_loss: float | None = None
    eval_bits_per_char: float | None = None
    learning_rate: float
    grad_norm: float
    chars_per_second: float
    elapsed_seconds: float


class Observer(Protocol):
    """Receives the loop's reports and does not affect the loop."""

    def planned(self, progress: Progress) -> None:
        """A budget in minutes has been turned into steps."""

    def stepped(self, progress: Progress, metrics: Metrics, seconds_left: float | None) -> None: ...

    def validating(self) -> None: ...

    def validated(self, progress: Progress, loss: float | None, improved: bool) -> None: ...

    def logged(self, metrics: Metrics) -> None:
        """A row for `metrics.jsonl`."""


Save = Callable[[Progress], None]


@dataclass
class _Window:
    """Sums since the last row of metrics."""

    steps: int = 0
    nats: float = 0.0
    chars: int = 0
    seconds: float = 0.0
    grad_norm: float = 0.0


@dataclass
class Loop:
    learner: Learner
    optimizer: Optimizer
    progress: Progress
    observer: Observer
    save: Save
    grad_clip: float
    seconds: float | None = None
    """The budget in wall time, from the first to the last step, validations and saves included."""
    save_every: int | None = None
    patience: int | None = None
    should_stop: Callable[[], bool] = lambda: False
    """Called after each step. If it is true, the run is saved and `run` returns."""
    gears: Gears | None = None
    """Only for a budget in minutes: the number of threads changes the last bits of the weights."""
    _sums: _Window = field(default_factory=_Window)

    def __post_init__(self) -> None:
        self._pace = Pace(budget=self.seconds or 0.0)

    def run(self) -> Progress:
        """Trains to the end of the budget. Raises DivergedError and keeps what was saved before."""
        self._clock = time.perf_counter() - self.progress.elapsed_seconds
        self._saved_at, self._saved_step = time.perf_counter(), self.progress.step
        while not self.progress.finished:
            begin = time.perf_counter()
            self._step()
            took = time.perf_counter() - begin
            if self.gears is not None and self.gears.add_step(took):
                self._pace.restart()
            else:
                self._pace.add_step(took)
            self._follow_the_clock()
            if self.progress.schedule.pieces and self.progress.validations is None:
                self._plan_validations()
            if self._validation_due():
                begin = time.perf_counter()
                self._validate()
                self._save()
                self._pace.add_pause(time.perf_counter() - begin)
            elif self._row_due():
                self._log()
            if self.should_stop():
                break
            if self._save_due():
                self._save()
        if self._saved_step != self.progress.step:
            self._save()
        return self.progress

    def _elapsed(self) -> float:
        return time.perf_counter() - self._clock

    def _step(self) -> None:
        begin, step = time.perf_counter(), self.progress.step
        rate = self.progress.schedule.rate(step)
        loss = self.learner.next_loss(step, self.progress.schedule.share(step))
        parameters = list(self.learner.parameters.values())
        for parameter in parameters:
            parameter.grad = None
        loss.mean.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.grad_clip))
        mean = float(loss.nats.detach()) / max(loss.terms, 1)
        if not (math.isfinite(norm) and mean < DIVERGED_NATS):
            raise DivergedError(
                f"training diverged at step {step + 1}: the loss is {mean:.3g} nats per symbol, "
                f"its gradient's norm {norm:.3g}; what was saved before is kept; "
                f"try --learning-rate below {self.progress.schedule.peak:.2g}"
            )
        self.optimizer.step(rate)
        sums = self._sums
        sums.steps += 1
        sums.nats += float(loss.nats.detach())
        sums.chars += loss.chars
        sums.seconds += time.perf_counter() - begin
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
        if self.seconds is not None:
            return max(0.0, self.seconds - self._elapsed())
        return self._seconds_needed()

    # A budget in minutes -----------------------------------------------------------------------------------

    def _follow_the_clock(self) -> None:
        """Begins a new piece of the schedule after the measured start, and when the run would miss its budget."""
        if self.seconds is None or self.progress.finished:
            return
        progress, pace, left = self.progress, self._pace, self.seconds - self._elapsed()
        if not progress.schedule.pieces:
            if pace.measured(left):
                steps = progress.step + pace.steps_within(left)
                self._advance(schedule=progress.schedule.with_piece(progress.step, steps))
                self.observer.planned(self.progress)
        elif pace.off_course(left, self._seconds_needed()):
            steps = progress.step + pace.steps_within(left, self._pauses_left())
            if steps != progress.schedule.steps:
                self._advance(schedule=progress.schedule.with_piece(progress.step, steps))

    def _seconds_needed(self) -> float:
        """The seconds that the rest of the schedule takes at the recent pace."""
        steps = self.progress.schedule.steps
        return 0.0 if steps is None else self._pace.seconds(steps - self.progress.step, self._pauses_left())

    def _pauses_left(self) -> int:
        """Validations that are still to come."""
        progress = self.progress
        assert progress.schedule.steps is not None
        if progress.eval_every is not None:
            return 1 + (progress.schedule.steps - progress.step) // progress.eval_every
        planned = progress.validations or VALIDATIONS
        return planned - int(planned * progress.schedule.share(progress.step))

    # Validating and saving ---------------------------------------------------------------------------------

    def _plan_validations(self) -> None:
        """Plans how often to validate, and on how much of the text, by the characters that the run will read."""
        progress, size = self.progress, self.learner.validation_size
        assert progress.schedule.steps is not None
        window = self._sums.chars / self._sums.steps
        read = VALIDATED_SHARE * window * progress.schedule.steps
        part = min(size, max(read / FEWEST_VALIDATIONS, LEAST_VALIDATED * window))
        passes = VALIDATIONS if not part else min(VALIDATIONS, max(FEWEST_VALIDATIONS, int(read / part)))
        self._advance(validations=passes, validation_share=part / size if size else 1.0)

    def _validation_due(self) -> bool:
        progress = self.progress
        steps = progress.schedule.steps
        if steps is None or progress.step == steps:
            return steps is not None
        if progress.eval_every is not None:
            # A validation just before the last one would add no information.
            close_to_end = steps - progress.step < progress.eval_every // 2
            return progress.step % progress.eval_every == 0 and not close_to_end
        planned = progress.validations or VALIDATIONS
        share = progress.schedule.share
        return int(planned * share(progress.step)) > int(planned * share(progress.step - 1))

    def _validate(self) -> None:
        self.observer.validating()
        loss = self.learner.validate(self.progress.validation_share)
        progress = self.progress
        if loss is not None and not math.isfinite(loss):
            raise DivergedError(
                f"the validation loss is not finite at step {progress.step}; what was saved before is kept"
            )
        improved = False
        if loss is not None:
            least = math.inf if progress.least_loss is None else progress.least_loss
            improved = loss < least * (1.0 + TIE)
            if improved:
                # Of two equally good models, the later was trained at a lower rate and with less dropout.
                self._advance(best_loss=loss, best_step=progress.step)
            without = 0 if loss < least else progress.validations_without_gain + 1
            stop = self.patience is not None and without >= self.patience
            self._advance(least_loss=min(loss, least), validations_without_gain=without, early_stopped=stop)
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
