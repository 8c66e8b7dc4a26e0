"""How many threads a run in minutes trains with: fewer while another program needs one of the cores.

Every parallel product waits for its slowest thread. Two threads on two cores, one of them busy with something
else, were measured 8 to 30 times slower than on idle cores, and one thread as fast as ever.
"""

from collections.abc import Callable
from statistics import median

SAMPLE = 3
"""Steps whose median tells how fast a gear is."""

SLOW = 1.7
"""A step that takes so many times as long as usual asks for fewer threads."""

BETTER = 0.9
"""Share of the other gear's time that a gear may take to be kept."""

PATIENCE = 40
"""Steps in a gear before another one is tried again; twice as many after each try that failed."""


class Gears:
    """Two gears: all threads, and one less. Steps in the wrong one are slow, so tries are short and grow rare."""

    def __init__(self, threads: int, set_threads: Callable[[int], object]) -> None:
        self._threads, self._set_threads = threads, set_threads
        self._usual = float("inf")
        self._recent: list[float] = []
        self._other: float | None = None
        """Seconds of a step in the gear that was left, while this one is being tried."""
        self._is_low, self._steps, self._patience = False, 0, PATIENCE

    @property
    def threads(self) -> int:
        """Of the gear that is in."""
        return max(1, self._threads - 1) if self._is_low else self._threads

    def add_step(self, seconds: float) -> bool:
        """Takes note of a step's time, and says whether the next one will have another number of threads."""
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
