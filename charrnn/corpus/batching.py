"""Windows of training steps, for independent sequences and for ordered text.

A batch source yields windows without end. Its position is a few integers: every random choice depends only
on the seed and on the place in the text, so a source that is reset to a position continues as if it had
never stopped.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple, Protocol

import numpy as np
from msgspec import Meta

from charrnn.config import Count, StopName
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.steps import (
    PADDING,
    STOP_INDEX,
    IntArray,
    StepReader,
    Window,
    cut_beginnings,
    first_positions,
)

POOL = 2**20
"""Sequences shuffled together; a longer list is shuffled pool by pool, so that memory stays bounded."""

RESET_RATE = 1 / 16
"""Share of windows at which a lane's reset to the initial state becomes due, because sampling starts there."""

RESET_PATIENCE = 4
"""Windows that a lane waits for its sequence to end before it is reset in the middle of the sequence."""


class Position(NamedTuple):
    """The position of a source."""

    epoch: Count
    given: Count
    """Sequences of the epoch that lanes have received so far; for an ordered text, windows read."""
    lanes: tuple[tuple[Annotated[int, Meta(ge=-1, le=2**53)], ...], ...] = ()
    """The position of each lane; empty before the first window."""


def require_possible(possible: bool) -> None:
    """Raises ValueError unless a saved position is one that the source can have."""
    if not possible:
        raise ValueError("its position is not one in this corpus")


class BatchSource(Protocol):
    @property
    def epoch(self) -> float:
        """Passes over the text so far, including the fraction of the current one."""

    @property
    def windows_per_epoch(self) -> float: ...

    @property
    def steps_per_window(self) -> float:
        """Approximate number of steps in a window without padding; one figure for all windows."""

    def next_window(self) -> Window: ...

    @property
    def position(self) -> Position: ...

    def seek(self, position: Position) -> None:
        """Raises ValueError for a position that this source never has."""


