"""Partitions: every sequence once, copies together, cuts where they should be."""

from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from helpers_corpus import sequences_of, texts, texts_of
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.config import HoldOut
from charrnn.corpus import partition as module
from charrnn.corpus import sides
from charrnn.corpus.encoded import encode
from charrnn.corpus.partition import Partition, partition, seen_in
from charrnn.corpus.sequences import Sequences
from charrnn.errors import CorpusError, UsageError

DATA = Path(charrnn.__file__).parents[1] / "data"

fractions = st.sampled_from([None, 0.0, 0.05, 0.1, 0.3, 0.45])
few_texts = st.lists(st.text("ab", max_size=3), max_size=40).filter(any)


def parts_of(parts: Partition) -> tuple[Sequences, Sequences, Sequences]:
    return parts.train, parts.valid, parts.test


# Ordered


@given(texts.filter(any), fractions, fractions)
def test_ordered_parts_join_to_the_corpus(strings: list[str], valid: float | None, test: float | None) -> None:
    parts = partition(sequences_of(strings), order="ordered", valid_fraction=valid, test_fraction=test)
    joined: list[str] = []
    open_end = False
    for part in parts_of(parts):
        if not len(part):
            assert not part.open_start
            assert not part.open_end
            continue
        assert part.open_start == open_end
        found = texts_of(part)
        if open_end:
            joined[-1] += found.pop(0)
        joined += found
        open_end = part.open_end
    assert not open_end
    assert joined == strings
    assert parts.train.num_chars > 0
    assert (valid == 0.0) <= (len(parts.valid) == 0)
    assert (test == 0.0) <= (len(parts.test) == 0)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30).filter(any), st.sampled_from([0.1, 0.2, 0.3]))
def test_ordered_cuts_are_the_nearest_boundaries(lengths: list[int], fraction: float) -> None:
    size = sum(lengths)
    position = max(int((1 - fraction) * size), 1)
    parts = partition(
        sequences_of(["a" * length for length in lengths]),
        order="ordered",
        valid_fraction=fraction,
        test_fraction=0,
    )
    boundaries = [sum(lengths[:count]) for count in range(len(lengths) + 1)]
    distance = min(abs(boundary - position) for boundary in boundaries)
    smallest = min(position, size - position) or size
    if distance * 2 < smallest:
        assert abs(parts.train.num_chars - position) == distance
        assert not parts.train.open_end
    else:
        assert parts.train.num_chars == position
        assert parts.train.open_end
        assert parts.valid.open_start
        assert any("inside a sequence" in note for note in parts.notes)


def test_the_standard_split_of_one_text() -> None:
    corpus = encode([DATA / "tinyshakespeare.txt"], split="file")
    text = (DATA / "tinyshakespeare.txt").read_text()
    parts = partition(corpus.sequences, order="ordered", valid_fraction=0.1, test_fraction=0)
    cut = int(0.9 * 1115394)
    assert texts_of(parts.train) == [text[:cut]]
    assert texts_of(parts.valid) == [text[cut:]]
    assert (parts.train.open_start, parts.train.open_end) == (False, True)
    assert (parts.valid.open_start, parts.valid.open_end) == (True, False)
    assert len(parts.test) == 0


def test_one_text_in_three_parts() -> None:
    parts = partition(sequences_of(["x" * 1000]), order="ordered", valid_fraction=0.1, test_fraction=0.1)
    assert [part.num_chars for part in parts_of(parts)] == [800, 100, 100]
    assert (parts.valid.open_start, parts.valid.open_end) == (True, True)


def test_a_part_left_out_between_two_others() -> None:
    parts = partition(sequences_of(["x" * 1000]), order="ordered", valid_fraction=0, test_fraction=0.1)
    assert [len(part) for part in parts_of(parts)] == [1, 0, 1]
    assert [part.num_chars for part in parts_of(parts)] == [900, 0, 100]


def test_three_long_files_are_cut_inside_the_last() -> None:
    parts = partition(sequences_of(["a" * 100, "b" * 100, "c" * 100]), order="ordered")
    assert texts_of(parts.train) == ["a" * 100, "b" * 100, "c" * 70]
    assert [part.num_chars for part in parts_of(parts)] == [270, 15, 15]


# Independent


