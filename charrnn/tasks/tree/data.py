"""Trees with a label or a number at the root, or at every node, read from a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charrnn.config import TrainConfig
from charrnn.corpus.columns import Column, category_indices, encode_columns, fit_column, kind_of, parse_spec
from charrnn.corpus.scratch import workspace
from charrnn.corpus.sides import Labels
from charrnn.corpus.symbols import Ragged, Symbols, normalised
from charrnn.corpus.table import Table, is_number, read_table
from charrnn.errors import CorpusError, UsageError
from charrnn.tasks.rows.data import Learned, read_pairs, sides_of
from charrnn.tasks.tree.trees import NONE, Forest, parse_trees

NODE_LABEL = "label"
"""Name of the labels inside expressions."""

EXPRESSION = "1"
"""Column of expressions that contain their labels, in a table without a header."""


@dataclass(frozen=True, eq=False)
class TreeExamples:
    """R trees, and the outputs of their nodes."""

    texts: list[str]
    forest: Forest
    words: Ragged
    """Each of the forest's words as symbols: the word itself, or its characters; an unknown symbol's id is
    the vocabulary size."""
    outputs: npt.NDArray[np.float64]
    """(N,) the index of each node's label, or its number, standardised; NaN for a node without an output."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: npt.NDArray[np.integer]) -> "TreeExamples":
        return TreeExamples(
            [self.texts[row] for row in rows],
            self.forest.take(rows),
            self.words,
            self.outputs[self.forest.nodes(rows)],
        )


@dataclass(frozen=True, eq=False)
class TreeDataset:
    """A training run's trees, divided into training, validation and test by their expressions."""

    files: tuple[str, ...]
    sha256: str
    num_bytes: int
    text_column: str
    label: Column
    symbols: Symbols
    """The symbols of the training part's leaves: words, or their characters."""
    train: TreeExamples
    valid: TreeExamples
    test: TreeExamples
    notes: tuple[str, ...]

    @property
    def learned(self) -> Learned:
        return Learned.of([self.symbols], [self.label])

    def part(self, name: str) -> TreeExamples:
        """The split `train`, `valid` or `test`."""
        found: TreeExamples = getattr(self, name)
        return found


def leaf_separator(characters: bool) -> str:
    """The separator of a leaf's symbols: empty between characters, a space for words, which contain none."""
    return "" if characters else " "


@dataclass(frozen=True)
class TreeReader:
    """How expressions are read: a setting of the model."""

    node_labels: bool
    pairs: bool
    characters: bool
    """Whether a leaf is read character by character."""

    def forest(self, texts: Sequence[str], where: Callable[[int], str]) -> Forest:
        return parse_trees(texts, where, labelled=self.node_labels, pairs=self.pairs)

    def symbols(self, forest: Forest) -> Symbols:
        """The symbols of a forest's leaves."""
        words = [forest.words[word] for word in np.unique(forest.leaf[forest.leaf != NONE])]
        return Symbols.of(words, leaf_separator(self.characters))

    def words(self, forest: Forest, symbols: Symbols) -> Ragged:
        """The symbols of a forest's words."""
        return Ragged.of([symbols.encode(word, unknown=symbols.size) for word in forest.words])


def read_expressions(
    paths: Sequence[str | Path], label: str | None, text: str | None, reader: TreeReader, *, encoding: str
) -> tuple[Table, str | None, str]:
    """A table, and the names of its label column (None if the expressions contain labels) and expression column.

    Raises CorpusError.
    """
    if not reader.node_labels:
        return read_pairs(paths, label, text, encoding=encoding)
    text = EXPRESSION if text is None else text
    with workspace(None) as spool:
        table = read_table(paths, spool=spool, header=not is_number(text), encoding=encoding)
    table.column(text)
    return table, None, text


