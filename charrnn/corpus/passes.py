"""Full passes over a split, for evaluation: every step exactly once, with no random choice."""

from collections.abc import Iterator

import numpy as np

from charrnn.config import StopName
from charrnn.corpus.bucketed import spread_rows
from charrnn.corpus.steps import PADDING, STOP_INDEX, IntArray, StepReader, Window, cut_beginnings, first_positions

ROWS = 2**17
"""Sequences that are sorted by length together, which bounds the memory that a long list takes."""

WARM_UP = 512
"""Steps before its own part that a lane of an evaluation pass reads without being charged for them."""


def independent_pass(
    reader: StepReader, stop: StopName, *, batch_size: int = 128, window: int = 256, share: float = 1.0
) -> Iterator[Window]:
    """Reads every sequence, or a share of them, once, from the initial state, in batches of similar length."""
    s = reader.sequences
    index = STOP_INDEX[stop]
    read = spread_rows(len(s), share)
    for first in range(0, len(read), ROWS):
        pool = read[first : first + ROWS]
        taus = np.asarray(s.ends[pool]) - np.asarray(s.starts[pool])
        order = np.argsort(taus, kind="stable")
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            yield from _row_windows(reader, pool[chosen], taus[chosen], index, window)


def _row_windows(reader: StepReader, rows: IntArray, taus: IntArray, stop: int, window: int) -> Iterator[Window]:
    stops = np.full(len(rows), stop)
    first = np.array([reader.first_position(int(row), stop) for row in rows])
    steps = int(np.max(taus + 1 - first))
    for offset in range(0, steps, window):
        position = first + offset + np.arange(min(window, steps - offset))[:, None]
        sequence = np.where(position <= taus, rows, PADDING)
        fresh = np.full(len(rows), offset == 0)
        yield Window(reader.steps(sequence, position, stops), fresh, sequence)


def ordered_pass(
    reader: StepReader,
    stop: StopName,
    *,
    lanes: int = 1,
    window: int = 1024,
    warm_up: int = WARM_UP,
    share: float = 1.0,
) -> Iterator[Window]:
    """Reads every step of the text once, from the initial state at its beginning, and carries the state.

    share: the fraction of its part that each lane reads, from the beginning of the part.

    With several lanes, each lane but the first reads `warm_up` steps before its part without being charged for
    them: a close and much faster estimate of the pass with one lane, which is exact. Such a lane begins as a
    lane in training does, because a model may never recover from a beginning that it has not met in training.
    """
    s, index = reader.sequences, STOP_INDEX[stop]
    first = np.array([reader.first_position(i, index) for i in (0, len(s) - 1)])
    middle = int(first_positions(index))
    counts = np.asarray(s.ends) - np.asarray(s.starts) + 1 - middle
    counts[0] += middle - first[0]
    if len(s) > 1:
        counts[-1] += middle - first[1]
    ends = np.cumsum(counts)
    total = int(ends[-1])
    bounds = np.linspace(0, total, lanes + 1).astype(np.int64)
    begin = np.maximum(bounds[:-1] - warm_up, 0)
    end = bounds[:-1] + np.ceil(share * np.diff(bounds)).astype(np.int64)
    stops = np.full(lanes, index)
    for offset in range(0, int(np.max(end - begin)), window):
        step = begin + offset + np.arange(window)[:, None]
        inside = step < end
        step = np.where(inside, step, 0)
        which = np.searchsorted(ends, step, side="right")
        position = step - (ends[which] - counts[which])
        position += np.where(which == 0, first[0], np.where(which == len(s) - 1, first[1], middle))
        longest = int(np.max(np.sum(inside, axis=0)))
        sequence = np.where(inside, which, PADDING)[:longest]
        steps = reader.steps(sequence, position[:longest], stops)
        if offset == 0:
            cut_beginnings(steps, position[0] > 0, reader)
        fresh = np.full(lanes, offset == 0)
        charged = step[:longest] >= bounds[:-1]
        steps = steps._replace(kinds=np.where(charged, steps.kinds, 0))
        yield Window(steps, fresh, np.where(charged, sequence, PADDING))


def cold_blocks(reader: StepReader, stop: StopName, *, block: int = 64, batch_size: int = 256) -> Iterator[Window]:
    """Reads every character once, in blocks that each start from the initial state: a stream without context."""
    s, index = reader.sequences, STOP_INDEX[stop]
    for which in range(len(s)):
        tau = int(s.ends[which] - s.starts[which])
        for start in range(0, tau, block * batch_size):
            begin = np.arange(start, min(start + block * batch_size, tau), block)
            position = begin + np.arange(block)[:, None]
            sequence = np.where(position < tau, which, PADDING)
            steps = reader.steps(sequence, position, np.full(len(begin), index))
            cut_beginnings(steps, begin > 0, reader)
            yield Window(steps, np.full(len(begin), True), sequence)
