"""How much of sampled texts stands word for word in the training text.

A span lies within one text and within one training sequence. Windows of the texts are found by a rolling hash, in
one pass over the training text in bounded memory. The hash of the window c_1 … c_n at position i of a block is

    B^-i Σ_j f(c_j) B^(i+j)  mod 2^64

and so a difference of two running sums. A hit counts only if its characters are the same, so a copy that is
reported is one; one is missed only if two different windows of the texts have the same hash, in about one of 10^8
reports. This file knows neither the model nor how the texts were drawn.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.corpus.encoded import EncodedCorpus
from charrnn.corpus.hashing import mix
from charrnn.corpus.partition import seen_in
from charrnn.corpus.sequences import Sequences, row_slices
from charrnn.words import file_names

SPAN = 20
"""So many characters in a row are seldom the same by chance."""

HELD_OUT_CHARS = 400_000

_BLOCK = 1 << 17
"""Characters that are hashed at once; no window is longer."""

_BASE = 0x9E3779B97F4A7C15

Positions = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Can be written as strict JSON."""

    num_texts: int
    num_chars: int
    span: int
    """The fewest characters in a row that count as copied."""
    copied: float | None
    """The share of the texts' characters that lie in copied spans; None if there are no characters."""
    copied_held_out: float | None
    """The same of held-out text: what is no more than this is no sign of copying."""
    longest: int
    """Characters of the longest copied span; 0 if there is none."""
    place: str | None
    """Where it stands in the training text."""
    repeated: float
    """The share of texts that are whole sequences of the training text."""


class _Common(NamedTuple):
    """What is covered by windows that stand in both texts, with a position in the training text of one of them."""

    train: Sequences
    texts: Sequences
    position: int | None = None


def copies(
    train: Sequences, texts: Sequence[str], held_out: Sequences, place: Callable[[int], str], span: int = SPAN
) -> Copies:
    """The copies in at least one text. `train` has its sequences in the order of its text; `place` says in words
    where a position of that text is. Of `held_out` only the beginning is read, HELD_OUT_CHARS characters."""
    held_out = _beginning(held_out, HELD_OUT_CHARS)
    both = Sequences.from_texts([*texts, *map(held_out.get, range(len(held_out)))])
    num_chars = sum(map(len, texts))
    found = _common(train, both, span)
    starts, ends = found.texts.starts, found.texts.ends
    own = starts < num_chars
    copied, copied_held_out = (int(np.sum((ends - starts)[which])) for which in (own, ~own))
    drawn = Sequences(both.text, both.alphabet, starts[own], ends[own])
    length, position = _longest(found.train, drawn, span)
    return Copies(
        num_texts=len(texts),
        num_chars=num_chars,
        span=span,
        copied=copied / num_chars if num_chars else None,
        copied_held_out=copied_held_out / held_out.num_chars if held_out.num_chars else None,
        longest=length,
        place=None if position is None else place(position),
        repeated=float(np.mean(seen_in(train, Sequences.from_texts(texts)))),
    )


def with_copies(train: Sequences, texts: Sequence[str], span: int) -> NDArray[np.bool_]:
    """(T,) which of the texts have `span` characters in a row that stand in the training text."""
    drawn = Sequences.from_texts(texts)
    found = np.zeros(len(texts), bool)
    found[np.searchsorted(drawn.starts, _common(train, drawn, span).texts.starts, side="right") - 1] = True
    return found


def place_of(corpus: EncodedCorpus, position: int, *, is_table: bool) -> str:
    """The file and line of a position in the text of a corpus, or the row of a table.

    Blank lines before the first paragraph of a second or later file are not counted.
    """
    sequences = corpus.sequences
    sequence = int(np.searchsorted(sequences.starts, position, side="right")) - 1
    if is_table:
        return f"{file_names(corpus.files)}, row {sequence + 1:,}"
    file = int(np.searchsorted(corpus.file_offsets, sequence, side="right")) - 1
    begin = int(sequences.starts[corpus.file_offsets[file]]) if file else 0
    line_end = np.flatnonzero(sequences.alphabet == ord("\n"))
    before = sequences.text[begin:position]
    lines = sum(np.count_nonzero(np.isin(before[part], line_end)) for part in row_slices(len(before)))
    return f"{corpus.files[file]}, line {1 + lines:,}"


def _beginning(sequences: Sequences, num_chars: int) -> Sequences:
    """The first characters of the sequences."""
    starts, ends = sequences.starts[:num_chars], sequences.ends[:num_chars]
    rest = num_chars - np.cumsum(ends - starts) + (ends - starts)
    return Sequences(sequences.text, sequences.alphabet, starts, np.minimum(ends, starts + np.maximum(rest, 0)))


