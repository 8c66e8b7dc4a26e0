"""The way of a recurrent network's state through a text, step by step, for what is measured along it."""

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
    """A recurrence driven by a text: what acted on it from outside, and every state that it was in. Tensors."""

    cell: Recurrence
    params: Any
    projected: torch.Tensor
    """(T, B, G), the input's part of each step."""
    states: Sequence[State]
    """s(0) … s(T), of B rows each; s(t) is what step t ends with."""

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
        """S, the numbers in one row's state, all its arrays together."""
        return sum(array[0].numel() for array in state_arrays(self.states[0]))

    def row(self, number: int) -> "Trajectory":
        """One row of the batch alone."""
        only = slice(number, number + 1)
        states = [map_state(lambda array: array[only], state) for state in self.states]
        return Trajectory(self.cell, self.params, self.projected[:, only], states)


class Trajectories(NamedTuple):
    """Those of a model's layers, each driven by the one below, and that of all layers together."""

    layers: tuple[Trajectory, ...]
    whole: Trajectory


def follow(model: LanguageModel, params: Params, steps: Steps, warm_up: int) -> Trajectories:
    """A model over steps, of which the first `warm_up` only bring the state to where the trajectories begin.

    params: NumPy; their number type is that of everything that is computed.
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
    """Arrays (…, B, …) of a state side by side, (B, S)."""
    return torch.cat([array.reshape(len(array), -1) for array in arrays], -1)


def unflattener(like: State) -> Callable[[torch.Tensor], State]:
    """What makes states of the structure of `like` from vectors (B, S)."""
    shapes = [array.shape[1:] for array in state_arrays(like)]
    sizes = [shape.numel() for shape in shapes]

    def unflatten(vectors: torch.Tensor) -> State:
        parts = torch.split(vectors, sizes, -1)
        arrays = [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]
        return refilled(like, arrays)

    return unflatten
