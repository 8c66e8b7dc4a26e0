"""What reads a whole sequence: layers of a cell that run forwards, backwards or both ways."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, OneHot, Params, asarray, concat, floats, rows, where
from charrnn.cells.cell import Cell
from charrnn.cells.perceptron import Perceptron
from charrnn.cells.unroll import unroll
from charrnn.config import EncoderConfig
from charrnn.models.language_model import Dropout
from charrnn.models.layers import build_layer, initial_shapes, start


class Encoded(NamedTuple):
    """Of B sequences in S steps."""

    outputs: Array
    """(S, B, E); behind a sequence's end they mean nothing."""
    summary: Array
    """(B, E) what each direction ends with: its output at the last symbol it reads; 0 of an empty sequence."""


@dataclass(frozen=True)
class Encoder:
    """h(t) from x(1) … x(t), g(t) from x(τ) … x(t), and [h(t), g(t)] the output at t.

    Layer l's cells under `layers.l.forward.` and `layers.l.backward.`, their learned initial states under
    `initial_state.l.forward.`; each layer reads both directions of the one below. A sequence is turned round by
    its own length and run forwards, so the fused kernels serve both directions and padding, which always comes
    last, reaches no real position. `--direction backward` has g alone. A symbol that the model does not know is a
    zero input.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.3; Schuster and Paliwal 1997.
    """

    config: EncoderConfig
    num_outputs: int
    """Of the whole model, for cells that feed them back."""

    @property
    def directions(self) -> tuple[str, ...]:
        both = ("forward", "backward")
        return both if self.config.direction == "both" else (self.config.direction,)

    @cached_property
    def layers(self) -> tuple[Cell, ...]:
        """One cell a layer, the same in both directions. Raises ValueError for a cell that cannot be built so."""
        c = self.config
        if c.cell == "output_recurrent" and c.cell_options.get("feedback", "target") == "target":
            raise ValueError("it feeds back the true text, which an input is not; give --feedback output")
        size = c.vocab_size if c.input_depth == 1 else c.hidden_size
        layers: list[Cell] = []
        for _ in range(c.num_layers):
            layers.append(build_layer(c, size, self.num_outputs))
            size = layers[-1].output_size * len(self.directions)
        return tuple(layers)

    @property
    def output_size(self) -> int:
        """E"""
        return self.layers[-1].output_size * len(self.directions)

    @cached_property
    def input_layers(self) -> Perceptron:
        return Perceptron("input", self.config.vocab_size, self.config.hidden_size, self.config.input_depth - 1)

    @cached_property
    def output_layers(self) -> Perceptron:
        return Perceptron("output", self.output_size, self.output_size, self.config.output_depth - 1)

    @property
    def frozen(self) -> frozenset[str]:
        return frozenset(f"{prefix}{name}" for _, prefix, cell in self._cells() for name in cell.frozen)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = dict(self.input_layers.shapes)
        for start_name, prefix, cell in self._cells():
            shapes |= {f"{prefix}{name}": shape for name, shape in cell.shapes.items()}
            if self.config.initial_state == "learned":
                shapes |= {f"{start_name}{i}": shape for i, shape in enumerate(initial_shapes(cell))}
        return {**shapes, **self.output_layers.shapes}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        params = {**self.input_layers.init(rng)}
        for _, prefix, cell in self._cells():
            params |= {f"{prefix}{name}": value for name, value in cell.init(rng).items()}
        params |= self.output_layers.init(rng)
        fresh = {name: np.zeros(shape, np.float32) for name, shape in self.shapes.items() if name not in params}
        return {**params, **fresh}

    def read(self, params: Params, ids: Array, lengths: Array, dropout: Dropout | None = None) -> Encoded:
        """Symbols (S, B), of which the first `lengths` (B,) of each row are real."""
        S, B = ids.shape
        turned, last = _turned(lengths, S), _last(lengths, B)
        x: Array | OneHot = self.input_layers(params, OneHot(ids, self.config.vocab_size))
        for index, cell in enumerate(self.layers):
            found, ends = [], []
            for direction in self.directions:
                backward = direction == "backward"
                layer = {name: params[f"layers.{index}.{direction}.{name}"] for name in cell.shapes}
                state = start(cell, params, f"initial_state.{index}.{direction}.", B)
                outputs, _ = unroll(cell, layer, _rearranged(x, turned) if backward else x, state)
                ends.append(rows(outputs.reshape(S * B, -1), last))
                found.append(_rearranged(outputs, turned) if backward else outputs)
            x = found[0] if len(found) == 1 else concat(found, axis=-1)
            x = x if dropout is None else dropout(x)
        summary = concat(ends, axis=-1) * floats(lengths > 0, x)[:, None]
        return Encoded(self.output_layers(params, x), self.output_layers(params, summary))

    def _cells(self) -> list[tuple[str, str, Cell]]:
        """Where each cell's initial state and its parameters stand, and the cell."""
        return [
            (f"initial_state.{index}.{direction}.", f"layers.{index}.{direction}.", cell)
            for index, cell in enumerate(self.layers)
            for direction in self.directions
        ]


def _turned(lengths: Array, S: int) -> Array:
    """(S B,) for each place of (S, B) the one that has its value when every row's real part is turned round."""
    t = asarray(np.arange(S), lengths)[:, None]
    b = asarray(np.arange(len(lengths)), lengths)
    return (where(t < lengths, lengths - 1 - t, t) * len(lengths) + b).reshape(-1)


def _last(lengths: Array, B: int) -> Array:
    """(B,) the place in (S B,) of each row's last real step; the first one of an empty row."""
    return where(lengths > 0, lengths - 1, 0) * B + asarray(np.arange(B), lengths)


def _rearranged(x: Array | OneHot, places: Array) -> Array | OneHot:
    if isinstance(x, OneHot):
        return OneHot(x.ids.reshape(-1)[places].reshape(*x.ids.shape), x.size)
    S, B, E = x.shape
    return rows(x.reshape(S * B, E), places).reshape(S, B, E)
