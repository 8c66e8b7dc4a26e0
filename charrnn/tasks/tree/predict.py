"""A recursive network's predictions, in NumPy: labels with calibrated probabilities, or numbers."""

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from charrnn.checkpoint import CONFIG, Checkpoint
from charrnn.corpus.symbols import Ragged, normalised
from charrnn.errors import CheckpointError, CorpusError
from charrnn.models.store import Saved, load_saved
from charrnn.sampling.prediction import Prediction, predictions
from charrnn.tasks.tree.composition import COMPOSITIONS
from charrnn.tasks.tree.data import TreeReader, leaf_separator, node_outputs
from charrnn.tasks.tree.recursive import RecursiveNetwork, TreeConfig, trees_of
from charrnn.tasks.tree.trees import Forest

BATCH = 128

SavedTreeModel: TypeAlias = Saved[TreeConfig, RecursiveNetwork]


def load(checkpoint: Checkpoint) -> SavedTreeModel:
    """Raises CheckpointError for parts that do not fit together, before memory is allocated."""
    config = checkpoint.config(TreeConfig)
    if config.encoder is not None and config.encoder.vocab_size != config.vocab_size:
        raise CheckpointError(f"{checkpoint.path / CONFIG}: its encoder does not read the symbols of its leaves")
    separator = leaf_separator(config.encoder is not None)
    return load_saved(checkpoint, config, RecursiveNetwork(config), config.vocab_size, separator)


def open_model(checkpoint: Checkpoint) -> "TreeModel":
    """Raises CheckpointError."""
    return TreeModel(load(checkpoint), checkpoint.path)


class TreeModel:
    """A trained model that predicts a label or a number for each tree. It needs no torch."""

    def __init__(self, saved: SavedTreeModel, path: Path) -> None:
        self.saved, self.path = saved, path

    def predict(self, texts: Iterable[str], *, n: int = 5, number: int = 0) -> Iterator[Prediction]:
        """The n most probable labels of each expression's root, or its number.

        number: the first text's number. Raises CorpusError, naming a text's number, for an invalid expression.
        """
        return label_trees(self.saved, texts, n=n, number=number)


def label_trees(
    saved: SavedTreeModel, lines: Iterable[str], *, n: int = 5, number: int = 0
) -> Iterator[Prediction]:
    """For every expression, in order, the n most probable labels of its root, or its number; reads a batch ahead.

    An unknown leaf is read as a zero input. Raises CorpusError, naming the line's number, for an invalid
    expression or labels that the model does not have, after all lines before it are predicted. number: the first
    line's number, from 0.
    """
    reader, remaining = reader_of(saved), iter(lines)
    while batch := list(itertools.islice(remaining, BATCH)):
        first, number = number, number + len(batch)
        try:
            forest = _read(saved, reader, batch, first)
        except CorpusError:
            if len(batch) == 1:
                raise
            for row, text in enumerate(batch):
                yield from label_trees(saved, [text], n=n, number=first + row)
            continue  # Reached only if no line is bad by itself.
        logits = logits_of(saved, forest, reader.words(forest, saved.source))[forest.ends - forest.sizes]
        yield from predictions(saved.model.readout, saved.params, batch, logits, n)


def _read(saved: SavedTreeModel, reader: TreeReader, texts: list[str], number: int) -> Forest:
    where = partial(_line, number)
    forest = reader.forest([normalised(text) for text in texts], where)
    if reader.node_labels:
        node_outputs(forest, saved.config.label, where)
    return forest


def reader_of(saved: SavedTreeModel) -> TreeReader:
    """How the model's expressions are read."""
    config = saved.config
    pairs = COMPOSITIONS[config.composition].pairs
    return TreeReader(config.node_labels, pairs, characters=config.encoder is not None)


def logits_of(saved: SavedTreeModel, forest: Forest, words: Ragged) -> npt.NDArray[np.floating]:
    """(N, K) of all nodes of a forest, in its order, read in batches of similar depths; trees are independent."""
    result = np.zeros((len(forest.leaf), saved.model.readout.num_logits), np.float32)
    nothing_said = np.full(len(forest.leaf), np.nan)
    order = np.argsort(forest.depths, kind="stable")
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        trees = trees_of(forest, words, rows, nothing_said, saved.source.size)
        result[trees.nodes] = saved.model.logits(saved.params, trees)
    return result


def _line(before: int, row: int) -> str:
    return f"line {before + row + 1}"
