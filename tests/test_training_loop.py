"""The loop with a learner that is a quadratic, a clock that is a number, and observers that take notes."""

import math
from copy import deepcopy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from charrnn.errors import DivergedError
from charrnn.training import loop as loop_module
from charrnn.training.dropout import dropout
from charrnn.training.loop import Loop, Metrics, Progress
from charrnn.training.schedule import OVERRUN, START_SHARE, Schedule


@dataclass
class Clock:
    now: float = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(loop_module, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


@dataclass
class Quadratic:
    """Σ (x − target of the step)²; its steps, validations and losses cost what they are told to."""

    clock: Clock
    step_seconds: float = 1.0
    validate_seconds: float = 0.0
    losses: list[float | None] = field(default_factory=list)
    """What validation says, one after another; the loss itself when there is none left."""
    slower_after: tuple[int, float] = (10**9, 1.0)
    parameters: dict[str, torch.Tensor] = field(
        default_factory=lambda: {"x": torch.zeros(3, dtype=torch.float64, requires_grad=True)}
    )
    steps: list[int] = field(default_factory=list)
    validated_at: list[int] = field(default_factory=list)
    nats_of_step: dict[int, float] = field(default_factory=dict)

    @property
    def epoch(self) -> float:
        return len(self.steps) / 10

    def next_loss(self, step: int, share: float) -> tuple[torch.Tensor, int, int]:
        after, factor = self.slower_after
        self.clock.now += self.step_seconds * (factor if step >= after else 1.0)
        self.steps.append(step)
        target = torch.tensor([1.0, math.sin(step), step % 3], dtype=torch.float64)
        nats = ((self.parameters["x"] - target) ** 2).sum()
        self.nats_of_step[step] = nats.item()
        return nats, 5, 4

    def validate(self) -> float | None:
        self.clock.now += self.validate_seconds
        self.validated_at.append(self.steps[-1] + 1)
        if self.losses:
            return self.losses.pop(0)
        return float((self.parameters["x"].detach() ** 2).sum())


@dataclass
class Notes:
    """An observer and a saver."""

    clock: Clock
    save_seconds: float = 0.0
    rows: list[Metrics] = field(default_factory=list)
    saved: list[Progress] = field(default_factory=list)
    plans: list[Progress] = field(default_factory=list)
    validations: list[tuple[int, float | None, bool]] = field(default_factory=list)
    seconds_left: list[float | None] = field(default_factory=list)
    shown: list[Metrics] = field(default_factory=list)

    def planned(self, progress: Progress) -> None:
        self.plans.append(progress)

    def stepped(self, progress: Progress, metrics: Metrics, seconds_left: float | None) -> None:
        assert metrics.step == progress.step
        self.seconds_left.append(seconds_left)
        self.shown.append(metrics)

    def validating(self) -> None: ...

    def validated(self, progress: Progress, loss: float | None, improved: bool) -> None:
        self.validations.append((progress.step, loss, improved))

    def logged(self, metrics: Metrics) -> None:
        self.rows.append(metrics)

    def save(self, progress: Progress) -> None:
        self.clock.now += self.save_seconds
        self.saved.append(progress)


@dataclass
class Run:
    """A loop with all that it is made of."""

    learner: Quadratic
    notes: Notes
    optimizer: torch.optim.Optimizer
    loop: Loop


def make_run(
    clock: Clock, *, progress: Progress | None = None, steps: int = 40, save_seconds: float = 0.0, **settings: Any
) -> Run:
    names = ("step_seconds", "validate_seconds", "losses", "slower_after")
    learner = Quadratic(clock, **{name: settings.pop(name) for name in names if name in settings})
    notes = Notes(clock, save_seconds)
    optimizer = torch.optim.Adam(learner.parameters.values(), lr=1.0)
    progress = progress or Progress(
        schedule=Schedule.for_steps(0.1, steps), eval_every=settings.pop("eval_every", None)
    )
    loop = Loop(learner, optimizer, progress, notes, notes.save, **{"grad_clip": 1.0, **settings})
    return Run(learner, notes, optimizer, loop)


def weights(run: Run) -> list[float]:
    return run.learner.parameters["x"].tolist()


# Steps and rates -------------------------------------------------------------------------------------------


def test_training_stops_at_its_last_step(clock):
    run = make_run(clock, steps=40)
    progress = run.loop.run()
    assert (progress.step, progress.schedule.steps) == (40, 40)
    assert run.learner.steps == list(range(40))
    assert run.loop.finished
    assert progress.elapsed_seconds == 40.0
    assert run.loop.run() == progress, "a finished run takes no more steps"
    assert run.learner.steps == list(range(40))


def test_the_updates_are_those_of_a_plain_loop(clock):
    """Mean loss per term, clipped, at the schedule's rate of each step."""
    run = make_run(clock, steps=25, grad_clip=0.3, eval_every=7)
    run.loop.run()
    schedule = Schedule.for_steps(0.1, 25)
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=1.0)
    for step in range(25):
        target = torch.tensor([1.0, math.sin(step), step % 3], dtype=torch.float64)
        x.grad = 2 * (x.detach() - target) / 5
        x.grad *= min(1.0, 0.3 / float(x.grad.norm()))
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.step()
    torch.testing.assert_close(run.learner.parameters["x"], x, rtol=1e-5, atol=1e-6)
    assert float(x.detach().abs().max()) > 0.1


