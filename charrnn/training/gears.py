"""The number of threads of a run with a budget in minutes: fewer while another program needs a core.

Every parallel product waits for its slowest thread. Two threads on two cores, one of which was busy with
something else, were measured 8 to 30 times slower than on idle cores; one thread was as fast as usual.
"""

from collections.abc import Callable
from statistics import median

SAMPLE = 3
"""The number of steps whose median measures a gear's speed."""

SLOW = 1.7
"""Steps that take more than this many times as long as usual trigger a try with fewer threads."""

BETTER = 0.9
"""A gear is kept if its steps take at most this share of the other gear's time."""

PATIENCE = 40
"""Steps in a gear before the other is tried again; doubled after each failed try."""


class Gears:
    """Two gears: all threads, and one fewer. The wrong gear is slow, so tries are short and become rare."""

    def __init__(self, threads: int, set_threads: Callable[[int], object]) -> None:
        self._threads, self._set_threads = threads, set_threads
        self._usual = float("inf")
        self._recent: list[float] = []
        self._other: float | None = None
        """Seconds per step in the previous gear, while the current gear is being tried."""
        self._is_low, self._steps, self._patience = False, 0, PATIENCE

    @property
    def threads(self) -> int:
        """The number of threads of the current gear."""
        return max(1, self._threads - 1) if self._is_low else self._threads

    def add_step(self, seconds: float) -> bool:
        """Records a step's time; returns whether the next step will use a different number of threads."""
        if self._threads == 1:
            return False
        self._recent = [*self._recent[1 - SAMPLE :], seconds]
        self._steps += 1
        if len(self._recent) < SAMPLE:
            return False
        now = median(self._recent)
        if self._other is not None:
            worse, self._other = now > BETTER * self._other, None
            if worse:
                self._patience *= 2
                return self._shift()
            self._patience = PATIENCE
            return False
        if not self._is_low:
            self._usual = min(self._usual, now)
        due = self._steps >= self._patience if self._is_low else now > SLOW * self._usual
        if not due or (not self._is_low and self._steps < self._patience and self._patience > PATIENCE):
            return False
        self._other = now
        return self._shift()

    def _shift(self) -> bool:
        self._is_low = not self._is_low
        self._recent, self._steps = [], 0
        self._set_threads(self.threads)
        return True
