"""What every model builds its layers from: a cell, deep from step to step where that is asked for."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np

from charrnn.cells import build_cell
from charrnn.cells.arrays import Params
from charrnn.cells.cell import Cell, State, refilled, state_arrays
from charrnn.cells.deep_transition import DeepTransition
from charrnn.config import LayersConfig

T = TypeVar("T")


def under(prefix: str, values: Mapping[str, T]) -> dict[str, T]:
    """The parameters of a part of a model, under their names in the whole."""
    return {prefix + name: value for name, value in values.items()}


def part_of(params: Params, prefix: str, names: Iterable[str]) -> Params:
    """Those of the whole under their names in the part."""
    return {name: params[prefix + name] for name in names}


def build_layer(config: LayersConfig, input_size: int, num_outputs: int) -> Cell:
    """One layer of the configuration's cell that reads vectors (..., input_size).

    num_outputs: of the whole model, for cells that feed them back. Raises ValueError for a cell that cannot be
    built so.
    """
    cell = build_cell(config.cell, input_size, config.hidden_size, config.cell_options, num_outputs=num_outputs)
    return cell if config.transition_depth == 1 else DeepTransition(cell, config.transition_depth)


def initial_shapes(cell: Cell) -> list[tuple[int, ...]]:
    """The shapes of one row of a cell's state, array by array."""
    return [tuple(a.shape[1:]) for a in state_arrays(cell.zero_state(1, np.zeros((), np.float32)))]


def start(cell: Cell, params: Params, prefix: str, batch_size: int) -> State:
    """A cell's state before it read anything: zero, or what was learned under `prefix`0, `prefix`1, …"""
    zero = cell.zero_state(batch_size, next(iter(params.values())))
    if f"{prefix}0" not in params:
        return zero
    return refilled(zero, [array + params[f"{prefix}{i}"] for i, array in enumerate(state_arrays(zero))])
