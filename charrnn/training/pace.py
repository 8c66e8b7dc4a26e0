"""How fast a run goes, and whether it will end on time."""

from dataclasses import dataclass

START_STEPS = 3
"""Steps that are measured before a budget is converted into steps, besides the first, which is slow."""

START_SHARE = 0.01
"""The least share of the budget that they take."""

LONGEST_START = 0.1
"""Share of the budget after which one measured step suffices."""

RECENT_STEPS, RECENT_SHARE = 10, 0.03
"""The mean covers at least this many recent steps, and the steps of at least this share of the budget."""

TOLERANCE = 0.01
"""Share of the budget by which a run may miss its end."""

DRIFT = 0.05
"""Share of the remaining time by which it may be predicted to miss its end: early on, a second means less."""


@dataclass
class Pace:
    """The running mean of a step's seconds, and the seconds of the last pause for a validation with its save."""

    budget: float = 0.0
    """Seconds; 0 if the budget is not a time."""
    steps: int = 0
    """The number of measured steps."""
    step_seconds: float = 0.0
    pause_seconds: float = 0.0

    def add_step(self, seconds: float) -> None:
        self.steps += 1
        recent = max(RECENT_STEPS, RECENT_SHARE * self.budget / max(self.step_seconds, 1e-9))
        # The second step's time replaces the first's.
        self.step_seconds += (seconds - self.step_seconds) / max(1, min(self.steps - 1, recent))

    def restart(self) -> None:
        """Forgets how long steps took: from here on they take a different time."""
        self.steps = 1

    def add_pause(self, seconds: float) -> None:
        self.pause_seconds = seconds

    def seconds(self, steps: int, pauses: int) -> float:
        """The seconds that this many steps and pauses take."""
        return steps * self.step_seconds + pauses * self.pause_seconds

    def steps_within(self, seconds: float, pauses: int = 0) -> int:
        """How many steps fit into the time besides the pauses, at least one."""
        return max(1, round((seconds - pauses * self.pause_seconds) / max(self.step_seconds, 1e-9)))

    def measured(self, left: float) -> bool:
        """Whether the start of a run has shown its speed well enough, with `left` seconds of the budget left."""
        spent = (self.budget - left) / self.budget
        return spent >= LONGEST_START or (self.steps > START_STEPS and spent >= START_SHARE)

    def off_course(self, left: float, needed: float) -> bool:
        """Whether a run that needs `needed` seconds would miss the end of its budget, `left` seconds from now."""
        if self.steps <= START_STEPS:
            return False
        return abs(needed - left) > max(TOLERANCE * self.budget, DRIFT * left)
