"""Long short-term memory: a linear self-loop whose weight, input and output are gated."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params, sigmoid, tanh, zeros
from charrnn.cells.cell import HiddenUnits, Kernel
from charrnn.cells.fused import run_fused


class LSTMState(NamedTuple):
    """h: (B, H), the output; c: (B, H), the memory (the book's s)."""

    h: Array
    c: Array


@dataclass(frozen=True)
class LSTM(HiddenUnits):
    """i, f, g, o = the four parts of b + W h(t−1) + U x(t), then

        c(t) = σ(f) c(t−1) + σ(i) tanh(g)
        h(t) = σ(o) tanh(c(t))

    U = `weight_ih` (4H, I), W = `weight_hh` (4H, H), b = `bias` (4H,), gates in torch's order: input,
    forget, candidate, output. The book writes f for the forget gate, g for the input gate, q for the output
    gate and s for c. |h| ≤ 1, so with finite weights every logit is bounded and the probability of stopping
    stays above a positive constant, although c is not.

    The forget gate's bias starts at `forget_bias`: with 1 a fresh memory keeps 73 % a step instead of 50 %
    (Jozefowicz, Zaremba and Sutskever 2015). With `memory_span` T > 1 the units start with memories that last
    from 1.5 to T steps, spread evenly over the orders of magnitude: b_f is uniform on [0, ln T], and
    b_i = −b_f, so that what is kept for long is written slowly (chrono initialisation; Tallec and Ollivier
    2018, who spread them evenly over the steps). Such a model sooner knows how far a text has come.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.10.1, equations 10.40 to 10.44;
    the candidate uses tanh, as in torch.
    """

    forget_bias: float = 1.0
    memory_span: int = 0

    trains_in_bfloat16: ClassVar[bool] = True

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        return {"weight_ih": (4 * H, I), "weight_hh": (4 * H, H), "bias": (4 * H,)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        H = self.hidden_size
        params = super().init(rng)
        if self.memory_span > 1:
            forget = rng.uniform(0.0, math.log(self.memory_span), H)
            params["bias"][:H], params["bias"][H : 2 * H] = -forget, forget
        else:
            params["bias"][H : 2 * H] = self.forget_bias
        return params

    def zero_state(self, batch_size: int, like: Array) -> LSTMState:
        zero = zeros((batch_size, self.hidden_size), like)
        return LSTMState(zero, zero)

    def step(self, params: Params, projected: Array, state: LSTMState) -> tuple[Array, LSTMState]:
        H = self.hidden_size
        gates = projected + state.h @ params["weight_hh"].T
        input_forget = sigmoid(gates[..., : 2 * H])
        candidate = tanh(gates[..., 2 * H : 3 * H])
        output = sigmoid(gates[..., 3 * H :])
        c = input_forget[..., H:] * state.c + input_forget[..., :H] * candidate
        h = output * tanh(c)
        return h, LSTMState(h, c)

    def kernel(self) -> Kernel | None:
        return self._fused

    def _fused(self, params: Params, x: Array | OneHot, state: LSTMState) -> tuple[Array, LSTMState]:
        outputs, after = run_fused("LSTM", params, x, state)
        return outputs, LSTMState(*after)


CELL = LSTM
