"""Feed-forward layers, which make the input, the transition or the output of a recurrent network deep."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params, linear, tanh
from charrnn.cells.cell import uniform_init


@dataclass(frozen=True)
class Perceptron:
    """x_k = tanh(b_k + A_k x_{k−1}), k = 1 … depth, x_0 the input.

    A_k = `k.weight` (H, H), A_1 (H, I), b_k = `k.bias` (H,), each name after a prefix. Depth 0 is the identity
    and needs I = H.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.5 and figure 10.13.
    """

    prefix: str
    input_size: int
    hidden_size: int
    depth: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for k in range(1, self.depth + 1):
            width = self.input_size if k == 1 else self.hidden_size
            shapes |= {f"{self.prefix}.{k}.weight": (self.hidden_size, width)}
            shapes |= {f"{self.prefix}.{k}.bias": (self.hidden_size,)}
        return shapes

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """A variance that tanh preserves from layer to layer; one-hot inputs (one entry set) get the same."""
        return uniform_init(rng, self.shapes, (3.0 / self.hidden_size) ** 0.5)

    def __call__(self, params: Params, x: Array | OneHot) -> Array:
        for k in range(1, self.depth + 1):
            x = tanh(linear(x, params[f"{self.prefix}.{k}.weight"]) + params[f"{self.prefix}.{k}.bias"])
        return x
