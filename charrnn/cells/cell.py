"""The interface of a recurrent cell: one step, independent of time, layers, heads and text.

A cell is a frozen dataclass of sizes and options. Its methods take its parameters, a flat dict of arrays, and its
state, a NamedTuple of arrays (or of tuples of arrays). Because they are pure and written with
`charrnn.cells.arrays`, the same lines run on NumPy and torch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params, linear

INPUT_TO_HIDDEN, HIDDEN_TO_HIDDEN = "weight_ih", "weight_hh"
"""The names of U (input to hidden) and W (hidden to hidden) in every cell that has them."""

State: TypeAlias = Any
"""The state of one cell: a NamedTuple of arrays (B, …), or of tuples of such arrays."""

Kernel: TypeAlias = Callable[[Params, "Array | OneHot", State], tuple[Array, State]]
"""A fused unroll in torch: parameters, inputs (T, B, I), state -> outputs (T, B, H), final state."""


class Cell(Protocol):
    @property
    def input_size(self) -> int: ...

    @property
    def output_size(self) -> int: ...

    @property
    def frozen(self) -> frozenset[str]:
        """Parameters that are drawn once and never trained."""

    @property
    def gives_logits(self) -> bool:
        """Whether the outputs are already logits, so that a model's readout is the identity."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter."""

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """New parameters."""

    def zero_state(self, batch_size: int, like: Array) -> State:
        """The state of B rows before the first input, in the library of `like`."""

    def project(self, params: Params, x: Array | OneHot) -> Array:
        """Input to hidden, (..., I) -> (..., G). It does not depend on time: one product serves all steps.

        It is affine in x, so other inputs to the units can be added to its result.
        """

    def step(self, params: Params, projected: Array, state: State) -> tuple[Array, State]:
        """Hidden to hidden, one step: projected (B, G), state -> output (B, H), new state."""

    def compact(self, params: Params) -> Params:
        """The parameters in the form that makes many steps fastest."""

    def kernel(self) -> Kernel | None:
        """A fused unroll for training that computes the same as the step loop, if any."""


@dataclass(frozen=True)
class HiddenUnits(ABC):
    """The base of nearly all cells: H hidden units that are the output, U = `weight_ih` and b = `bias`.

    A subclass defines its parameters, its state and one step.
    """

    input_size: int
    hidden_size: int

    frozen: ClassVar[frozenset[str]] = frozenset()
    gives_logits: ClassVar[bool] = False
    trains_in_bfloat16: ClassVar[bool] = False
    """Whether its kernel may multiply in half precision, because it keeps the memory between steps in full."""

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]: ...

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """Every parameter uniform within ± H^(−1/2)."""
        return uniform_init(rng, self.shapes, self.hidden_size**-0.5)

    @abstractmethod
    def zero_state(self, batch_size: int, like: Array) -> State: ...

    def project(self, params: Params, x: Array | OneHot) -> Array:
        """b + U x."""
        return linear(x, params["weight_ih"]) + params["bias"]

    @abstractmethod
    def step(self, params: Params, projected: Array, state: State) -> tuple[Array, State]: ...

    def compact(self, params: Params) -> Params:
        return params

    def kernel(self) -> Kernel | None:
        return None


def map_state(function: Callable[..., Array], *states: State) -> State:
    """Applies the function to corresponding arrays of states with the same structure."""
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


def refilled(state: State, arrays: Iterable[Array]) -> State:
    """A state of the same structure with other arrays, in the order of `state_arrays`."""
    given = iter(arrays)
    return map_state(lambda _: next(given), state)


def uniform_init(
    rng: np.random.Generator, shapes: dict[str, tuple[int, ...]], bound: float
) -> dict[str, npt.NDArray[np.float32]]:
    """Every parameter uniform in [−bound, bound], drawn in the order of the dict."""
    return {name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()}
