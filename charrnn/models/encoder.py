"""The encoder of a whole sequence: layers of a cell that run forwards, backwards or both ways."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import (
    Array,
    OneHot,
    Params,
    asarray,
    concat,
    floats,
    log_softmax,
    rows,
    take_last,
    where,
)
from charrnn.cells.cell import Cell, uniform_init
from charrnn.cells.perceptron import Perceptron
from charrnn.cells.unroll import unroll
from charrnn.config import Direction
from charrnn.models.layers import (
    EMBEDDING,
    Dropout,
    LayersConfig,
    build_layer,
    embedding_init,
    initial_shapes,
    layer_init,
    start,
)


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(LayersConfig):
    """The configuration of an encoder of whole sequences."""

    direction: Direction = "both"
    language_model: bool = False
    """Whether its first layer has a readout of its own, which predicts the input's symbols in training."""


_HEAD = re.compile(r"language_model\.\w+\.weight")


class Encoded(NamedTuple):
    """The encoding of B sequences in S steps."""

    outputs: Array
    """(S, B, E); meaningless after a sequence's end."""
    summary: Array
    """(B, E), each direction's output at the last symbol that it reads; 0 for an empty sequence."""
    first: dict[str, Array]
    """(S, B, H), the first layer's outputs in each direction, in its reading order, without dropout."""


