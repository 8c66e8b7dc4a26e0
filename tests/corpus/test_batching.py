"""Windows of steps, put together again: every character once, in order, and the same after a seek."""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import pytest
from helpers_models import ENDINGS, alphabet_of, reader_of
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import StopName
from charrnn.corpus import batching
from charrnn.corpus.batching import (
    RESET_PATIENCE,
    RESET_RATE,
    BatchSource,
    IndependentLanes,
    OrderedLanes,
    Position,
    batch_source,
)
from charrnn.corpus.bucketed import spread_rows
from charrnn.corpus.passes import cold_blocks, independent_pass, ordered_pass
from charrnn.corpus.steps import ABSENT, PADDING, STOP_INDEX, Kind, StepReader, Window

VOCABULARY = alphabet_of(5)
BOS, UNKNOWN = 5, 6
STOPS: list[StopName] = ["eos", "halt", "length", "none"]

Step = tuple[int, int, int, int]
"""Input, remaining, target, kind."""


def random_texts(count: int, longest: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcdex"), size=rng.integers(longest + 1))) for _ in range(count)]


CORPORA: dict[str, list[str]] = {
    "names": random_texts(23, 9),
    "one sequence": ["abcde" * 8],
    "one character": ["a"],
    "one empty sequence": [""],
    "all empty": [""] * 7,
    "some empty": ["", "ab", "", "", "c", ""],
}
each_corpus = pytest.mark.parametrize("texts", CORPORA.values(), ids=CORPORA.keys())
each_stop_name = pytest.mark.parametrize("stop", STOPS)


def hand_steps(
    texts: list[str], stop: str, *, open_start: bool = False, open_end: bool = False
) -> list[list[Step]]:
    """The steps of each sequence, written down from the definition of a sequence's steps."""
    sequences = []
    for s, text in enumerate(texts):
        ids = VOCABULARY.encode(text).tolist()
        tau = len(ids)
        cut_start, cut_end = open_start and s == 0, open_end and s == len(texts) - 1
        told = stop == "length" and not cut_end
        steps: list[Step] = []
        if told and not cut_start:
            steps.append((BOS, ABSENT, tau, Kind.ANNOUNCEMENT))
        previous = UNKNOWN if cut_start and stop != "none" else BOS
        for t, symbol in enumerate(ids):
            steps.append((previous, tau - t if told else ABSENT, symbol, Kind.CHARACTER))
            previous = symbol
        ends = stop in ("eos", "halt") and not cut_end
        steps.append((previous, 0 if told else ABSENT, 0, Kind.ENDING if ends else Kind.NOTHING))
        sequences.append(steps)
    return sequences


def step_at(window: Window, t: int, b: int) -> Step:
    return tuple(int(array[t, b]) for array in window.steps[:4])  # type: ignore[return-value]


def charged_characters(windows: Iterable[Window]) -> Counter[int]:
    found: Counter[int] = Counter()
    for window in windows:
        found.update(window.steps.targets[window.steps.kinds == Kind.CHARACTER].tolist())
    return found


def characters(texts: Iterable[str]) -> Counter[int]:
    return Counter(VOCABULARY.encode("".join(texts)).tolist())


def assert_same_window(a: Window, b: Window) -> None:
    for one, other in zip([*a.steps, a.fresh, a.sequence], [*b.steps, b.fresh, b.sequence], strict=True):
        assert np.array_equal(one, other)


# Independent sequences -------------------------------------------------------------------------------------


def given_rows(source: IndependentLanes, count: int) -> list[tuple[int, int, list[Step]]]:
    """The first `count` rows that lanes are given, in that order, each read to its end."""
    begun: list[Any] = []
    lane_rows: dict[int, Any] = {}
    while len(begun) < count or not all(row[3] for row in begun[:count]):
        window = source.next_window()
        for b, fresh in enumerate(window.fresh):
            if fresh:
                if b in lane_rows:
                    lane_rows[b][3] = True
                lane_rows[b] = [PADDING, int(window.steps.stops[b]), [], False]
                begun.append(lane_rows[b])
            row = lane_rows[b]
            assert row[1] == window.steps.stops[b], "a row has one mechanism"
            for t in range(len(window.sequence)):
                if window.sequence[t, b] == PADDING:
                    assert step_at(window, t, b) == (UNKNOWN, ABSENT, 0, Kind.NOTHING)
                    assert (window.sequence[t:, b] == PADDING).all()
                    row[3] = True
                    break
                row[0] = int(window.sequence[t, b]) if row[0] == PADDING else row[0]
                assert window.sequence[t, b] == row[0], "a row has one sequence"
                row[2].append(step_at(window, t, b))
    return [tuple(row[:3]) for row in begun[:count]]


@each_corpus
@pytest.mark.parametrize("stops", [("eos",), ("halt",), ("length",), ("none",), ENDINGS])
@pytest.mark.parametrize(("batch_size", "window"), [(1, 64), (4, 3), (100, 5)])
def test_an_epoch_reads_each_sequence_once(texts, stops, batch_size, window):
    source = IndependentLanes(reader_of(texts, VOCABULARY), stops, batch_size, window, seed=1)
    by_stop = {STOP_INDEX[stop]: hand_steps(texts, stop) for stop in stops}
    rows = given_rows(source, 3 * len(texts))
    for epoch in range(3):
        read = rows[epoch * len(texts) : (epoch + 1) * len(texts)]
        assert sorted(sequence for sequence, _, _ in read) == list(range(len(texts)))
        for sequence, stop, steps in read:
            assert steps == by_stop[stop][sequence]


@each_corpus
@pytest.mark.parametrize(("batch_size", "window"), [(1, 64), (4, 3), (100, 5)])
def test_windows_are_no_larger_than_they_must(texts, batch_size, window):
    source = IndependentLanes(reader_of(texts, VOCABULARY), ("eos",), batch_size, window, seed=1)
    for _ in range(30):
        read = source.next_window().sequence
        assert len(read) <= window
        assert read.shape[1] == min(batch_size, len(texts))
        assert (read[0] != PADDING).all(), "a lane that has read its sequence is given the next"
        assert (read[-1] != PADDING).any()


def test_the_order_changes_from_epoch_to_epoch_and_with_the_seed():
    reader = reader_of(random_texts(64, 9), VOCABULARY)

    def order(seed: int) -> list[int]:
        return [sequence for sequence, _, _ in given_rows(IndependentLanes(reader, ("eos",), 4, 64, seed), 128)]

    assert order(1) == order(1)
    assert order(1)[:64] != order(1)[64:]
    assert order(1)[:64] != order(2)[:64]


def test_lanes_hold_little_padding_whatever_the_lengths():
    """Long sequences beside short ones: a lane waits for the end of its window, not for its neighbours."""
    texts = ["a" * length for length in [30] * 128 + [600] * 128]
    source = IndependentLanes(reader_of(texts, VOCABULARY), ("eos",), 8, 16, seed=0)
    windows = [source.next_window() for _ in range(500)]
    charged = sum(np.count_nonzero(w.steps.kinds) for w in windows)
    assert charged / sum(w.sequence.size for w in windows) > 0.9


def test_a_row_s_mechanism_is_drawn_uniformly():
    source = IndependentLanes(reader_of(["ab"] * 300, VOCABULARY), ENDINGS, 30, 64, seed=0)
    counts = Counter(stop for _, stop, _ in given_rows(source, 3000))
    assert set(counts) == {STOP_INDEX[stop] for stop in ENDINGS}
    assert all(abs(count - 1000) < 110 for count in counts.values())


def test_a_long_list_is_shuffled_pool_by_pool(monkeypatch):
    monkeypatch.setattr(batching, "POOL", 10)
    texts = random_texts(37, 5)
    rows = given_rows(IndependentLanes(reader_of(texts, VOCABULARY), ("eos",), 4, 3, seed=1), 6 * 37)
    pools = []
    for epoch in range(6):
        read = [sequence for sequence, _, _ in rows[epoch * 37 : (epoch + 1) * 37]]
        assert sorted(read) == list(range(37))
        pools.append([pool for k, pool in enumerate(s // 10 for s in read) if k == 0 or read[k - 1] // 10 != pool])
        assert sorted(pools[-1]) == [0, 1, 2, 3], "a pool is read to its end"
    assert len({tuple(order) for order in pools}) > 1


def test_the_epoch_counts_what_was_read():
    """To the character, so that one long sequence is no jump."""
    source = IndependentLanes(reader_of(["a" * 99], VOCABULARY), ("eos",), 4, 10, seed=0)
    epochs = []
    for _ in range(25):
        epochs.append(source.epoch)
        source.next_window()
    np.testing.assert_allclose(epochs, np.arange(25) / 10, atol=1e-12)


# Both sources: going on from a position --------------------------------------------------------------------


@each_corpus
@pytest.mark.parametrize("order", ["independent", "ordered"])
@pytest.mark.parametrize("stops", [("eos",), ("halt",), ("length",), ("none",), ENDINGS])
def test_a_source_goes_on_from_every_position(texts, order, stops):
    def fresh_source() -> BatchSource:
        return batch_source(reader_of(texts, VOCABULARY), order, stops, batch_size=3, window=4, seed=5)

    source = fresh_source()
    positions, windows, epochs = [], [], []
    for _ in range(40):
        positions.append(source.position)
        epochs.append(source.epoch)
        windows.append(source.next_window())
    for k, position in enumerate(positions[:36]):
        resumed = fresh_source()
        for _ in range(k % 4):
            resumed.next_window()
        resumed.seek(Position(*position))
        assert resumed.epoch == epochs[k]
        assert resumed.position == position
        for window in windows[k : k + 4]:
            assert_same_window(resumed.next_window(), window)
    assert epochs == sorted(epochs)
    assert epochs[0] == 0


@pytest.mark.parametrize("order", ["independent", "ordered"])
def test_an_epoch_takes_about_the_windows_it_says(order):
    texts = random_texts(300, 30)
    source = batch_source(reader_of(texts, VOCABULARY), order, ("eos",), batch_size=6, window=16, seed=0)
    windows = round(source.windows_per_epoch)
    read = sum(sum(charged_characters([source.next_window()]).values()) for _ in range(windows))
    assert 0.7 < read / sum(map(len, texts)) < 1.3
    assert source.epoch == pytest.approx(1.0, abs=0.3)


# Ordered text ----------------------------------------------------------------------------------------------


class Walker:
    """Follows one lane through the text and holds it to the definition of its next step."""

    def __init__(
        self, texts: list[str], at: tuple[int, int], *, open_start: bool = False, open_end: bool = False
    ) -> None:
        self.texts = [VOCABULARY.encode(text).tolist() for text in texts]
        self.open_start, self.open_end = open_start, open_end
        self.at = at
        """The sequence and position (−1: the announcement) that it reads next."""
        self.stop = -1
        self.windows_without_ending = 0
        self.read: list[tuple[int, int]] = []
        self.fresh_inside = 0
        self.must_be_fresh = True

    def _first(self, s: int) -> int:
        cut = (self.open_start and s == 0) or (self.open_end and s == len(self.texts) - 1)
        return -1 if self.stop == STOP_INDEX["length"] and not cut else 0

    def follow(self, window: Window, b: int) -> None:
        fresh = bool(window.fresh[b])
        assert fresh or not self.must_be_fresh
        assert fresh or window.steps.stops[b] == self.stop, "a mechanism changes at a fresh start alone"
        self.stop = int(window.steps.stops[b])
        if fresh:
            self._start()
        self.must_be_fresh = False
        ended = False
        for t in range(len(window.sequence)):
            if window.sequence[t, b] == PADDING:
                assert (window.sequence[t:, b] == PADDING).all()
                assert t > 0
                self.must_be_fresh = True
                break
            ended |= self._step(window, t, b, fresh)
        self.windows_without_ending = 0 if ended else self.windows_without_ending + 1

    def _start(self) -> None:
        s, p = self.at
        if p > 0:
            self.fresh_inside += bool(self.read)
            if self.read and len(self.texts) > 1:
                assert self.windows_without_ending >= RESET_PATIENCE
        elif not self.read or self.read[-1] != (s, -1):
            self.at = (s, self._first(s))

    def _expected(self, s: int, p: int, cut_here: bool) -> Step:
        stop, text = self.stop, self.texts[s]
        length, none = stop == STOP_INDEX["length"], stop == STOP_INDEX["none"]
        tau = len(text)
        cut_end = self.open_end and s == len(self.texts) - 1
        if p == -1:
            return (BOS, ABSENT, tau, Kind.ANNOUNCEMENT)
        begun = cut_here or (self.open_start and s == 0 and p == 0)
        previous = (BOS if none else UNKNOWN) if begun else BOS if p == 0 else text[p - 1]
        remaining = tau - p if length and not cut_end else ABSENT
        if p < tau:
            return (previous, remaining, text[p], Kind.CHARACTER)
        ends = not length and not none and not cut_end
        return (previous, remaining, 0, Kind.ENDING if ends else Kind.NOTHING)

    def _step(self, window: Window, t: int, b: int, fresh: bool) -> bool:
        s, p = self.at
        assert window.sequence[t, b] == s
        assert step_at(window, t, b) == self._expected(s, p, fresh and t == 0 and p > 0)
        self.read.append((s, p))
        if p < len(self.texts[s]):
            self.at = (s, p + 1)
            return False
        following = (s + 1) % len(self.texts)
        self.at = (following, self._first(following))
        if following == 0:
            assert t == len(window.sequence) - 1 or window.sequence[t + 1, b] == PADDING
            self.must_be_fresh = True
        return True


def walkers_of(source: OrderedLanes, texts: list[str], **cuts: bool) -> list[Walker]:
    return [Walker(texts, (sequence, at), **cuts) for sequence, at, *_ in source.position.lanes]


ORDERED_CORPORA = {
    **CORPORA,
    "lines": random_texts(60, 12, seed=2),
    "long paragraphs": random_texts(9, 300, seed=4),
    "a book in one": ["abcdex" * 60],
}


@pytest.mark.parametrize("texts", ORDERED_CORPORA.values(), ids=ORDERED_CORPORA.keys())
@pytest.mark.parametrize("stops", [("eos",), ("halt",), ("length",), ("none",), ENDINGS])
@pytest.mark.parametrize("lanes", [1, 4])
def test_lanes_read_the_text_in_order(texts, stops, lanes):
    """Each lane walks round the text without a gap; what carries its state is never broken within a window."""
    for cuts in ({}, {"open_start": True, "open_end": True}):
        assert_lanes_walk_round_the_text(texts, stops, lanes, cuts)


def assert_lanes_walk_round_the_text(
    texts: list[str], stops: tuple[StopName, ...], lanes: int, cuts: dict[str, bool]
) -> None:
    source = OrderedLanes(reader_of(texts, VOCABULARY, **cuts), stops, lanes, 8, seed=3)
    walkers = walkers_of(source, texts, **cuts)
    windows = [source.next_window() for _ in range(120)]
    count = windows[0].sequence.shape[1]
    assert count == max(1, min(lanes, sum(len(text) + 1 for text in texts) // 8))
    for window in windows:
        assert window.sequence.shape == (8, count)
        assert (window.sequence[0] != PADDING).all()
        for b, walker in enumerate(walkers):
            walker.follow(window, b)
    everything = {(s, p) for s, text in enumerate(texts) for p in range(len(text) + 1)}
    for walker in walkers:
        assert everything <= set(walker.read) or len(walker.read) < 3 * len(everything)
    if len(texts) > 1 and max(map(len, texts)) < 8 * RESET_PATIENCE:
        assert not any(walker.fresh_inside for walker in walkers), "there is always a boundary soon"
    if len(texts) == 1 and len(texts[0]) > 100:
        assert sum(walker.fresh_inside for walker in walkers) > 0


def test_lanes_start_at_boundaries_spread_over_the_text():
    texts = random_texts(200, 12)
    source = OrderedLanes(reader_of(texts, VOCABULARY), ("eos",), 10, 16, seed=0)
    window = source.next_window()
    assert window.fresh.all()
    assert (window.steps.inputs[0] == BOS).all()
    first = window.sequence[0]
    assert first.tolist() == sorted(set(first.tolist()))
    assert (np.diff(first) > 10).all()


def test_lanes_of_one_text_are_cut_anywhere_and_read_nothing_before():
    source = OrderedLanes(reader_of(["abcde" * 40], VOCABULARY), ("eos",), 4, 16, seed=0)
    window = source.next_window()
    assert window.fresh.all()
    assert window.steps.inputs[0].tolist() == [BOS, UNKNOWN, UNKNOWN, UNKNOWN]
    assert window.steps.targets[0].tolist() == [0, 0, 0, 0]
    stream = OrderedLanes(reader_of(["abcde" * 40], VOCABULARY), ("none",), 4, 16, seed=0)
    assert stream.next_window().steps.inputs[0].tolist() == [BOS] * 4


@pytest.mark.parametrize("texts", [random_texts(400, 20), ["abcde" * 800]], ids=["lines", "one text"])
def test_lanes_are_put_back_now_and_then(texts):
    """About one window in sixteen, whether at boundaries or, in one long text, anywhere."""
    source = OrderedLanes(reader_of(texts, VOCABULARY), ("eos",), 8, 32, seed=0)
    fresh = np.array([source.next_window().fresh for _ in range(400)])
    assert 0.6 * RESET_RATE < fresh.mean() < 1.6 * RESET_RATE
    assert (fresh.sum(axis=0) > 8).all()


@pytest.mark.parametrize("texts", [random_texts(200, 20), ["abcde" * 800]], ids=["lines", "one text"])
def test_a_lane_that_starts_over_draws_a_mechanism(texts):
    source = OrderedLanes(reader_of(texts, VOCABULARY), ENDINGS, 9, 16, seed=0)
    windows = [source.next_window() for _ in range(600)]
    stops = np.array([window.steps.stops for window in windows])
    fresh = np.array([window.fresh for window in windows])
    assert (np.diff(stops, axis=0)[~fresh[1:]] == 0).all()
    changed = np.mean(np.diff(stops, axis=0)[fresh[1:]] != 0)
    assert 0.5 < changed < 0.85, "two thirds of new draws among three are new"
    shares = np.array([(stops == STOP_INDEX[stop]).mean() for stop in ENDINGS])
    assert shares.sum() == pytest.approx(1.0)
    assert (shares > 0.2).all()


# Full passes -----------------------------------------------------------------------------------------------


def rows_of(windows: Iterable[Window]) -> list[tuple[int, int, list[Step]]]:
    """Sequence, mechanism and steps of every row, its windows joined; rows start fresh and all together."""
    finished: list[Any] = []
    rows: list[Any] = []
    for window in windows:
        if window.fresh.all():
            finished += rows
            rows = [[PADDING, int(stop), []] for stop in window.steps.stops]
        assert window.fresh.all() or not window.fresh.any()
        assert len(rows) == window.sequence.shape[1]
        for b, row in enumerate(rows):
            assert row[1] == window.steps.stops[b]
            for t in range(len(window.sequence)):
                if window.sequence[t, b] == PADDING:
                    assert step_at(window, t, b) == (UNKNOWN, ABSENT, 0, Kind.NOTHING)
                    assert (window.sequence[t:, b] == PADDING).all()
                    continue
                row[0] = int(window.sequence[t, b]) if row[0] == PADDING else row[0]
                assert window.sequence[t, b] == row[0], "a row has one sequence"
                row[2].append(step_at(window, t, b))
    return [tuple(row) for row in finished + rows]


@each_corpus
@each_stop_name
@pytest.mark.parametrize(("batch_size", "window"), [(256, 1024), (4, 3), (1, 1)])
def test_an_independent_pass_reads_each_sequence_once(texts, stop, batch_size, window):
    windows = list(independent_pass(reader_of(texts, VOCABULARY), stop, batch_size=batch_size, window=window))
    rows = rows_of(windows)
    assert sorted(sequence for sequence, _, _ in rows) == list(range(len(texts)))
    expected = hand_steps(texts, stop)
    for sequence, index, steps in rows:
        assert index == STOP_INDEX[stop]
        assert steps == expected[sequence]
    assert charged_characters(windows) == characters(texts)


@each_stop_name
@pytest.mark.parametrize(
    "cuts", [{"open_start": True}, {"open_end": True}, {"open_start": True, "open_end": True}]
)
def test_an_independent_pass_over_a_cut_text(stop, cuts):
    for texts in (["ab", "c", "de"], ["abc"]):
        rows = rows_of(independent_pass(reader_of(texts, VOCABULARY, **cuts), stop, window=2))
        expected = hand_steps(texts, stop, **cuts)
        assert {sequence: steps for sequence, _, steps in rows} == dict(enumerate(expected))


CUTS = [{}, {"open_start": True}, {"open_end": True}, {"open_start": True, "open_end": True}]


def lane_steps(windows: Iterable[Window], lane: int) -> list[Step]:
    """What one lane is charged for, without the padding behind it and its unpaid way to its part."""
    return [
        step_at(window, t, lane)
        for window in windows
        for t in range(len(window.sequence))
        if window.sequence[t, lane] != PADDING
    ]


@each_corpus
@each_stop_name
@pytest.mark.parametrize("window", [1024, 5, 1])
def test_an_ordered_pass_in_one_lane_is_the_text(texts, stop, window):
    for cuts in CUTS:
        assert_one_lane_is_the_text(texts, stop, cuts, window)


def assert_one_lane_is_the_text(texts: list[str], stop: StopName, cuts: dict[str, bool], window: int) -> None:
    windows = list(ordered_pass(reader_of(texts, VOCABULARY, **cuts), stop, lanes=1, window=window))
    expected = [step for steps in hand_steps(texts, stop, **cuts) for step in steps]
    assert lane_steps(windows, 0) == expected
    assert [bool(w.fresh[0]) for w in windows] == [i == 0 for i in range(len(windows))]
    assert charged_characters(windows) == characters(texts)
    owners = [int(s) for w in windows for s in w.sequence[:, 0] if s != PADDING]
    assert owners == [s for s, steps in enumerate(hand_steps(texts, stop, **cuts)) for _ in steps]
    assert sum(w.sequence.shape[0] for w in windows) == len(expected), "no window is longer than what it reads"


@each_corpus
@each_stop_name
@pytest.mark.parametrize(("lanes", "warm_up"), [(2, 3), (16, 0), (16, 7), (16, 512)])
def test_an_ordered_pass_in_lanes_charges_each_step_once(texts, stop, lanes, warm_up):
    """Lane after lane they are the text; each but the first reads some steps before its own unpaid."""
    for cuts in CUTS:
        assert_lanes_are_the_text(texts, stop, cuts, lanes, warm_up)


def assert_lanes_are_the_text(
    texts: list[str], stop: StopName, cuts: dict[str, bool], lanes: int, warm_up: int
) -> None:
    reader = reader_of(texts, VOCABULARY, **cuts)
    windows = list(ordered_pass(reader, stop, lanes=lanes, window=5, warm_up=warm_up))
    expected = [step for steps in hand_steps(texts, stop, **cuts) for step in steps]
    # All but the inputs, which are looked at below: a lane begins as if cut off from what stood before.
    assert [step[1:] for lane in range(lanes) for step in lane_steps(windows, lane)] == [s[1:] for s in expected]
    kinds = Counter(int(kind) for w in windows for kind in w.steps.kinds.ravel())
    wanted = Counter(int(step[3]) for step in expected)
    assert all(kinds[kind] == wanted[kind] for kind in (Kind.CHARACTER, Kind.ENDING, Kind.ANNOUNCEMENT))
    assert not any(w.fresh.any() for w in windows[1:])
    parts = np.linspace(0, len(expected), lanes + 1).astype(int)
    for lane in range(lanes):
        begin = max(0, parts[lane] - warm_up)
        inputs = [int(i) for w in windows for i in w.steps.inputs[:, lane]]
        read = [step[0] for step in expected[begin : parts[lane + 1]]]
        if read and read[0] != BOS:
            read[0] = BOS if stop == "none" else UNKNOWN
        assert inputs[: parts[lane + 1] - begin] == read


@each_corpus
@each_stop_name
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_of_an_ordered_pass_a_share_is_the_beginning_of_each_lane(texts, stop, share):
    reader = reader_of(texts, VOCABULARY)
    whole = list(ordered_pass(reader, stop, lanes=3, window=5, warm_up=2))
    part = list(ordered_pass(reader, stop, lanes=3, window=5, warm_up=2, share=share))
    for lane in range(3):
        steps, read = lane_steps(whole, lane), lane_steps(part, lane)
        assert read == steps[: math.ceil(share * len(steps))]


@each_corpus
@each_stop_name
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_of_an_independent_pass_a_share_is_some_whole_sequences(texts, stop, share):
    windows = list(independent_pass(reader_of(texts, VOCABULARY), stop, batch_size=2, window=3, share=share))
    read = {int(s) for window in windows for s in window.sequence.ravel() if s != PADDING}
    assert len(read) == max(1, round(share * len(texts)))
    assert charged_characters(windows) == characters([texts[s] for s in sorted(read)])


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
@pytest.mark.parametrize("share", [0.001, 0.3, 1.0])
def test_a_share_of_rows_is_evenly_spread(count, share):
    rows = spread_rows(count, share)
    assert len(rows) == min(count, max(1, round(share * count)))
    assert len(set(rows.tolist())) == len(rows)
    if len(rows) > 1:
        assert rows[0] == 0
        assert set(np.diff(rows).tolist()) <= {count // len(rows), -(-count // len(rows))}


@each_corpus
@each_stop_name
@pytest.mark.parametrize(("block", "batch_size"), [(64, 256), (4, 3), (1, 1)])
def test_cold_blocks_charge_each_character_once(texts, stop, block, batch_size):
    """And nothing else; every block starts from the initial state and does not see what stood before it."""
    windows = list(cold_blocks(reader_of(texts, VOCABULARY), stop, block=block, batch_size=batch_size))
    assert charged_characters(windows) == characters(texts)
    read: dict[int, list[int]] = {s: [] for s in range(len(texts))}
    for window in windows:
        assert window.fresh.all()
        assert window.sequence.shape[0] == block
        assert window.sequence.shape[1] <= batch_size
        assert set(window.steps.kinds.ravel()) <= {Kind.CHARACTER, Kind.NOTHING}
        assert ((window.steps.kinds == Kind.CHARACTER) == (window.sequence != PADDING)).all()
        for b in range(window.sequence.shape[1]):
            s = int(window.sequence[0, b])
            before = read[s]
            beginning = BOS if stop == "none" or not before else UNKNOWN
            count = int(np.count_nonzero(window.sequence[:, b] == s))
            targets = window.steps.targets[:count, b].tolist()
            assert window.steps.inputs[:count, b].tolist() == [beginning, *targets[:-1]]
            if stop == "length":
                left = len(texts[s]) - len(before) - np.arange(count)
                assert window.steps.remaining[:count, b].tolist() == left.tolist()
            read[s] = before + targets
    assert read == {s: VOCABULARY.encode(text).tolist() for s, text in enumerate(texts)}


@given(
    texts=st.lists(st.text("abcdex", max_size=12), min_size=1, max_size=12),
    stop=st.sampled_from(STOPS),
    lanes=st.integers(1, 6),
    window=st.integers(1, 9),
    cuts=st.sampled_from(CUTS),
)
def test_any_text_in_any_lanes(texts, stop, lanes, window, cuts):
    reader: StepReader = reader_of(texts, VOCABULARY, **cuts)
    windows = list(ordered_pass(reader, stop, lanes=lanes, window=window))
    expected = [step for steps in hand_steps(texts, stop, **cuts) for step in steps]
    assert [step[1:] for lane in range(lanes) for step in lane_steps(windows, lane)] == [s[1:] for s in expected]
    source = OrderedLanes(reader, (stop,), lanes, window, seed=0)
    walkers = walkers_of(source, texts, **cuts)
    for w in islice(iter(source.next_window, None), 30):
        for b, walker in enumerate(walkers):
            walker.follow(w, b)
