"""Pairs of an input and an output, read from a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from charrnn.checkpoint.checkpoint import CheckpointConfig
from charrnn.config import TrainConfig
from charrnn.corpus.columns import Column, encode_columns, fit_column, parse_spec, tidied
from charrnn.corpus.scratch import workspace
from charrnn.corpus.symbols import Ragged, Symbols, normalised
from charrnn.corpus.table import Table, is_number, read_table
from charrnn.errors import CorpusError
from charrnn.models.encoder import EncoderConfig
from charrnn.tasks.rows.data import Learned, encode_rows, num_symbols, sides_of, without_long


@dataclass(frozen=True, kw_only=True)
class PairConfig(CheckpointConfig):
    """Maps sequences to sequences. Inputs and outputs are read in Unicode form C."""

    source_column: Annotated[str, Meta(max_length=1000)]
    target_column: Annotated[str, Meta(max_length=1000)]
    source_sep: Annotated[str, Meta(max_length=8)] = ""
    target_sep: Annotated[str, Meta(max_length=8)] = ""
    encoder: EncoderConfig


SOURCE, TARGET = "1", "2"
"""Columns of a table without a header."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """R inputs, outputs, and the columns that outputs are conditioned on. An input may occur several times."""

    sources: list[str]
    targets: list[str]
    inputs: Ragged
    """An unknown symbol's id is the vocabulary size."""
    outputs: Ragged
    """The id of BOS is the vocabulary size; an unknown symbol's is one more."""
    contexts: npt.NDArray[np.float32] | None
    """(R, X)"""

    def __len__(self) -> int:
        return len(self.sources)

    def take(self, rows: npt.NDArray[np.integer]) -> "Pairs":
        return Pairs(
            [self.sources[row] for row in rows],
            [self.targets[row] for row in rows],
            self.inputs.take(rows),
            self.outputs.take(rows),
            None if self.contexts is None else self.contexts[rows],
        )


@dataclass(frozen=True, eq=False)
class PairDataset:
    """A training run's pairs, divided into training, validation and test by their inputs."""

    files: tuple[str, ...]
    sha256: str
    num_bytes: int
    source_column: str
    target_column: str
    source: Symbols
    target: Symbols
    """Both are taken from the training part alone."""
    columns: tuple[Column, ...]
    train: Pairs
    valid: Pairs
    test: Pairs
    notes: tuple[str, ...]

    @property
    def learned(self) -> Learned:
        return Learned.of((self.source, self.target), self.columns)

    def part(self, name: str) -> Pairs:
        """The split `train`, `valid` or `test`."""
        found: Pairs = getattr(self, name)
        return found


@dataclass(frozen=True)
class PairTable:
    """A table and the names of its columns."""

    table: Table
    source: str
    target: str

    def pairs(
        self, source: Symbols, target: Symbols, columns: Sequence[Column] = (), *, same_length: bool = False
    ) -> Pairs:
        """Raises CorpusError for an unknown value of a column, and with `same_length` for an output that is not as
        long as its input."""
        table = self.table
        sources, targets = self.texts(self.source), self.texts(self.target)
        contexts = None
        if columns:
            contexts = encode_columns(columns, [table.column(column.name) for column in columns], table.where)
        inputs = encode_rows(sources, source, unknown=source.size)
        outputs = encode_rows(targets, target, unknown=target.size + 1)
        if same_length and (unlike := np.flatnonzero(inputs.lengths != outputs.lengths)).size:
            row = int(unlike[0])
            raise CorpusError(
                f"{table.where(row)}: the input has {inputs.lengths[row]:,} symbols and the output "
                f"{outputs.lengths[row]:,}, in Unicode form C; --task tag needs a symbol for each, "
                "--task transduce does not"
            )
        return Pairs(sources, targets, inputs, outputs, contexts)

    def texts(self, column: str) -> list[str]:
        """A column in Unicode form C."""
        return [normalised(text) for text in self.table.column(column)]


def read_pair_table(
    paths: Sequence[str | Path],
    source: str | None,
    target: str | None,
    context: Sequence[str],
    *,
    encoding: str,
    separators: tuple[str, str] = ("", ""),
) -> PairTable:
    """Reads inputs from the column `source`, outputs from `target`; by default columns 1 and 2, without a header.

    Outputs are conditioned on the columns `context` (NAME, or NAME:number and so on); the table is tidied. Numbers
    name the columns of a table without a header. Rows of too long an input or output are left out; their symbols
    are between `separators`. Raises CorpusError.
    """
    source, target = source or SOURCE, target or TARGET
    specs = [parse_spec(spec) for spec in context]
    named = [source, target, *(name for name, _ in specs)]
    with workspace(None) as spool:
        table = read_table(paths, spool=spool, header=not all(map(is_number, named)), encoding=encoding)
    if len({table.index(name) for name in named}) < len(named):
        raise CorpusError(f"{table.files[0]}: input, output and context must be columns of their own")
    table = tidied(table, specs)
    for column, separator in zip((source, target), separators, strict=True):
        table = without_long(table, column, num_symbols(separator))
    return PairTable(table, source, target)


def load_pairs(config: TrainConfig) -> PairDataset:
    """The pairs that a run's configuration describes. Raises CorpusError, UsageError."""
    separators = config.source_sep, config.target_sep
    read = partial(read_pair_table, encoding=config.text_encoding, separators=separators)
    found = read(config.corpus, config.source_column, config.target_column, config.context)
    sources, targets, table = found.texts(found.source), found.texts(found.target), found.table
    specs = [parse_spec(spec) for spec in config.context]
    given = [table.column(name) for name, _ in specs]
    whole_rows = ["\0".join(fields) for fields in zip(sources, targets, *given, strict=True)]
    divided = sides_of(sources, config, copies_of=whole_rows)
    sides = divided.of_row
    trained = np.flatnonzero(sides == 0)
    source = Symbols.of((sources[row] for row in trained), config.source_sep)
    target = Symbols.of((targets[row] for row in trained), config.target_sep)
    if not source.size or not target.size:
        raise CorpusError(f"{table.files[0]}: the inputs or outputs to train on are all empty; name other columns")
    columns = tuple(fit_column(name, kind, table.column(name), sides == 0, table.where) for name, kind in specs)
    tagged = config.task == "tag"
    whole = found.pairs(source, target, columns, same_length=tagged)
    train, valid, test = (whole.take(np.flatnonzero(sides == side)) for side in range(3))
    notes = [
        *table.notes,
        *divided.notes,
        f"the inputs are the column {found.source}, the outputs {found.target}, in Unicode form C",
    ]
    if config.valid is not None:
        asked = [column.spec for column in columns]
        other = read([config.valid], found.source, found.target, asked)
        notes += other.table.notes
        valid = other.pairs(source, target, columns, same_length=tagged)
        if shared := len(set(valid.sources) & set(train.sources)):
            notes.append(f"{shared:,} validation inputs also occur in the training part")
    return PairDataset(
        table.files,
        table.sha256,
        table.num_bytes,
        found.source,
        found.target,
        source,
        target,
        columns,
        train,
        valid,
        test,
        tuple(notes),
    )
