"""Trees with a label or a number at the root, or at every node, read from a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charrnn.config import TrainConfig
from charrnn.corpus.columns import Column, fit_column, kind_of, parse_spec
from charrnn.corpus.scratch import workspace
from charrnn.corpus.sides import Labels
from charrnn.corpus.symbols import Ragged, Symbols, normalised
from charrnn.corpus.table import Table, is_number, read_table
from charrnn.errors import CorpusError, UsageError
from charrnn.tasks.rows.data import Learned, read_pairs, sides_of, without_long
from charrnn.tasks.rows.labels import UNKNOWN, check_label, encode_labels, unknown_labels
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
    """(N,) the index of each node's label, UNKNOWN for one that the model does not know, or its number,
    standardised; NaN for a node without an output."""

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

    def num_leaves(self, text: str) -> int:
        """The leaves of a valid expression, from its words and brackets alone."""
        labels = text.count("(") if self.node_labels else 0
        return len(text.replace("(", " ").replace(")", " ").split()) - labels

    def words(self, forest: Forest, symbols: Symbols) -> Ragged:
        """The symbols of a forest's words."""
        return Ragged.of([symbols.encode(word, unknown=symbols.size) for word in forest.words])


def read_expressions(
    paths: Sequence[str | Path], label: str | None, text: str | None, reader: TreeReader, *, encoding: str
) -> tuple[Table, str | None, str]:
    """A table, and the names of its label column (None if the expressions contain labels) and expression column.

    Rows of too many leaves are left out. Raises CorpusError.
    """
    if not reader.node_labels:
        return read_pairs(paths, label, text, encoding=encoding, size=reader.num_leaves)
    text = EXPRESSION if text is None else text
    with workspace(None) as spool:
        table = read_table(paths, spool=spool, header=not is_number(text), encoding=encoding)
    return without_long(table, text, reader.num_leaves), None, text


def load_trees(config: TrainConfig, reader: TreeReader) -> TreeDataset:
    """The trees that a run's configuration describes. Raises CorpusError, UsageError."""
    name, kind = (None, None) if config.label_column is None else parse_spec(config.label_column)
    if reader.node_labels and name not in (None, NODE_LABEL):
        raise UsageError(
            f"--label-column {config.label_column}: with --node-labels the brackets hold the labels; it only "
            f"says what kind those are: --label-column {NODE_LABEL}:number"
        )
    table, name, text_column = read_expressions(
        config.corpus, config.label_column, config.text_column, reader, encoding=config.text_encoding
    )
    texts = [normalised(text) for text in table.column(text_column)]
    forest = reader.forest(texts, table.where)
    strings, _, rows = labels_of(table, forest, name)
    kind = kind_of(kind, strings)
    divided = sides_of(texts, config, labels=[Labels(strings, rows)] if kind == "category" else [])
    sides = divided.of_row
    if not (sides[rows] == 0).any():
        raise CorpusError(
            f"{table.files[0]}: no bracket of the training part begins with a label; with --node-labels such as "
            f"( 3 ( 2 a ) ( 4 b ) ) were expected in the column {text_column}"
        )
    label = fit_column(name or NODE_LABEL, kind, strings, sides[rows] == 0, lambda i: table.where(int(rows[i])))
    check_label(label, config, table.files[0])
    symbols = reader.symbols(forest.take(np.flatnonzero(sides == 0)))
    whole = tree_examples(table, text_column, label, reader, symbols, forest)
    train, valid, test = (whole.take(np.flatnonzero(sides == side)) for side in range(3))
    notes = [*table.notes, f"expressions are the column {text_column}, in Unicode form C"]
    notes += divided.notes
    if reader.pairs:
        notes.append("brackets of more than two are read as pairs from the left (child_sum would not)")
    if config.valid is not None:
        other, _, _ = read_expressions(
            [config.valid], label.spec, text_column, reader, encoding=config.text_encoding
        )
        notes += other.notes
        valid = tree_examples(other, text_column, label, reader, symbols)
        if unknown := unknown_labels(label, labels_of(other, valid.forest, name)[0], "not validated"):
            valid.outputs[valid.outputs == UNKNOWN] = np.nan
            notes += unknown
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
    expression, and if none of the labels is known."""
    texts = [normalised(text) for text in table.column(text_column)]
    forest = forest or reader.forest(texts, table.where)
    strings, nodes, rows = labels_of(table, forest, None if reader.node_labels else label.name)
    outputs = np.full(len(forest.leaf), np.nan)
    outputs[nodes] = encode_labels(label, strings, lambda i: table.where(int(rows[i])))
    return TreeExamples(texts, forest, reader.words(forest, symbols), outputs)


def labels_of(
    table: Table, forest: Forest, column: str | None
) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All labels, from the column (of the roots) or from the brackets, and the node and the row of each."""
    if column is not None:
        return table.column(column), forest.ends - forest.sizes, np.arange(len(forest))
    nodes = np.flatnonzero(forest.label != NONE)
    rows = np.repeat(np.arange(len(forest)), forest.sizes)
    return [forest.words[word] for word in forest.label[nodes]], nodes, rows[nodes]