@given(few_texts, fractions, fractions)
def test_parts_by_value_keep_copies_together(strings: list[str], valid: float | None, test: float | None) -> None:
    parts = partition(
        sequences_of(strings),
        order="independent",
        hold_out="values",
        valid_fraction=valid,
        test_fraction=test,
    )
    found = [texts_of(part) for part in parts_of(parts)]
    assert Counter(chain(*found)) == Counter(strings)
    train, held_out, tested = map(set, found)
    assert not train & held_out | train & tested | held_out & tested
    values = len(set(strings) - {""})
    assert len(train - {""}) >= 1
    assert "" not in held_out | tested
    num_valid = 0 if valid == 0 or values < 2 else max(round((valid or 0.05) * values), 1)
    assert len(held_out) == num_valid
    num_test = 0 if test == 0 else max(round((test or 0.05) * values), values >= 3)
    assert len(tested) == min(num_test, values - num_valid - 1)


@given(few_texts, st.sampled_from(["auto", "values", "rows"]))
def test_independent_parts_are_the_corpus_in_its_order(strings: list[str], hold_out: HoldOut) -> None:
    sequences = sequences_of(strings)
    try:
        parts = partition(sequences, order="independent", hold_out=hold_out, valid_fraction=0.3)
    except CorpusError:
        assert hold_out == "rows"
        return
    rows = [list(zip(part.starts.tolist(), part.ends.tolist(), strict=True)) for part in parts_of(parts)]
    assert sorted(chain(*rows)) == sorted(zip(sequences.starts.tolist(), sequences.ends.tolist(), strict=True))
    assert all(part == sorted(part) for part in rows)
    assert not any(part.open_start or part.open_end for part in parts_of(parts))


def test_ordered_text_has_no_rows_to_hold_out() -> None:
    for hold_out in ("values", "rows"):
        with pytest.raises(UsageError, match=f"--hold-out {hold_out}"):
            partition(sequences_of(["ab"] * 30), order="ordered", hold_out=hold_out)


@given(few_texts, st.sampled_from(["values", "rows"]))
def test_many_rows_are_divided_by_chance(strings: list[str], hold_out: HoldOut) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sides, "MAX_EXACT_VALUES", 2)
        patch.setattr("charrnn.corpus.scratch.IN_MEMORY_BYTES", 0)
        try:
            parts = partition(sequences_of(strings), order="independent", hold_out=hold_out, valid_fraction=0.3)
        except CorpusError:
            return
    found = [texts_of(part) for part in parts_of(parts)]
    assert Counter(chain(*found)) == Counter(strings)
    if hold_out == "values":
        assert not set(found[0]) & (set(found[1]) | set(found[2]))
    else:
        assert all(text in found[0] for text, times in Counter(strings).items() if times > 1)


def test_fractions_of_many_values_hold_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "MAX_EXACT_VALUES", 100)
    parts = partition(
        sequences_of([str(number) for number in range(10_000)]),
        order="independent",
        valid_fraction=0.2,
        test_fraction=0.1,
    )
    assert abs(len(parts.valid) - 2000) < 160  # four standard deviations
    assert abs(len(parts.test) - 1000) < 120


# Both


@pytest.mark.parametrize("order", ["ordered", "independent"])
def test_default_fractions_stay_small_in_large_corpora(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEFAULT_MAX_CHARS", 50)
    sequences = sequences_of([f"{number:04}" for number in range(1000)])
    parts = partition(sequences, order=order)  # type: ignore[arg-type]
    assert 40 <= parts.valid.num_chars <= 60
    assert 40 <= parts.test.num_chars <= 60
    assert any("--valid-fraction" in note for note in parts.notes)
    parts = partition(sequences, order=order, valid_fraction=0.05, test_fraction=0.05)  # type: ignore[arg-type]
    assert parts.valid.num_chars == parts.test.num_chars == 200
    assert parts.notes == ()


@pytest.mark.parametrize("order", ["ordered", "independent"])
def test_one_character_is_trained_on(order: str) -> None:
    parts = partition(sequences_of(["", "a"]), order=order)  # type: ignore[arg-type]
    assert [part.num_chars for part in parts_of(parts)] == [1, 0, 0]
    assert sum("split is empty" in note for note in parts.notes) == 2


@pytest.mark.parametrize("order", ["ordered", "independent"])
def test_nothing_to_train_on(order: str) -> None:
    with pytest.raises(CorpusError, match="no characters"):
        partition(sequences_of(["", ""]), order=order)  # type: ignore[arg-type]


def test_fractions_must_leave_something() -> None:
    with pytest.raises(UsageError, match="below 1"):
        partition(sequences_of(["abc"]), order="ordered", valid_fraction=0.5, test_fraction=0.5)


@given(few_texts, few_texts)
def test_seen_in_equals_looking_up(a: list[str], b: list[str]) -> None:
    found = seen_in(sequences_of(a), sequences_of(b, reverse_alphabet=True))
    assert found.tolist() == [text in a for text in b]