class IndependentLanes:
    """Parallel lanes through a shuffled list of independent sequences.

    A lane reads one sequence after another, each from the initial state, in a new order every epoch. Every
    sequence starts at the beginning of a window, because fused kernels accept a state only there: the rest of
    the window in which a sequence ends is padding, and a window is no longer than what the lanes still have
    to read. So every window mixes long and short sequences. Batches of similar lengths would hold less
    padding, but they make gradients noisy where they matter most, at the endings, and leave most lanes empty
    while the longest sequence of a batch is read.
    """

    def __init__(
        self, reader: StepReader, stops: tuple[StopName, ...], batch_size: int, window: int, seed: int
    ) -> None:
        self._reader, self._window, self._seed = reader, window, seed
        self._stops = np.array([STOP_INDEX[stop] for stop in stops])
        self._count = len(reader.sequences)
        self._num_lanes = min(batch_size, self._count)
        self.seek(Position(0, 0))

    @property
    def windows_per_epoch(self) -> float:
        return float(self._count / self._num_lanes * np.mean(np.ceil(self._some_steps / self._window)))

    @cached_property
    def steps_per_window(self) -> float:
        windows = np.ceil(self._some_steps / self._window)
        return float(self._num_lanes * np.sum(self._some_steps) / np.sum(windows))

    @cached_property
    def _some_steps(self) -> IntArray:
        """Steps per sequence, (S,): of all sequences, or of an evenly spaced sample of a long list."""
        sample = np.linspace(0, self._count - 1, min(self._count, 10_000)).astype(np.int64)
        return self._lengths(sample) + 1

    @property
    def epoch(self) -> float:
        unread = (self._tau + 1 - self._at) / np.maximum(self._tau + 1, 1)
        return self._epoch + (self._given - float(unread.clip(0, 1).sum())) / self._count

    @property
    def position(self) -> Position:
        lanes = zip(self._sequence.tolist(), self._at.tolist(), self._stop.tolist(), strict=True)
        return Position(self._epoch, self._given, tuple(lanes))

    def seek(self, position: Position) -> None:
        self._epoch, self._given, lanes = position
        # A lane that has nothing to read yet is placed past the end of a sequence.
        done = (PADDING, 0, int(self._stops[0]))
        lanes = lanes or (done,) * self._num_lanes
        require_possible(len(lanes) == self._num_lanes and all(len(lane) == len(done) for lane in lanes))
        self._sequence, self._at, self._stop = np.array(lanes, np.int64).T
        require_possible(bool(np.all(self._sequence < self._count) and np.isin(self._stop, self._stops).all()))
        require_possible(self._given < self._count)
        self._tau = np.where(self._sequence == PADDING, -1, self._lengths(self._sequence))
        self._pool_key: tuple[int, int] | None = None

    def next_window(self) -> Window:
        fresh = self._at > self._tau
        if fresh.any():
            self._give(np.flatnonzero(fresh))
        length = min(self._window, int(np.max(self._tau + 1 - self._at)))
        position = self._at + np.arange(length)[:, None]
        sequence = np.where(position <= self._tau, self._sequence, PADDING)
        self._at = self._at + length
        # A copy, because the lanes' own array changes when they receive their next sequences.
        return Window(self._reader.steps(sequence, position, self._stop.copy()), fresh, sequence)

    def _give(self, lanes: IntArray) -> None:
        """Assigns the next sequences to some lanes, and to each lane the stop mechanism that it trains."""
        rng = _rng(self._seed, "mechanisms", self._epoch, self._given)
        self._stop[lanes] = self._stops[rng.integers(len(self._stops), size=len(lanes))]
        self._sequence[lanes] = self._take(len(lanes))
        self._tau[lanes] = self._lengths(self._sequence[lanes])
        self._at[lanes] = first_positions(self._stop[lanes])

    def _take(self, count: int) -> IntArray:
        """The next `count` sequences of the order; continues into the next epoch."""
        taken = []
        while count:
            rows = self._rest_of_pool()[:count]
            taken.append(rows)
            count -= len(rows)
            self._given += len(rows)
            if self._given == self._count:
                self._epoch, self._given = self._epoch + 1, 0
        return np.concatenate(taken)

    def _rest_of_pool(self) -> IntArray:
        """The sequences of the current pool that no lane has received yet."""
        pools = -(-self._count // POOL)
        given = self._given
        for pool in _rng(self._seed, "pools", self._epoch).permutation(pools).tolist():
            size = min(POOL, self._count - pool * POOL)
            if given < size:
                break
            given -= size
        if self._pool_key != (self._epoch, pool):
            self._pool_key = (self._epoch, pool)
            rng = _rng(self._seed, "shuffle", self._epoch, pool)
            self._pool = pool * POOL + rng.permutation(size)
        rest: IntArray = self._pool[given:]
        return rest

    def _lengths(self, sequences: IntArray) -> IntArray:
        s = self._reader.sequences
        taus: IntArray = np.asarray(s.ends)[sequences] - np.asarray(s.starts)[sequences]
        return taus


@dataclass
class _Lane:
    """The state of one lane: its next step, its stop mechanism and its pending reset."""

    sequence: int
    position: int
    stop: int
    fresh: bool
    """The next window starts from the initial state."""
    waiting: int
    """Windows since a reset became due; −1 if none is due."""


class OrderedLanes:
    """Parallel lanes through one text that carry their state from window to window.

    The lanes start evenly spaced; each reads the whole text in a cycle. Occasionally a lane is reset to the
    initial state: at the end of its current sequence (the rest of that window is padding), or at its current
    position if no sequence ends within a few windows. It then also draws the stop mechanism to train next.
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
            # If the text has enough sequence boundaries, lanes start at one; otherwise they start anywhere.
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
        return Position(0, self._windows_read, lanes)

    def seek(self, position: Position) -> None:
        require_possible(len(position.lanes) == len(self._lanes))
        require_possible(all(len(lane) == 5 for lane in position.lanes))
        self._windows_read = position.given
        self._lanes = [
            _Lane(sequence, at, stop, bool(fresh), waiting)
            for sequence, at, stop, fresh, waiting in position.lanes
        ]
        s = self._reader.sequences
        for lane in self._lanes:
            require_possible(0 <= lane.sequence < len(s) and lane.stop in self._stops)
            first = self._reader.first_position(lane.sequence, lane.stop)
            require_possible(first <= lane.position <= s.ends[lane.sequence] - s.starts[lane.sequence])

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
    """Counts the steps of the sequences without copying a long list."""

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
        """The sequence that contains a step of the whole text, and the position within it."""
        block = int(np.searchsorted(self._block_ends, step, side="right"))
        step -= int(self._block_ends[block - 1]) if block else 0
        ends = np.cumsum(self._steps(block * self.BLOCK))
        inside = int(np.searchsorted(ends, step, side="right"))
        return block * self.BLOCK + inside, step - (int(ends[inside - 1]) if inside else 0)


def _rng(seed: int, purpose: str, *where: int) -> np.random.Generator:
    """The random generator for one kind of choice at one place, independent of all others."""
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
    kind = IndependentLanes if order == "independent" else OrderedLanes
    return kind(reader, stops, batch_size, window, seed)
