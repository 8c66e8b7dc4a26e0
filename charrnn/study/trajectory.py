"""The states of a recurrent network at each step of a text, for measurements along them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from charrnn.cells.arrays import Params
from charrnn.cells.cell import State, map_state, refilled, state_arrays
from charrnn.cells.unroll import Recurrence
from charrnn.corpus.steps import Steps, map_arrays
from charrnn.models.language_model import LanguageModel


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A recurrence driven by a text: its projected inputs and all its states, as tensors."""

    cell: Recurrence
    params: Any
    projected: torch.Tensor
    """(T, B, G), the input's contribution to each step."""
    states: Sequence[State]
    """s(0) … s(T), of B rows each; s(t) is the state after step t."""

    @property
    def lags(self) -> int:
        """T"""
        return len(self.projected)

    @property
    def num_rows(self) -> int:
        """B"""
        return int(self.projected.shape[1])

    @property
    def state_size(self) -> int:
        """S, the number of entries in one row's state, over all its arrays."""
        return sum(array[0].numel() for array in state_arrays(self.states[0]))

    def row(self, number: int) -> "Trajectory":
        """The trajectory of one row of the batch."""
        only = slice(number, number + 1)
        states = [map_state(lambda array: array[only], state) for state in self.states]
        return Trajectory(self.cell, self.params, self.projected[:, only], states)


class Trajectories(NamedTuple):
    """The trajectory of each layer of a model, driven by the layer below, and that of all layers together."""

    layers: tuple[Trajectory, ...]
    whole: Trajectory


def follow(model: LanguageModel, params: Params, steps: Steps, warm_up: int) -> Trajectories:
    """Runs a model over steps; the trajectories begin after the first `warm_up` of them.

    params: NumPy; everything is computed in their number type.
    """
    tensors = {name: torch.from_numpy(value) for name, value in model.joined(params).items()}
    read = map_arrays(torch.from_numpy, steps)
    x = model.inputs(tensors, read.inputs, read.remaining, read.context)
    states = model.initial_state(tensors, read.inputs.shape[1], read.context)
    stack, own = model.stack, model.stack.params(tensors)
    with torch.no_grad():
        traces = stack.trace(own, x, states)
    layers = tuple(
        Trajectory(cell, params, trace.projected[warm_up:], trace.states[warm_up:])
        for cell, params, trace in zip(stack.cells, own, traces, strict=True)
    )
    together = list(zip(*(layer.states for layer in layers), strict=True))
    return Trajectories(layers, Trajectory(stack, own, layers[0].projected, together))


def flat(arrays: Sequence[torch.Tensor]) -> torch.Tensor:
    """The arrays (B, …) of a state side by side, (B, S)."""
    return torch.cat([array.reshape(len(array), -1) for array in arrays], -1)


def unflattener(like: State) -> Callable[[torch.Tensor], State]:
    """A function that turns vectors (B, S) into states with the structure of `like`."""
    shapes = [array.shape[1:] for array in state_arrays(like)]
    sizes = [shape.numel() for shape in shapes]

    def unflatten(vectors: torch.Tensor) -> State:
        parts = torch.split(vectors, sizes, -1)
        arrays = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
        return refilled(like, arrays)

    return unflatten
