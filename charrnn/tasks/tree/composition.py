"""How a tree node's state is computed from its children's: the step of a recursive network, like a cell's.

A composition is a frozen dataclass of sizes. It takes its parameters as a flat dict of arrays, and the states of n
nodes as a NamedTuple of arrays (n, H). The same code serves NumPy and torch (`charrnn.cells.arrays`). It knows
neither trees nor levels: the children of a node are adjacent.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import (
    Array,
    OneHot,
    Params,
    linear,
    sigmoid,
    split,
    sum_groups,
    tanh,
)
from charrnn.cells.cell import State, uniform_init
from charrnn.config import CompositionName


class Hidden(NamedTuple):
    h: Array


class Memory(NamedTuple):
    h: Array
    c: Array


@dataclass(frozen=True)
class Composition(ABC):
    """Maps leaves x (n, I) to states, and states of children to those of their parents."""

    input_size: int
    hidden_size: int

    pairs: ClassVar[bool]
    """Whether it composes exactly two children, left and right."""

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter."""

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """Every parameter uniform within ± H^(−1/2)."""
        return uniform_init(rng, self.shapes, self.hidden_size**-0.5)

    @abstractmethod
    def leaf(self, params: Params, x: Array | OneHot) -> State:
        """The states of n leaves x (n, I)."""

    @abstractmethod
    def compose(self, params: Params, children: State, sizes: npt.NDArray[np.int64]) -> State:
        """The states of n nodes with `sizes` (n,) children each, from those of all children (m, H), in order."""


class RecursiveTanh(Composition):
    """The recursive network of the book, one affine map for all nodes:

        h = tanh(b + W [h_left, h_right]),    for a leaf h = tanh(a + U x)

    W = `weight` (H, 2H), b = `bias` (H,), U = `leaf.weight` (H, I), a = `leaf.bias` (H,).

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.6, figure 10.14; Pollack 1990; Socher et
    al. 2011.
    """

    pairs = True

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        return {"leaf.weight": (H, I), "leaf.bias": (H,), "weight": (H, 2 * H), "bias": (H,)}

    def leaf(self, params: Params, x: Array | OneHot) -> Hidden:
        return Hidden(tanh(linear(x, params["leaf.weight"]) + params["leaf.bias"]))

    def compose(self, params: Params, children: State, sizes: npt.NDArray[np.int64]) -> Hidden:
        return Hidden(tanh(_beside(children.h) @ params["weight"].T + params["bias"]))


class TreeLSTM(Composition):
    """The binary Tree-LSTM, with a forget gate for each child:

        i, f_l, f_r, o = σ(…),  u = tanh(…),    … = b + U [h_left, h_right]
        c = i u + f_l c_left + f_r c_right,  h = o tanh(c)

    and for a leaf i, o = σ(a + W x), u = tanh(a + W x), c = i u. U = `weight` (5H, 2H), b = `bias` (5H,) in the
    order i, f_l, f_r, u, o; W = `leaf.weight` (3H, I), a = `leaf.bias` (3H,) in the order i, u, o. Forget biases
    begin at 1.

    Source: Tai, Socher and Manning 2015, section 3.2, N = 2.
    """

    pairs = True

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        leaf = {"leaf.weight": (3 * H, I), "leaf.bias": (3 * H,)}
        return {**leaf, "weight": (5 * H, 2 * H), "bias": (5 * H,)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        H, params = self.hidden_size, super().init(rng)
        params["bias"][H : 3 * H] += 1.0
        return params

    def leaf(self, params: Params, x: Array | OneHot) -> Memory:
        return _leaf_memory(params, x, self.hidden_size)

    def compose(self, params: Params, children: State, sizes: npt.NDArray[np.int64]) -> Memory:
        H = self.hidden_size
        gates = _beside(children.h) @ params["weight"].T + params["bias"]
        i, f, u, o = split(gates, H, 2 * H, H, H)
        kept = sigmoid(f) * _beside(children.c)
        c = sigmoid(i) * tanh(u) + kept[:, :H] + kept[:, H:]
        return Memory(sigmoid(o) * tanh(c), c)


class ChildSum(Composition):
    """The child-sum Tree-LSTM, for any number of children k, whose order it ignores:

        h~ = Σ_k h_k,  i, o = σ(…),  u = tanh(…),    … = b + U h~
        f_k = σ(d + F h_k),  c = i u + Σ_k f_k c_k,  h = o tanh(c)

    and for a leaf as in the binary Tree-LSTM. U = `weight` (3H, H), b = `bias` (3H,) in the order i, u, o; F =
    `forget.weight` (H, H), d = `forget.bias` (H,), which begins at 1.

    Source: Tai, Socher and Manning 2015, section 3.1.
    """

    pairs = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        leaf = {"leaf.weight": (3 * H, I), "leaf.bias": (3 * H,)}
        forget = {"forget.weight": (H, H), "forget.bias": (H,)}
        return {**leaf, **forget, "weight": (3 * H, H), "bias": (3 * H,)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        params = super().init(rng)
        return {**params, "forget.bias": params["forget.bias"] + np.float32(1.0)}

    def leaf(self, params: Params, x: Array | OneHot) -> Memory:
        return _leaf_memory(params, x, self.hidden_size)

    def compose(self, params: Params, children: State, sizes: npt.NDArray[np.int64]) -> Memory:
        H = self.hidden_size
        i, u, o = split(sum_groups(children.h, sizes) @ params["weight"].T + params["bias"], H, H, H)
        f = sigmoid(children.h @ params["forget.weight"].T + params["forget.bias"])
        c = sigmoid(i) * tanh(u) + sum_groups(f * children.c, sizes)
        return Memory(sigmoid(o) * tanh(c), c)


COMPOSITIONS: dict[CompositionName, type[Composition]] = {
    "tanh": RecursiveTanh,
    "tree_lstm": TreeLSTM,
    "child_sum": ChildSum,
}


def _leaf_memory(params: Params, x: Array | OneHot, hidden_size: int) -> Memory:
    gates = linear(x, params["leaf.weight"]) + params["leaf.bias"]
    i, u, o = split(gates, hidden_size, hidden_size, hidden_size)
    c = sigmoid(i) * tanh(u)
    return Memory(sigmoid(o) * tanh(c), c)


def _beside(children: Array) -> Array:
    """(n, 2H) the left and right child of each of n nodes side by side, from all children (2n, H)."""
    return children.reshape(-1, 2 * children.shape[-1])
