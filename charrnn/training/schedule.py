"""The learning rate as a function of a run's progress, and progress as a function of the step.

Progress goes from 0 to 1. It is piecewise linear in the step: `--steps` and `--epochs` need one piece, from the
first step to the last. `--minutes` begins a new piece whenever the measured speed says that the last one would
miss the budget. The pieces are saved, so that a run is a function of the step again.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, NamedTuple

from msgspec import Meta

from charrnn.config import Count

WARM_UP = 0.05
"""Share of a run in which the rate rises."""

FLOOR = 0.02
"""Share of the peak rate that remains at the end."""


class Piece(NamedTuple):
    """Progress from one step on: it rises linearly from `share` at `step` to 1 at `steps`."""

    step: Count
    share: Annotated[float, Meta(ge=0, lt=1)]
    steps: Count


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warm-up to `peak`, then half a cosine down to FLOOR · peak at the last step."""

    peak: float
    pieces: tuple[Piece, ...] = ()
    """In the order of their steps; none while a budget in minutes is still being measured."""

    @classmethod
    def for_steps(cls, peak: float, steps: int) -> "Schedule":
        return cls(peak=peak, pieces=(Piece(0, 0.0, steps),))

    @property
    def is_possible(self) -> bool:
        """Whether the pieces follow one another and each has steps; a damaged file can say otherwise."""
        return all(piece.step < piece.steps for piece in self.pieces) and all(
            first.step < second.step for first, second in pairwise(self.pieces)
        )

    @property
    def steps(self) -> int | None:
        """The number of steps of the whole run; None while unknown."""
        return self.pieces[-1].steps if self.pieces else None

    def with_piece(self, step: int, steps: int) -> "Schedule":
        """The schedule that continues from `step` and ends at `steps`, but at least one step later."""
        piece = Piece(step, self.share(step), max(steps, step + 1))
        kept = tuple(piece for piece in self.pieces if piece.step < step)
        return replace(self, pieces=(*kept, piece))

    def share(self, step: int) -> float:
        """The progress after `step` steps, 0 to 1; 0 while the number of steps is unknown."""
        for piece in reversed(self.pieces):
            if piece.step <= step:
                passed = (step - piece.step) / (piece.steps - piece.step)
                return min(1.0, piece.share + (1.0 - piece.share) * passed)
        return 0.0

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, …; the last one's is FLOOR · peak."""
        share = self.share(step + 1)
        falling = FLOOR + (1.0 - FLOOR) * 0.5 * (
            1.0 + math.cos(math.pi * max(0.0, share - WARM_UP) / (1.0 - WARM_UP))
        )
        return self.peak * min(falling, max(share / WARM_UP, FLOOR))