def test_validating_and_saving_change_no_weight(clock):
    plain = make_run(clock, steps=40)
    plain.loop.run()
    for settings in (
        {"eval_every": 1},
        {"save_every": 1},
        {"eval_every": 3, "save_every": 5, "validate_seconds": 90.0},
    ):
        run = make_run(clock, steps=40, **settings)
        run.loop.run()
        assert weights(run) == weights(plain)


def test_a_resumed_run_ends_in_the_same_weights(clock):
    whole = make_run(clock, steps=30, eval_every=7)
    expected = whole.loop.run()
    for stop_at in (1, 7, 16, 29):
        first = make_run(clock, steps=30, eval_every=7)
        first.loop.should_stop = lambda first=first, at=stop_at: len(first.learner.steps) == at
        first.loop.run()
        second = make_run(clock, progress=first.notes.saved[-1])
        second.learner.parameters["x"].data.copy_(first.learner.parameters["x"].data)
        second.optimizer.load_state_dict(deepcopy(first.optimizer.state_dict()))
        progress = second.loop.run()
        assert weights(second) == weights(whole)
        assert (progress.step, progress.best_step, progress.best_loss) == (
            expected.step,
            expected.best_step,
            expected.best_loss,
        )
        assert second.learner.steps[0] == stop_at
        rows = [row.step for row in first.notes.rows if row.step <= stop_at] + [r.step for r in second.notes.rows]
        assert rows == [row.step for row in whole.notes.rows]
        assert progress.elapsed_seconds == 30.0


# Rows, validations and saves -------------------------------------------------------------------------------


@pytest.mark.parametrize("eval_every", [None, 1, 4, 7])
@pytest.mark.parametrize("steps", [1, 30, 450])
def test_each_step_stands_at_most_once_in_the_metrics(clock, steps, eval_every):
    run = make_run(clock, steps=steps, eval_every=eval_every)
    run.loop.run()
    rows = [row.step for row in run.notes.rows]
    assert rows == sorted(set(rows))
    assert rows[-1] == steps
    assert len(rows) <= 450 // 2 + 450 // (eval_every or 450)
    assert len(rows) >= min(steps, 200)


