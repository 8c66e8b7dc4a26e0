"""An LSTM whose input gate is 1 minus the forget gate, which saves a quarter of the parameters."""

from dataclasses import dataclass
from typing import ClassVar

from charrnn.cells.arrays import Array, Params, sigmoid, tanh
from charrnn.cells.gated_memory import GatedMemory, MemoryState


@dataclass(frozen=True)
class CoupledLSTM(GatedMemory):
    """f, g, o = the three parts of b + W h(t−1) + U x(t), then

        c(t) = σ(f) c(t−1) + (1 − σ(f)) tanh(g)
        h(t) = σ(o) tanh(c(t))

    U = `weight_ih` (3H, I), W = `weight_hh` (3H, H), b = `bias` (3H,), in the order forget gate, candidate,
    output gate, as in `lstm` without the input gate. The forget gate's bias starts at `forget_bias`. |c| and
    |h| ≤ 1, so with finite weights every logit is bounded and the probability of stopping stays above a
    positive constant.

    Unfolded in time (the gates are parts of a = b + W h + U x):

                      o(1)          o(2)          o(3)
                     V ↑           V ↑           V ↑
        h(0) ╶─┐      h(1) ╶─┐      h(2) ╶─┐      h(3)
               │     o ↑     │     o ↑     │     o ↑
        c(0) ╶─┼──f─→ c(1) ╶─┼──f─→ c(2) ╶─┼──f─→ c(3)
               │  f, g ↑     │  f, g ↑     │  f, g ↑
               └──W─→ a(1)   └──W─→ a(2)   └──W─→ a(3)
                     U ↑           U ↑           U ↑
                      x(1)          x(2)          x(3)

    Source: the variant CIFG of Greff et al. 2017, *LSTM: A Search Space Odyssey*; the coupling is that of the
    GRU (Goodfellow, Bengio and Courville, *Deep Learning*, section 10.10.2).
    """

    gates: ClassVar[str] = "fgo"

    def step(self, params: Params, projected: Array, state: MemoryState) -> tuple[Array, MemoryState]:
        f, g, o = self.each_gate(params, projected, state.h)
        new = tanh(g)
        c = new + sigmoid(f) * (state.c - new)  # The weighted mean of both, with one product fewer.
        h = sigmoid(o) * tanh(c)
        return h, MemoryState(h, c)


CELL = CoupledLSTM
