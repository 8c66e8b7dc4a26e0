"""A recursive network: predicts a label or a number at a tree's root, or at every node."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from charrnn.cells.arrays import Array, OneHot, Params, concat, rows, split_rows
from charrnn.cells.cell import State, map_state, refilled, state_arrays
from charrnn.checkpoint.checkpoint import CheckpointConfig
from charrnn.config import ClassWeights, CompositionName, VocabSize, Width
from charrnn.corpus.columns import Column
from charrnn.corpus.symbols import Ragged
from charrnn.models.encoder import Encoder, EncoderConfig
from charrnn.models.label_readout import LabelReadout
from charrnn.models.layers import Dropout, part_of, under
from charrnn.tasks.tree.composition import COMPOSITIONS, Composition
from charrnn.tasks.tree.trees import Forest, Level, levels_of


@dataclass(frozen=True, kw_only=True)
class TreeConfig(CheckpointConfig):
    """A label or a number for a tree, or for each of its nodes. Expressions are read in Unicode form C."""

    task: Literal["tree"] = "tree"
    text_column: Annotated[str, Meta(max_length=1000)]
    node_labels: bool = False
    """Whether the labels are in the expressions, at every node, and not in a column."""
    label: Column
    """What is predicted: its categories, or a number's mean and standard deviation in training."""
    vocab_size: VocabSize
    """Symbols that leaves are made of."""
    composition: CompositionName
    hidden_size: Width
    encoder: EncoderConfig | None = None
    """Reads a leaf character by character; None if a leaf is one symbol."""
    class_weights: ClassWeights = "none"


ENCODER = "encoder."


class Trees(NamedTuple):
    """B trees, level by level; the arrays are NumPy's, or torch's in training."""

    levels: tuple[Level, ...]
    """The deepest first. `order` is of the same library as the other fields, `sizes` always NumPy's."""
    ids: Array
    """(S, W) the symbols of W distinct leaves; the vocabulary's size for an unknown symbol or padding."""
    lengths: Array
    """(W,)"""
    leaves: Array
    """(L,) the index among the W of each leaf, level after level."""
    nodes: Array
    """(N,) each node's index in the forest, level after level."""
    labelled: Array
    """(M,) the nodes that have an output, numbered level after level."""
    outputs: Array
    """(M,) the index of the label, or the number, standardised."""


def trees_of(
    forest: Forest,
    words: Ragged,
    rows: npt.NDArray[np.integer],
    outputs: npt.NDArray[np.float64],
    unknown: int,
) -> Trees:
    """A batch of trees of a forest; outputs: (N,) of the forest's nodes, NaN for a node without an output.

    words: the symbols of the forest's words, `unknown` for an unknown symbol.
    """
    found = levels_of(forest, rows)
    used, leaves = np.unique(found.leaves, return_inverse=True)
    said = outputs[found.nodes]
    labelled = np.flatnonzero(~np.isnan(said))
    ids = words.padded(used, fill=unknown)
    return Trees(found.levels, ids, words.lengths[used], leaves, found.nodes, labelled, said[labelled])


@dataclass(frozen=True)
class RecursiveNetwork:
    """One composition (`charrnn.tasks.tree.composition`) computes states from the leaves to the root; a readout
    (`charrnn.models.label_readout`) predicts a label or a number from each node's h.

    A leaf is a one-hot symbol x, or a string of characters whose summary x an encoder computes (its parameters
    are under `encoder.`). An unknown symbol is a zero input. All nodes of one depth are composed at once: the
    children of a level are exactly the level below it, in order, so that a batch takes as many steps as its
    deepest tree has levels, without recursion.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.6.
    """

    config: TreeConfig

    @cached_property
    def encoder(self) -> Encoder | None:
        return None if self.config.encoder is None else Encoder(self.config.encoder, self.config.label.size)

    @cached_property
    def composition(self) -> Composition:
        size = self.config.vocab_size if self.encoder is None else self.encoder.output_size
        return COMPOSITIONS[self.config.composition](size, self.config.hidden_size)

    @cached_property
    def readout(self) -> LabelReadout:
        return LabelReadout(self.config.label, self.config.hidden_size, self.config.class_weights)

    @property
    def frozen(self) -> frozenset[str]:
        encoder = () if self.encoder is None else (ENCODER + name for name in self.encoder.frozen)
        return self.readout.frozen.union(encoder)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter. Raises ValueError for a cell that cannot be built."""
        encoder = {} if self.encoder is None else under(ENCODER, self.encoder.shapes)
        return {**encoder, **self.composition.shapes, **self.readout.shapes}

    @property
    def num_parameters(self) -> int:
        return sum(map(math.prod, self.shapes.values()))

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        encoder = {} if self.encoder is None else under(ENCODER, self.encoder.init(rng))
        return {**encoder, **self.composition.init(rng), **self.readout.init(rng)}

    def read(self, params: Params, trees: Trees, dropout: Dropout | None = None) -> Array:
        """h of all nodes, (N, H), level after level: the last B are the roots."""
        leaves = self.composition.leaf(params, self._leaves(params, trees, dropout))
        sizes = [level.num_leaves for level in trees.levels]
        parts = [split_rows(array, sizes) for array in state_arrays(leaves)]
        below, found = None, []
        for level, own in zip(trees.levels, zip(*parts, strict=True), strict=True):
            below = self._level(params, level, refilled(leaves, own), below)
            found.append(below.h)
        h = concat(found, axis=0)
        return h if dropout is None else dropout(h)

    def _level(self, params: Params, level: Level, leaves: State, below: State | None) -> State:
        if below is None:
            return leaves
        composed = self.composition.compose(params, below, level.sizes)
        if not level.num_leaves:
            return composed
        return map_state(lambda leaf, node: rows(concat([leaf, node], axis=0), level.order), leaves, composed)

    def _leaves(self, params: Params, trees: Trees, dropout: Dropout | None) -> Array | OneHot:
        """x of all leaves, (L, I)."""
        if self.encoder is None:
            return OneHot(trees.ids[0][trees.leaves], self.config.vocab_size)
        read = self.encoder.read(part_of(params, ENCODER, self.encoder.shapes), trees.ids, trees.lengths, dropout)
        return rows(read.summary, trees.leaves)

    def nll(self, params: Params, trees: Trees, dropout: Dropout | None = None) -> Array:
        """−ln p of every output, weighted nats, (M,), before T; for a number p is its density, standardised."""
        h = rows(self.read(params, trees, dropout), trees.labelled)
        return self.readout.nll(params, self.readout.logits(params, h), trees.outputs)

    def logits(self, params: Params, trees: Trees) -> Array:
        """o of all nodes, (N, K), in the order of `read`."""
        return self.readout.logits(params, self.read(params, trees))