@dataclass(frozen=True)
class Encoder:
    """h(t) from x(1) … x(t), g(t) from x(τ) … x(t), and [h(t), g(t)] the output at t.

    Layer l's cells are under `layers.l.forward.` and `layers.l.backward.`, their learned initial states under
    `initial_state.l.forward.`; each layer reads both directions of the layer below. The backward direction
    reverses each sequence within its own length and runs it forwards, so the fused kernels serve both directions
    and padding, which always comes last, affects no real position. `--direction backward` has g alone. An unknown
    symbol is a zero input.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.3; Schuster and Paliwal 1997.
    """

    config: EncoderConfig
    num_outputs: int
    """The model's number of outputs, for cells that feed outputs back."""

    @property
    def directions(self) -> tuple[str, ...]:
        both = ("forward", "backward")
        return both if self.config.direction == "both" else (self.config.direction,)

    @cached_property
    def layers(self) -> tuple[Cell, ...]:
        """One cell per layer, the same in both directions. Raises ValueError if it cannot be built this way."""
        c = self.config
        if c.cell == "output_recurrent" and c.cell_options.get("feedback", "target") == "target":
            raise ValueError("it feeds back the true text, which an input is not; give --feedback output")
        size = self._symbol_size if c.input_depth == 1 else c.hidden_size
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
        return Perceptron("input", self._symbol_size, self.config.hidden_size, self.config.input_depth - 1)

    @property
    def _symbol_size(self) -> int:
        return self.config.embedding_size or self.config.vocab_size

    @cached_property
    def output_layers(self) -> Perceptron:
        return Perceptron("output", self.output_size, self.output_size, self.config.output_depth - 1)

    @property
    def frozen(self) -> frozenset[str]:
        names = {f"{prefix}{name}" for _, prefix, cell in self._cells() for name in cell.frozen}
        return frozenset(
            names | self.shapes.keys() & {EMBEDDING} if "weight_ih" in self.layers[0].frozen else names
        )

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        if self.config.embedding_size:
            shapes[EMBEDDING] = (self.config.vocab_size, self.config.embedding_size)
        shapes |= self.input_layers.shapes
        for start_name, prefix, cell in self._cells():
            shapes |= {f"{prefix}{name}": shape for name, shape in cell.shapes.items()}
            if self.config.initial_state == "learned":
                shapes |= {f"{start_name}{i}": shape for i, shape in enumerate(initial_shapes(cell))}
        if self.config.language_model:
            symbols, H = self.config.vocab_size + 1, self.layers[0].output_size
            for name in self.directions:
                prefix = f"language_model.{name}."
                shapes |= {prefix + "weight": (symbols, H), prefix + "bias": (symbols,)}
        return {**shapes, **self.output_layers.shapes}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        params = {**embedding_init(rng, self.shapes), **self.input_layers.init(rng)}
        for _, prefix, cell in self._cells():
            params |= {f"{prefix}{name}": value for name, value in layer_init(cell, rng).items()}
        params |= self.output_layers.init(rng)
        heads = {name: shape for name, shape in self.shapes.items() if _HEAD.fullmatch(name)}
        params |= uniform_init(rng, heads, self.layers[0].output_size ** -0.5)
        fresh = {name: np.zeros(shape, np.float32) for name, shape in self.shapes.items() if name not in params}
        return {**params, **fresh}

    def read(self, params: Params, ids: Array, lengths: Array, dropout: Dropout | None = None) -> Encoded:
        """Encodes symbols (S, B), of which the first `lengths` (B,) of each sequence are real."""
        S, B = ids.shape
        turned, last = _turned(lengths, S), _last(lengths, B)
        x: Array | OneHot = self.input_layers(
            params, OneHot(ids, self.config.vocab_size, embedding=params.get(EMBEDDING))
        )
        layers = []
        for index in range(len(self.layers)):
            read = self._directions(params, index, x, turned)
            layers.append(read)
            ends = [rows(outputs.reshape(S * B, -1), last) for outputs in read.values()]
            found = [_rearranged(h, turned) if name == "backward" else h for name, h in read.items()]
            x = found[0] if len(found) == 1 else concat(found, axis=-1)
            x = x if dropout is None else dropout(x)
        summary = concat(ends, axis=-1) * floats(lengths > 0, x)[:, None]
        summary = summary if dropout is None else dropout(summary)
        return Encoded(self.output_layers(params, x), self.output_layers(params, summary), layers[0])

    def language_nll(
        self, params: Params, encoded: Encoded, lengths: Array, targets: Array, dropout: Dropout | None = None
    ) -> Array:
        """−ln p of every input symbol and of the inputs' ends, given the symbols that a direction has read.

        In nats, (B,), summed over the directions; `targets` (S, B) are the symbols that were read. Unknown
        symbols and the first symbol of a direction are not predicted. The first layer's readout of each direction
        is under `language_model.`: it lets a task with few examples train the layer on its inputs too.

        Source: Dai and Le 2015; Rei 2017.
        """
        V, turned = self.config.vocab_size, _turned(lengths, len(targets))
        t = asarray(np.arange(len(targets)), lengths)[:, None]
        total = []
        for name, h in encoded.first.items():
            prefix = f"language_model.{name}."
            h = h if dropout is None else dropout(h)
            log_p = log_softmax(h @ params[prefix + "weight"].T + params[prefix + "bias"])
            read = targets if name == "forward" else targets.reshape(-1)[turned].reshape(*targets.shape)
            following = concat([read[1:], 0 * read[:1] + V], axis=0)
            end = t + 1 == lengths
            charged = (t < lengths) & (end | (following < V))
            nll = -take_last(log_p, where(end, V, following))
            total.append(where(charged, nll, 0.0 * nll).sum(0))
        return total[0] if len(total) == 1 else total[0] + total[1]

    def _directions(self, params: Params, index: int, x: Array | OneHot, turned: Array) -> dict[str, Array]:
        """A layer's outputs (S, B, H) in each direction, in its reading order."""
        cell, found = self.layers[index], {}
        B = x.ids.shape[1] if isinstance(x, OneHot) else x.shape[1]
        for name in self.directions:
            layer = {key: params[f"layers.{index}.{name}.{key}"] for key in cell.shapes}
            state = start(cell, params, f"initial_state.{index}.{name}.", B)
            found[name], _ = unroll(cell, layer, _rearranged(x, turned) if name == "backward" else x, state)
        return found

    def _cells(self) -> list[tuple[str, str, Cell]]:
        """For each cell, the prefixes of its initial state and of its parameters, and the cell."""
        return [
            (f"initial_state.{index}.{direction}.", f"layers.{index}.{direction}.", cell)
            for index, cell in enumerate(self.layers)
            for direction in self.directions
        ]


def _turned(lengths: Array, S: int) -> Array:
    """(S B,), for each place of (S, B) the place of its value after every row's real part is reversed."""
    t = asarray(np.arange(S), lengths)[:, None]
    b = asarray(np.arange(len(lengths)), lengths)
    return (where(t < lengths, lengths - 1 - t, t) * len(lengths) + b).reshape(-1)


def _last(lengths: Array, B: int) -> Array:
    """(B,), the place in (S B,) of each row's last real step; of the first step for an empty row."""
    return where(lengths > 0, lengths - 1, 0) * B + asarray(np.arange(B), lengths)


def _rearranged(x: Array | OneHot, places: Array) -> Array | OneHot:
    if isinstance(x, OneHot):
        return x._replace(ids=x.ids.reshape(-1)[places].reshape(*x.ids.shape))
    S, B, E = x.shape
    return rows(x.reshape(S * B, E), places).reshape(S, B, E)