def load_trees(config: TrainConfig, reader: TreeReader) -> TreeDataset:
    """The trees that a run's configuration describes. Raises CorpusError, UsageError."""
    name, kind = (None, None) if config.label_column is None else parse_spec(config.label_column)
    if reader.node_labels and name not in (None, NODE_LABEL):
        raise UsageError(
            f"--label-column {config.label_column}: with --node-labels the brackets hold the labels; it only "
            f"says what kind those are: --label-column {NODE_LABEL}:number"
        )
    table, name, text_column = read_expressions(
        config.corpus, name, config.text_column, reader, encoding=config.encoding
    )
    texts = [normalised(text) for text in table.column(text_column)]
    forest = reader.forest(texts, table.where)
    strings, rows = _labels(table, forest, name)
    kind = kind_of(kind, strings)
    divided = sides_of(texts, config, labels=[Labels(strings, rows)] if kind == "category" else [])
    sides = divided.of_row
    if not (sides[rows] == 0).any():
        raise CorpusError(
            f"{table.files[0]}: no bracket of the training part begins with a label; with --node-labels such as "
            f"( 3 ( 2 a ) ( 4 b ) ) were expected in the column {text_column}"
        )
    label = fit_column(name or NODE_LABEL, kind, strings, sides[rows] == 0, lambda i: table.where(int(rows[i])))
    if label.values and len(label.values) < 2:
        raise CorpusError(
            f"{table.files[0]}: the column {label.name} is always {label.values[0]!r}; there is nothing to tell"
        )
    symbols = reader.symbols(forest.take(np.flatnonzero(sides == 0)))
    whole = tree_examples(table, text_column, label, reader, symbols, forest)
    train, valid, test = (whole.take(np.flatnonzero(sides == side)) for side in range(3))
    notes = [*table.notes, f"expressions are the column {text_column}, in Unicode form C"]
    notes += divided.notes
    if reader.pairs:
        notes.append("brackets of more than two are read as pairs from the left (child_sum would not)")
    if config.valid is not None:
        other, _, _ = read_expressions([config.valid], name, text_column, reader, encoding=config.encoding)
        valid = tree_examples(other, text_column, label, reader, symbols)
        if shared := len(set(valid.texts) & set(train.texts)):
            notes.append(f"{shared:,} validation expressions also occur in the training part")
    return TreeDataset(
        table.files, table.sha256, table.num_bytes, text_column, label, symbols, train, valid, test, tuple(notes)
    )


def tree_examples(
    table: Table,
    text_column: str,
    label: Column,
    reader: TreeReader,
    symbols: Symbols,
    forest: Forest | None = None,
) -> TreeExamples:
    """The rows of a table; `forest` holds them if they are parsed already. Raises CorpusError for an invalid
    expression, and for a label that the model does not know."""
    texts = [normalised(text) for text in table.column(text_column)]
    forest = forest or reader.forest(texts, table.where)
    outputs = np.full(len(forest.leaf), np.nan)
    if reader.node_labels:
        labelled, found = node_outputs(forest, label, table.where)
    else:
        labelled, found = forest.ends - forest.sizes, _outputs(label, table.column(label.name), table.where)
    outputs[labelled] = found
    return TreeExamples(texts, forest, reader.words(forest, symbols), outputs)


def node_outputs(
    forest: Forest, label: Column, where: Callable[[int], str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The nodes that have a label, and their outputs. Raises CorpusError for an unknown label."""
    labelled = np.flatnonzero(forest.label != NONE)
    strings, rows = _node_labels(forest, labelled)
    return labelled, _outputs(label, strings, lambda i: where(int(rows[i])))


def _outputs(label: Column, strings: Sequence[str], where: Callable[[int], str]) -> npt.NDArray[np.float64]:
    """For each string the index of the label, or the number, standardised."""
    if label.values:
        return category_indices(label, strings, where).astype(np.float64)
    return encode_columns([label], [strings], where)[:, 0].astype(np.float64)


def _labels(table: Table, forest: Forest, column: str | None) -> tuple[list[str], npt.NDArray[np.int64]]:
    """All labels, from the column or from the nodes, and the row of each."""
    if column is not None:
        return table.column(column), np.arange(len(forest))
    return _node_labels(forest, np.flatnonzero(forest.label != NONE))


def _node_labels(forest: Forest, labelled: npt.NDArray[np.int64]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The labels of nodes that have one, and the row of each."""
    rows = np.repeat(np.arange(len(forest)), forest.sizes)
    return [forest.words[word] for word in forest.label[labelled]], rows[labelled]
