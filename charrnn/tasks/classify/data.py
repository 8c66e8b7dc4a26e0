"""Texts with a label or a number each, read from a table."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from charrnn.config import TrainConfig
from charrnn.corpus.columns import Column, fit_column, kind_of, parse_spec
from charrnn.corpus.sides import Labels
from charrnn.corpus.symbols import Ragged, Symbols, normalised
from charrnn.corpus.table import Table
from charrnn.errors import CorpusError
from charrnn.tasks.rows.data import Learned, encode_rows, num_symbols, read_pairs, sides_of
from charrnn.tasks.rows.labels import UNKNOWN, check_label, encode_labels, unknown_labels


@dataclass(frozen=True, eq=False)
class Examples:
    """R texts as symbols, and the output of each."""

    texts: list[str]
    inputs: Ragged
    outputs: npt.NDArray[np.float64]
    """(R,) the index of the label, UNKNOWN for one that the model does not know, or the number, standardised."""

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, eq=False)
class LabelledDataset:
    """A training run's examples, divided into training, validation and test by their texts."""

    files: tuple[str, ...]
    sha256: str
    num_bytes: int
    text_column: str
    label: Column
    symbols: Symbols
    """The symbols of the training part alone."""
    train: Examples
    valid: Examples
    test: Examples
    notes: tuple[str, ...]

    @property
    def learned(self) -> Learned:
        return Learned.of([self.symbols], [self.label])

    def part(self, name: str) -> Examples:
        """The split `train`, `valid` or `test`."""
        found: Examples = getattr(self, name)
        return found


def load_labelled(config: TrainConfig) -> LabelledDataset:
    """The examples that a run's configuration describes. Raises CorpusError, UsageError."""
    name, kind = (None, None) if config.label_column is None else parse_spec(config.label_column)
    read = partial(read_pairs, encoding=config.text_encoding, size=num_symbols(config.source_sep))
    table, name, text_column = read(config.corpus, config.label_column, config.text_column)
    texts = [normalised(text) for text in table.column(text_column)]
    kind = kind_of(kind, table.column(name))
    said = [Labels(table.column(name), np.arange(len(table)))] if kind == "category" else []
    divided = sides_of(texts, config, labels=said)
    sides = divided.of_row
    label = fit_column(name, kind, table.column(name), sides == 0, table.where)
    symbols = Symbols.of((texts[row] for row in np.flatnonzero(sides == 0)), config.source_sep)
    whole = labelled_examples(table, text_column, label, symbols)
    train, valid, test = (_taken(whole, np.flatnonzero(sides == side)) for side in range(3))
    notes = [*table.notes, f"texts are read in Unicode form C, each as the column {text_column} has it"]
    notes += divided.notes
    if config.valid is not None:
        other, _, _ = read([config.valid], label.spec, text_column)
        notes += other.notes
        valid = labelled_examples(other, text_column, label, symbols)
        if unknown := unknown_labels(label, other.column(name), "left out of the validation part"):
            valid = _taken(valid, np.flatnonzero(valid.outputs != UNKNOWN))
            notes += unknown
        if shared := len(set(valid.texts) & set(train.texts)):
            notes.append(f"{shared:,} validation texts also occur in the training part")
    if not symbols.size:
        raise CorpusError(f"{table.files[0]}: the training texts have no characters; name another --text-column")
    check_label(label, config, table.files[0])
    return LabelledDataset(
        table.files, table.sha256, table.num_bytes, text_column, label, symbols, train, valid, test, tuple(notes)
    )


def labelled_examples(table: Table, text_column: str, label: Column, symbols: Symbols) -> Examples:
    """The rows of a table. Raises CorpusError if it has no label that is known."""
    texts = [normalised(text) for text in table.column(text_column)]
    outputs = encode_labels(label, table.column(label.name), table.where)
    return Examples(texts, encode_rows(texts, symbols, unknown=symbols.size), outputs)


def _taken(examples: Examples, rows: npt.NDArray[np.intp]) -> Examples:
    return Examples([examples.texts[row] for row in rows], examples.inputs.take(rows), examples.outputs[rows])
