"""Windows of steps for training, in the two regimes.

A batch source yields windows for ever. Its position is a few integers: every random choice is a function of
the seed and of where in the text it is made, so that a source put back to a position goes on as if it had
never stopped.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from charrnn.config import StopName
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.steps import (
    LENGTH,
    PADDING,
    STOP_INDEX,
    IntArray,
    StepReader,
    Window,
    cut_beginnings,
)

POOL = 2**20
"""Sequences shuffled together; a longer list is shuffled pool by pool, so that memory stays bounded."""

RESET_RATE = 1 / 16
"""Share of a lane's windows after which it is put back to the initial state, as sampling starts there."""

RESET_PATIENCE = 4
"""Windows that a lane waits for a sequence to end before it is put back inside the sequence."""


class Position(NamedTuple):
    """Where a source stands; `lanes` is empty for independent sequences."""

    epoch: int
    batch: int
    offset: int
    lanes: tuple[tuple[int, ...], ...] = ()


class BatchSource(Protocol):
    @property
    def epoch(self) -> float:
        """Passes over the text so far, with the fraction of the one under way."""

    @property
    def windows_per_epoch(self) -> float: ...

    @property
    def steps_per_window(self) -> float:
        """About how many steps a window holds, padding left out; the same for every window."""

    def next_window(self) -> Window: ...

    @property
    def position(self) -> Position: ...

    def seek(self, position: Position) -> None: ...


