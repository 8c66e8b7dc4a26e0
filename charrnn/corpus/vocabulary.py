"""The model's vocabulary: the characters that it knows, and their ids. Knows nothing of files."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from unicodedata import normalize

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charrnn.corpus.sequences import Sequences, to_code_points, to_text
from charrnn.errors import CorpusError

_MOST_NAMED = 10


class Numbered(ABC):
    """Symbols 0 … V − 1, and the ids for BOS, EOS and unknown symbols."""

    @property
    @abstractmethod
    def size(self) -> int:
        """V"""

    @property
    def bos(self) -> int:
        """The input id that begins every sequence."""
        return self.size

    @property
    def unknown(self) -> int:
        """The input id of every symbol that is not known."""
        return self.size + 1

    @property
    def eos(self) -> int:
        """The output id that ends a sequence."""
        return self.size


@dataclass(frozen=True)
class Vocabulary(Numbered):
    """The characters of a model, sorted by code point: symbol i is id i.

    Raises ValueError when they are not distinct single characters in that order.
    """

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if any(len(symbol) != 1 for symbol in self.symbols):
            raise ValueError("every symbol of a vocabulary must be one character")
        if any(a >= b for a, b in zip(self.symbols, self.symbols[1:], strict=False)):
            raise ValueError("the symbols of a vocabulary must be distinct and sorted by code point")

    @classmethod
    def from_sequences(cls, sequences: Sequences) -> "Vocabulary":
        """The characters that occur in these sequences (those of the training split, for a model)."""
        seen = sequences.alphabet[sequences.symbol_counts > 0]
        return cls(tuple(to_text(np.sort(seen))))

    def with_symbols(self, symbols: Iterable[str]) -> "Vocabulary":
        """The characters of both."""
        return Vocabulary(tuple(sorted({*self.symbols, *symbols})))

    @property
    def size(self) -> int:
        """V, the number of characters."""
        return len(self.symbols)

    @cached_property
    def code_points(self) -> NDArray[np.uint32]:
        """(V,) the code points of the symbols, ascending."""
        return to_code_points("".join(self.symbols))

    def encode(self, text: str) -> NDArray[np.int32]:
        """(len(text),) the ids of `text`; `unknown` for characters that the vocabulary lacks."""
        return self.table(to_code_points(text))

    def decode(self, ids: ArrayLike) -> str:
        """The text of these ids, each below `size`; raises ValueError for any other."""
        array = np.asarray(ids, np.int64)
        if array.size and (array.min() < 0 or array.max() >= self.size):
            raise ValueError(f"ids must lie in 0..{self.size - 1}, got {array.min()}..{array.max()}")
        return to_text(self.code_points[array])

    def table(self, alphabet: NDArray[np.uint32]) -> NDArray[np.int32]:
        """(A,) the id of each of these code points: `table(sequences.alphabet)[text]` encodes a text."""
        ids = np.searchsorted(self.code_points, alphabet)
        known = np.isin(alphabet, self.code_points)
        return np.where(known, ids, self.unknown).astype(np.int32)

    def require(self, text: str) -> None:
        """Raises CorpusError, naming the characters, if the vocabulary lacks some of `text`."""
        missing = sorted(set(text).difference(self.symbols))
        if missing:
            advice = self.other_form(text) or (
                f"it knows the {self.size} characters of its training text, so write the text with those or train "
                "on text that has these"
            )
            raise CorpusError(f"the model does not know {_named(missing)}; {advice}")

    def other_form(self, text: str) -> str | None:
        """Advice if unknown characters of `text` are marks of known characters, or are made of known ones."""
        missing = set(text).difference(self.symbols)
        marks = {mark for symbol in self.symbols for mark in normalize("NFD", symbol)[1:]}
        found = "C" if missing & marks else "D" if any(map(self._is_made_of_known, missing)) else None
        if found is None:
            return None
        return (
            f"it knows the same in Unicode form {found} (NF{found}), so write the text in that form, or train "
            "with --normalize nfc, which reads both forms as one"
        )

    def in_two_forms(self) -> str | None:
        """A note if there are symbols beside what they are made of, as in text of two Unicode forms."""
        found = [symbol for symbol in self.symbols if self._is_made_of_known(symbol)]
        if not found:
            return None
        return f"{_named(found)}: in two Unicode forms, as one character and as several (--normalize nfc: as one)"

    def _is_made_of_known(self, character: str) -> bool:
        parts = normalize("NFD", character)
        return parts != character and set(parts) <= set(self.symbols)


def _named(characters: Iterable[str]) -> str:
    """Lists characters, escaped if they are not printable, with their code points."""
    names = [f"{ascii(c) if not c.isprintable() else repr(c)} (U+{ord(c):04X})" for c in characters]
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more characters" if more > 0 else "")
