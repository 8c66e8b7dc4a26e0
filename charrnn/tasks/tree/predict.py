"""A recursive network's predictions, in NumPy: labels with calibrated probabilities, or numbers."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from charrnn.checkpoint import CONFIG, Checkpoint
from charrnn.config import Prior
from charrnn.corpus.columns import Column
from charrnn.corpus.symbols import Ragged, normalised
from charrnn.errors import CheckpointError
from charrnn.models.store import Saved, load_saved
from charrnn.sampling.prediction import Candidate, Prediction, predictions
from charrnn.tasks.tree.composition import COMPOSITIONS
from charrnn.tasks.tree.data import TreeReader, leaf_separator
from charrnn.tasks.tree.recursive import RecursiveNetwork, TreeConfig, trees_of
from charrnn.tasks.tree.trees import NONE, Forest, without_labels

BATCH = 128

SHOWN = 60
"""Characters of a node's text."""

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


@dataclass(frozen=True)
class Node:
    """The prediction for a node of a tree: a label, or a number, which has no probability and no candidates."""

    text: str
    """The words of its leaves, shortened."""
    depth: int
    """0 for the root."""
    first: int
    end: int
    """Its leaves are the tree's leaves number first to end − 1."""
    prediction: str | float
    probability: float | None
    candidates: list[Candidate]


@dataclass(frozen=True)
class TreePrediction(Prediction):
    """The prediction for the root and for every node."""

    nodes: list[Node]
    """Each before its children. A model of pairs reads brackets of more than two as pairs from the left."""


class TreeModel:
    """A trained model that predicts a label or a number for each tree. It needs no torch."""

    def __init__(self, saved: SavedTreeModel, path: Path) -> None:
        self.saved, self.path = saved, path

    def predict(
        self, texts: Iterable[str], *, n: int = 5, number: int = 0, prior: Prior | None = None
    ) -> Iterator[Prediction]:
        """The n most probable labels of each expression's root, or its number; of a model of labels in brackets
        those of every node too (TreePrediction).

        prior: how frequent the labels are taken to be, uniform or as in training (`charrnn.models.label_readout`).
        Raises CorpusError for an invalid expression and for one of too many leaves.
        """
        return label_trees(self.saved, texts, n=n, prior=prior)


def label_trees(
    saved: SavedTreeModel, lines: Iterable[str], *, n: int = 5, prior: Prior | None = None
) -> Iterator[Prediction]:
    """For every expression, in order, the prediction for its root, or for all its nodes; reads a batch ahead.

    An unknown leaf is read as a zero input. A model of labels in brackets takes expressions without labels; one
    whose brackets all begin with a label that the model knows is read without them. Raises CorpusError for an
    invalid expression and for one of too many leaves.
    """
    reader, remaining = replace(reader_of(saved), node_labels=False), iter(lines)
    is_label = partial(_is_label, saved.config.label) if saved.config.node_labels else lambda _: False
    while batch := list(itertools.islice(remaining, BATCH)):
        texts = [without_labels(normalised(text), is_label) for text in batch]
        forest = reader.forest(texts, partial(_named, batch))
        readout, params = saved.model.readout, saved.params
        logits = logits_of(saved, forest, reader.words(forest, saved.source))
        root = forest.ends - forest.sizes
        found = predictions(readout, params, batch, logits[root], n, prior)
        if not saved.config.node_labels:
            yield from found
            continue
        nodes = _nodes(forest, predictions(readout, params, _phrases(forest), logits, n, prior))
        for whole, begin, end in zip(found, root.tolist(), forest.ends.tolist(), strict=True):
            yield TreePrediction(**vars(whole), nodes=nodes[begin:end])


def _nodes(forest: Forest, found: Iterator[Prediction]) -> list[Node]:
    """All nodes of a forest with the predictions for them."""
    first, end = _leaves_of(forest)
    begin = np.repeat(first[forest.ends - forest.sizes], forest.sizes)
    places = zip(forest.depth.tolist(), (first - begin).tolist(), (end - begin).tolist(), strict=True)
    return [
        Node(p.input, *place, p.prediction, p.probability, p.candidates)
        for p, place in zip(found, places, strict=True)
    ]


def _phrases(forest: Forest) -> list[str]:
    """The words of each node's leaves, shortened, because those of a deep tree would be as long as its square."""
    words = [forest.words[word] for word in forest.leaf[forest.leaf != NONE].tolist()]
    joined = [(" ".join(words[a:b][:SHOWN]), b - a) for a, b in zip(*_leaves_of(forest), strict=True)]
    return [text if len(text) <= SHOWN and size <= SHOWN else text[:SHOWN] + "…" for text, size in joined]


def _leaves_of(forest: Forest) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(N,) the number of the first leaf of each node in the forest, and of the leaf after its last."""
    before = np.append(0, np.cumsum(forest.leaf != NONE))
    return before[:-1], before[forest.subtree_ends]


def _is_label(label: Column, word: str) -> bool:
    if label.values:
        return word in label.values
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


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


def _named(texts: list[str], row: int) -> str:
    return f"input {texts[row][:20]!a}..."
