"""Predicted sequences of symbols against the true ones: whole outputs, or one tag for each position.

This file knows neither the model nor what a symbol stands for: a character, a phoneme, a tag. A string is a
sequence of its characters. A ratio is None if its denominator is zero, so all can be written as strict JSON.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Transduction:
    num_inputs: int
    num_references: int
    """The references of all inputs together."""
    exact_match: float | None
    """The share of inputs whose prediction is one of their references."""
    word_error_rate: float | None
    """1 - exact_match"""
    symbol_error_rate: float | None
    """The sum of edit distances to each input's nearest reference, divided by the sum of these references'
    lengths; above 1 if predictions are much too long."""


@dataclass(frozen=True, kw_only=True)
class Tagging:
    num_symbols: int
    num_words: int
    num_sequences: int
    symbol_accuracy: float | None
    """Over all positions, spaces included."""
    word_accuracy: float | None
    """The share of the input's words that are entirely right. A word is a maximal run without spaces that
    contains a letter; if a space separates the symbols, it is a symbol that contains a letter."""
    sequence_accuracy: float | None
    """The share of sequences that are entirely right; an empty one counts as right."""


def transduction(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> Transduction:
    """The figures of one prediction and one or more references for each input.

    Of several nearest references, the first counts. Raises ValueError if an input has no reference, or if the
    two arguments differ in their number of inputs.
    """
    nearest = [
        min(((edit_distance(prediction, variant), len(variant)) for variant in variants), key=itemgetter(0))
        for prediction, variants in zip(predictions, references, strict=True)
    ]
    num_wrong = sum(distance > 0 for distance, _ in nearest)
    return Transduction(
        num_inputs=len(nearest),
        num_references=sum(map(len, references)),
        exact_match=_ratio(len(nearest) - num_wrong, len(nearest)),
        word_error_rate=_ratio(num_wrong, len(nearest)),
        symbol_error_rate=_ratio(sum(map(itemgetter(0), nearest)), sum(map(itemgetter(1), nearest))),
    )


def tagging(
    predictions: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    inputs: Sequence[Sequence[str]],
    *,
    separator: str = "",
) -> Tagging:
    """The figures of one symbol predicted at each position of each input; `separator` is that of the inputs.

    An input, its prediction and its reference have the same length. Raises ValueError if they do not, or if the
    three arguments differ in their number of sequences.
    """
    symbols: list[bool] = []
    words: list[bool] = []
    sequences: list[bool] = []
    for prediction, reference, source in zip(predictions, references, inputs, strict=True):
        right = [p == r for p, r, _ in zip(prediction, reference, source, strict=True)]
        symbols += right
        words += [all(right[word]) for word in _words(source, separator)]
        sequences.append(all(right))
    return Tagging(
        num_symbols=len(symbols),
        num_words=len(words),
        num_sequences=len(sequences),
        symbol_accuracy=_ratio(sum(symbols), len(symbols)),
        word_accuracy=_ratio(sum(words), len(words)),
        sequence_accuracy=_ratio(sum(sequences), len(sequences)),
    )


def _words(source: Sequence[str], separator: str) -> Iterator[slice]:
    """The positions of an input's words. Commas and numbers are not words: leaving them unchanged is trivial."""
    apart, end = separator.isspace(), 0
    for _, run in groupby(enumerate(source), lambda place: (place[1].isspace(), apart and place[0])):
        symbols = [symbol for _, symbol in run]
        begin, end = end, end + len(symbols)
        if any(c.isalpha() for symbol in symbols for c in symbol):
            yield slice(begin, end)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


Symbols = Sequence[int | str]


def edit_distance(a: Symbols, b: Symbols) -> int:
    """The least number of insertions, deletions and substitutions that turn `a` (M,) into `b` (N,).

    O(M N) time, O(M + N) memory.
    """
    for row in _rows(a, b):
        last = row
    return int(last[-1])


def align(a: Symbols, b: Symbols) -> list[tuple[int | None, int | None]]:
    """One best alignment, as pairs (i, j) in order: a[i] is aligned with b[j].

    Each index occurs once; (i, None) is a[i] deleted, (None, j) is b[j] inserted. Of several best alignments, it
    is the one that, from the end, prefers pairs to deletions and deletions to insertions. O(M N) memory.
    """
    cost = [row.tolist() for row in _rows(a, b)]
    i, j = len(a), len(b)
    pairs: list[tuple[int | None, int | None]] = []
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def _rows(a: Symbols, b: Symbols) -> Iterator[NDArray[np.int64]]:
    """The table of D[i, j] = edit distance of a[:i] and b[:j], row by row, (N + 1,) each.

    D[i, j] = min(D[i-1, j-1] + [a_i ≠ b_j], D[i-1, j] + 1, D[i, j-1] + 1). The last term is in the same row:
    D[i, j] - j is the running minimum of (the smaller of the other two terms) - j.
    """
    codes: dict[int | str, int] = {}
    coded_b = np.array([codes.setdefault(symbol, len(codes)) for symbol in b], np.int64)
    columns = np.arange(len(b) + 1)
    row = columns
    yield row
    for symbol in a:
        above = row + 1
        above[1:] = np.minimum(above[1:], row[:-1] + (coded_b != codes.get(symbol, -1)))
        row = np.minimum.accumulate(above - columns) + columns
        yield row
