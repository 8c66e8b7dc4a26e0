"""Divides the rows of a table into parts, and encodes them as symbols, for any task."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from charrnn.config import TrainConfig
from charrnn.corpus.columns import Column, parse_spec, tidied
from charrnn.corpus.hashing import hash_sequences
from charrnn.corpus.partition import fractions
from charrnn.corpus.scratch import workspace
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.sides import Labels, Sides, divide
from charrnn.corpus.symbols import LONGEST, Ragged, Symbols, normalised, split_symbols
from charrnn.corpus.table import Table, is_number, read_table
from charrnn.errors import CorpusError, UsageError
from charrnn.words import count

SURELY_SHORT = LONGEST // 3
"""Unicode form C makes at most three characters of one."""


class Learned(NamedTuple):
    """What a model knows of its table, from the training part: it can be evaluated on no rows read otherwise."""

    symbols: tuple[Symbols, ...]
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    """Their names and categories."""

    @classmethod
    def of(cls, symbols: Sequence[Symbols], columns: Sequence[Column]) -> "Learned":
        return cls(tuple(symbols), tuple((column.name, column.values) for column in columns))


def sides_of(
    texts: Sequence[str],
    config: TrainConfig,
    *,
    copies_of: Sequence[str] | None = None,
    labels: Sequence[Labels] = (),
) -> Sides:
    """Divides the rows of a table by their texts (R,); see `sides.divide`.

    The label of a text does not affect how it is held out, except that each label is trained on: a text with two
    labels is one value, and a row that repeats a text with another label is a copy. If an input may have several
    right outputs, `copies_of` (R,) is the whole row: rows of one input with different outputs are variants, which
    stay together by value and do not count as repeats.

    Raises UsageError for shares that leave nothing to train on, and for settings that apply only to running text.
    """
    if config.split not in ("auto", "line") or config.order == "ordered":
        raise UsageError("the rows of a table are independent; leave --split and --order out")
    sequences = Sequences.from_texts(texts)
    usual = None if config.valid is None else 0.0
    shares = fractions(
        sequences,
        usual if config.valid_fraction is None else config.valid_fraction,
        usual if config.test_fraction is None else config.test_fraction,
    )
    copies = None if copies_of is None else hash_sequences(Sequences.from_texts(copies_of))
    return divide(hash_sequences(sequences), *shares, config.hold_out, copies_of=copies, labels=labels)


def encode_rows(texts: Sequence[str], symbols: Symbols, unknown: int) -> Ragged:
    """The texts' symbols."""
    return Ragged.of([symbols.encode(text, unknown) for text in texts])


def num_symbols(separator: str) -> Callable[[str], int]:
    """A function that counts a text's symbols."""
    return lambda text: len(split_symbols(text, separator))


def without_long(table: Table, column: str, size: Callable[[str], int]) -> Table:
    """The table without rows whose text in a column has a `size`, in Unicode form C, of more than LONGEST symbols.

    A note counts them. Raises CorpusError if they are most of the rows.
    """
    texts = table.column(column)
    long = [row for row, text in enumerate(texts) if len(text) > SURELY_SHORT and size(normalised(text)) > LONGEST]
    if not long:
        return table
    called = f"column {column}" if is_number(column) else column
    found = f"{count(len(long), 'row')} of more than {LONGEST:,} symbols, the first in {table.where(long[0])}"
    if 2 * len(long) > len(table):
        raise CorpusError(f"{called}: has {found}, and {len(table):,} in all; cut the texts into shorter ones")
    notes = (*table.notes, f"{called}: left out {found}")
    return replace(table.take(np.delete(np.arange(len(table)), long)), notes=notes)


def read_pairs(
    paths: Sequence[str | Path],
    label: str | None,
    text: str | None,
    *,
    encoding: str,
    size: Callable[[str], int] = len,
) -> tuple[Table, str, str]:
    """A table, tidied, and the names of its columns of labels (NAME, NAME:number, NAME:category) and of texts.

    If neither is named, there is no header, and the columns are the label and the text, or the files of a folder
    are the classes. If one is named, the other is the only other column. Rows of too long a text, by its `size` in
    symbols, are left out. Raises CorpusError.
    """
    label, kind = (None, None) if label is None else parse_spec(label)
    named = [name for name in (label, text) if name is not None]
    header = bool(named) and not all(map(is_number, named))
    with workspace(None) as spool:
        table = read_table(paths, spool=spool, header=header, encoding=encoding, class_name=label or "class")
    for name in named:
        table.column(name)
    if len(table.names) < 2 or (len(table.names) > 2 and len(named) < 2):
        raise CorpusError(
            f"{table.where(0)}: the columns {', '.join(table.names)}; expected a label and a text, or say which "
            "they are: --label-column NAME --text-column NAME"
        )
    others = table.others(*named)
    label = others[0] if label is None else label
    text = others[-1] if text is None else text
    if table.index(label) == table.index(text):
        raise CorpusError(f"{table.files[0]}: {text} cannot be both the label and the text")
    return without_long(tidied(table, [(label, kind)]), text, size), label, text
