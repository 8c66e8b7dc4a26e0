"""The way of a recurrent network's state through a text, step by step, for what is measured along it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from charrnn.cells.arrays import Array, OneHot, Params
from charrnn.cells.cell import Cell, State, map_state, refilled, state_arrays
from charrnn.corpus.steps import Steps
from charrnn.models.language_model import LanguageModel
from charrnn.models.layers import part_of
from charrnn.tasks.generate_learner import map_arrays


class Recurrence(Protocol):
    """What is measured needs of a cell, and layers of cells have it too."""

    def project(self, params: Params, x: Array | OneHot) -> Array: ...

    def step(self, params: Params, projected: Array, state: State) -> tuple[Array, State]: ...


@dataclass(frozen=True)
class Stack:
    """Layers as one recurrence: h_l(t), s_l(t) = step_l(b_l + U_l h_{l−1}(t), s_l(t−1)), h_0 = x, the output h_L.

    Its state is the tuple of the layers' states, its parameters are those of the model: `layers.l.name`.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.5, figure 10.13a.
    """

    cells: tuple[Cell, ...]

    def project(self, params: Params, x: Array | OneHot) -> Array:
        return self.cells[0].project(self._own(params, 0), x)

    def step(self, params: Params, projected: Array, state: State) -> tuple[Array, State]:
        output, after = projected, []
        for number, (cell, before) in enumerate(zip(self.cells, state, strict=True)):
            own = self._own(params, number)
            output, new = cell.step(own, cell.project(own, output) if number else projected, before)
            after.append(new)
        return output, tuple(after)

    def _own(self, params: Params, number: int) -> Params:
        return part_of(params, f"layers.{number}.", self.cells[number].shapes)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A recurrence driven by a text: what acted on it from outside, and every state that it was in. Tensors."""

    cell: Recurrence
    params: Params
    projected: torch.Tensor
    """(T, B, G), the input's part of each step."""
    states: Sequence[State]
    """s(0) … s(T), of B rows each; s(t) is what step t ends with."""

    @classmethod
    def of(
        cls, cell: Recurrence, params: Params, projected: torch.Tensor, state: State
    ) -> tuple["Trajectory", torch.Tensor]:
        """From s(0) on, and the outputs h(1) … h(T), (T, B, H)."""
        states, outputs = [state], []
        with torch.no_grad():
            for a in projected:
                output, after = cell.step(params, a, states[-1])
                states.append(after)
                outputs.append(output)
        return cls(cell, params, projected, states), torch.stack(outputs)

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
    layers, stack = [], Stack(model.layers)
    driven = stack.project(tensors, x)[warm_up:]
    for number, cell in enumerate(model.layers):
        own = model.layer_params(tensors, number)
        whole, x = Trajectory.of(cell, own, cell.project(own, x), states[number])
        layers.append(Trajectory(cell, own, whole.projected[warm_up:], whole.states[warm_up:]))
    together = list(zip(*(layer.states for layer in layers), strict=True))
    return Trajectories(tuple(layers), Trajectory(stack, tensors, driven, together))


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
