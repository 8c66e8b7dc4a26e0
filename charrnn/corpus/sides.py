"""Decides which independent rows are held out. A row's part depends on its text, never on the seed.

All runs on one corpus hold out the same rows. There are two ways to hold out (`--hold-out`):

values  A share of the distinct texts: all copies of a text are on one side. This measures a model on texts that
        it has not seen. The empty text is always trained on: held out, it would not measure unseen texts.
rows    A share of the rows, one by one: which of a text's copies are held out depends on the text and on each
        copy's number (the first, the second, …). Held-out rows have the same distribution as all rows, so the
        texts of most of them also occur in training rows. The empty text is a text like any other.

`auto` decides by the share of rows whose text occurs more than once, without the empty text. That share estimates
how likely a new row of the same source is to repeat one of these (Good and Turing). If it is high, a split by
value would leave the repeats out of validation, which then has another distribution than the training rows and
selects an early checkpoint. Measured: 16 % in lists of names, 0 % in SMILES, 1 % in speeches and in the lines
of a novel, 23 % in the lines of a play; 53 to 100 % in short strings over two letters, 97 to 100 % in the words
of a text, in log lines and in codes. MANY_REPEATED is between these two groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.config import HoldOut
from charrnn.corpus.hashing import contains, hash_text
from charrnn.corpus.scratch import allocate
from charrnn.corpus.sequences import row_slices

TRAIN, VALID, TEST, LEFT_OUT = range(4)
"""Sides of a row. LEFT_OUT is in no part."""

MANY_REPEATED = 1 / 3
"""If at least this share of rows has a repeated text, rows are held out one by one."""

MAX_EXACT_VALUES = 4_000_000
"""Up to this many distinct sequences, or rows, the fractions are exact; above it, they hold on average."""

_SPAN = 1 << 63
"""All ranks are below it."""

_STEP = np.uint64(int(_SPAN * (5**0.5 - 1) / 2) | 1)
"""Added to one copy's rank to get the next one's: the golden ratio, which spaces any number of copies evenly."""

_NEVER_TWO = 0.38
"""Of two consecutive copies, at least one is outside any interval that covers at most this share of all ranks,
because the two are 0.618 apart, or 0.382 in the other direction."""

Hashes = NDArray[np.uint64]


class Labels(NamedTuple):
    """L labels of rows: label `strings[l]` belongs to row `rows[l]`."""

    strings: Sequence[str]
    rows: NDArray[np.integer]
    """(L,)"""


class Kept(NamedTuple):
    """Texts that must not be trained on."""

    hashes: Hashes
    """Sorted."""
    side: int
    """Where their rows go instead: VALID or LEFT_OUT."""


@dataclass(frozen=True, eq=False)
class Sides:
    """How R rows are divided, and notes for the user."""

    of_row: NDArray[np.uint8]
    """(R,) TRAIN, VALID, TEST or LEFT_OUT"""
    notes: tuple[str, ...]
    num_moved: int = 0
    """Rows taken out of training because of `Kept`."""


def divide(
    texts: Hashes,
    valid: float,
    test: float,
    hold_out: HoldOut = "auto",
    *,
    copies_of: Hashes | None = None,
    labels: Sequence[Labels] = (),
    kept: Kept | None = None,
    scratch: Path | None = None,
) -> Sides:
    """Divides R rows by the hashes of their texts (R,); `valid` and `test` are shares.

    copies_of: (R,) hashes of all that two rows must share to be copies, if that is more than the text. Rows with
        the same text but different hashes here are variants: they stay together in a division by value, and do
        not count as repeats.
    labels: every label gets a training row. The rows of a label with only one text are held out one by one; if
        none of a label's rows would be trained on, its first row is, in a division by value with its copies.
    """
    copies_of = texts if copies_of is None else copies_of
    lone = _only_texts(texts, labels)
    notes: tuple[str, ...] = ()
    by_rows = hold_out == "rows"
    occurrences = None if hold_out == "values" and not len(lone) else _occurrences(copies_of, scratch)
    if hold_out == "auto" and occurrences is not None:
        share = _repeated(texts, occurrences)
        by_rows = share >= MANY_REPEATED
        if share and valid + test:
            notes = (_explanation(share, by_rows),)
    ranks = _ranks(texts, copies_of, None if by_rows else lone, occurrences, scratch)
    thresholds = _thresholds(ranks, valid, test)
    if by_rows and occurrences is not None and _SPAN - int(thresholds[0]) > _NEVER_TWO * _SPAN:
        num_first = _put_first_copies_first(ranks, occurrences)
        thresholds = _thresholds(ranks, valid, test, num_first)
    sides = allocate(len(texts), np.uint8, scratch)
    for rows in row_slices(len(texts)):
        sides[rows] = np.searchsorted(thresholds, ranks[rows], side="right")
    for label in labels:
        _train_on_each(sides, texts, label, by_rows=by_rows, lone=lone)
    return Sides(sides, notes, 0 if kept is None else _keep_out(sides, texts, kept))


def _explanation(share: float, by_rows: bool) -> str:
    if by_rows:
        return (
            f"{share:.1%} of the texts occur more than once, so the copies of a text are held out one by one, and "
            "held-out texts may also be trained on (--hold-out)"
        )
    return f"{share:.1%} of the texts occur more than once, and all copies of a text are on one side (--hold-out)"


class _Occurrences(NamedTuple):
    number: NDArray[np.uint32]
    """(R,) which occurrence of its hash a row is, from 0."""
    times: NDArray[np.uint32]
    """(R,) how often its hash occurs."""


def _occurrences(hashes: Hashes, scratch: Path | None) -> _Occurrences:
    """Counts in blocks of rows, and at most about MAX_EXACT_VALUES distinct hashes at a time."""
    number, times = (allocate(len(hashes), np.uint32, scratch) for _ in range(2))
    shares = np.uint64(1 + len(hashes) // MAX_EXACT_VALUES)
    for share in range(int(shares)):
        values, counts = np.empty(0, np.uint64), np.empty(0, np.uint32)
        for rows in row_slices(len(hashes), 1 << 20):
            found = np.flatnonzero(hashes[rows] % shares == share)
            block = hashes[rows][found]
            order = np.argsort(block, kind="stable")
            block = block[order]
            begins = np.flatnonzero(np.concatenate(([True], block[1:] != block[:-1]))[: len(block)])
            lengths = np.diff(begins, append=len(block)).astype(np.uint32)
            new, known = block[begins], contains(values, block[begins])
            at = np.searchsorted(values, new)
            before = np.zeros(len(new), np.uint32)
            before[known] = counts[at[known]]
            within = np.arange(len(block)) - np.repeat(begins, lengths)
            number[rows.start + found[order]] = within + np.repeat(before, lengths)
            counts[at[known]] += lengths[known]
            values, counts = (
                np.insert(values, at[~known], new[~known]),
                np.insert(counts, at[~known], lengths[~known]),
            )
        for rows in row_slices(len(hashes)):
            found = np.flatnonzero(hashes[rows] % shares == share)
            times[rows.start + found] = counts[np.searchsorted(values, hashes[rows][found])]
    return _Occurrences(number, times)


def _repeated(texts: Hashes, occurrences: _Occurrences) -> float:
    """The share of rows that occur more than once; rows with an empty text are not counted."""
    empty, repeated, total = np.uint64(hash_text("")), 0, 0
    for rows in row_slices(len(texts)):
        filled = texts[rows] != empty
        total += int(np.count_nonzero(filled))
        repeated += int(np.count_nonzero(filled & (occurrences.times[rows] > 1)))
    return repeated / max(total, 1)


def _ranks(
    texts: Hashes, copies_of: Hashes, lone: Hashes | None, occurrences: _Occurrences | None, scratch: Path | None
) -> Hashes:
    """(R,) integers below 2^63, evenly spread; the rows with the highest ranks are held out.

    lone: the texts whose rows are ranked one by one; None for all. Any other row has its text's rank, which is 0
    for the empty text.
    """
    ranks = allocate(len(texts), np.uint64, scratch)
    empty, below = np.uint64(hash_text("")), np.uint64(_SPAN - 1)
    for rows in row_slices(len(texts)):
        ranks[rows] = np.where(texts[rows] == empty, 0, texts[rows] >> np.uint64(1))
        if occurrences is not None and (lone is None or len(lone)):
            alone = np.ones(len(ranks[rows]), bool) if lone is None else contains(lone, texts[rows])
            # Counted from 1, because the hash of the empty text is 0.
            steps = (occurrences.number[rows].astype(np.uint64) + np.uint64(1)) * _STEP
            one_by_one = ((copies_of[rows] >> np.uint64(1)) + steps) & below
            ranks[rows] = np.where(alone, one_by_one, ranks[rows])
    return ranks


def _put_first_copies_first(ranks: Hashes, occurrences: _Occurrences) -> int:
    """Gives the first of several copies the rank 0, so that each such text is trained on. Returns how many."""
    changed = 0
    for rows in row_slices(len(ranks)):
        first = (occurrences.number[rows] == 0) & (occurrences.times[rows] > 1)
        ranks[rows] = np.where(first, 0, ranks[rows])
        changed += int(np.count_nonzero(first))
    return changed


def _thresholds(ranks: Hashes, valid: float, test: float, num_first: int = 0) -> Hashes:
    """(2,) the ranks at which validation and test begin: shares of the distinct ranks plus `num_first` zeros."""
    distinct = _distinct(ranks, MAX_EXACT_VALUES)
    if distinct is None:
        return np.array([int((1 - (valid + test)) * _SPAN), int((1 - test) * _SPAN)], np.uint64)
    distinct = distinct[distinct > 0]
    count = len(distinct) + num_first
    num_test = max(round(test * count), int(test > 0 and count >= 3))
    num_valid = max(round(valid * count), int(valid > 0 and count >= 2))
    num_test = min(num_test, max(count - num_valid - 1, 0), len(distinct))
    num_train = max(count - num_valid - num_test, min(count, 1), num_first)
    sentinel = np.array([_SPAN, _SPAN], np.uint64)
    at = [min(num_train - num_first, len(distinct) - num_test), len(distinct) - num_test]
    return np.concatenate((distinct, sentinel))[at]


def _distinct(values: Hashes, limit: int) -> Hashes | None:
    """The distinct values, sorted; None if there are more than `limit`."""
    distinct: Hashes = np.empty(0, np.uint64)
    for rows in row_slices(len(values), 1 << 20):
        # np.unique builds a hash table, which takes several times the memory and the time of sorting.
        block = np.sort(values[rows])
        first = np.concatenate(([True], block[1:] != block[:-1]))
        new = block[first & ~contains(distinct, block)]
        if len(new):
            distinct = np.sort(np.concatenate((distinct, new)))
        if len(distinct) > limit:
            return None
    return distinct


def _keep_out(sides: NDArray[np.uint8], texts: Hashes, kept: Kept) -> int:
    """Takes rows out of training, unless nothing but empty texts would be left. Returns how many were taken."""
    empty = np.uint64(hash_text(""))
    moved = left = 0
    for rows in row_slices(len(sides)):
        taken = (sides[rows] == TRAIN) & contains(kept.hashes, texts[rows])
        moved += int(np.count_nonzero(taken))
        left += int(np.count_nonzero((sides[rows] == TRAIN) & ~taken & (texts[rows] != empty)))
    if not left:
        return 0
    for rows in row_slices(len(sides)):
        taken = (sides[rows] == TRAIN) & contains(kept.hashes, texts[rows])
        sides[rows] = np.where(taken, kept.side, sides[rows])
    return moved


# Labels, which come from tables in memory


def _numbered(labels: Labels) -> tuple[NDArray[np.int64], int]:
    """(L,) each label's number, in order of first occurrence, and how many there are."""
    index: dict[str, int] = {}
    numbers = [index.setdefault(string, len(index)) for string in labels.strings]
    return np.array(numbers, np.int64), len(index)


def _only_texts(texts: Hashes, labels: Sequence[Labels]) -> Hashes:
    """The texts, sorted, that are the only text of some label."""
    found = [np.empty(0, np.uint64)]
    for label in labels:
        numbers, size = _numbered(label)
        low, high = np.full(size, np.iinfo(np.uint64).max), np.zeros(size, np.uint64)
        np.minimum.at(low, numbers, texts[label.rows])
        np.maximum.at(high, numbers, texts[label.rows])
        found.append(low[low == high])
    return np.unique(np.concatenate(found))


def _train_on_each(
    sides: NDArray[np.uint8], texts: Hashes, labels: Labels, *, by_rows: bool, lone: Hashes
) -> None:
    """Moves the first row of each label without training rows, by value with its copies, to the training side."""
    numbers, size = _numbered(labels)
    trained = np.zeros(size, bool)
    trained[numbers[sides[labels.rows] == TRAIN]] = True
    first = np.full(size, len(sides))
    np.minimum.at(first, numbers, labels.rows)
    rows = first[~trained]
    together = rows[:0] if by_rows else rows[~contains(lone, texts[rows])]
    sides[rows] = TRAIN
    sides[np.isin(texts, texts[together])] = TRAIN
