"""Divides a corpus into training, validation and test sequences. Every sequence goes to one of them once.

Ordered corpora are cut into three contiguous parts. Independent sequences are divided by their text (`sides`),
and each part keeps the corpus's order.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.config import HoldOut, OrderName
from charrnn.corpus.hashing import contains, hash_sequences
from charrnn.corpus.scratch import allocate
from charrnn.corpus.sequences import Sequences, row_slices
from charrnn.corpus.sides import LEFT_OUT, TEST, TRAIN, VALID, Kept, Sides, divide
from charrnn.errors import CorpusError, UsageError

DEFAULT_FRACTION = 0.05
DEFAULT_MAX_CHARS = 500_000
"""Approximate maximum of characters in each of validation and test if no fraction is requested."""


@dataclass(frozen=True, eq=False)
class Partition:
    """The three parts of a corpus, which share its text and alphabet, and notes for the user."""

    train: Sequences
    valid: Sequences
    test: Sequences
    notes: tuple[str, ...]
    num_moved: int = 0
    """Sequences taken out of training because of `sides.Kept`."""


def partition(
    sequences: Sequences,
    *,
    order: OrderName,
    valid_fraction: float | None = None,
    test_fraction: float | None = None,
    hold_out: HoldOut = "auto",
    kept: Kept | None = None,
    sides: Sides | None = None,
    scratch: Path | None = None,
) -> Partition:
    """Divides `sequences`; a fraction of None means 5 %, or less if 5 % is more than is needed.

    Ordered: fractions of the characters, cut at the nearest sequence boundary unless that is too far away.
    Independent: by `sides.divide`, or by its earlier result (`sides`). Large arrays go to nameless files in the
    folder `scratch`.
    Raises CorpusError if the training text is empty, UsageError if the fractions leave no training text, or if
    `hold_out` is set for an ordered corpus.
    """
    usual = _usual_fraction(sequences)
    valid, test = fractions(sequences, valid_fraction, test_fraction)
    notes: list[str] = []
    num_moved = 0
    if order == "ordered":
        if hold_out != "auto":
            raise UsageError(
                f"--hold-out {hold_out} is for independent sequences; "
                "an ordered text is cut into contiguous parts (--order)"
            )
        parts = _contiguous(sequences, valid, test, scratch)
        if parts[0].open_end or parts[1].open_end:
            notes.append("the parts are cut inside a sequence, where no ending is charged")
    else:
        if sides is None:
            texts = hash_sequences(sequences, scratch)
            sides = divide(texts, valid, test, hold_out, kept=kept, scratch=scratch)
        parts = parts_of(sequences, sides.of_row, scratch)
        notes += sides.notes
        num_moved = sides.num_moved
    if not parts[0].num_chars:
        raise CorpusError("the training text has no characters; a corpus needs at least one")
    if usual < DEFAULT_FRACTION and None in (valid_fraction, test_fraction):
        notes.append(
            f"validation and test hold about {DEFAULT_MAX_CHARS:,} characters each, {usual:.2%} of the text, "
            "so that a full pass stays quick; --valid-fraction and --test-fraction change that"
        )
    notes += [
        f"the {name} split is empty; the corpus is too small for one"
        for name, part, fraction in (("validation", parts[1], valid), ("test", parts[2], test))
        if fraction and not len(part)
    ]
    return Partition(*parts, tuple(notes), num_moved)


def fractions(sequences: Sequences, valid: float | None, test: float | None) -> tuple[float, float]:
    """The shares of validation and test; None means the usual one. Raises UsageError if they leave no rest."""
    usual = _usual_fraction(sequences)
    valid, test = usual if valid is None else valid, usual if test is None else test
    if valid < 0 or test < 0 or valid + test >= 1:
        raise UsageError(
            f"a valid fraction of {valid} and a test fraction of {test} leave no training text; "
            "together they must stay below 1"
        )
    return valid, test


def _usual_fraction(sequences: Sequences) -> float:
    return min(DEFAULT_FRACTION, DEFAULT_MAX_CHARS / max(sequences.num_chars, 1))


def seen_in(a: Sequences, b: Sequences, scratch: Path | None = None) -> NDArray[np.bool_]:
    """(B,) which sequences of `b` also occur in `a`."""
    seen, asked = hash_sequences(a, scratch), hash_sequences(b, scratch)
    seen.sort()
    found = allocate(len(asked), np.bool_, scratch)
    for rows in row_slices(len(asked)):
        found[rows] = contains(seen, asked[rows])
    return found


Parts = tuple[Sequences, Sequences, Sequences]


# Ordered: contiguous parts


class _Cut(NamedTuple):
    """A place in the corpus: `offset` characters into a sequence; 0 is the boundary before it."""

    sequence: int
    offset: int


def _contiguous(sequences: Sequences, valid: float, test: float, scratch: Path | None) -> Parts:
    size = sequences.num_chars
    first = max(int((1 - (valid + test)) * size), min(size, 1))
    second = max(int((1 - test) * size), first)
    if valid and first == second < size:
        second += 1
    smallest = min(part for part in (first, second - first, size - second, size) if part) if size else 0
    begin, end = _Cut(0, 0), _Cut(len(sequences), 0)
    cuts = [end if at == size else _nearest_cut(sequences, at, within=smallest / 2) for at in (first, second)]
    return (
        _between(sequences, begin, cuts[0], scratch),
        _between(sequences, cuts[0], cuts[1], scratch),
        _between(sequences, cuts[1], end, scratch),
    )


def _nearest_cut(sequences: Sequences, position: int, within: float) -> _Cut:
    """The sequence boundary nearest to a position if it is closer than `within`, else the position itself.

    Positions count the characters of sequences, from 0 up to but not including their number.
    """
    before = 0
    for rows in row_slices(len(sequences)):
        ends = before + np.cumsum(sequences.ends[rows] - sequences.starts[rows])
        if ends[-1] > position:
            row = int(np.searchsorted(ends, position, side="right"))
            begin, end = int(ends[row - 1]) if row else before, int(ends[row])
            nearest = begin if position - begin <= end - position else end
            if nearest == position or abs(nearest - position) < within:
                return _Cut(rows.start + row + int(nearest == end), 0)
            return _Cut(rows.start + row, position - begin)
        before = int(ends[-1])
    return _Cut(len(sequences), 0)


def _between(sequences: Sequences, begin: _Cut, end: _Cut, scratch: Path | None) -> Sequences:
    if begin == end:
        return replace(sequences, starts=sequences.starts[:0], ends=sequences.ends[:0])
    rows = slice(begin.sequence, end.sequence + int(end.offset > 0))
    starts, ends = sequences.starts[rows], sequences.ends[rows]
    if begin.offset:
        starts = _changed(starts, 0, int(sequences.starts[begin.sequence]) + begin.offset, scratch)
    if end.offset:
        ends = _changed(ends, -1, int(sequences.starts[end.sequence]) + end.offset, scratch)
    return replace(sequences, starts=starts, ends=ends, open_start=begin.offset > 0, open_end=end.offset > 0)


def _changed(array: NDArray[np.int64], at: int, value: int, scratch: Path | None) -> NDArray[np.int64]:
    copy = allocate(len(array), np.int64, scratch)
    copy[:] = array
    copy[at] = value
    return copy


# Independent: by text


def parts_of(sequences: Sequences, sides: NDArray[np.uint8], scratch: Path | None = None) -> Parts:
    """The three parts of sequences whose sides (S,) are known, each in the corpus's order."""
    sizes = np.zeros(LEFT_OUT + 1, np.int64)
    for rows in row_slices(len(sequences)):
        sizes += np.bincount(sides[rows], minlength=len(sizes))
    return (
        _on_side(sequences, sides, TRAIN, int(sizes[TRAIN]), scratch),
        _on_side(sequences, sides, VALID, int(sizes[VALID]), scratch),
        _on_side(sequences, sides, TEST, int(sizes[TEST]), scratch),
    )


def _on_side(sequences: Sequences, sides: NDArray[Any], side: int, size: int, scratch: Path | None) -> Sequences:
    starts, ends = allocate(size, np.int64, scratch), allocate(size, np.int64, scratch)
    contexts = None if sequences.contexts is None else sequences.contexts[sides == side]
    at = 0
    for rows in row_slices(len(sequences)):
        chosen = sides[rows] == side
        count = int(np.count_nonzero(chosen))
        starts[at : at + count] = sequences.starts[rows][chosen]
        ends[at : at + count] = sequences.ends[rows][chosen]
        at += count
    return replace(sequences, starts=starts, ends=ends, contexts=contexts)
