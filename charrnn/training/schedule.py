"""The learning rate as a function of the step, and budgets turned into a number of steps.

With `--steps` and `--epochs` the number of steps is known from the beginning. With `--minutes` it is found
once, after a measured start in which the rate depends on the step alone; from there on the run is a function
of the step.
"""

import math
from dataclasses import dataclass, replace

WARM_UP = 100
"""Steps over which the rate rises, at most a tenth of a run whose length is known."""

FLOOR = 0.02
"""Share of the peak rate that is left at the end."""

START_SHARE = 0.04
"""Share of a budget in minutes after which its number of steps is fixed."""

OVERRUN = 1.1
"""A run whose machine slowed down stops at this multiple of its minutes."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warm-up to `peak`, then half a cosine from step `decay_from` down to FLOOR · peak at `steps`."""

    peak: float
    warm_up: int = WARM_UP
    decay_from: int = 0
    steps: int | None = None
    """None while a budget in minutes is still being measured."""

    @classmethod
    def for_steps(cls, peak: float, steps: int) -> "Schedule":
        return cls(peak=peak, warm_up=max(1, min(WARM_UP, steps // 10)), steps=steps)

    def fix(self, step: int, steps: int) -> "Schedule":
        """The schedule from `step` on, once the total is known."""
        return replace(self, decay_from=step, steps=max(steps, step))

    def share(self, step: int) -> float:
        """How much of the run is done before step 0, 1, …; 0 while its length is unknown."""
        return 0.0 if self.steps is None else min(1.0, step / max(1, self.steps))

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, …"""
        rate = self.peak * min(1.0, (step + 1) / self.warm_up)
        if self.steps is None or step < self.decay_from:
            return rate
        progress = (step - self.decay_from) / max(1, self.steps - self.decay_from)
        return rate * (FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0))))


def steps_within(
    seconds: float, *, elapsed: float, step: int, step_seconds: float, pause_seconds: float, pauses: int
) -> int:
    """How many steps fit into a budget.

    elapsed: seconds spent on the first `step` steps; step_seconds: what one more costs; `pauses` interruptions
    of `pause_seconds` each, for validation and saving, are still to come.
    """
    left = seconds - elapsed - pauses * pause_seconds
    return step + max(1, int(left / step_seconds))
