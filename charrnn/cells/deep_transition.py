"""A deep transition: layers between one step's hidden units and the next step's, for any cell."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params
from charrnn.cells.cell import Cell, Kernel, State, state_arrays, uniform_init
from charrnn.cells.perceptron import Perceptron


@dataclass(frozen=True)
class DeepTransition:
    """a(t) = b + W h(t−1) + U x(t) + Y m(h(t−1)) in place of the cell's b + W h(t−1) + U x(t).

    m is `depth` − 1 tanh layers, `transition.k.weight` (H, H) and `.bias` (H,); Y = `transition.weight` (G, H).
    Each layer lengthens the path from step to step, which makes gradients harder to carry; the cell's own W is
    the skip connection that the book adds around the layers to counter this (figure 10.13c). The cell processes a
    as before: a cell whose outputs are bounded for every input stays bounded. h is the first array of the cell's
    state.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.5; Pascanu et al. 2014.
    """

    cell: Cell
    depth: int

    def __post_init__(self) -> None:
        if "weight_hh" not in self.cell.shapes.keys() - self.cell.frozen or not self._state_arrays:
            raise ValueError("there are no learned weights from step to step to make deep")

    @property
    def input_size(self) -> int:
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def frozen(self) -> frozenset[str]:
        return self.cell.frozen

    @property
    def gives_logits(self) -> bool:
        return self.cell.gives_logits

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        G = self.cell.shapes["weight_ih"][0]
        return {**self.cell.shapes, **self._layers.shapes, "transition.weight": (G, self._layers.hidden_size)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        Y = {"transition.weight": self.shapes["transition.weight"]}
        bound = self._layers.hidden_size**-0.5
        return {**self.cell.init(rng), **self._layers.init(rng), **uniform_init(rng, Y, bound)}

    def zero_state(self, batch_size: int, like: Array) -> State:
        return self.cell.zero_state(batch_size, like)

    def project(self, params: Params, x: Array | OneHot) -> Array:
        return self.cell.project(params, x)

    def step(self, params: Params, projected: Array, state: State) -> tuple[Array, State]:
        deep = self._layers(params, state_arrays(state)[0]) @ params["transition.weight"].T
        return self.cell.step(params, projected + deep, state)

    def compact(self, params: Params) -> Params:
        return self.cell.compact(params)

    def kernel(self) -> Kernel | None:
        return None

    @cached_property
    def _state_arrays(self) -> list[Array]:
        return state_arrays(self.cell.zero_state(1, np.zeros((), np.float32)))

    @cached_property
    def _layers(self) -> Perceptron:
        width = int(self._state_arrays[0].shape[-1])
        return Perceptron("transition", width, width, self.depth - 1)