class IndependentBatches:
    """Shuffled rows of sequences that know nothing of each other, a new order every epoch.

    Rows of roughly similar length share a batch: each stretch of BUCKET batches of the shuffled list is sorted
    by the logarithm of the length with noise added, and its batches are shuffled. So orders of magnitude are
    kept apart, which saves padding, while a batch still holds many lengths: batches of a single one made
    gradients noisy where they matter most, at the endings. A batch longer than a window is read in several,
    state carried.
    """

    BUCKET = 8
    LENGTH_NOISE = 0.35

    def __init__(
        self, reader: StepReader, stops: tuple[StopName, ...], batch_size: int, window: int, seed: int
    ) -> None:
        self._reader, self._window, self._seed = reader, window, seed
        self._stops = np.array([STOP_INDEX[stop] for stop in stops])
        self._count = len(reader.sequences)
        self._batch_size = min(batch_size, self._count)
        self._pools = -(-self._count // POOL)
        self._batches_in_pool = [
            -(-min(POOL, self._count - pool * POOL) // self._batch_size) for pool in range(self._pools)
        ]
        self.seek(Position(0, 0, 0))

    @property
    def batches_per_epoch(self) -> int:
        return sum(self._batches_in_pool)

    @property
    def windows_per_epoch(self) -> float:
        return float(self.batches_per_epoch * np.mean(np.ceil(self._some_steps / self._window)))

    @cached_property
    def steps_per_window(self) -> float:
        windows = np.ceil(self._some_steps / self._window)
        return float(self._batch_size * np.sum(self._some_steps) / np.sum(windows))

    @cached_property
    def _some_steps(self) -> IntArray:
        """How many steps sequences take, (S,): of all, or of evenly spread ones of a long list."""
        s = self._reader.sequences
        sample = np.linspace(0, self._count - 1, min(self._count, 10_000)).astype(np.int64)
        steps: IntArray = np.asarray(s.ends)[sample] - np.asarray(s.starts)[sample] + 1
        return steps

    @property
    def epoch(self) -> float:
        return self._epoch + self._batch / self.batches_per_epoch

    @property
    def position(self) -> Position:
        return Position(self._epoch, self._batch, self._offset)

    def seek(self, position: Position) -> None:
        self._epoch, self._batch, self._offset, _ = position
        self._pool_key: tuple[int, int] | None = None
        self._load_batch()

    def next_window(self) -> Window:
        """The next window of the batch under way, or the first of the next batch."""
        length = min(self._window, self._steps - self._offset)
        position = self._first + self._offset + np.arange(length)[:, None]
        sequence = np.where(position <= self._taus, self._rows, PADDING)
        steps = self._reader.steps(sequence, position, self._row_stops)
        window = Window(steps, np.full(len(self._rows), self._offset == 0), sequence)
        self._offset += length
        if self._offset >= self._steps:
            self._offset, self._batch = 0, self._batch + 1
            if self._batch == self.batches_per_epoch:
                self._batch, self._epoch = 0, self._epoch + 1
            self._load_batch()
        return window

    def _load_batch(self) -> None:
        self._rows, rng = self._batch_rows()
        s = self._reader.sequences
        self._taus = np.asarray(s.ends)[self._rows] - np.asarray(s.starts)[self._rows]
        self._row_stops = self._stops[rng.integers(len(self._stops), size=len(self._rows))]
        self._first = np.where(self._row_stops == LENGTH, -1, 0)
        self._steps = int(np.max(self._taus + 1 - self._first))

    def _batch_rows(self) -> tuple[IntArray, np.random.Generator]:
        """The sequences of the current batch, and the generator of its other choices."""
        pool_order = _rng(self._seed, "pools", self._epoch).permutation(self._pools)
        batch = self._batch
        for pool in pool_order:
            if batch < self._batches_in_pool[pool]:
                break
            batch -= self._batches_in_pool[pool]
        if self._pool_key != (self._epoch, pool):
            self._pool_key = (self._epoch, int(pool))
            self._pool_rows = self._shuffled(int(pool))
        start = batch * self._batch_size
        rng = _rng(self._seed, "mechanisms", self._epoch, self._batch)
        return self._pool_rows[start : start + self._batch_size], rng

    def _shuffled(self, pool: int) -> IntArray:
        """The pool's sequences in the order of this epoch."""
        rng = _rng(self._seed, "shuffle", self._epoch, pool)
        first = pool * POOL
        rows = first + rng.permutation(min(POOL, self._count - first))
        s = self._reader.sequences
        size = self._batch_size
        stretches = []
        for start in range(0, len(rows), size * self.BUCKET):
            stretch = rows[start : start + size * self.BUCKET]
            taus = np.asarray(s.ends)[stretch] - np.asarray(s.starts)[stretch]
            noise = self.LENGTH_NOISE * rng.standard_normal(len(taus))
            stretch = stretch[np.argsort(np.log1p(taus) + noise, kind="stable")]
            whole = len(stretch) // size
            order = rng.permutation(whole)
            stretches.append(stretch[: whole * size].reshape(whole, size)[order].ravel())
            # A rest shorter than a batch can only stand in the last stretch, and there at its end.
            stretches.append(stretch[whole * size :])
        return np.concatenate(stretches)


@dataclass
class _Lane:
    """One walker through the text: the step that it reads next, and how it came there."""

    sequence: int
    position: int
    stop: int
    fresh: bool
    """The next window starts from the initial state."""
    waiting: int
    """Windows for which a reset has been due; −1 when none is."""


class OrderedLanes:
    """Parallel lanes through one text, state carried from window to window.

    The lanes start evenly spread and each walks round the whole text. Now and then a lane is put back to the
    initial state: at the end of the sequence it is in (the rest of that window is padding), or where it
    stands when no ending comes within a few windows. There it also draws the mechanism that it trains next.
    """

    def __init__(
        self, reader: StepReader, stops: tuple[StopName, ...], batch_size: int, window: int, seed: int
    ) -> None:
        self._reader, self._window, self._seed = reader, window, seed
        self._stops = [STOP_INDEX[stop] for stop in stops]
        s = reader.sequences
        self._lengths = _StepCounts(s)
        lanes = max(1, min(batch_size, self._lengths.total // window))
        self._windows_read = 0
        self._lanes: list[_Lane] = []
        for lane in range(lanes):
            stop = self._stops[lane % len(self._stops)]
            sequence, position = self._lengths.locate(lane * self._lengths.total // lanes)
            # Where the text has boundaries, lanes start at one; a single sequence is cut anywhere.
            whole = len(s) >= lanes * 2
            if whole or position == 0:
                position = reader.first_position(sequence, stop)
            self._lanes.append(_Lane(sequence, position, stop, fresh=True, waiting=-1))

    @property
    def windows_per_epoch(self) -> float:
        return self._lengths.total / self.steps_per_window

    @property
    def steps_per_window(self) -> float:
        return float(self._window * len(self._lanes))

    @property
    def epoch(self) -> float:
        return self._windows_read / self.windows_per_epoch

    @property
    def position(self) -> Position:
        lanes = tuple(
            (lane.sequence, lane.position, lane.stop, int(lane.fresh), lane.waiting) for lane in self._lanes
        )
        return Position(0, self._windows_read, 0, lanes)

    def seek(self, position: Position) -> None:
        self._windows_read = position.batch
        self._lanes = [
            _Lane(sequence, at, stop, bool(fresh), waiting)
            for sequence, at, stop, fresh, waiting in position.lanes
        ]

    def next_window(self) -> Window:
        rng = _rng(self._seed, "lanes", self._windows_read)
        due = rng.random(len(self._lanes)) < RESET_RATE
        drawn = rng.integers(len(self._stops), size=len(self._lanes))
        patience = 0 if len(self._reader.sequences) == 1 else RESET_PATIENCE
        shape = (self._window, len(self._lanes))
        sequence, position = np.full(shape, PADDING), np.zeros(shape, np.int64)
        for b, lane in enumerate(self._lanes):
            next_stop = self._stops[drawn[b]]
            if lane.waiting < 0 and due[b] and not lane.fresh:
                lane.waiting = 0
            at_beginning = lane.position == self._reader.first_position(lane.sequence, lane.stop)
            if lane.waiting >= patience or (lane.waiting >= 0 and at_beginning):
                lane.fresh, lane.waiting, lane.stop = True, -1, next_stop
                if at_beginning:
                    lane.position = self._reader.first_position(lane.sequence, lane.stop)
            elif lane.waiting >= 0:
                lane.waiting += 1
        fresh = np.array([lane.fresh for lane in self._lanes])
        stops = np.array([lane.stop for lane in self._lanes])
        inside = fresh & np.array([lane.position > 0 for lane in self._lanes])
        for b, lane in enumerate(self._lanes):
            self._walk(lane, sequence[:, b], position[:, b], self._stops[drawn[b]])
        steps = self._reader.steps(sequence, position, stops)
        cut_beginnings(steps, inside, self._reader)
        self._windows_read += 1
        return Window(steps, fresh, sequence)

    def _walk(self, lane: _Lane, sequence: IntArray, position: IntArray, next_stop: int) -> None:
        """Fills one lane's window, (T,) each, and moves the lane past it."""
        s, filled = self._reader.sequences, 0
        lane.fresh = False
        while filled < len(sequence):
            last = int(s.ends[lane.sequence] - s.starts[lane.sequence])
            count = min(len(sequence) - filled, last + 1 - lane.position)
            sequence[filled : filled + count] = lane.sequence
            position[filled : filled + count] = np.arange(lane.position, lane.position + count)
            filled += count
            lane.position += count
            if lane.position <= last:
                continue
            wrapped = lane.sequence == len(s) - 1
            lane.sequence = 0 if wrapped else lane.sequence + 1
            restart = wrapped or lane.waiting >= 0
            if restart:
                lane.fresh, lane.waiting, lane.stop = True, -1, next_stop
            lane.position = self._reader.first_position(lane.sequence, lane.stop)
            if restart:
                return


class _StepCounts:
    """How many steps the sequences take, found without a copy of a long list."""

    BLOCK = 2**16

    def __init__(self, sequences: Sequences) -> None:
        self._s = sequences
        counts = [self._steps(first).sum() for first in range(0, len(sequences), self.BLOCK)]
        self._block_ends = np.cumsum(counts)
        self.total = int(self._block_ends[-1])

    def _steps(self, first: int) -> IntArray:
        block = slice(first, first + self.BLOCK)
        return np.asarray(self._s.ends[block]) - np.asarray(self._s.starts[block]) + 1

    def locate(self, step: int) -> tuple[int, int]:
        """The sequence and the position in it of a step of the whole text."""
        block = int(np.searchsorted(self._block_ends, step, side="right"))
        step -= int(self._block_ends[block - 1]) if block else 0
        ends = np.cumsum(self._steps(block * self.BLOCK))
        inside = int(np.searchsorted(ends, step, side="right"))
        return block * self.BLOCK + inside, step - (int(ends[inside - 1]) if inside else 0)


def _rng(seed: int, purpose: str, *where: int) -> np.random.Generator:
    """The generator of one kind of choice at one place: independent of all others."""
    return np.random.default_rng([seed, *purpose.encode(), *where])


def batch_source(
    reader: StepReader,
    order: str,
    stops: tuple[StopName, ...],
    *,
    batch_size: int,
    window: int,
    seed: int,
) -> BatchSource:
    kind = IndependentBatches if order == "independent" else OrderedLanes
    return kind(reader, stops, batch_size, window, seed)
