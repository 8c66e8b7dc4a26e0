"""The learning rate as a function of a run's progress, and progress as a function of the step.

Progress goes from 0 to 1. It is piecewise linear in the step: `--steps` and `--epochs` need one piece, from the
first step to the last. `--minutes` begins a new piece whenever the measured speed says that the last one would
miss the budget. A new budget begins one too: progress goes back, the further the larger the budget, and the rate
warms up again. The pieces are saved, so that a run is a function of the step again.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, NamedTuple

from msgspec import Meta

from charrnn.config import Count

WARM_UP = 0.05
"""Share of a run, or of what is left of it under a new budget, in which the rate rises."""

FLOOR = 0.02
"""Share of the peak rate that remains at the end."""


class Piece(NamedTuple):
    """Progress from one step on: it rises linearly from `share` at `step` to 1 at `steps`."""

    step: Count
    share: Annotated[float, Meta(ge=0, lt=1)]
    steps: Count
    warms_up: bool = False
    """Whether it is the first piece of a new budget."""

    def share_at(self, step: int) -> float:
        passed = (step - self.step) / (self.steps - self.step)
        return min(1.0, self.share + (1.0 - self.share) * passed)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Linear warm-up to `peak`, then half a cosine down to FLOOR · peak at the last step."""

    peak: float
    pieces: tuple[Piece, ...] = ()
    """In the order of their steps; none while a budget in minutes is still being measured."""

    @classmethod
    def for_steps(cls, peak: float, steps: int) -> "Schedule":
        return cls(peak=peak, pieces=(Piece(0, 0.0, steps),))

    def is_possible(self, planned: "Schedule") -> bool:
        """Whether a run in minutes can have it; a damaged file can say otherwise.

        It has the planned pieces, and each other begins at the progress that the one before it has reached.
        """
        if any(piece.step >= piece.steps for piece in self.pieces) or any(
            first.step >= second.step for first, second in pairwise(self.pieces)
        ):
            return False
        reached = [0.0, *(first.share_at(second.step) for first, second in pairwise(self.pieces))]
        return set(planned.pieces) <= set(self.pieces) and all(
            piece in planned.pieces or (not piece.warms_up and math.isclose(piece.share, share, abs_tol=1e-9))
            for piece, share in zip(self.pieces, reached, strict=False)
        )

    @property
    def steps(self) -> int | None:
        """The number of steps of the whole run; None while unknown."""
        return self.pieces[-1].steps if self.pieces else None

    def with_piece(self, step: int, steps: int) -> "Schedule":
        """The schedule that continues from `step` and ends at `steps`, but at least one step later."""
        return self._with(Piece(step, self.share(step), max(steps, step + 1)))

    def for_budget(self, step: int, steps: int) -> "Schedule":
        """The schedule with a new warm-up at `step`, which ends at `steps`, but at least one step later.

        Progress goes back to the square of step/steps. With step/steps itself speeches ended 0.01 to 0.025 nats
        worse when 150 steps became 225, 300 or 600; with 0 up to 0.014 better, but worse where few steps follow.
        """
        steps = max(steps, step + 1)
        return self._with(Piece(step, (step / steps) ** 2, steps, warms_up=True))

    def _with(self, piece: Piece) -> "Schedule":
        kept = tuple(other for other in self.pieces if other.step < piece.step)
        return replace(self, pieces=(*kept, piece))

    def share(self, step: int) -> float:
        """The progress after `step` steps, 0 to 1; 0 while the number of steps is unknown."""
        return next((piece.share_at(step) for piece in reversed(self.pieces) if piece.step <= step), 0.0)

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, …; the last one's is FLOOR · peak."""
        share = self.share(step + 1)
        falling = FLOOR + (1.0 - FLOOR) * 0.5 * (
            1.0 + math.cos(math.pi * max(0.0, share - WARM_UP) / (1.0 - WARM_UP))
        )
        begins = (piece.share for piece in reversed(self.pieces) if piece.step <= step and piece.warms_up)
        begin = next(begins, 0.0)
        return self.peak * min(falling, max((share - begin) / (1.0 - begin) / WARM_UP, FLOOR))