def test_a_row_says_what_happened_since_the_last(clock):
    run = make_run(clock, steps=450, eval_every=5, step_seconds=0.5)
    run.loop.run()
    before = 0
    for row in run.notes.rows:
        since = range(before, row.step)
        nats = sum(run.learner.nats_of_step[step] for step in since)
        assert any(row.loss == pytest.approx(nats / (unit * len(since))) for unit in (4, 5))
        assert row.chars_per_second == pytest.approx(8.0)
        assert row.learning_rate == run.loop.progress.schedule.rate(row.step - 1)
        assert row.elapsed_seconds == pytest.approx(0.5 * row.step)
        assert (row.eval_loss is not None) == (row.step in run.learner.validated_at)
        if row.eval_loss is not None:
            assert row.eval_bits_per_char == pytest.approx(row.eval_loss / math.log(2))
        before = row.step
    assert [metrics.step for metrics in run.notes.shown] == list(range(1, 451))


def test_validation_comes_as_often_as_asked_and_at_the_end(clock):
    run = make_run(clock, steps=45, eval_every=10)
    run.loop.run()
    assert run.learner.validated_at == [10, 20, 30, 40, 45]
    run = make_run(clock, steps=44, eval_every=10)
    run.loop.run()
    assert run.learner.validated_at == [10, 20, 30, 44], "none that close before the last"


def test_every_validation_is_saved_with_what_it_found(clock):
    run = make_run(clock, steps=40, eval_every=10, losses=[3.0, 1.0, 2.0, 1.5])
    progress = run.loop.run()
    assert [(p.step, p.best_step, p.best_loss) for p in run.notes.saved] == [
        (10, 10, 3.0),
        (20, 20, 1.0),
        (30, 20, 1.0),
        (40, 20, 1.0),
    ]
    assert run.notes.validations == [(10, 3.0, True), (20, 1.0, True), (30, 2.0, False), (40, 1.5, False)]
    assert (progress.best_step, progress.best_loss, progress.validations_without_gain) == (20, 1.0, 2)


def test_without_validation_text_there_is_no_best(clock):
    run = make_run(clock, steps=20, eval_every=10, losses=[None, None], patience=1)
    progress = run.loop.run()
    assert (progress.step, progress.best_step, progress.early_stopped) == (20, None, False)
    assert [p.step for p in run.notes.saved] == [10, 20]
    assert all(row.eval_loss is None for row in run.notes.rows)


def test_saves_come_as_often_as_asked_and_at_the_end(clock):
    run = make_run(clock, steps=25, save_every=10)
    run.loop.run()
    assert [p.step for p in run.notes.saved] == [10, 20, 25]


def test_a_long_way_between_validations_is_saved_in_between(clock):
    run = make_run(clock, steps=10, step_seconds=25.0)
    run.loop.run()
    assert [p.step for p in run.notes.saved] == [3, 6, 9, 10]
    assert [p.elapsed_seconds for p in run.notes.saved] == [75.0, 150.0, 225.0, 250.0]


# Ends before the end ---------------------------------------------------------------------------------------


def test_patience_stops_after_validations_without_gain(clock):
    run = make_run(clock, steps=100, eval_every=10, patience=2, losses=[3.0, 4.0, 2.0, 2.0, 2.5, 1.0])
    progress = run.loop.run()
    assert (progress.step, progress.best_step, progress.early_stopped) == (50, 30, True)
    assert run.notes.saved[-1] == progress
    resumed = make_run(clock, progress=progress)
    assert resumed.loop.run() == progress
    assert resumed.learner.steps == []


def test_patience_counts_on_in_a_resumed_run(clock):
    first = make_run(clock, steps=100, eval_every=10, patience=2, losses=[3.0, 4.0])
    first.loop.should_stop = lambda: len(first.learner.steps) == 25
    second = make_run(clock, progress=first.loop.run(), patience=2, losses=[5.0])
    assert (second.loop.run().step, second.loop.progress.early_stopped) == (30, True)


def test_a_run_that_is_told_to_stop_is_saved(clock):
    run = make_run(clock, steps=100, eval_every=50)
    run.loop.should_stop = lambda: len(run.learner.steps) == 13
    progress = run.loop.run()
    assert progress.step == 13
    assert [p.step for p in run.notes.saved] == [13]
    assert not run.loop.finished
    run = make_run(clock, steps=100, eval_every=13)
    run.loop.should_stop = lambda: len(run.learner.steps) == 13
    run.loop.run()
    assert [p.step for p in run.notes.saved] == [13], "once"


