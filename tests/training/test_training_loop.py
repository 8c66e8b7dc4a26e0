"""The loop with a learner that is a quadratic, a clock that is a number, and observers that take notes."""

import math
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from charrnn.errors import DivergedError
from charrnn.training import loop as loop_module
from charrnn.training.dropout import dropout
from charrnn.training.loop import TIE, Loop, Loss, Metrics, Progress
from charrnn.training.pace import LONGEST_START, START_SHARE, START_STEPS
from charrnn.training.schedule import FLOOR, Schedule


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
    speed_changes: dict[int, float] = field(default_factory=dict)
    """At a step, what each takes from then on, as a multiple of `step_seconds`."""
    validation_size: int = 100
    parameters: dict[str, torch.Tensor] = field(
        default_factory=lambda: {"x": torch.zeros(3, dtype=torch.float64, requires_grad=True)}
    )
    steps: list[int] = field(default_factory=list)
    validated_at: list[int] = field(default_factory=list)
    validated_shares: list[float] = field(default_factory=list)
    nats_of_step: dict[int, float] = field(default_factory=dict)

    @property
    def epoch(self) -> float:
        return len(self.steps) / 10

    def next_loss(self, step: int, share: float) -> Loss:
        factors = [factor for at, factor in sorted(self.speed_changes.items()) if step >= at]
        self.clock.now += self.step_seconds * (factors[-1] if factors else 1.0)
        self.steps.append(step)
        target = torch.tensor([1.0, math.sin(step), step % 3], dtype=torch.float64)
        nats = ((self.parameters["x"] - target) ** 2).sum()
        self.nats_of_step[step] = nats.item()
        return Loss(nats, 5, 4)

    def validate(self, share: float) -> float | None:
        self.clock.now += self.validate_seconds * share
        self.validated_shares.append(share)
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


class PlainAdam(torch.optim.Adam):
    def step(self, rate: float) -> None:
        for group in self.param_groups:
            group["lr"] = rate
        super().step()


@dataclass
class Run:
    """A loop with all that it is made of."""

    learner: Quadratic
    notes: Notes
    optimizer: PlainAdam
    loop: Loop


def make_run(
    clock: Clock, *, progress: Progress | None = None, steps: int = 40, save_seconds: float = 0.0, **settings: Any
) -> Run:
    names = ("step_seconds", "validate_seconds", "losses", "speed_changes", "validation_size")
    learner = Quadratic(clock, **{name: settings.pop(name) for name in names if name in settings})
    notes = Notes(clock, save_seconds)
    optimizer = PlainAdam(learner.parameters.values())
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
    assert run.loop.progress.finished
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
    assert len(rows) <= 450 // 2 + 450 // (eval_every or 45)
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


def test_of_validations_that_are_as_good_the_last_is_the_best(clock):
    losses = [2.0, 1.0, 1.0 + TIE / 2, 1.0 + TIE * 0.9, 1.0 + TIE * 2]
    run = make_run(clock, steps=50, eval_every=10, losses=losses)
    progress = run.loop.run()
    assert [improved for _, _, improved in run.notes.validations] == [True, True, True, True, False]
    assert (progress.best_step, progress.best_loss) == (40, 1.0 + TIE * 0.9)
    assert progress.least_loss == 1.0, "losses that creep up are compared with the least"
    assert progress.validations_without_gain == 3, "a tie is no gain"


def test_without_validation_text_there_is_no_best(clock):
    run = make_run(clock, steps=20, eval_every=10, losses=[None, None], patience=1)
    progress = run.loop.run()
    assert (progress.step, progress.best_step, progress.early_stopped) == (20, None, False)
    assert [p.step for p in run.notes.saved] == [10, 20]
    assert all(row.eval_loss is None for row in run.notes.rows)


def test_saves_come_as_often_as_asked_and_at_the_end(clock):
    run = make_run(clock, steps=25, save_every=10, eval_every=100)
    run.loop.run()
    assert [p.step for p in run.notes.saved] == [10, 20, 25]


def test_a_long_way_between_validations_is_saved_in_between(clock):
    run = make_run(clock, steps=10, step_seconds=25.0, eval_every=100)
    run.loop.run()
    assert [p.step for p in run.notes.saved] == [3, 6, 9, 10]
    assert [p.elapsed_seconds for p in run.notes.saved] == [75.0, 150.0, 225.0, 250.0]


# Ends before the end ---------------------------------------------------------------------------------------


def test_patience_stops_after_validations_without_gain(clock):
    run = make_run(clock, steps=100, eval_every=10, patience=2, losses=[3.0, 4.0, 2.0, 2.0, 2.5, 1.0])
    progress = run.loop.run()
    assert (progress.step, progress.best_step, progress.early_stopped) == (50, 40, True)
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
    assert not run.loop.progress.finished
    run = make_run(clock, steps=100, eval_every=13)
    run.loop.should_stop = lambda: len(run.learner.steps) == 13
    run.loop.run()
    assert [p.step for p in run.notes.saved] == [13], "once"


