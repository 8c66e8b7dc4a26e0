"""How text falls into sequences, and the choices made for a person."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.corpus.sequences import to_code_points
from charrnn.corpus.splitting import LineFinder, choose_order, choose_split, separator

DATA = Path(charrnn.__file__).parents[1] / "data"


@given(st.lists(st.text(st.sampled_from("a\r\n"), min_size=1)))
def test_line_ends_are_counted(chunks: list[str]) -> None:
    finder = LineFinder(start=7)
    starts, ends = [], []
    for chunk in chunks:
        found = finder.feed(to_code_points(chunk))
        starts += found[0].tolist()
        ends += found[1].tolist()
    text = "".join(chunks)
    assert finder.num_crlf == text.count("\r\n")
    assert finder.num_lf == text.count("\n") - text.count("\r\n")
    assert finder.num_cr == text.count("\r")
    lines = text.replace("\r\n", "\n").split("\n")
    assert [end - start for start, end in zip(starts, ends, strict=True)] == [len(x) for x in lines[:-1]]
    assert sum(map(len, finder.close())) == 2 * (lines[-1] != "")


@pytest.mark.parametrize(
    ("split", "crlf", "expected"),
    [
        ("line", False, "\n"),
        ("line", True, "\r\n"),
        ("paragraph", False, "\n\n"),
        ("paragraph", True, "\r\n\r\n"),
        ("file", True, "\n"),
    ],
)
def test_separator(split: str, crlf: bool, expected: str) -> None:
    assert separator(split, crlf) == expected  # type: ignore[arg-type]


PROSE = (
    "It was the best of times and it was the worst of times, it was the age of wisdom and the age of "
    "foolishness, it was the epoch of belief, it was the season of light and of darkness as well. "
)


def wrapped(text: str, width: int) -> str:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) + 1 > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


LOG = "".join(f"2024-01-01 12:{i // 60:02}:{i % 60:02} INFO the server took {i} ms\n" for i in range(200))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one line without an end", "file"),
        ("", "file"),
        ("one line\n", "line"),
        ("\n\n\n", "line"),
        ("anna\nberta\ncarl\n", "line"),
        ("anna\r\nberta\r\ncarl\r\n", "line"),
        ("\n".join(["name"] * 300) + "\n\n" + "\n".join(["name"] * 300), "line"),
        ("First block\nof lines\n\nsecond\nblock\n", "paragraph"),
        ("First block\r\nof lines\r\n\r\nsecond\r\nblock\r\n", "paragraph"),
        ("\n\n".join([PROSE] * 30), "paragraph"),
        ("\n\n".join([wrapped(PROSE * 3, 70)] * 30), "paragraph"),
        (wrapped(PROSE * 50, 70), "file"),
        (LOG, "line"),
        ("\n".join([PROSE] * 50), "line"),
    ],
)
def test_choose_split(text: str, expected: str) -> None:
    split, reason = choose_split(text)
    assert split == expected
    assert reason


@pytest.mark.parametrize(("name", "expected"), [("tinyshakespeare", "paragraph"), ("names", "line")])
def test_choose_split_of_real_text(name: str, expected: str) -> None:
    text = (DATA / f"{name}.txt").read_text()
    for size in (5_000, 100_000, len(text)):
        assert choose_split(text[:size])[0] == expected


@pytest.mark.parametrize(
    ("split", "num_sequences", "num_chars", "expected"),
    [
        ("line", 32_000, 200_000, "independent"),
        ("line", 20, 100, "independent"),
        ("line", 19, 100, "ordered"),
        ("line", 1_000, 600_000, "ordered"),
        ("paragraph", 7_000, 1_000_000, "ordered"),
        ("file", 1, 1_000_000, "ordered"),
        ("file", 5_000, 10_000_000, "independent"),
    ],
)
def test_choose_order(split: str, num_sequences: int, num_chars: int, expected: str) -> None:
    order, reason = choose_order(split, num_sequences, num_chars)  # type: ignore[arg-type]
    assert order == expected
    assert reason


def test_line_positions_are_int64() -> None:
    starts, ends = LineFinder(2**40).feed(to_code_points("a\nbc\n"))
    assert starts.dtype == ends.dtype == np.int64
    assert (starts - 2**40).tolist() == [0, 2]
    assert (ends - 2**40).tolist() == [1, 4]
