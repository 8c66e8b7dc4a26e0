"""Sequences: counts and blocks, against plain Python strings."""

from collections import Counter

import numpy as np
import pytest
from helpers_corpus import sequences_of, texts, texts_of
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.corpus.sequences import row_slices, to_code_points, to_text


@given(st.text(st.characters(codec=None)))
def test_code_points_round_trip(text: str) -> None:
    assert to_code_points(text).tolist() == [ord(character) for character in text]
    assert to_text(to_code_points(text)) == text


@given(texts)
def test_counts_equal_those_of_the_strings(strings: list[str]) -> None:
    sequences = sequences_of(strings)
    assert texts_of(sequences) == strings
    assert sequences.num_chars == sum(map(len, strings))
    assert sequences.num_bytes == sum(len(string.encode()) for string in strings)
    counts = dict(zip(to_text(sequences.alphabet), sequences.symbol_counts.tolist(), strict=True))
    assert Counter({c: n for c, n in counts.items() if n}) == Counter("".join(strings))


@given(texts, st.integers(1, 20))
def test_blocks_join_to_the_sequences(strings: list[str], max_chars: int) -> None:
    sequences = sequences_of(strings)
    found = [""] * len(strings)
    rows = []
    for block in sequences.blocks(max_chars):
        assert len(block.ids) == block.lengths.sum() <= max_chars
        assert block.offset == len(found[block.first])
        text = to_text(sequences.alphabet[block.ids])
        for row, length in enumerate(block.lengths.tolist(), block.first):
            found[row] += text[:length]
            text = text[length:]
            rows.append(row)
    assert found == strings
    assert sorted(set(rows)) == list(range(len(strings)))
    assert rows == sorted(rows)


def test_blocks_of_more_rows_than_one_read() -> None:
    strings = ["a" * (row % 3) for row in range(300_000)]
    sequences = sequences_of(strings)
    lengths = np.concatenate([block.lengths for block in sequences.blocks()])
    assert lengths.tolist() == [len(string) for string in strings]
    assert sequences.num_chars == sum(map(len, strings))


@settings(max_examples=30)
@given(st.integers(0, 50), st.integers(1, 60))
def test_row_slices_cover_each_row_once(size: int, rows: int) -> None:
    slices = list(row_slices(size, rows))
    assert [row for part in slices for row in range(part.start, part.stop)] == list(range(size))
    assert all(part.stop - part.start <= rows for part in slices)


def test_sequences_cannot_be_changed_by_assignment() -> None:
    with pytest.raises(AttributeError):
        sequences_of(["a"]).open_start = True  # type: ignore[misc]
