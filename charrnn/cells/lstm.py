"""Long short-term memory: a linear self-loop whose weight, input and output are gated."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params, sigmoid, tanh
from charrnn.cells.cell import Kernel
from charrnn.cells.fused import run_fused
from charrnn.cells.gated_memory import GatedMemory, MemoryState


@dataclass(frozen=True)
class LSTM(GatedMemory):
    """i, f, g, o = the four parts of b + W h(t−1) + U x(t), then

        c(t) = σ(f) c(t−1) + σ(i) tanh(g)
        h(t) = σ(o) tanh(c(t))

    U = `weight_ih` (4H, I), W = `weight_hh` (4H, H), b = `bias` (4H,), gates in torch's order: input,
    forget, candidate, output. The book writes f for the forget gate, g for the input gate, q for the output
    gate and s for c. |h| ≤ 1, so with finite weights every logit is bounded and the probability of stopping
    stays above a positive constant, although c is not bounded.

    The forget gate's bias starts at `forget_bias`. With `memory_span` T > 1 the units' memories initially last
    from 1.5 to T steps, spread evenly on a logarithmic scale: b_f is uniform on [0, ln T], and b_i = −b_f, so
    that long memories are written slowly (chrono initialisation; Tallec and Ollivier 2018, who spread them evenly
    on a linear scale). Such a model learns sooner how far a text has progressed.

    Unfolded in time (the gates are parts of a = b + W h + U x):

                      o(1)          o(2)          o(3)
                     V ↑           V ↑           V ↑
        h(0) ╶─┐      h(1) ╶─┐      h(2) ╶─┐      h(3)
               │     o ↑     │     o ↑     │     o ↑
        c(0) ╶─┼──f─→ c(1) ╶─┼──f─→ c(2) ╶─┼──f─→ c(3)
               │  i, g ↑     │  i, g ↑     │  i, g ↑
               └──W─→ a(1)   └──W─→ a(2)   └──W─→ a(3)
                     U ↑           U ↑           U ↑
                      x(1)          x(2)          x(3)

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.10.1, equations 10.40 to 10.44;
    the candidate uses tanh, as in torch.
    """

    memory_span: int = 0

    trains_in_bfloat16: ClassVar[bool] = True

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        params = super().init(rng)
        if self.memory_span > 1:
            forget = rng.uniform(0.0, math.log(self.memory_span), self.hidden_size)
            params["bias"][self.part("i")], params["bias"][self.part("f")] = -forget, forget
        return params

    def step(self, params: Params, projected: Array, state: MemoryState) -> tuple[Array, MemoryState]:
        i, f, g, o = self.each_gate(params, projected, state.h)
        c = sigmoid(f) * state.c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return h, MemoryState(h, c)

    def kernel(self) -> Kernel | None:
        return self._fused

    def _fused(self, params: Params, x: Array | OneHot, state: MemoryState) -> tuple[Array, MemoryState]:
        outputs, after = run_fused("LSTM", params, x, state)
        return outputs, MemoryState(*after)


CELL = LSTM
