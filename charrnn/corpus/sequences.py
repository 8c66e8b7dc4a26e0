"""The sequences of a corpus, as every other layer sees them: slices of one long encoded text.

Knows neither files nor the model's vocabulary. The arrays are often mapped from disk and larger than
memory, so passes over all of them work block by block.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK_CHARS = 1 << 20
BLOCK_ROWS = 1 << 17


class Block(NamedTuple):
    """Consecutive sequences, or a part of one that is too long for a block.

    Attributes:
        first: index of the first sequence.
        ids: (C,) their alphabet ids, joined without separators.
        lengths: (R,) int64, the characters of each sequence that `ids` holds.
        offset: characters of the first sequence in earlier blocks; 0 except within a long sequence.
    """

    first: int
    ids: NDArray[Any]
    lengths: NDArray[np.int64]
    offset: int


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of characters over an alphabet of code points.

    Attributes:
        text: (N,) uint8, uint16 or uint32, often mapped from disk: alphabet ids of the whole corpus.
        alphabet: (A,) uint32 code points; `alphabet[text[i]]` is the code point at position i.
        starts, ends: (S,) int64, often mapped: sequence s is `text[starts[s]:ends[s]]` and may be empty.
        open_start: the beginning of the first sequence was cut off (so no BOS there).
        open_end: the end of the last sequence was cut off, so no ending is charged.
        contexts: (S, X) float32, the vector that each sequence is conditioned on; None for plain text.
    """

    text: NDArray[Any]
    alphabet: NDArray[np.uint32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    open_start: bool = False
    open_end: bool = False
    contexts: NDArray[np.float32] | None = None

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "Sequences":
        """Sequences held in memory."""
        parts = list(texts)
        alphabet, ids = np.unique(to_code_points("".join(parts)), return_inverse=True)
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        return cls(ids.astype(np.uint32), alphabet, starts[: len(parts)], ends)

    def __len__(self) -> int:
        return len(self.starts)

    def get(self, s: int) -> str:
        """The text of sequence s."""
        return to_text(self.alphabet[self.text[self.starts[s] : self.ends[s]]])

    @cached_property
    def num_chars(self) -> int:
        """Characters of all sequences; separators between them do not count."""
        return sum(int(np.sum(self.ends[rows] - self.starts[rows])) for rows in row_slices(len(self)))

    @cached_property
    def symbol_counts(self) -> NDArray[np.int64]:
        """(A,) how often each character of the alphabet occurs in the sequences."""
        counts = np.zeros(len(self.alphabet), np.int64)
        for block in self.blocks():
            counts += np.bincount(block.ids, minlength=len(counts))
        return counts

    @cached_property
    def num_bytes(self) -> int:
        """Bytes of all sequences in UTF-8."""
        widths = 1 + np.searchsorted([0x80, 0x800, 0x10000], self.alphabet, side="right")
        return int(self.symbol_counts @ widths)

    def blocks(self, max_chars: int = BLOCK_CHARS) -> Iterator[Block]:
        """All sequences in order, in blocks of at most `max_chars` characters."""
        row = 0
        while row < len(self):
            starts = np.asarray(self.starts[row : row + BLOCK_ROWS])
            lengths = np.asarray(self.ends[row : row + BLOCK_ROWS]) - starts
            joined = np.cumsum(lengths)
            count = int(np.searchsorted(joined, max_chars, side="right"))
            if count == 0:
                yield from self._parts(row, max_chars)
                row += 1
                continue
            starts, lengths, joined = starts[:count], lengths[:count], joined[:count]
            index = np.arange(joined[-1]) + np.repeat(starts - (joined - lengths), lengths)
            yield Block(row, self.text[index], lengths, 0)
            row += count

    def _parts(self, row: int, max_chars: int) -> Iterator[Block]:
        start, end = int(self.starts[row]), int(self.ends[row])
        for at in range(start, end, max_chars):
            ids = np.asarray(self.text[at : min(at + max_chars, end)])
            yield Block(row, ids, np.array([len(ids)]), at - start)


def row_slices(size: int, rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Cuts `range(size)` into slices of at most `rows`."""
    return (slice(at, min(at + rows, size)) for at in range(0, size, rows))


def sample_lengths(sequences: Sequences, most: int = 1_000_000) -> NDArray[np.int64]:
    """Lengths (S,) of the sequences; for a very long list, only those in evenly spaced blocks."""
    stride = max(1, len(sequences) // most)
    blocks = itertools.islice(row_slices(len(sequences)), 0, None, stride)
    return np.concatenate([np.asarray(sequences.ends[rows] - sequences.starts[rows]) for rows in blocks])


def to_code_points(text: str) -> NDArray[np.uint32]:
    """(len(text),) the code points of `text`, lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32, copy=False)


def to_text(code_points: NDArray[np.uint32]) -> str:
    """The string of these code points, the inverse of `to_code_points`."""
    return code_points.astype("<u4", copy=False).tobytes().decode("utf-32-le", "surrogatepass")
