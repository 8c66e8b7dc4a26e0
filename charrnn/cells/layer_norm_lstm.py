"""The LSTM with each gate's input normalised over the units, at a cost in speed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params, linear, sigmoid, tanh, zeros
from charrnn.cells.cell import HiddenUnits
from charrnn.cells.lstm import LSTMState

EPSILON = 1e-5
"""Added to the variance, so that equal units are no division by zero."""


@dataclass(frozen=True)
class LayerNormLSTM(HiddenUnits):
    """i, f, g, o = the four parts of W h(t−1) + U x(t), each normalised over its H units, then scaled and shifted:

        N(a) = (a − mean a) / √(var a + ε)
        c(t) = σ(γ_f N(f) + b_f) c(t−1) + σ(γ_i N(i) + b_i) tanh(γ_g N(g) + b_g)
        h(t) = σ(γ_o N(o) + b_o) tanh(γ_c N(c(t)) + b_c)

    U = `weight_ih` (4H, I), W = `weight_hh` (4H, H) as in `lstm`; γ = `gain` (5H,) and b = `bias` (5H,) in
    the order input, forget, candidate, output, memory. The forget gate's bias starts at `forget_bias`. |h| ≤ 1,
    so with finite weights every logit is bounded and the probability of stopping stays above a positive
    constant.

    Source: Ba, Kiros and Hinton 2016, *Layer Normalization*, equations 20 to 22, with one normalisation of the
    sum W h + U x where they normalise its two terms apart: so the input's part stays affine.
    """

    forget_bias: float = 1.0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        return {"weight_ih": (4 * H, I), "weight_hh": (4 * H, H), "gain": (5 * H,), "bias": (5 * H,)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        H = self.hidden_size
        params = super().init(rng)
        params["gain"] += 1.0
        params["bias"][H : 2 * H] = self.forget_bias
        return params

    def zero_state(self, batch_size: int, like: Array) -> LSTMState:
        zero = zeros((batch_size, self.hidden_size), like)
        return LSTMState(zero, zero)

    def project(self, params: Params, x: Array | OneHot) -> Array:
        return linear(x, params["weight_ih"])

    def step(self, params: Params, projected: Array, state: LSTMState) -> tuple[Array, LSTMState]:
        H, gain, bias = self.hidden_size, params["gain"], params["bias"]
        summed = projected + state.h @ params["weight_hh"].T
        parts = summed.reshape(*summed.shape[:-1], 4, H)
        gates = normalise(parts).reshape(summed.shape) * gain[: 4 * H] + bias[: 4 * H]
        admit_forget = sigmoid(gates[..., : 2 * H])
        candidate = tanh(gates[..., 2 * H : 3 * H])
        c = admit_forget[..., H:] * state.c + admit_forget[..., :H] * candidate
        h = sigmoid(gates[..., 3 * H :]) * tanh(normalise(c) * gain[4 * H :] + bias[4 * H :])
        return h, LSTMState(h, c)


def normalise(a: Array) -> Array:
    """(a − mean) / √(variance + ε) over the last axis, the shape of a."""
    centred = a - a.mean(-1, keepdims=True)
    return centred / ((centred * centred).mean(-1, keepdims=True) + EPSILON) ** 0.5


CELL = LayerNormLSTM