@pytest.mark.parametrize("nats", [math.nan, math.inf, 501.0])
def test_divergence_raises_and_leaves_what_was_saved(clock, nats):
    run = make_run(clock, steps=100, save_every=10)
    plain = run.learner.next_loss

    def next_loss(step: int, share: float) -> tuple[torch.Tensor, int, int]:
        loss, terms, chars = plain(step, share)
        return (loss * 0 + nats if step == 15 else loss), terms, chars

    run.learner.next_loss = next_loss
    before: list[list[float]] = []
    run.loop.should_stop = lambda: before.append(weights(run)) or False
    with pytest.raises(DivergedError, match="at step 16") as error:
        run.loop.run()
    assert weights(run) == before[-1], "no step is taken on such a gradient"
    assert "\n" not in str(error.value)
    assert [p.step for p in run.notes.saved] == [10]


def test_a_gradient_that_is_not_finite_is_divergence(clock):
    run = make_run(clock, steps=100)
    run.learner.next_loss = lambda step, share: ((run.learner.parameters["x"] - 0.0).abs().sqrt().sum(), 5, 4)
    with pytest.raises(DivergedError, match="at step 1:"):
        run.loop.run()
    assert weights(run) == [0.0, 0.0, 0.0]


def test_a_costly_window_is_no_divergence(clock):
    run = make_run(clock, steps=3)
    run.learner.next_loss = lambda step, share: ((run.learner.parameters["x"] - 9.9).square().sum(), 3, 3)
    assert run.loop.run().step == 3


def test_a_validation_that_is_not_finite_is_divergence(clock):
    run = make_run(clock, steps=100, eval_every=10, losses=[1.0, math.nan])
    with pytest.raises(DivergedError, match="step 20"):
        run.loop.run()
    assert [(p.step, p.best_loss) for p in run.notes.saved] == [(10, 1.0)]


# A budget in minutes ---------------------------------------------------------------------------------------


def timed_run(clock: Clock, seconds: float, **settings: Any) -> Run:
    return make_run(clock, progress=Progress(schedule=Schedule(peak=0.1)), seconds=seconds, **settings)


@pytest.mark.parametrize(
    ("step_seconds", "validate_seconds", "save_seconds"),
    [(1.0, 0.0, 0.0), (1.0, 8.0, 2.0), (0.15, 0.5, 0.1), (0.3, 2.0, 0.0), (5.0, 30.0, 1.0)],
)
def test_a_budget_is_kept_validations_and_saves_included(clock, step_seconds, validate_seconds, save_seconds):
    run = timed_run(
        clock,
        600.0,
        step_seconds=step_seconds,
        validate_seconds=validate_seconds,
        save_seconds=save_seconds,
    )
    begin = clock.now
    progress = run.loop.run()
    assert 0.9 * 600 <= clock.now - begin <= 1.05 * 600
    assert progress.schedule.steps == progress.step
    assert run.learner.validated_at[-1] == progress.step
    assert len(run.learner.validated_at) >= 2


def test_the_steps_are_fixed_once_after_a_measured_start(clock):
    run = timed_run(clock, 100.0, validate_seconds=0.25, step_seconds=0.5)
    run.loop.run()
    (plan,) = run.notes.plans
    start = START_SHARE * 100.0
    assert plan.step == math.ceil(start / 0.5)
    assert plan.schedule.decay_from == plan.step
    assert plan.step * 0.5 <= 0.05 * 100
    assert run.loop.progress.schedule == plan.schedule
    assert run.loop.progress.eval_every == plan.eval_every
    assert plan in run.notes.saved, "what was planned is on disk before the next step"
    every = [plan.step + i * plan.eval_every for i in range(len(run.learner.validated_at) - 1)]
    assert run.learner.validated_at == [*every, plan.schedule.steps]


