"""Skip connections through time: connections with several delays, so that gradients pass fewer steps."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, Params, concat, tanh, zeros
from charrnn.cells.cell import HiddenUnits, uniform_init

LONGEST_DELAY = 4096


class SkipState(NamedTuple):
    """history: h(t−1), h(t−2), …, h(t−d), each (B, H), for the longest delay d."""

    history: tuple[Array, ...]


@dataclass(frozen=True)
class Skip(HiddenUnits):
    """h(t) = tanh(b + Σ_d W_d h(t−d) + U x(t)), d over the delays.

    U = `weight_ih` (H, I), b = `bias` (H,); the W_d are side by side in `weight_hh` (H, D H). The delays are 1
    and those of `skip_delay` ("5", or "5,20"); `remove_short` removes the one-step connection, which forces the
    units to operate on the coarser time scale. Gradients then vanish with the number of connections on the
    shortest path, about τ / d over τ steps, instead of with τ. |h| ≤ 1, so with finite weights every logit is
    bounded and the probability of stopping stays above a positive constant.

    Unfolded in time, with `skip_delay` = 2:

                      o(1)          o(2)          o(3)
                     V ↑           V ↑           V ↑
        h(0) ╶──W₁──→ h(1) ╶──W₁──→ h(2) ╶──W₁──→ h(3)
           │         U ↑ │         U ↑↑          U ↑↑
           └───────────┼─┼──────W₂───┼┘            ││
                       │ └───────────┼────────W₂───┼┘
                      x(1)          x(2)          x(3)

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, sections 10.9.1 and 10.9.3; Lin et al. 1996;
    El Hihi and Bengio 1996.
    """

    skip_delay: str = "5"
    remove_short: bool = False

    def __post_init__(self) -> None:
        _ = self.delays

    @cached_property
    def delays(self) -> tuple[int, ...]:
        """The delays in ascending order. Raises ValueError."""
        parts = self.skip_delay.split(",")
        delays = sorted({int(part) for part in parts if part.strip().isdecimal()})
        if len(delays) != len(parts) or delays[0] < 2 or delays[-1] > LONGEST_DELAY:
            raise ValueError(
                f"skip_delay {self.skip_delay!r}: expected different whole numbers from 2 to {LONGEST_DELAY}, "
                "such as 5 or 5,20"
            )
        return tuple(delays) if self.remove_short else (1, *delays)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        return {"weight_ih": (H, I), "weight_hh": (H, len(self.delays) * H), "bias": (H,)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """Each W_d within ± H^(−1/2), like the plain unit's W: the others are added to it and do not replace it.

        With more than three, the bound is smaller, so that their sum keeps the variance of h and causes no chaos.
        """
        most = max(1.0, len(self.delays) / 3.0)
        return uniform_init(rng, self.shapes, (most * self.hidden_size) ** -0.5)

    def zero_state(self, batch_size: int, like: Array) -> SkipState:
        zero = zeros((batch_size, self.hidden_size), like)
        return SkipState((zero,) * self.delays[-1])

    def step(self, params: Params, projected: Array, state: SkipState) -> tuple[Array, SkipState]:
        past = concat([state.history[d - 1] for d in self.delays], axis=-1)
        h = tanh(projected + past @ params["weight_hh"].T)
        return h, SkipState((h, *state.history[:-1]))


CELL = Skip