@pytest.mark.parametrize("nats", [math.nan, math.inf, 501.0])
def test_divergence_raises_and_leaves_what_was_saved(clock, nats):
    run = make_run(clock, steps=100, save_every=10)
    plain = run.learner.next_loss

    def next_loss(step: int, share: float) -> Loss:
        loss = plain(step, share)
        return loss._replace(nats=loss.nats * 0 + nats) if step == 15 else loss

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
    run.learner.next_loss = lambda step, share: Loss((run.learner.parameters["x"] - 0.0).abs().sqrt().sum(), 5, 4)
    with pytest.raises(DivergedError, match="at step 1:"):
        run.loop.run()
    assert weights(run) == [0.0, 0.0, 0.0]


def test_a_costly_window_is_no_divergence(clock):
    run = make_run(clock, steps=3)
    run.learner.next_loss = lambda step, share: Loss((run.learner.parameters["x"] - 9.9).square().sum(), 3, 3)
    run.learner.validate = lambda share: None
    assert run.loop.run().step == 3


def test_a_validation_that_is_not_finite_is_divergence(clock):
    run = make_run(clock, steps=100, eval_every=10, losses=[1.0, math.nan])
    with pytest.raises(DivergedError, match="step 20"):
        run.loop.run()
    assert [(p.step, p.best_loss) for p in run.notes.saved] == [(10, 1.0)]


# How much is validated -------------------------------------------------------------------------------------


def test_a_small_validation_text_is_read_whole_ten_times(clock):
    run = make_run(clock, steps=1000, validation_size=40)
    run.loop.run()
    assert run.learner.validated_at == list(range(100, 1001, 100))
    assert set(run.learner.validated_shares) == {1.0}


def test_of_a_large_validation_text_a_part_is_read_four_times(clock):
    """1,000 steps of 4 characters allow 480 validated ones, a twenty-fifth of the time at a third of the cost."""
    run = make_run(clock, steps=1000, validation_size=1500)
    run.loop.run()
    assert run.learner.validated_at == [250, 500, 750, 1000]
    assert run.learner.validated_shares == [pytest.approx(120 / 1500)] * 4
    run = make_run(clock, steps=1000, validation_size=80)
    run.loop.run()
    assert len(run.learner.validated_at) == 6, "in between, the whole text as often as that allows"
    assert set(run.learner.validated_shares) == {1.0}


def test_in_a_short_run_some_windows_are_validated_all_the_same(clock):
    run = make_run(clock, steps=8, validation_size=1000)
    run.loop.run()
    assert run.learner.validated_at == [2, 4, 6, 8]
    assert run.learner.validated_shares == [pytest.approx(16 * 4 / 1000)] * 4


# A budget in minutes ---------------------------------------------------------------------------------------


def timed_run(clock: Clock, seconds: float, **settings: Any) -> Run:
    return make_run(clock, progress=Progress(schedule=Schedule(peak=0.1)), seconds=seconds, **settings)


def assert_landed(run: Run, took: float, seconds: float) -> None:
    """Within 97 to 103 % plus a step, at the floor of the rate, the last validation made."""
    progress = run.loop.progress
    assert 0.97 * seconds <= took <= 1.03 * seconds + run.learner.step_seconds
    assert progress.schedule.steps == progress.step
    assert run.learner.validated_at[-1] == progress.step
    assert run.notes.rows[-1].learning_rate == pytest.approx(FLOOR * 0.1)
    assert run.notes.saved[-1].step == progress.step


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
    run.loop.run()
    assert_landed(run, clock.now - begin, 600.0)
    assert len(run.learner.validated_at) >= 4