def test_each_step_of_a_timed_run_stands_at_most_once_in_the_metrics(clock):
    """The step at which the steps are fixed, too: its row is that of its validation."""
    run = timed_run(clock, 100.0, step_seconds=0.7, validate_seconds=0.1)
    run.loop.run()
    rows = [row.step for row in run.notes.rows]
    assert rows == sorted(set(rows))
    assert all(row.loss > 0 for row in run.notes.rows)
    assert rows[0] == run.notes.plans[0].step


def test_once_fixed_the_rates_are_a_function_of_the_step(clock):
    """A machine that is somewhat slower afterwards takes the same steps to the same weights."""
    steady = timed_run(clock, 100.0)
    steady.loop.run()
    slower = timed_run(clock, 100.0, slower_after=(50, 1.1))
    progress = slower.loop.run()
    assert progress.step == steady.loop.progress.step
    assert weights(slower) == weights(steady)
    rates = [[row.learning_rate for row in run.notes.rows] for run in (steady, slower)]
    assert rates[0] == rates[1]


def test_a_run_that_overruns_stops_at_110_percent_and_is_saved(clock):
    run = timed_run(clock, 100.0, slower_after=(20, 3.0))
    begin = clock.now
    progress = run.loop.run()
    assert progress.step < progress.schedule.steps
    assert OVERRUN * 100 < clock.now - begin <= OVERRUN * 100 + 3.0
    assert run.notes.saved[-1].step == progress.step
    assert run.loop.finished


def test_a_fixed_run_resumes_without_measuring_again(clock):
    whole = timed_run(clock, 100.0)
    whole.loop.run()
    first = timed_run(clock, 100.0)
    first.loop.should_stop = lambda: len(first.learner.steps) == 40
    saved = first.loop.run()
    clock.now += 5000.0
    second = make_run(clock, progress=saved, seconds=100.0, step_seconds=1.05)
    second.learner.parameters["x"].data.copy_(first.learner.parameters["x"].data)
    second.optimizer.load_state_dict(deepcopy(first.optimizer.state_dict()))
    progress = second.loop.run()
    assert second.notes.plans == []
    assert progress.step == whole.loop.progress.step
    assert weights(second) == weights(whole)


def test_a_run_stopped_while_it_is_measured_goes_on_measuring(clock):
    first = timed_run(clock, 100.0)
    first.loop.should_stop = lambda: len(first.learner.steps) == 2
    saved = first.loop.run()
    assert (saved.step, saved.schedule.steps, first.notes.plans) == (2, None, [])
    second = make_run(clock, progress=saved, seconds=100.0)
    begin = clock.now
    progress = second.loop.run()
    assert len(second.notes.plans) == 1
    assert 88 <= clock.now - begin <= 103
    assert progress.elapsed_seconds == pytest.approx(clock.now - begin + 2.0)


def test_a_step_longer_than_the_budget_is_taken_once_or_twice(clock):
    run = timed_run(clock, 1.0, step_seconds=50.0)
    assert run.loop.run().step == 1
    assert run.notes.saved[-1].step == 1


def test_the_time_left_falls_to_nothing(clock):
    for run in (timed_run(clock, 100.0), make_run(clock, steps=40)):
        run.loop.run()
        left = [value for value in run.notes.seconds_left if value is not None]
        assert len(left) >= 40
        assert left[-1] == pytest.approx(0.0, abs=1.0)
        assert all(value >= 0 for value in left)
        assert left[20] > left[-1] + 10


# Dropout ---------------------------------------------------------------------------------------------------


def test_dropout_keeps_the_mean_and_depends_on_its_generator_alone():
    x = torch.ones(200, 100)
    masked = dropout(0.25, np.random.default_rng(1))(x)
    assert set(masked.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert float(masked.mean()) == pytest.approx(1.0, abs=0.02)
    assert float((masked == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    torch.manual_seed(3)
    again = dropout(0.25, np.random.default_rng(1))(x)
    assert torch.equal(masked, again)
    assert not torch.equal(masked, dropout(0.25, np.random.default_rng(2))(x))


def test_no_dropout_is_nothing():
    assert dropout(0.0, np.random.default_rng()) is None
