"""The learning rate as a function of progress, and progress as a function of the step."""

import math
from itertools import pairwise

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
