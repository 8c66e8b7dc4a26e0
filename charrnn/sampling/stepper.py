"""A model one step at a time, for drawing text: the cells' own equations, with the first product as a table."""

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Params
from charrnn.cells.cell import map_state
from charrnn.models.language_model import LanguageModel, States

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]


class Stepper:
    """Holds a model's NumPy parameters as stepping needs them. Every method takes and returns B rows."""

    def __init__(self, model: LanguageModel, params: Params) -> None:
        self.model, self.params = model, params
        self._layers = [
            (cell, cell.compact(model.layer_params(params, index))) for index, cell in enumerate(model.layers)
        ]
        self._zero = model.num_input_symbols
        # A symbol's product is a row of this table, and the symbol `_zero`, a zero input, has what is left of it.
        self._table = self._project(np.arange(self._zero + 1), None)
        self._counts = "length" in model.stops
        self._affine = model.config.input_depth == 1

    def initial_state(self, rows: int) -> States:
        return self.model.initial_state(self.params, rows)

    def step(self, inputs: IntArray, remaining: IntArray | None, state: States) -> tuple[FloatArray, States]:
        """Reads one symbol a row: inputs (B,), remaining (B,) or None for absent -> hidden (B, H), state."""
        x = self._table[inputs]
        if self._counts and remaining is not None:
            x = x + self._count_effect(remaining) if self._affine else self._project(inputs, remaining)
        new: list[object] = []
        for index, (cell, layer) in enumerate(self._layers):
            x = x if index == 0 else cell.project(layer, x)
            x, after = cell.step(layer, x, state[index])
            new.append(after)
        hidden: FloatArray = self.model.output_layers(self.params, x)
        return hidden, tuple(new)

    def _project(self, inputs: IntArray, remaining: IntArray | None) -> FloatArray:
        """What the first cell makes of its input, (B, G)."""
        cell, layer = self._layers[0]
        projected: FloatArray = cell.project(layer, self.model.inputs(self.params, inputs, remaining))
        return projected

    def _count_effect(self, remaining: IntArray) -> FloatArray:
        """What the count input adds to the first projection, (B, G): an affine map less its constant."""
        with_counts = self._project(np.full(len(remaining), self._zero), remaining)
        effect: FloatArray = with_counts - self._table[self._zero]
        return effect


def take_rows(state: States, rows: npt.NDArray[np.intp]) -> States:
    return tuple(map_state(lambda array: array[rows], layer) for layer in state)


def join_rows(first: States, second: States) -> States:
    return tuple(
        map_state(lambda a, b: np.concatenate([a, b]), *layers) for layers in zip(first, second, strict=True)
    )
