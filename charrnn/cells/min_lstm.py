"""The minimal LSTM: gates and candidate depend on the input alone, so all time steps train at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params, sigmoid, softplus, split, zeros
from charrnn.cells.cell import HiddenUnits, Kernel
from charrnn.cells.gru import GRUState
from charrnn.cells.scan import linear_scan


@dataclass(frozen=True)
class MinLSTM(HiddenUnits):
    """i, f, n = the three parts of b + U x(t), then

        h(t) = f' h(t−1) + i' n,    f' = σ(f) / (σ(f) + σ(i)),    i' = 1 − f'

    U = `weight_ih` (3H, I), b = `bias` (3H,), in torch's order of the gates. As in `min_gru` the input alone
    decides what is kept, so training needs no loop over time (`linear_scan`); here two gates set the shares. The
    forget gate's bias starts at `forget_bias`. h is a mean of values of n, which are bounded because the inputs
    are, so with finite weights every logit is bounded and the probability of stopping stays above a positive
    constant.

    Unfolded in time (f': h itself, as far as the gate keeps it):

                      o(1)          o(2)          o(3)
                     V ↑           V ↑           V ↑
        h(0) ╶──f'──→ h(1) ╶──f'──→ h(2) ╶──f'──→ h(3)
                     U ↑           U ↑           U ↑
                      x(1)          x(2)          x(3)

    Source: Feng et al. 2024, *Were RNNs All We Needed?*, section 3.2.
    """

    forget_bias: float = 1.0

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight_ih": (3 * self.hidden_size, self.input_size), "bias": (3 * self.hidden_size,)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        H = self.hidden_size
        params = super().init(rng)
        params["bias"][H : 2 * H] = self.forget_bias
        return params

    def zero_state(self, batch_size: int, like: Array) -> GRUState:
        return GRUState(zeros((batch_size, self.hidden_size), like))

    def step(self, params: Params, projected: Array, state: GRUState) -> tuple[Array, GRUState]:
        f, n = self._parts(projected)
        h = n + f * (state.h - n)
        return h, GRUState(h)

    def kernel(self) -> Kernel | None:
        return self._scan

    def _scan(self, params: Params, x: Array | OneHot, state: GRUState) -> tuple[Array, GRUState]:
        f, n = self._parts(self.project(params, x))
        h = linear_scan(f, (1.0 - f) * n, state.h)
        return h, GRUState(h[-1])

    def _parts(self, projected: Array) -> tuple[Array, Array]:
        """f' and n; σ(f) / (σ(f) + σ(i)) = σ(ln σ(f) − ln σ(i)), which is never 0 / 0, however small the gates."""
        i, f, n = split(projected, *(self.hidden_size,) * 3)
        return sigmoid(softplus(-i) - softplus(-f)), n


CELL = MinLSTM
