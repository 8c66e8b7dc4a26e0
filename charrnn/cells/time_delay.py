"""A time-delay network: no recurrence, but causal convolutions whose reach doubles from layer to layer."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params, concat, stack, tanh, zeros
from charrnn.cells.cell import HiddenUnits, Kernel, uniform_init

MOST_LEVELS = 12


class DelayState(NamedTuple):
    """levels: for each level k the last 2^(k−1) values that it delays, the latest first, each (B, H)."""

    levels: tuple[tuple[Array, ...], ...]


@dataclass(frozen=True)
class TimeDelay(HiddenUnits):
    """Level 1 reads the input, level k = 2 … K reads the level below it, both now and 2^(k−1) steps ago:

        h_1(t) = tanh(b + U x(t) + U' x(t−1))
        h_k(t) = h_{k−1}(t) + tanh(b_k + A_k h_{k−1}(t) + A'_k h_{k−1}(t − 2^(k−1)))

    K = `delay_levels`; the output h_K sees the last 2^K inputs and nothing before them. U and U' are stacked in
    `weight_ih` (2H, I), b = `bias` (H,); A_k = `k.weight` (H, H), A'_k = `k.weight_delayed` (H, H),
    b_k = `k.bias` (H,). Delayed values from before the first step are 0. All steps share the same weights, as in
    a recurrent network, but the past beyond the reach has no effect. All steps train in parallel. |h_K| ≤ K, so
    with finite weights every logit is bounded and the probability of stopping stays above a positive constant.

    Unfolded in time, with `delay_levels` = 2:

           h(1)          h(2)          h(3)          h(4)
        A_2 ↑         A_2 ↑         A_2 ↑↑        A_2 ↑↑
            ├─────────────┼───────A'_2──┼┘            ││
            │             ├─────────────┼───────A'_2──┼┘
         h_1(1)        h_1(2)        h_1(3)        h_1(4)
          U ↑           U ↑↑          U ↑↑          U ↑↑
            ├──────U'─────┼┘            ││            ││
            │             ├──────U'─────┼┘            ││
            │             │             ├──────U'─────┼┘
          x(1)          x(2)          x(3)          x(4)

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, chapter 10 (its opening, on convolution over
    time); Lang and Hinton 1988; reach doubled by dilation as in van den Oord et al. 2016.
    """

    delay_levels: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.delay_levels <= MOST_LEVELS:
            raise ValueError(f"delay_levels {self.delay_levels}: expected 1 to {MOST_LEVELS}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (2 * H, I), "bias": (H,)}
        for k in range(2, self.delay_levels + 1):
            shapes |= {f"{k}.weight": (H, H), f"{k}.weight_delayed": (H, H), f"{k}.bias": (H,)}
        return shapes

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        return uniform_init(rng, self.shapes, (1.5 / self.hidden_size) ** 0.5)

    def zero_state(self, batch_size: int, like: Array) -> DelayState:
        zero = zeros((batch_size, self.hidden_size), like)
        return DelayState(tuple((zero,) * 2 ** (k - 1) for k in range(1, self.delay_levels + 1)))

    def project(self, params: Params, x: Array | OneHot) -> Array:
        """b + U x and U' x, side by side."""
        bias = params["bias"]
        return super().project({**params, "bias": concat([bias, 0.0 * bias], axis=0)}, x)

    def step(self, params: Params, projected: Array, state: DelayState) -> tuple[Array, DelayState]:
        H = self.hidden_size
        first, *others = state.levels
        new = [(projected[..., H:], *first[:-1])]
        h = tanh(projected[..., :H] + first[-1])
        for k, past in enumerate(others, start=2):
            new.append((h, *past[:-1]))
            h = h + self._level(params, k, h, past[-1])
        return h, DelayState(tuple(new))

    def kernel(self) -> Kernel | None:
        return self._convolve

    def _convolve(self, params: Params, x: Array | OneHot, state: DelayState) -> tuple[Array, DelayState]:
        H = self.hidden_size
        projected = self.project(params, x)
        delayed, after = _delay(projected[..., H:], state.levels[0])
        new = [after]
        h = tanh(projected[..., :H] + delayed)
        for k, past in enumerate(state.levels[1:], start=2):
            delayed, after = _delay(h, past)
            new.append(after)
            h = h + self._level(params, k, h, delayed)
        return h, DelayState(tuple(new))

    def _level(self, params: Params, k: int, h: Array, delayed: Array) -> Array:
        A, A_delayed = params[f"{k}.weight"], params[f"{k}.weight_delayed"]
        return tanh(params[f"{k}.bias"] + h @ A.T + delayed @ A_delayed.T)


def _delay(values: Array, past: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
    """Values (T, B, H) delayed by the length of the past (latest first), and the new past."""
    steps = len(values)
    whole = concat([stack(past[::-1]), values], axis=0)
    return whole[:steps], tuple(whole[len(whole) - 1 - d] for d in range(len(past)))


CELL = TimeDelay
