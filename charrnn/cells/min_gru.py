"""The minimal GRU: its gate and candidate depend on the input alone, so all time steps train at once."""

from dataclasses import dataclass

from charrnn.cells.arrays import Array, OneHot, Params, sigmoid, split, zeros
from charrnn.cells.cell import HiddenUnits, Kernel
from charrnn.cells.gru import GRUState
from charrnn.cells.scan import linear_scan


@dataclass(frozen=True)
class MinGRU(HiddenUnits):
    """z, n = the two parts of b + U x(t), then

        h(t) = σ(z) h(t−1) + (1 − σ(z)) n

    U = `weight_ih` (2H, I), b = `bias` (2H,); z is the share of h(t−1) that is kept, as in `gru` (the paper's
    1 − z). There is no W: gate and candidate do not depend on the state, so training needs no loop over time
    (`linear_scan`). One layer only averages over the past; a second can distinguish orders. h is a mean of values
    of n, which are bounded because the inputs are, so with finite weights every logit is bounded and the
    probability of stopping stays above a positive constant.

    Unfolded in time (z: h itself, as far as the gate keeps it):

                      o(1)          o(2)          o(3)
                     V ↑           V ↑           V ↑
        h(0) ╶───z──→ h(1) ╶───z──→ h(2) ╶───z──→ h(3)
                     U ↑           U ↑           U ↑
                      x(1)          x(2)          x(3)

    Source: Feng et al. 2024, *Were RNNs All We Needed?*, section 3.1.
    """

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight_ih": (2 * self.hidden_size, self.input_size), "bias": (2 * self.hidden_size,)}

    def zero_state(self, batch_size: int, like: Array) -> GRUState:
        return GRUState(zeros((batch_size, self.hidden_size), like))

    def step(self, params: Params, projected: Array, state: GRUState) -> tuple[Array, GRUState]:
        z, n = self._parts(projected)
        h = n + z * (state.h - n)
        return h, GRUState(h)

    def kernel(self) -> Kernel | None:
        return self._scan

    def _scan(self, params: Params, x: Array | OneHot, state: GRUState) -> tuple[Array, GRUState]:
        z, n = self._parts(self.project(params, x))
        h = linear_scan(z, (1.0 - z) * n, state.h)
        return h, GRUState(h[-1])

    def _parts(self, projected: Array) -> tuple[Array, Array]:
        z, n = split(projected, self.hidden_size, self.hidden_size)
        return sigmoid(z), n


CELL = MinGRU
