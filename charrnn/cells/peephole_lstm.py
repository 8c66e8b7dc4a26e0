"""The LSTM whose gates look at the memory itself, and so can measure time by it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, Params, sigmoid, split, tanh, zeros
from charrnn.cells.cell import HiddenUnits
from charrnn.cells.lstm import LSTMState


@dataclass(frozen=True)
class PeepholeLSTM(HiddenUnits):
    """i, f, g, o = the four parts of b + W h(t−1) + U x(t), p_i, p_f, p_o the three of p, then

        c(t) = σ(f + p_f c(t−1)) c(t−1) + σ(i + p_i c(t−1)) tanh(g)
        h(t) = σ(o + p_o c(t)) tanh(c(t))

    U = `weight_ih` (4H, I), W = `weight_hh` (4H, H), b = `bias` (4H,) as in `lstm`; p = `peephole` (3H,):
    input, forget, output gate. The forget gate's bias starts at `forget_bias`. |h| ≤ 1, so with finite
    weights every logit is bounded and the probability of stopping stays above a positive constant.

    Source: Gers and Schmidhuber 2000, *Recurrent nets that time and count*; the memory as an input of the
    gates is mentioned in Goodfellow, Bengio and Courville, *Deep Learning*, section 10.10.1.
    """

    forget_bias: float = 1.0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        return {"weight_ih": (4 * H, I), "weight_hh": (4 * H, H), "bias": (4 * H,), "peephole": (3 * H,)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        H = self.hidden_size
        params = super().init(rng)
        params["bias"][H : 2 * H] = self.forget_bias
        return params

    def zero_state(self, batch_size: int, like: Array) -> LSTMState:
        zero = zeros((batch_size, self.hidden_size), like)
        return LSTMState(zero, zero)

    def step(self, params: Params, projected: Array, state: LSTMState) -> tuple[Array, LSTMState]:
        H, c = self.hidden_size, state.c
        admit, forget, candidate, output = split(projected + state.h @ params["weight_hh"].T, H, H, H, H)
        p_admit, p_forget, p_output = split(params["peephole"], H, H, H)
        c = sigmoid(forget + p_forget * c) * c + sigmoid(admit + p_admit * c) * tanh(candidate)
        h = sigmoid(output + p_output * c) * tanh(c)
        return h, LSTMState(h, c)


CELL = PeepholeLSTM
