"""How text falls into sequences, and the choices made for a person."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.corpus.sequences import to_code_points
from charrnn.corpus.splitting import LineFinder, Marks, choose_mark, choose_order, choose_split, separator

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
        ("mark", 300, 60_000, "independent"),
        ("mark", 5, 1_000_000, "ordered"),
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


# Marks


def between_marks(text: str, mark: str) -> list[str]:
    """What the definition says of a whole text whose line ends are LF."""
    body = mark.strip("\n")
    if not mark.startswith("\n"):
        found = text.split(mark)
        found[-1] = found[-1].removesuffix("\n")
    else:
        documents: list[list[str]] = [[]]
        for line in text.removesuffix("\n").split("\n"):
            if line == body and mark.endswith("\n"):
                documents.append([])
            elif line.startswith(body) and not mark.endswith("\n"):
                documents.append([line.removeprefix(body)])
            else:
                documents[-1].append(line)
        found = ["\n".join(lines) for lines in documents]
    first = 1 if not found[0] else 0
    return [*found[first:-1], *([found[-1]] if found[-1] and first < len(found) else [])]


@given(
    st.lists(st.text(st.sampled_from("a%\r\n"), min_size=1), min_size=1),
    st.sampled_from(["%", "%%", "\n%\n", "\n%%\n", "\n%", "%\n", "%%\n", "\r\n%\r\n"]),
)
def test_marks_in_chunks_are_those_of_the_whole_text(chunks: list[str], mark: str) -> None:
    marks = Marks(7, mark)
    nowhere = np.empty(0, np.int64)
    found = [marks.feed(chunk, nowhere, nowhere) for chunk in chunks]
    text = "".join(chunks)
    found.append(marks.close(7, 7 + len(text)))
    pairs = [(start - 7, end - 7) for starts, ends in found for start, end in zip(starts, ends, strict=True)]
    assert all(0 <= start <= end <= len(text) for start, end in pairs)
    ended = text if text.endswith("\n") else f"{text}\n"
    expected = between_marks(ended.replace("\r\n", "\n"), mark.replace("\r\n", "\n"))
    assert [text[start:end].replace("\r\n", "\n") for start, end in pairs] == expected


@pytest.mark.parametrize(
    ("head", "text", "mark"),
    [
        ("A joke, 100% true.\n%\nAnother\n%\n", "%", "\n%\n"),
        ("A joke\r\n%\r\nAnother", "%", "\n%\n"),
        ("one<|e|>two<|e|>\nthree", "<|e|>", "<|e|>"),
        ("one<|e|>\ntwo<|e|>\r\nthree<|e|>", "<|e|>", "<|e|>\n"),
        ("X:1\nK:G\n\nX:2\nK:D\n", "X:", "\nX:"),
        (">chr1 test\nACGT\n>chr2\n", ">", "\n>"),
        ("no mark", "%", "%"),
        ("50%\n%\n", "\n%\n", "\n%\n"),
        ("50%\r\n%\r\n", "\r\n%\r\n", "\n%\n"),
    ],
)
def test_choose_mark(head: str, text: str, mark: str) -> None:
    found, reason = choose_mark(head, text)
    assert found == mark
    assert reason
    assert choose_mark(head, found)[0] == mark or "\n" not in mark


def test_separator_of_marks() -> None:
    assert separator("mark", False, "\n%\n") == "\n%\n"
    assert separator("mark", True, "\n%\n") == separator("mark", True, "\r\n%\r\n") == "\r\n%\r\n"


# Running text of any script


def cut(text: str, width: int) -> str:
    return "".join(f"{text[at : at + width]}\n" for at in range(0, len(text), width))


RANDOM = np.random.default_rng(7)
HAN = "".join(map(chr, 0x4E00 + np.minimum(RANDOM.exponential(100, 9000).astype(int), 900)))
THAI = "".join(RANDOM.choice([*map(chr, range(0x0E01, 0x0E2F)), "ั", "ี", "่"], 9000))
WORDS = ["THE", "SEA", "WAS", "CALM", "A", "SHIP", "CAME", "IN", "FROM", "NORTH", "WITH", "SALT", "AND", "WOOL"]
CAPITALS = " ".join(RANDOM.choice(WORDS, 2500))
DNA = "".join(RANDOM.choice(list("ACGT"), 3000))
CODES = ["".join(RANDOM.choice(list("0123456789abcdef"), 64)) for _ in range(300)]
VERSE = [" ".join(RANDOM.choice(WORDS, count)).lower() for count in RANDOM.integers(7, 12, 400)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (cut(HAN, 38), "file"),
        (cut(THAI, 60), "file"),
        (cut(CAPITALS, 70), "file"),
        (wrapped(CAPITALS, 70), "file"),
        (cut(DNA[:-7], 60), "file"),
        (f">chr1\n{cut(DNA, 60)}>chr2\n{cut(DNA[::-1], 60)}", "file"),
        ("\n".join("    " + line for line in wrapped(PROSE * 50, 70).split("\n")), "file"),
        ("\n".join(CODES), "line"),
        ("\n".join(f"{code}  file-{number:03}.txt" for number, code in enumerate(CODES)), "line"),
        ("\n".join(VERSE), "line"),
        ("\n".join(HAN[at : at + 3] for at in range(0, 900, 3)), "line"),
        (
            "\n".join(
                f"INFO  {i:08} the user {i * i % 7919:05} came in from 10.0.0.{i % 90:02}" for i in range(99)
            ),
            "line",
        ),
    ],
)
def test_running_text_is_told_from_lists_in_any_script(text: str, expected: str) -> None:
    assert choose_split(text)[0] == expected


def test_fasta_is_told_how_its_records_are_read() -> None:
    assert "--split-on '>'" in choose_split(f">chr1\n{cut(DNA, 60)}>chr2\n{cut(DNA, 60)}")[1]
    assert "--split-on '>'" in choose_split(">a\nMKVL\n>b\nMAAT\n")[1]
    assert "--split-on" not in choose_split("> quoted\nanswer\n")[1]
