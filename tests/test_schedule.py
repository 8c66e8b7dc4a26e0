"""The learning rate as a function of the step, and how many steps fit a budget."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.training.schedule import FLOOR, WARM_UP, Schedule, steps_within


@pytest.mark.parametrize(("steps", "warm_up"), [(1, 1), (5, 1), (40, 4), (1000, 100), (1_000_000, WARM_UP)])
def test_warm_up_is_linear_and_at_most_a_tenth(steps, warm_up):
    schedule = Schedule.for_steps(0.5, steps)
    assert schedule.warm_up == warm_up
    for step in range(warm_up):
        assert Schedule(peak=0.5, warm_up=warm_up).rate(step) == pytest.approx(0.5 * (step + 1) / warm_up)
        assert 0 < schedule.rate(step) <= 0.5 * (step + 1) / warm_up


@pytest.mark.parametrize("steps", [1, 2, 100, 5000])
def test_the_end_is_the_floor(steps):
    schedule = Schedule.for_steps(0.5, steps)
    assert schedule.rate(steps) == pytest.approx(FLOOR * 0.5)
    assert schedule.rate(10 * steps) == schedule.rate(steps)


def test_half_a_cosine_lies_between():
    schedule = Schedule(peak=2.0, warm_up=1, steps=100)
    assert schedule.rate(0) == pytest.approx(2.0)
    assert schedule.rate(50) == pytest.approx(2.0 * (1 + FLOOR) / 2)
    assert schedule.rate(25) == pytest.approx(2.0 * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi / 4)) / 2))


@given(st.integers(1, 3000), st.floats(1e-6, 1.0))
def test_the_rate_rises_once_and_falls(steps, peak):
    schedule = Schedule.for_steps(peak, steps)
    rates = [schedule.rate(step) for step in range(steps + 1)]
    assert all(0 < rate <= peak * (1 + 1e-12) for rate in rates)
    falling = rates[schedule.warm_up :]
    assert all(a >= b for a, b in pairwise(falling))


@given(st.integers(1, 500), st.integers(1, 3000))
def test_a_schedule_is_fixed_from_a_step_on(step, more):
    """What was before stays as it was; there is no jump; the end is the floor."""
    measured = Schedule(peak=0.1)
    fixed = measured.fix(step, step + more)
    assert (fixed.steps, fixed.decay_from) == (step + more, step)
    assert all(fixed.rate(s) == measured.rate(s) for s in range(step + 1))
    assert fixed.rate(step + more) == pytest.approx(FLOOR * measured.rate(step + more))
    assert all(fixed.rate(s + 1) <= fixed.rate(s) for s in range(max(step, WARM_UP), step + more))


def test_a_schedule_is_never_fixed_in_the_past():
    assert Schedule(peak=0.1).fix(10, 3).steps == 10


def test_steps_within_a_budget():
    left = {"elapsed": 4.0, "step": 10, "pause_seconds": 2.0, "pauses": 3}
    assert steps_within(100.0, step_seconds=0.5, **left) == 10 + 180
    assert steps_within(100.0, step_seconds=0.5, **{**left, "pauses": 0}) == 10 + 192
    assert steps_within(5.0, step_seconds=0.5, **left) == 11, "at least one more"
