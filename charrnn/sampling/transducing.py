"""What an encoder-decoder makes of lines of text: the fields of `charrnn predict --json`."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.config import StopName
from charrnn.corpus.columns import encode_columns, parse_given
from charrnn.corpus.symbols import normalised
from charrnn.errors import CorpusError
from charrnn.models.saved import SavedTransducer
from charrnn.sampling.prediction import Candidate, Prediction, read_inputs
from charrnn.sampling.search import Hypothesis, Search, alignment, search

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
    columns = saved.config.columns
    fixed = parse_given(columns, given) if given or not columns else None
    remaining = iter(lines)
    while batch := list(itertools.islice(remaining, BATCH)):
        texts, values = (batch, [fixed] * len(batch)) if fixed is not None else _apart(saved, batch)
        inputs = read_inputs(saved.source, texts)
        contexts = None
        if columns:
            strings = [[row[k] for row in values] for k in range(len(columns))]
            contexts = encode_columns(columns, strings, lambda row: f"input {batch[row][:40]!a}")
        found = search(saved, inputs, contexts, stop=stop, how=how, n=n, number=number)
        yield from (_prediction(saved, text, best) for text, best in zip(batch, found, strict=True))
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
    columns = saved.config.columns
    text, values = line, parse_given(columns, given) if given or not columns else ()
    if columns and not given:
        (text,), (values,) = _apart(saved, [line])
    source = normalised(text)
    context = encode_columns(columns, [[value] for value in values], lambda _: "input")[0] if columns else None
    ids = saved.source.encode(source, unknown=saved.source.size).astype(np.int64)
    written = saved.target.encode(output, unknown=saved.target.size + 1).astype(np.int64)
    weights = alignment(saved, ids, context, written, stop)
    return Alignment(saved.source.split(source), saved.target.split(output), weights)


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


def _prediction(saved: SavedTransducer, text: str, found: list[Hypothesis]) -> Prediction:
    candidates = [Candidate(saved.target.decode(h.symbols), math.exp(h.log_prob)) for h in found]
    return Prediction(text, candidates[0].value, candidates[0].probability, candidates)
