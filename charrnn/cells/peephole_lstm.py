"""An LSTM whose gates also read the memory itself, so that they can measure time."""

from dataclasses import dataclass

from charrnn.cells.arrays import Array, Params, sigmoid, split, tanh
from charrnn.cells.gated_memory import GatedMemory, MemoryState


@dataclass(frozen=True)
class PeepholeLSTM(GatedMemory):
    """i, f, g, o = the four parts of b + W h(t−1) + U x(t), p_i, p_f, p_o = the three parts of p, then

        c(t) = σ(f + p_f c(t−1)) c(t−1) + σ(i + p_i c(t−1)) tanh(g)
        h(t) = σ(o + p_o c(t)) tanh(c(t))

    U = `weight_ih` (4H, I), W = `weight_hh` (4H, H), b = `bias` (4H,) as in `lstm`; p = `peephole` (3H,):
    input, forget, output gate. The forget gate's bias starts at `forget_bias`. |h| ≤ 1, so with finite
    weights every logit is bounded and the probability of stopping stays above a positive constant.

    Unfolded in time (the gates are parts of a = b + W h + U x, and each also reads p c):

                      o(1)          o(2)          o(3)
                     V ↑           V ↑           V ↑
        h(0) ╶─┐      h(1) ╶─┐      h(2) ╶─┐      h(3)
               │     o ↑     │     o ↑     │     o ↑
        c(0) ╶─┼──f─→ c(1) ╶─┼──f─→ c(2) ╶─┼──f─→ c(3)
               │  i, g ↑     │  i, g ↑     │  i, g ↑
               └──W─→ a(1)   └──W─→ a(2)   └──W─→ a(3)
                     U ↑           U ↑           U ↑
                      x(1)          x(2)          x(3)

    Source: Gers and Schmidhuber 2000, *Recurrent nets that time and count*; the memory as an input of the
    gates is mentioned in Goodfellow, Bengio and Courville, *Deep Learning*, section 10.10.1.
    """

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {**super().shapes, "peephole": (3 * self.hidden_size,)}

    def step(self, params: Params, projected: Array, state: MemoryState) -> tuple[Array, MemoryState]:
        i, f, g, o = self.each_gate(params, projected, state.h)
        p_i, p_f, p_o = split(params["peephole"], *(self.hidden_size,) * 3)
        c = sigmoid(f + p_f * state.c) * state.c + sigmoid(i + p_i * state.c) * tanh(g)
        h = sigmoid(o + p_o * c) * tanh(c)
        return h, MemoryState(h, c)


CELL = PeepholeLSTM
