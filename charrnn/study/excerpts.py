"""Excerpts of a text, as rows of a batch, for measurements over a given number of steps."""

from dataclasses import dataclass

import numpy as np

from charrnn.config import OrderName, StopName
from charrnn.corpus.passes import WARM_UP
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.steps import STOP_INDEX, IntArray, StepReader, Steps, cut_beginnings, first_positions
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CorpusError

USUAL_LENGTH = 100
USUAL_ROWS = 4


@dataclass(frozen=True)
class Excerpts:
    steps: Steps
    """(W + T, B)"""
    warm_up: int
    """W, the steps that only prepare the state for the T measured steps."""
    length: int
    """T"""


def excerpts(
    sequences: Sequences,
    vocabulary: Vocabulary,
    *,
    order: OrderName,
    stop: StopName,
    rows: int | None,
    length: int | None,
    name: str,
) -> Excerpts:
    """`rows` excerpts of `length` steps, spread evenly over the text, each read as the model reads it.

    In an ordered text they are parts of one stream, each read after up to WARM_UP earlier steps; of independent
    sequences they are the beginnings of those that are long enough. `length` defaults to USUAL_LENGTH and `rows`
    to USUAL_ROWS, or to what a shorter text has. Raises CorpusError, which names the text `name`, if the text is
    too short.
    """
    reader = StepReader.of(sequences, vocabulary)
    counts, first = _step_counts(reader, STOP_INDEX[stop])
    taken = _of_stream if order == "ordered" else _of_sequences
    sequence, position, warm_up = taken(counts, first, rows, length, name)
    steps = reader.steps(sequence, position, np.full(position.shape[1], STOP_INDEX[stop]))
    if order == "ordered":
        cut_beginnings(steps, position[0] > 0, reader)
    return Excerpts(steps, warm_up, len(sequence) - warm_up)


def _step_counts(reader: StepReader, stop: int) -> tuple[IntArray, IntArray]:
    """The number of steps of each sequence and the position of its first step, both (S,)."""
    s = reader.sequences
    first = np.full(len(s), first_positions(stop))
    for end in {0, len(s) - 1} if len(s) else ():
        first[end] = reader.first_position(end, stop)
    return np.asarray(s.ends) - np.asarray(s.starts) + 1 - first, first


def _of_stream(
    counts: IntArray, first: IntArray, rows: int | None, length: int | None, name: str
) -> tuple[IntArray, IntArray, int]:
    """The sequence and position of each step, (W + T, B), and W; each row ends an equal part of the stream."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    if rows is None:
        rows = max(1, min(USUAL_ROWS, total // (length or USUAL_LENGTH)))
    part = total // rows
    wanted = max(1, min(USUAL_LENGTH, part)) if length is None else length
    if part < wanted:
        most = f"--length {part}" if part else f"--rows {total}"
        noun = "row" if rows == 1 else "rows"
        raise CorpusError(
            f"{name}: its {total:,} steps are too few for {rows} {noun} of {wanted:,}; "
            f"give {most} at most, or another text"
        )
    warm_up = min(part - wanted, WARM_UP)
    step = part * np.arange(1, rows + 1) + np.arange(-wanted - warm_up, 0)[:, None]
    which = np.searchsorted(ends, step, side="right")
    return which, step - (ends[which] - counts[which]) + first[which], warm_up


def _of_sequences(
    counts: IntArray, first: IntArray, rows: int | None, length: int | None, name: str
) -> tuple[IntArray, IntArray, int]:
    """The same, with each row the beginning of a sequence and W = 0."""
    longest = np.sort(counts)[::-1]
    if rows is None:
        rows = max(1, min(USUAL_ROWS, int((counts >= (length or 1)).sum())))
    possible = int(longest[rows - 1]) if rows <= len(longest) else 0
    if not possible:
        raise CorpusError(
            f"{name}: only {len(counts):,} sequences to read, not {rows:,}; give --rows {len(counts)} at most, or "
            "another text"
        )
    wanted = min(USUAL_LENGTH, possible) if length is None else length
    if possible < wanted:
        raise CorpusError(
            f"{name}: only {int((counts >= wanted).sum()):,} of its {len(counts):,} independent sequences have "
            f"{wanted:,} steps or more, and {rows} are to be read; give --length {possible} at most"
        )
    enough = np.flatnonzero(counts >= wanted)
    which = enough[np.linspace(0, len(enough) - 1, rows).astype(np.int64)]
    position = first[which] + np.arange(wanted)[:, None]
    return np.broadcast_to(which, position.shape), position, 0
