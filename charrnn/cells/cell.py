"""The contract of a recurrent cell: one step, and nothing about time, layers, heads or text.

A cell is a frozen dataclass of sizes and options; its parameters are a flat dict of arrays that it is
handed, its state a NamedTuple of arrays (or of tuples of arrays). Because it is pure and written with
`charrnn.cells.arrays`, the same lines serve NumPy and torch.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params

State: TypeAlias = Any
"""A NamedTuple of arrays (B, …), or of tuples of such arrays, that belongs to one cell."""

Kernel: TypeAlias = Callable[[Params, "Array | OneHot", State], tuple[Array, State]]
"""A fused unroll in torch: parameters, inputs (T, B, I), state -> outputs (T, B, H), final state."""


class Cell(Protocol):
    @property
    def input_size(self) -> int: ...

    @property
    def output_size(self) -> int: ...

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter."""

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """Fresh parameters."""

    def zero_state(self, batch_size: int, like: Array) -> State:
        """The state of B rows before anything was read, in the library of `like`."""

    def project(self, params: Params, x: Array | OneHot) -> Array:
        """Input to hidden, (..., I) -> (..., G). It knows no time: all steps go in one product.

        It is affine in x, so that anything else that acts on the units can be added to its result.
        """

    def step(self, params: Params, projected: Array, state: State) -> tuple[Array, State]:
        """Hidden to hidden, one step: projected (B, G), state -> output (B, H), new state."""

    def kernel(self) -> Kernel | None:
        """A fused unroll for training that computes what the step loop computes, if there is one."""


def map_state(function: Callable[..., Array], *states: State) -> State:
    """The function applied to corresponding arrays of states of one structure."""
    first = states[0]
    if hasattr(first, "dtype"):
        return function(*states)
    parts = (map_state(function, *parts) for parts in zip(*states, strict=True))
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def state_arrays(state: State) -> list[Array]:
    """The arrays of a state, in a fixed order."""
    if hasattr(state, "dtype"):
        return [state]
    return [array for part in state for array in state_arrays(part)]


def uniform_init(
    rng: np.random.Generator, shapes: dict[str, tuple[int, ...]], bound: float
) -> dict[str, npt.NDArray[np.float32]]:
    """Every parameter uniform in [−bound, bound], drawn in the order of the dict."""
    return {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}
