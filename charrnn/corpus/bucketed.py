"""Batches of whole examples of similar lengths: in a new order every epoch, or read once."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from charrnn.corpus.batching import Position, require_possible

POOL_BATCHES = 32
"""Batches whose examples are sorted by length together: a larger pool means less padding and less variety."""


def spread_rows(count: int, share: float) -> npt.NDArray[np.int64]:
    """An evenly spaced share of the rows 0 … count − 1; at least one row if there are any."""
    chosen = min(count, max(1, round(share * count)))
    return np.arange(chosen) * count // max(1, chosen)


ROWS = 128
"""Rows of a batch that is read but not trained on; a larger one takes more memory."""


class BucketedBatches:
    """Yields the rows of one batch after another without end; an epoch reads every example once.

    The order depends only on the seed and the epoch, so a source that is reset to a position continues as if it
    had never stopped. `lengths`: (R,), by which examples are sorted.
    """

    def __init__(self, lengths: npt.NDArray[np.integer], batch_size: int, seed: int) -> None:
        self._lengths, self._seed = lengths, seed
        self._batch_size = min(batch_size, len(lengths))
        self._epoch = self._given = 0
        self._planned = -1

    @cached_property
    def windows_per_epoch(self) -> float:
        return float(-(-len(self._lengths) // self._batch_size))

    @property
    def epoch(self) -> float:
        return self._epoch + self._given / self.windows_per_epoch

    @property
    def position(self) -> Position:
        return Position(self._epoch, self._given)

    def seek(self, position: Position) -> None:
        """Raises ValueError for a position that this source never has."""
        self._epoch, self._given = position.epoch, position.given
        self._plan, self._planned = self._order(), self._epoch
        require_possible(self._given < len(self._plan) and not position.lanes)

    def next_rows(self) -> npt.NDArray[np.int64]:
        """The rows (B,) of the next batch; one batch of an epoch may be smaller."""
        if self._planned != self._epoch:
            self._plan, self._planned = self._order(), self._epoch
        rows = self._plan[self._given]
        self._given += 1
        if self._given == len(self._plan):
            self._epoch, self._given = self._epoch + 1, 0
        return rows

    def _order(self) -> list[npt.NDArray[np.int64]]:
        rng = np.random.default_rng([self._seed, self._epoch])
        order, size = rng.permutation(len(self._lengths)), self._batch_size
        batches = []
        for first in range(0, len(order), POOL_BATCHES * size):
            pool = order[first : first + POOL_BATCHES * size]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            batches += [pool[at : at + size] for at in range(0, len(pool), size)]
        return [batches[number] for number in rng.permutation(len(batches))]


def by_length(lengths: npt.NDArray[np.int64], share: float = 1.0) -> Iterator[npt.NDArray[np.int64]]:
    """An evenly spaced share of the rows, in batches of similar lengths (or depths), to read but not train on."""
    rows = spread_rows(len(lengths), share)
    order = rows[np.argsort(lengths[rows], kind="stable")]
    for first in range(0, len(order), ROWS):
        yield order[first : first + ROWS]
