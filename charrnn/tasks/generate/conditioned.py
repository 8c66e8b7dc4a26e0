"""Texts in a table, with the columns that they are conditioned on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn.corpus.columns import Column, encode_columns, parse_spec, tidied
from charrnn.corpus.scratch import workspace
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.table import Table, is_number, read_table
from charrnn.errors import CorpusError


@dataclass(frozen=True)
class ConditionedTexts:
    """A table and the name of its column of texts."""

    table: Table
    column: str

    def contexts(self, columns: Sequence[Column]) -> NDArray[np.float32] | None:
        """(R, X) the vectors that the texts are conditioned on. Raises CorpusError for an unknown value."""
        if not columns:
            return None
        values = [self.table.column(column.name) for column in columns]
        return encode_columns(columns, values, self.table.where)

    def sequences(self, columns: Sequence[Column]) -> Sequences:
        """The texts, each with its context."""
        texts = Sequences.from_texts(self.table.column(self.column))
        return replace(texts, contexts=self.contexts(columns))


def read_texts(
    paths: Sequence[str | Path], context: Sequence[str], column: str | None, *, encoding: str
) -> ConditionedTexts:
    """Reads a table, tidied, whose texts are conditioned on columns `context` (NAME, or NAME:number and so on).

    The text is the named column, or the only other one. Numbers name the columns of a table without a header. A
    folder with one file per class has the columns text and the name of the context. Raises CorpusError that lists
    the existing columns.
    """
    specs = [parse_spec(spec) for spec in context]
    names = [name for name, _ in specs]
    named = [*names, *([] if column is None else [column])]
    header = not all(map(is_number, named))
    class_name = names[0] if len(names) == 1 else None
    with workspace(None) as spool:
        table = read_table(paths, spool=spool, header=header, encoding=encoding, class_name=class_name)
    for name in named:
        table.column(name)
    if column is None:
        others = table.others(*names)
        if len(others) != 1:
            there = f"columns {', '.join(others)}" if others else "no column"
            raise CorpusError(
                f"{table.files[0]}: beside {', '.join(names)} there is {there}; "
                "name the one that holds the text, --text-column NAME"
            )
        column = others[0]
    if table.index(column) in map(table.index, names):
        raise CorpusError(f"{table.files[0]}: {column} cannot be both the text and what it is conditioned on")
    return ConditionedTexts(tidied(table, specs), column)
