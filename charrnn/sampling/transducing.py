"""What an encoder-decoder makes of lines of text: the fields of `charrnn predict --json`."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.config import StopName
from charrnn.corpus.columns import encode_columns, parse_given
from charrnn.corpus.symbols import normalised
from charrnn.errors import CorpusError
from charrnn.models.saved import SavedTransducer
from charrnn.sampling.prediction import Prediction, read_inputs
from charrnn.sampling.search import Search, alignment, prediction_of, search

BATCH = 64


def transduce(
    saved: SavedTransducer,
    lines: Iterable[str],
    *,
    given: Sequence[str] = (),
    stop: StopName | None = None,
    how: Search,
    n: int = 1,
    number: int = 0,
) -> Iterator[Prediction]:
    """For every line, in order, the n best outputs, or n drawn; reads a batch ahead.

    A model with columns is given them by `given` for all lines, or each line is the input and the columns between
    tabs. A symbol that the model does not know is read as nothing in its place. number: of the first line, which
    decides what is drawn for it. Raises UsageError, CorpusError.
    """
    fixed, remaining = _fixed(saved, given), iter(lines)
    while batch := list(itertools.islice(remaining, BATCH)):
        texts, contexts = _read(saved, batch, fixed)
        found = search(saved, read_inputs(saved.source, texts), contexts, stop=stop, how=how, n=n, number=number)
        yield from (prediction_of(saved.target, text, best) for text, best in zip(batch, found, strict=True))
        number += len(batch)


class Alignment(NamedTuple):
    source: list[str]
    """Symbols of an input."""
    target: list[str]
    """Symbols of its output."""
    weights: npt.NDArray[np.floating]
    """(T, S) where the decoder looked in the one for each of the other."""


def aligned(
    saved: SavedTransducer, line: str, output: str, given: Sequence[str] = (), *, stop: StopName
) -> Alignment:
    """Where the decoder looks in an input when it writes an output. Raises UsageError without attention."""
    (text,), contexts = _read(saved, [line], _fixed(saved, given))
    ids = read_inputs(saved.source, [text]).values.astype(np.int64)
    written = saved.target.encode(output, unknown=saved.target.size + 1).astype(np.int64)
    weights = alignment(saved, ids, None if contexts is None else contexts[0], written, stop)
    return Alignment(saved.source.split(normalised(text)), saved.target.split(output), weights)


def _fixed(saved: SavedTransducer, given: Sequence[str]) -> tuple[str, ...] | None:
    """The values of the columns for all lines; None where each line brings its own. Raises UsageError."""
    columns = saved.config.columns
    return parse_given(columns, given) if given or not columns else None


def _read(
    saved: SavedTransducer, lines: Sequence[str], fixed: tuple[str, ...] | None
) -> tuple[Sequence[str], npt.NDArray[np.float32] | None]:
    """The inputs of R lines and the columns (R, X) that they are conditioned on, if any. Raises CorpusError."""
    columns = saved.config.columns
    texts, values = (lines, [fixed] * len(lines)) if fixed is not None else _apart(saved, lines)
    if not columns:
        return texts, None
    strings = [[row[k] for row in values] for k in range(len(columns))]
    return texts, encode_columns(columns, strings, lambda row: f"input {lines[row][:40]!a}")


def _apart(saved: SavedTransducer, lines: Sequence[str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Inputs and the values of their columns, which stand behind them."""
    names = [column.name for column in saved.config.columns]
    parts = [line.split("\t") for line in lines]
    for line, fields in zip(lines, parts, strict=True):
        if len(fields) != 1 + len(names):
            raise CorpusError(
                f"input {line[:40]!a}: expected the input and {', '.join(names)} between tabs, or --given for all"
            )
    return [fields[0] for fields in parts], [tuple(fields[1:]) for fields in parts]
