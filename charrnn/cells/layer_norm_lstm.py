"""An LSTM that normalises each gate's input over the units, at a cost in speed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params, linear, sigmoid, split, standardise, tanh
from charrnn.cells.gated_memory import GatedMemory, MemoryState

EPSILON = 1e-5
"""Added to the variance, so that equal units cause no division by zero."""


@dataclass(frozen=True)
class LayerNormLSTM(GatedMemory):
    """i, f, g, o = the four parts of W h(t−1) + U x(t), each normalised over its H units, then scaled and shifted:

        N(a) = (a − mean a) / √(var a + ε)
        c(t) = σ(γ_f N(f) + b_f) c(t−1) + σ(γ_i N(i) + b_i) tanh(γ_g N(g) + b_g)
        h(t) = σ(γ_o N(o) + b_o) tanh(γ_c N(c(t)) + b_c)

    U = `weight_ih` (4H, I), W = `weight_hh` (4H, H) as in `lstm`; γ = `gain` (5H,) and b = `bias` (5H,) in
    the order input, forget, candidate, output, memory. The forget gate's bias starts at `forget_bias`. |h| ≤ 1,
    so with finite weights every logit is bounded and the probability of stopping stays above a positive
    constant.

    Unfolded in time (the gates are parts of a = W h + U x, normalised):

                      o(1)          o(2)          o(3)
                     V ↑           V ↑           V ↑
        h(0) ╶─┐      h(1) ╶─┐      h(2) ╶─┐      h(3)
               │     o ↑     │     o ↑     │     o ↑
        c(0) ╶─┼──f─→ c(1) ╶─┼──f─→ c(2) ╶─┼──f─→ c(3)
               │  i, g ↑     │  i, g ↑     │  i, g ↑
               └──W─→ a(1)   └──W─→ a(2)   └──W─→ a(3)
                     U ↑           U ↑           U ↑
                      x(1)          x(2)          x(3)

    Source: Ba, Kiros and Hinton 2016, *Layer Normalization*, equations 20 to 22, but with one normalisation of
    the sum W h + U x, so that the input's part stays affine; the paper normalises the two terms separately.
    """

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, shapes = self.hidden_size, super().shapes
        return {name: shapes[name] for name in ("weight_ih", "weight_hh")} | {"gain": (5 * H,), "bias": (5 * H,)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        params = super().init(rng)
        params["gain"] += 1.0
        return params

    def project(self, params: Params, x: Array | OneHot) -> Array:
        return linear(x, params["weight_ih"])

    def step(self, params: Params, projected: Array, state: MemoryState) -> tuple[Array, MemoryState]:
        H = self.hidden_size
        gain, memory_gain = split(params["gain"], 4 * H, H)
        bias, memory_bias = split(params["bias"], 4 * H, H)
        summed = projected + state.h @ params["weight_hh"].T
        normed = standardise(summed.reshape(*summed.shape[:-1], 4, H), EPSILON).reshape(summed.shape)
        i, f, g, o = self.parts(normed * gain + bias)
        c = sigmoid(f) * state.c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(standardise(c, EPSILON) * memory_gain + memory_bias)
        return h, MemoryState(h, c)


CELL = LayerNormLSTM
