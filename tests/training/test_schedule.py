"""The learning rate as a function of progress, and progress as a function of the step."""

import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.training.schedule import FLOOR, WARM_UP, Piece, Schedule


@given(st.integers(1, 3000), st.floats(1e-6, 1.0))
def test_the_rate_rises_once_falls_and_ends_at_the_floor(steps, peak):
    schedule = Schedule.for_steps(peak, steps)
    rates = [schedule.rate(step) for step in range(steps)]
    assert all(0 < rate <= peak * (1 + 1e-12) for rate in rates)
    top = rates.index(max(rates))
    assert all(a <= b for a, b in pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in pairwise(rates[top:]))
    assert top <= WARM_UP * steps + 1
    assert rates[-1] == pytest.approx(FLOOR * peak)


def test_a_line_and_then_half_a_cosine():
    schedule = Schedule.for_steps(2.0, 1000)
    assert schedule.rate(24) == pytest.approx(2.0 * 0.025 / WARM_UP)
    middle = (1.0 + WARM_UP) / 2
    assert schedule.rate(round(1000 * middle) - 1) == pytest.approx(2.0 * (1 + FLOOR) / 2)
    quarter = WARM_UP + (1.0 - WARM_UP) / 4
    expected = 2.0 * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi / 4)) / 2)
    assert schedule.rate(round(1000 * quarter) - 1) == pytest.approx(expected, rel=2e-3)


def test_while_the_steps_are_unknown_nothing_is_done_and_the_rate_is_low():
    schedule = Schedule(peak=0.1)
    assert (schedule.steps, schedule.share(7)) == (None, 0.0)
    assert schedule.rate(7) == pytest.approx(FLOOR * 0.1)


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(-100, 2000)), min_size=1, max_size=8))
def test_progress_is_continuous_rises_and_ends_at_one_whatever_the_pieces(changes):
    """The oracle walks from step to step, by the slope of the piece that holds there."""
    schedule, step = Schedule(peak=1.0), 0
    ends: dict[int, int] = {}
    for further, more in changes:
        step += further
        if schedule.steps is not None and step >= schedule.steps:
            break
        ends[step] = max(step + 1, step + more)
        schedule = schedule.with_piece(step, step + more)
    assert schedule.steps is not None
    share, end = 0.0, None
    for now in range(schedule.steps + 1):
        end = ends.get(now, end)
        assert schedule.share(now) == pytest.approx(share, abs=1e-9)
        if end is not None and now < end:
            share += (1.0 - share) / (end - now)
    assert schedule.share(schedule.steps) == pytest.approx(1.0)
    assert schedule.rate(schedule.steps - 1) == pytest.approx(FLOOR)


def test_a_new_piece_changes_nothing_before_it():
    first = Schedule.for_steps(0.5, 100)
    second = first.with_piece(40, 70)
    assert second.steps == 70
    assert [second.rate(step) for step in range(39)] == [first.rate(step) for step in range(39)]
    assert second.share(40) == first.share(40)
    assert second.with_piece(40, 90).pieces == (Piece(0, 0.0, 100), Piece(40, 0.4, 90)), (
        "it takes the other's place"
    )
    assert second.with_piece(69, 12).steps == 70, "there is always a step left"


@given(st.integers(1, 100), st.integers(1, 300), st.lists(st.integers(1, 100), max_size=3))
def test_under_a_new_budget_the_rate_rises_once_falls_and_ends_at_the_floor(step, more, measured):
    """Whatever pieces the clock adds behind it."""
    first = Schedule.for_steps(1.0, 100)
    schedule, end = first.for_budget(step, step + more), step + more
    assert [schedule.rate(n) for n in range(step - 1)] == [first.rate(n) for n in range(step - 1)]
    rates = [schedule.rate(n) for n in range(step, end)]
    shares = [1.0 - (1.0 - (step / end) ** 2) * (end - n - 1) / more for n in range(step, end)]
    angles = [math.pi * max(0.0, share - WARM_UP) / (1.0 - WARM_UP) for share in shares]
    falling = [FLOOR + (1.0 - FLOOR) * (1.0 + math.cos(angle)) / 2 for angle in angles]
    warm = math.ceil(WARM_UP * more)
    assert rates[warm:] == pytest.approx(falling[warm:])
    assert all(rate <= highest * (1 + 1e-9) for rate, highest in zip(rates, falling, strict=True))
    assert rates[0] <= max(FLOOR, 1.0 / (WARM_UP * more)) * (1 + 1e-9)
    top = rates.index(max(rates))
    assert all(a <= b for a, b in pairwise(rates[: top + 1]))
    assert all(a >= b for a, b in pairwise(rates[top:]))
    for further in measured:
        step = min(step + further, schedule.steps - 1)
        schedule = schedule.with_piece(step, step + more)
    assert schedule.rate(schedule.steps - 1) == pytest.approx(FLOOR)


def test_a_schedule_that_was_saved_without_budgets_is_read():
    assert msgspec.json.decode(b'{"peak":0.5,"pieces":[[0,0.0,9]]}', type=Schedule) == Schedule.for_steps(0.5, 9)


def test_a_schedule_that_no_run_can_have_is_told():
    planned = Schedule.for_steps(1.0, 100).for_budget(100, 200)
    timed = planned.with_piece(130, 180)
    assert planned.is_possible(planned)
    assert timed.is_possible(planned)
    assert Schedule(peak=1.0).with_piece(4, 90).is_possible(Schedule(peak=1.0))
    first, anew, last = timed.pieces
    for pieces in (
        (first, last),
        (anew, first, last),
        (first, anew, last, last),
        (first, anew._replace(steps=201), last),
        (first, anew._replace(share=0.5), last),
        (first, anew, last._replace(share=0.9)),
        (first, anew, last._replace(warms_up=True)),
        (first, anew, last._replace(steps=130)),
        (first._replace(share=0.1), anew, last),
    ):
        assert not Schedule(peak=1.0, pieces=pieces).is_possible(planned)