def _longest(train: Sequences, texts: Sequences, span: int) -> tuple[int, int | None]:
    """The length of the longest span of at least `span` that both texts share, by bisection, or 0, and where the
    training text has it."""
    low, high, position = span - 1, min(_most(texts), _BLOCK), None
    while low < high:
        middle = (low + high + 1) // 2
        found = _common(train, texts, middle)
        if found.position is None:
            high = middle - 1
        else:
            train, texts, position = found
            low, high = middle, min(high, _most(texts))
    return (0, None) if position is None else (low, position)


def _most(sequences: Sequences) -> int:
    return int(np.max(sequences.ends - sequences.starts, initial=0))


def _common(train: Sequences, texts: Sequences, span: int) -> _Common:
    """What windows of `span` characters cover that stand in both."""
    begins, hashes = (np.concatenate(part) for part in zip(*_windows(texts, span), strict=True))
    known, first, window = np.unique(hashes, return_index=True, return_inverse=True)
    bits = min(max(len(known).bit_length() + 4, 8), 24)
    hopeful = np.zeros(1 << bits, bool)
    hopeful[known >> np.uint64(64 - bits)] = True
    positions = np.full(len(known), -1)
    starts, ends = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for at, hashes in _windows(train, span, hopeful):
        of = np.searchsorted(known[:-1], hashes)
        at, of = at[known[of] == hashes], of[known[of] == hashes]
        covered = _joined(at, at + span)
        starts.append(covered[0])
        ends.append(covered[1])
        new, one = np.unique(np.where(positions[of] < 0, of, -1), return_index=True)
        one = one[new >= 0]
        same = _same(train, at[one], texts, begins[first[of[one]]], span)
        positions[of[one[same]]] = at[one[same]]
    begins = begins[positions[window] >= 0]
    return _Common(
        Sequences(train.text, train.alphabet, *_joined(np.concatenate(starts), np.concatenate(ends))),
        Sequences(texts.text, texts.alphabet, *_joined(begins, begins + span)),
        position=int(positions.max()) if len(begins) else None,
    )


def _windows(
    sequences: Sequences, span: int, hopeful: NDArray[np.bool_] | None = None
) -> Iterator[tuple[Positions, NDArray[np.uint64]]]:
    """Windows of `span` characters in ascending order: where they begin, and their hashes; first of all, none.

    `hopeful` says for the leading bits of a hash whether it is wanted.
    """
    yield np.empty(0, np.int64), np.empty(0, np.uint64)
    bases = np.array([[_BASE], [pow(_BASE, -1, 1 << 64)]], np.uint64)
    powers, inverses = np.cumprod(np.repeat(bases, _BLOCK, axis=1), axis=1, dtype=np.uint64)
    values = mix(sequences.alphabet.astype(np.uint64) + np.uint64(_BASE))
    for rows in row_slices(len(sequences)):
        pieces = _pieces(sequences, rows, span)
        for block in pieces.blocks(_BLOCK):
            sums = np.zeros(len(block.ids) + 1, np.uint64)
            np.cumsum(values[block.ids] * powers[: len(block.ids)], out=sums[1:])
            hashes = (sums[span:] - sums[:-span]) * inverses[: len(sums) - span]
            at = np.arange(len(hashes))
            if hopeful is not None:
                at = np.flatnonzero(hopeful[hashes >> np.uint64(65 - len(hopeful).bit_length())])
            ends = np.cumsum(block.lengths)
            row = np.searchsorted(ends, at, side="right")
            inside = at + span <= ends[row]
            at, row = at[inside], row[inside]
            begins: Positions = pieces.ends[block.first + row] - ends[row] + at
            yield begins, hashes[at]


def _pieces(sequences: Sequences, rows: slice, span: int) -> Sequences:
    """Rows of `span` characters or more; those longer than a block in pieces that overlap: no window is lost."""
    starts, ends = np.asarray(sequences.starts[rows]), np.asarray(sequences.ends[rows])
    starts, ends = starts[ends - starts >= span], ends[ends - starts >= span]
    step = _BLOCK - span + 1
    counts = -((starts - ends + span - 1) // step)
    numbers = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = np.repeat(starts, counts) + step * numbers
    return Sequences(
        sequences.text, sequences.alphabet, begins, np.minimum(begins + _BLOCK, np.repeat(ends, counts))
    )


def _joined(starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
    """Intervals in ascending order, those that overlap made one."""
    apart = starts[1:] >= ends[:-1]
    some = [True] * bool(len(starts))
    return starts[np.append(some, apart).astype(bool)], ends[np.append(apart, some).astype(bool)]


def _same(a: Sequences, at: Positions, b: Sequences, begins: Positions, span: int) -> NDArray[np.bool_]:
    """(W,) whether the windows of `a` and `b` at these positions have the same characters."""
    same = np.ones(len(at), bool)
    for j in range(span):
        same &= a.alphabet[a.text[at + j]] == b.alphabet[b.text[begins + j]]
    return same
