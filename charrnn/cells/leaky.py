"""Leaky units: a self-connection of fixed or learned weight lets units remember at different time scales."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, Params, asarray, floats, sigmoid, tanh, zeros
from charrnn.cells.cell import HiddenUnits

LEARNED = "learned"
LEARNED_FROM = (0.02, 0.99)
"""The range of the initial α, if learned, spread over the units."""


class LeakyState(NamedTuple):
    """h: (B, H), the hidden units."""

    h: Array


@dataclass(frozen=True)
class Leaky(HiddenUnits):
    """h(t) = α h(t−1) + (1 − α) tanh(b + W h(t−1) + U x(t)).

    U = `weight_ih` (H, I), W = `weight_hh` (H, H), b = `bias` (H,), α = the share of h(t−1) that is kept, in
    [0, 1): the unit's time constant is 1 / (1 − α) steps, and α = 0 is the plain tanh unit. `leak_alpha` is one
    value ("0.9"), or a range ("0:0.99") spread over the units so that their time constants have equal ratios, or
    "learned": α = σ(a), a = `leak` (H,). |h| ≤ 1, as a mean of values within ±1 (a learned initial state can only
    raise the bound to its own), so with finite weights every logit is bounded and the probability of stopping
    stays above a positive constant.

    Unfolded in time (α: a share of h itself):

                      o(1)          o(2)          o(3)
                     V ↑           V ↑           V ↑
        h(0) ╶W, α──→ h(1) ╶W, α──→ h(2) ╶W, α──→ h(3)
                     U ↑           U ↑           U ↑
                      x(1)          x(2)          x(3)

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.9.2; Mozer 1992.
    """

    leak_alpha: str = "0:0.5"

    def __post_init__(self) -> None:
        if self.leak_alpha != LEARNED:
            leak_range(self.leak_alpha)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (H, I), "weight_hh": (H, H), "bias": (H,)}
        return {**shapes, "leak": (H,)} if self.leak_alpha == LEARNED else shapes

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        params = super().init(rng)
        if self.leak_alpha == LEARNED:
            alpha = spread_over_units(*LEARNED_FROM, self.hidden_size)
            params["leak"] = np.log(alpha / (1.0 - alpha)).astype(np.float32)
        return params

    def zero_state(self, batch_size: int, like: Array) -> LeakyState:
        return LeakyState(zeros((batch_size, self.hidden_size), like))

    def step(self, params: Params, projected: Array, state: LeakyState) -> tuple[Array, LeakyState]:
        alpha = self.alpha(params)
        h = alpha * state.h + (1.0 - alpha) * tanh(projected + state.h @ params["weight_hh"].T)
        return h, LeakyState(h)

    def alpha(self, params: Params) -> Array:
        """α of each unit, (H,)."""
        if self.leak_alpha == LEARNED:
            return sigmoid(params["leak"])
        like = params["bias"]
        return floats(asarray(self._fixed, like), like)

    @cached_property
    def _fixed(self) -> npt.NDArray[np.float64]:
        return spread_over_units(*leak_range(self.leak_alpha), self.hidden_size)


def leak_range(text: str) -> tuple[float, float]:
    """The least and the largest α of "0.9" or "0:0.99". Raises ValueError."""
    low, colon, high = text.partition(":")
    try:
        ends = float(low), float(high if colon else low)
    except ValueError:
        ends = (math.nan, math.nan)
    if not 0.0 <= ends[0] <= ends[1] < 1.0:
        raise ValueError(f"leak_alpha {text!r}: expected 0 <= α < 1, a range such as 0:0.99, or {LEARNED!r}")
    return ends


def spread_over_units(low: float, high: float, units: int) -> npt.NDArray[np.float64]:
    """α from low to high, (units,), such that the time constants 1 / (1 − α) have equal ratios."""
    return 1.0 - np.geomspace(1.0 - low, 1.0 - high, units)


CELL = Leaky
