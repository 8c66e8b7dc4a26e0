"""The text of a parent run, whose weights this run starts from: what this run must not train on and must report.

A text that the parent both held out and trained on, as happens if rows are held out one by one, may be trained on
here.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from charrnn.config import OrderName
from charrnn.corpus.hashing import contains, hash_sequences
from charrnn.corpus.partition import Partition
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.sides import LEFT_OUT, VALID, Hashes, Kept


@dataclass(frozen=True, eq=False)
class ParentText:
    """How the parent divided its text."""

    name: str
    """The parent's name."""
    order: OrderName
    sha256: str
    """Hash of the text."""
    parts: Partition

    @cached_property
    def trained(self) -> Hashes:
        """(N,) the sorted hashes of the sequences that it trained on."""
        return _sorted_hashes(self.parts.train)

    @cached_property
    def held_out(self) -> Hashes:
        """(N,) the sorted hashes of the sequences of validation and test that it did not train on."""
        both = np.concatenate([_sorted_hashes(part) for part in (self.parts.valid, self.parts.test)])
        both = both[~contains(self.trained, both)]
        both.sort()
        return both

    def kept(self, *, in_validation: bool) -> Kept:
        """Sequences that an independent text does not train on, and whether it validates on them instead."""
        return Kept(self.held_out, VALID if in_validation else LEFT_OUT)

    def notes(self, parts: Partition, order: OrderName, sha256: str, *, in_validation: bool) -> list[str]:
        """Notes on a text that was divided into `parts`: what was moved, and what was seen."""
        found = []
        if parts.num_moved:
            where = "held out here too" if in_validation else "left out of the training text here"
            found.append(f"{parts.num_moved:,} sequences that {self.name} held out are {where}")
        if order == self.order == "ordered" and sha256 == self.sha256:
            num_trained = max(parts.train.num_chars - self.parts.train.num_chars, 0)
            num_seen = max(self.parts.train.num_chars - parts.train.num_chars, 0)
            unit = "characters"
        else:
            num_trained = int(np.count_nonzero(contains(self.held_out, hash_sequences(parts.train))))
            num_seen = sum(self._num_seen(part, parts.train) for part in (parts.valid, parts.test))
            unit = "sequences"
        if num_trained:
            found.append(f"{num_trained:,} {unit} that {self.name} held out occur in the training text")
        if num_seen:
            found.append(
                f"{num_seen:,} held-out {unit} occur in the training text of {self.name}, whose weights this run "
                "begins with: they are not unseen"
            )
        return found

    def _num_seen(self, part: Sequences, train: Sequences) -> int:
        """How many sequences of a held-out part the parent trained on, and this run does not."""
        hashes = hash_sequences(part)
        return int(np.count_nonzero(contains(self.trained, hashes) & ~contains(_sorted_hashes(train), hashes)))


def _sorted_hashes(sequences: Sequences) -> Hashes:
    hashes = hash_sequences(sequences)
    hashes.sort()
    return hashes
