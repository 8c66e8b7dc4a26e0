"""The vanilla recurrent network: hidden-to-hidden connections and a tanh."""

from dataclasses import dataclass
from typing import NamedTuple

from charrnn.cells.arrays import Array, OneHot, Params, tanh, zeros
from charrnn.cells.cell import HiddenUnits, Kernel
from charrnn.cells.fused import run_fused


class TanhState(NamedTuple):
    """h: (B, H), the hidden units."""

    h: Array


@dataclass(frozen=True)
class Tanh(HiddenUnits):
    """a(t) = b + W h(t−1) + U x(t),  h(t) = tanh(a(t)); in the model then o(t) = c + V h(t), ŷ(t) = softmax(o(t)).

    U = `weight_ih` (H, I), W = `weight_hh` (H, H), b = `bias` (H,), V = `readout.weight` (S, H),
    c = `readout.bias` (S,). The loss is the sum over all steps of −ln ŷ(t) at the next symbol. |h| ≤ 1, so with
    finite weights every logit is bounded and the probability of stopping stays above a positive constant: a
    model that ends by EOS or halt is proper.

    Unfolded in time:

                      o(1)          o(2)          o(3)
                     V ↑           V ↑           V ↑
        h(0) ╶───W──→ h(1) ╶───W──→ h(2) ╶───W──→ h(3)
                     U ↑           U ↑           U ↑
                      x(1)          x(2)          x(3)

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.2, equations 10.8 to 10.14.
    """

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        return {"weight_ih": (H, I), "weight_hh": (H, H), "bias": (H,)}

    def zero_state(self, batch_size: int, like: Array) -> TanhState:
        return TanhState(zeros((batch_size, self.hidden_size), like))

    def step(self, params: Params, projected: Array, state: TanhState) -> tuple[Array, TanhState]:
        h = tanh(projected + state.h @ params["weight_hh"].T)
        return h, TanhState(h)

    def kernel(self) -> Kernel | None:
        return self._fused

    def _fused(self, params: Params, x: Array | OneHot, state: TanhState) -> tuple[Array, TanhState]:
        outputs, after = run_fused("RNN", params, x, state)
        return outputs, TanhState(*after)


CELL = Tanh