@pytest.mark.parametrize(
    "speed_changes",
    [
        {50: 3.0},
        {900: 2.5},
        {20: 0.3},
        {step: 1.0 + step // 50 % 2 for step in range(0, 1000, 50)},
        {step: 10.0 if step % 40 == 0 else 1.0 for step in range(1000)},
        {step: 1.0 + step / 300 for step in range(3000)},
        {700: 60.0, 701: 1.0},
    ],
    ids=["slower", "slower late", "faster", "in turns", "hiccups", "ever slower", "asleep for a minute"],
)
def test_a_budget_is_kept_however_the_speed_changes(clock, speed_changes):
    run = timed_run(clock, 1000.0, speed_changes=speed_changes, validate_seconds=5.0)
    begin = clock.now
    run.loop.run()
    assert_landed(run, clock.now - begin, 1000.0)
    shares = [run.loop.progress.schedule.share(step) for step in range(run.loop.progress.step + 1)]
    assert all(0 <= a <= b <= 1 for a, b in pairwise(shares))
    assert len(run.loop.progress.schedule.pieces) < 120


def test_steps_and_shares_follow_the_clock(clock):
    """Halfway through the time half of the schedule is done, though the machine is three times slower by then."""
    run = timed_run(clock, 1000.0, speed_changes={200: 3.0})
    at: dict[float, float] = {}
    run.loop.should_stop = lambda: (
        at.setdefault(run.loop.progress.elapsed_seconds, run.loop.progress.schedule.share(run.loop.progress.step))
        > 2
    )
    run.loop.run()
    for elapsed, share in at.items():
        assert share == pytest.approx(elapsed / 1000.0, abs=0.07)


def test_a_steady_run_needs_one_piece(clock):
    run = timed_run(clock, 100.0, step_seconds=0.5)
    run.loop.run()
    (plan,) = run.notes.plans
    start = max(START_STEPS + 1, START_SHARE * 100.0 / 0.5)
    assert plan.step == math.ceil(start)
    assert run.loop.progress.schedule == plan.schedule
    assert len(plan.schedule.pieces) == 1


def test_each_step_of_a_timed_run_stands_at_most_once_in_the_metrics(clock):
    run = timed_run(clock, 100.0, step_seconds=0.7, validate_seconds=0.1, speed_changes={60: 2.0})
    run.loop.run()
    rows = [row.step for row in run.notes.rows]
    assert rows == sorted(set(rows))
    assert all(row.loss > 0 for row in run.notes.rows)


def test_a_run_whose_schedule_was_not_changed_resumes_exactly(clock):
    whole = timed_run(clock, 100.0)
    whole.loop.run()
    first = timed_run(clock, 100.0)
    first.loop.should_stop = lambda: len(first.learner.steps) == 40
    saved = first.loop.run()
    clock.now += 5000.0
    second = make_run(clock, progress=saved, seconds=100.0)
    second.learner.parameters["x"].data.copy_(first.learner.parameters["x"].data)
    second.optimizer.load_state_dict(deepcopy(first.optimizer.state_dict()))
    progress = second.loop.run()
    assert second.notes.plans == []
    assert progress.step == whole.loop.progress.step
    assert weights(second) == weights(whole)


def test_a_resumed_run_lands_too_though_the_machine_is_another(clock):
    first = timed_run(clock, 1000.0)
    first.loop.should_stop = lambda: len(first.learner.steps) == 400
    saved = first.loop.run()
    second = make_run(clock, progress=saved, seconds=1000.0, step_seconds=4.0)
    begin = clock.now
    second.loop.run()
    assert_landed(second, saved.elapsed_seconds + clock.now - begin, 1000.0)


@pytest.mark.parametrize("stop_at", [1, 400, 2000])
def test_a_run_with_a_new_budget_in_minutes_lands_too(clock, stop_at):
    """Whether its last one, in steps, was spent or not, and though the machine is another."""
    first = make_run(clock, steps=1000)
    first.loop.should_stop = lambda: len(first.learner.steps) == stop_at
    saved = first.loop.run()
    progress = saved.for_budget(saved.step, round(saved.step * 3000.0 / saved.elapsed_seconds))
    second = make_run(clock, progress=progress, seconds=3000.0, step_seconds=2.0, validate_seconds=5.0)
    begin = clock.now
    second.loop.run()
    assert_landed(second, saved.elapsed_seconds + clock.now - begin, 3000.0)


def test_a_run_stopped_while_it_is_measured_goes_on_measuring(clock):
    first = timed_run(clock, 100.0)
    first.loop.should_stop = lambda: len(first.learner.steps) == 2
    saved = first.loop.run()
    assert (saved.step, saved.schedule.steps, first.notes.plans) == (2, None, [])
    second = make_run(clock, progress=saved, seconds=100.0)
    begin = clock.now
    progress = second.loop.run()
    assert len(second.notes.plans) == 1
    assert_landed(second, 2.0 + clock.now - begin, 100.0)
    assert progress.elapsed_seconds == pytest.approx(clock.now - begin + 2.0)


@pytest.mark.parametrize("step_seconds", [0.2, 0.9, 50.0])
def test_steps_that_are_long_for_the_budget(clock, step_seconds):
    """At least two: one to measure, one at the end."""
    run = timed_run(clock, 1.0, step_seconds=step_seconds)
    begin = clock.now
    run.loop.run()
    assert clock.now - begin <= max(1.03, LONGEST_START) + 2 * step_seconds
    assert run.loop.progress.step >= 2
    assert run.notes.saved[-1].step == run.learner.validated_at[-1] == run.loop.progress.step


def test_the_time_left_is_that_of_the_budget(clock):
    run = timed_run(clock, 100.0, speed_changes={30: 2.0})
    run.loop.run()
    left = run.notes.seconds_left
    assert left[0] == pytest.approx(99.0)
    assert all(a > b for a, b in pairwise(left))
    assert left[-1] == pytest.approx(0.0, abs=3.0)


def test_the_time_left_of_a_run_by_steps_is_reckoned_from_its_pace(clock):
    run = make_run(clock, steps=40, step_seconds=2.0)
    run.loop.run()
    assert run.notes.seconds_left[20] == pytest.approx(19 * 2.0)
    assert run.notes.seconds_left[-1] == 0.0


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
