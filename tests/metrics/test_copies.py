"""Copied spans: against substring search by hand, over any division of the text into blocks."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.corpus.encoded import encode
from charrnn.corpus.sequences import Sequences
from charrnn.metrics import copies as module
from charrnn.metrics.copies import copies, place_of, with_copies

TRAIN = st.lists(st.text("abé", max_size=40), min_size=1, max_size=5)
TEXTS = st.lists(st.text("abéx", max_size=30), min_size=1, max_size=4)
EACH_BLOCK = pytest.mark.parametrize("_block", [30, 50], indirect=True)


@pytest.fixture
def _block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", request.param)


def spans(train: list[str], text: str, span: int) -> Iterator[range]:
    """The longest copied span from each position of a text."""
    for i in range(len(text)):
        ends = [end for end in range(i + span, len(text) + 1) if any(text[i:end] in line for line in train)]
        if ends:
            yield range(i, ends[-1])


@EACH_BLOCK
@pytest.mark.usefixtures("_block")
@given(TRAIN, TEXTS, st.integers(2, 7))
def test_copies_are_those_that_a_search_by_hand_finds(train, texts, span):
    found = [list(spans(train, text, span)) for text in texts]
    copied = sum(len(set().union(*ranges)) for ranges in found)
    longest = max((len(one) for ranges in found for one in ranges), default=0)
    sequences, chars = Sequences.from_texts(train), sum(map(len, texts))
    report = copies(sequences, texts, Sequences.from_texts(texts), str, span)
    assert (report.num_texts, report.num_chars, report.longest) == (len(texts), chars, longest)
    assert report.copied == report.copied_held_out == (pytest.approx(copied / chars) if chars else None)
    assert report.repeated == np.mean([text in train for text in texts])
    assert with_copies(sequences, texts, span).tolist() == [bool(ranges) for ranges in found]
    if report.place is None:
        assert longest == 0
    else:
        at = int(report.place)
        within = next(s for s in range(len(train)) if sequences.starts[s] <= at < sequences.ends[s])
        assert at + longest <= sequences.ends[within]
        assert any("".join(train)[at : at + longest] in text for text in texts)


def test_a_hit_of_the_hash_alone_is_no_copy(monkeypatch):
    """Under a hash that is the same for all characters, every window hits."""
    monkeypatch.setattr(module, "mix", lambda values: np.ones(len(values), np.uint64))
    report = copies(Sequences.from_texts(["abcdefgh"]), ["hgfedcba"], Sequences.from_texts([]), str, 4)
    assert (report.copied, report.longest, report.place, report.copied_held_out) == (0.0, 0, None, None)


def test_of_held_out_text_the_beginning_is_read(monkeypatch):
    monkeypatch.setattr(module, "HELD_OUT_CHARS", 10)
    report = copies(Sequences.from_texts(["abcd"]), [""], Sequences.from_texts(["abcd", "x", "abcdabcd"]), str, 4)
    assert report.copied_held_out == 0.8


@pytest.mark.parametrize("split", ["line", "paragraph", "file"])
def test_a_place_is_a_file_and_a_line(tmp_path, split):
    (tmp_path / "one.txt").write_text("\n\nfirst\nsecond\n\nthird\n")
    (tmp_path / "two.txt").write_text("fourth\n\nfifth")
    files = [str(tmp_path / name) for name in ("one.txt", "two.txt")]
    corpus = encode(files, split=split)
    text = "".join(map(chr, corpus.sequences.alphabet[corpus.sequences.text]))
    for word, file, line in (
        ("first", 0, 3),
        ("second", 0, 4),
        ("third", 0, 6),
        ("fourth", 1, 1),
        ("fifth", 1, 3),
    ):
        assert place_of(corpus, text.index(word), is_table=False) == f"{files[file]}, line {line}"
    first = int(corpus.sequences.starts[1])
    assert place_of(corpus, first, is_table=True).endswith("two.txt, row 2")
