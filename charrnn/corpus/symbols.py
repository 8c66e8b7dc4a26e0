"""The symbols of an input or an output: characters, or the parts between separators."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from charrnn.corpus.vocabulary import Numbered

LONGEST = 10_000
"""The most symbols that a model of whole inputs reads, because all are kept for the gradient."""


def normalised(text: str) -> str:
    """The text in Unicode normalisation form C, in which a letter and its marks are one character if possible."""
    return unicodedata.normalize("NFC", text)


@dataclass(frozen=True)
class Symbols(Numbered):
    """Distinct symbols in the order of their numbers. Raises ValueError when they repeat or are empty."""

    symbols: tuple[str, ...]
    separator: str = ""
    """The text between two symbols; empty if each symbol is a character."""

    def __post_init__(self) -> None:
        if len(set(self.symbols)) < len(self.symbols) or "" in self.symbols:
            raise ValueError("symbols must be distinct and not empty")

    @classmethod
    def of(cls, texts: Iterable[str], separator: str = "") -> "Symbols":
        """The symbols that occur in the texts, sorted."""
        seen: set[str] = set()
        for text in texts:
            seen.update(split_symbols(text, separator))
        return cls(tuple(sorted(seen)), separator)

    @property
    def size(self) -> int:
        return len(self.symbols)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.symbols)}

    def split(self, text: str) -> list[str]:
        """The symbols of a text, known or not."""
        return split_symbols(text, self.separator)

    def encode(self, text: str, unknown: int) -> npt.NDArray[np.int32]:
        """The numbers of a text's symbols, `unknown` for symbols that are not known."""
        index = self._index
        return np.array([index.get(symbol, unknown) for symbol in self.split(text)], np.int32)

    def decode(self, numbers: Sequence[int] | npt.NDArray[np.integer]) -> str:
        return self.separator.join(self.symbols[number] for number in numbers)


def split_symbols(text: str, separator: str) -> list[str]:
    """The symbols of a text; several separators in a row count as one."""
    return [part for part in text.split(separator) if part] if separator else list(text)


@dataclass(frozen=True, eq=False)
class Ragged:
    """R rows of numbers, of different lengths, concatenated."""

    values: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int64]
    """(R,)"""

    @classmethod
    def of(cls, rows: Sequence[npt.NDArray[np.int32]]) -> "Ragged":
        values = np.concatenate(rows) if rows else np.zeros(0, np.int32)
        return cls(values, np.cumsum([len(row) for row in rows], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(R,)"""
        return np.diff(self.ends, prepend=0)

    def take(self, rows: npt.NDArray[np.integer]) -> "Ragged":
        """Some of the rows."""
        begins = self.ends - self.lengths
        return Ragged.of([self.values[begins[row] : self.ends[row]] for row in rows])

    def padded(self, rows: npt.NDArray[np.integer], fill: int) -> npt.NDArray[np.int64]:
        """(S, B) some of the rows as columns, S at least 1, with `fill` after their ends."""
        lengths = self.lengths[rows]
        steps = np.arange(max(1, int(lengths.max(initial=0))))[:, None]
        real = steps < lengths
        at = np.where(real, self.ends[rows] - lengths + steps, 0)
        values = self.values if len(self.values) else np.zeros(1, np.int32)
        return np.where(real, values[at], fill).astype(np.int64)
