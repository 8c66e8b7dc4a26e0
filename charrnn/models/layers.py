"""What every model builds its layers from: a cell, with a deep transition if requested."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from charrnn.cells import build_cell
from charrnn.cells.arrays import Array, Params
from charrnn.cells.cell import HIDDEN_TO_HIDDEN, Cell, State, refilled, state_arrays
from charrnn.cells.deep_transition import DeepTransition
from charrnn.config import CellName, Depth, EmbeddingSize, InitialState, Option, VocabSize, Width


@dataclass(frozen=True, kw_only=True)
class LayersConfig:
    """Layers of one cell, for any kind of input and readout.

    The bounds, here and below, hold for anything read from disk; they stop a hostile file before memory is
    allocated.
    """

    cell: CellName
    cell_options: dict[str, Option] = field(default_factory=dict)
    """Keyword arguments of the cell beyond its sizes, such as `{"reset_gate": "before"}` for a GRU."""
    vocab_size: VocabSize
    """The number of symbols that can be read."""
    hidden_size: Width
    num_layers: Annotated[int, Meta(ge=1, le=64)]
    embedding_size: EmbeddingSize = 0
    """The size of the trained vector for each symbol; 0 for one-hot vectors."""
    input_depth: Depth = 1
    transition_depth: Depth = 1
    output_depth: Depth = 1
    initial_state: InitialState = "zero"


EMBEDDING = "embedding.weight"
"""The vectors that symbols are read as, one per row."""

EMBEDDING_SCALE = 0.6
"""Initial standard deviation of their entries. The vectors are about as long as a state, so they affect the gates
as much. With twice or half the length, ten seconds' training was 0.01 nats worse."""

Dropout: TypeAlias = Callable[[Array], Array]
"""Zeroes some of the values, in training."""

T = TypeVar("T")


def under(prefix: str, values: Mapping[str, T]) -> dict[str, T]:
    """The parameters of a part of a model, under their names in the whole model."""
    return {prefix + name: value for name, value in values.items()}


def part_of(params: Params, prefix: str, names: Iterable[str]) -> Params:
    """The part's parameters from the whole model's, under their names in the part."""
    return {name: params[prefix + name] for name in names}


def build_layer(config: LayersConfig, input_size: int, num_outputs: int) -> Cell:
    """One layer of the configuration's cell that reads vectors (..., input_size).

    num_outputs: the model's number of outputs, for cells that feed outputs back. Raises ValueError if the cell
    cannot be built this way.
    """
    cell = build_cell(config.cell, input_size, config.hidden_size, config.cell_options, num_outputs=num_outputs)
    return cell if config.transition_depth == 1 else DeepTransition(cell, config.transition_depth)


def embedding_init(
    rng: np.random.Generator, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Embedding vectors of independent normal entries, if `shapes` has an embedding."""
    shape = shapes.get(EMBEDDING)
    return {} if shape is None else {EMBEDDING: EMBEDDING_SCALE * rng.standard_normal(shape, np.float32)}


def _orthogonal(rng: np.random.Generator, shape: tuple[int, ...], block: int) -> npt.NDArray[np.float32]:
    """A matrix of orthogonal square blocks, each drawn uniformly; d blocks side by side are scaled by d^(−1/2).

    Source of the draw: Mezzadri 2007.
    """
    down, across = shape[0] // block, shape[1] // block
    q, r = np.linalg.qr(rng.standard_normal((down * across, block, block)))
    # Without the signs of R's diagonal the draw would not be uniform.
    q *= np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    blocks = q.reshape(down, across, block, block).swapaxes(1, 2)
    return np.asarray(blocks.reshape(shape) * across**-0.5, np.float32)


def layer_init(cell: Cell, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    """A cell's new parameters, with orthogonal hidden-to-hidden matrices, one for each gate.

    These preserve the norms of the gradients carried back through time (Saxe, McClelland and Ganguli 2014), which
    gained 0.01 to 0.03 nats in a minute's training. Frozen parameters stay as the cell draws them.
    """
    params = cell.init(rng)
    W = params.get(HIDDEN_TO_HIDDEN)
    if W is not None and HIDDEN_TO_HIDDEN not in cell.frozen and max(W.shape) % min(W.shape) == 0:
        params[HIDDEN_TO_HIDDEN] = _orthogonal(rng, W.shape, min(W.shape))
    return params


def initial_shapes(cell: Cell) -> list[tuple[int, ...]]:
    """The shapes of one row of a cell's state, array by array."""
    return [tuple(a.shape[1:]) for a in state_arrays(cell.zero_state(1, np.zeros((), np.float32)))]


def start(cell: Cell, params: Params, prefix: str, batch_size: int) -> State:
    """A cell's state before the first input: zero, or the learned state under `prefix`0, `prefix`1, …"""
    zero = cell.zero_state(batch_size, next(iter(params.values())))
    if f"{prefix}0" not in params:
        return zero
    return refilled(zero, [array + params[f"{prefix}{i}"] for i, array in enumerate(state_arrays(zero))])
