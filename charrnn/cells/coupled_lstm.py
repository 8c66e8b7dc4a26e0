"""The LSTM whose input gate is what its forget gate leaves: a quarter of the parameters less."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, Params, sigmoid, split, tanh, zeros
from charrnn.cells.cell import HiddenUnits
from charrnn.cells.lstm import LSTMState


@dataclass(frozen=True)
class CoupledLSTM(HiddenUnits):
    """f, g, o = the three parts of b + W h(t−1) + U x(t), then

        c(t) = σ(f) c(t−1) + (1 − σ(f)) tanh(g)
        h(t) = σ(o) tanh(c(t))

    U = `weight_ih` (3H, I), W = `weight_hh` (3H, H), b = `bias` (3H,), in the order forget gate, candidate,
    output gate, as in `lstm` without the input gate. The forget gate's bias starts at `forget_bias`. |c| and
    |h| ≤ 1, so with finite weights every logit is bounded and the probability of stopping stays above a
    positive constant.

    Source: the variant CIFG of Greff et al. 2017, *LSTM: A Search Space Odyssey*; the coupling is that of the
    GRU (Goodfellow, Bengio and Courville, *Deep Learning*, section 10.10.2).
    """

    forget_bias: float = 1.0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        return {"weight_ih": (3 * H, I), "weight_hh": (3 * H, H), "bias": (3 * H,)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        params = super().init(rng)
        params["bias"][: self.hidden_size] = self.forget_bias
        return params

    def zero_state(self, batch_size: int, like: Array) -> LSTMState:
        zero = zeros((batch_size, self.hidden_size), like)
        return LSTMState(zero, zero)

    def step(self, params: Params, projected: Array, state: LSTMState) -> tuple[Array, LSTMState]:
        H = self.hidden_size
        forget, candidate, output = split(projected + state.h @ params["weight_hh"].T, H, H, H)
        candidate = tanh(candidate)
        c = candidate + sigmoid(forget) * (state.c - candidate)
        h = sigmoid(output) * tanh(c)
        return h, LSTMState(h, c)


CELL = CoupledLSTM
