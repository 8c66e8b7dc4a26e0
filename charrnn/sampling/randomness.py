"""A stream of uniform numbers for every sample, so that no sample depends on its neighbours in a batch."""

import numpy as np
import numpy.typing as npt

BLOCK = 128


class RowStreams:
    """B counter-based streams (Philox, keyed by seed and sample number), read all together or only the last."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generators: list[np.random.Generator] = []
        self._blocks = np.empty((0, BLOCK))
        self._next = np.empty(0, np.int64)
        self._renumber()

    def open(self, samples: range) -> None:
        """Adds the streams of these samples, as the last rows."""
        new = [np.random.Generator(np.random.Philox(key=[self._seed, sample])) for sample in samples]
        self._generators += new
        self._blocks = np.concatenate([self._blocks, *(g.random((1, BLOCK)) for g in new)])
        self._next = np.concatenate([self._next, np.zeros(len(new), np.int64)])
        self._renumber()

    def keep(self, rows: npt.NDArray[np.intp]) -> None:
        """Drops all other rows."""
        self._generators = [self._generators[row] for row in rows]
        self._blocks, self._next = self._blocks[rows], self._next[rows]
        self._renumber()

    def uniform(self) -> npt.NDArray[np.float64]:
        """One number in [0, 1) from each row."""
        if self._reads_left == 0:
            self._refill()
        numbers: npt.NDArray[np.float64] = self._blocks[self._rows, self._next]
        self._next += 1
        self._reads_left -= 1
        return numbers

    def uniform_of_last(self, rows: int) -> npt.NDArray[np.float64]:
        """One number in [0, 1) from each of the last `rows` rows; the other streams do not advance."""
        numbers: npt.NDArray[np.float64] = self._blocks[self._rows[-rows:], self._next[-rows:]]
        self._next[-rows:] += 1
        self._renumber()
        return numbers

    def _refill(self) -> None:
        for row in np.flatnonzero(self._next == BLOCK):
            self._blocks[row] = self._generators[row].random(BLOCK)
            self._next[row] = 0
        self._renumber()

    def _renumber(self) -> None:
        self._rows = np.arange(len(self._next))
        self._reads_left = BLOCK - int(self._next.max(initial=0))
