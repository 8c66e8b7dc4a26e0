"""What a terminal is shown: controls made visible, facts, tables, words."""

import io
import json
import tomllib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from charrnn.cli.terminal import console, print_facts, print_table, visible, write_code, write_json
from charrnn.words import clock, count, size

BIDIRECTIONAL = {"RLO", "LRO", "RLE", "LRE", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(st.characters()))
def test_nothing_visible_controls_a_terminal(text):
    for character in visible(text):
        if character not in "\n\t":
            assert unicodedata.category(character) not in ("Cc", "Cs")
            assert unicodedata.bidirectional(character) not in BIDIRECTIONAL


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "M"], include_characters="\n\t")))
def test_text_without_controls_is_left_alone(text):
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb", "a\\rb"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("\u202eabc\u200f\u061c", "\\u202eabc\\u200f\\u061c"),
        ("one\ntwo\tthree", "one\ntwo\tthree"),
    ],
)
def test_controls_are_written_as_escapes(text, shown):
    assert visible(text) == shown


def test_facts_are_data_and_not_markup():
    stream = io.StringIO()
    print_facts(console(stream), [("Run", "[bold]x[/bold] :smile: \x1b[31m"), ("", "next")])
    assert stream.getvalue() == "Run         [bold]x[/bold] :smile: \\x1b[31m\n            next\n"


def test_lines_are_not_wrapped_where_there_is_no_terminal():
    stream = io.StringIO()
    print_facts(console(stream), [("Run", "word " * 100)])
    assert len(stream.getvalue().splitlines()) == 1


def test_a_table_is_aligned():
    stream = io.StringIO()
    print_table(console(stream), ("NAME", "STEPS"), [("a", "1"), ("[b]", "1,000")])
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == [
        "NAME  STEPS",
        "a         1",
        "[b]   1,000",
    ]


class Gone(io.StringIO):
    """A stream that cannot be written to any more."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error


@pytest.mark.parametrize(("error", "calls"), [(BrokenPipeError(), True), (OSError(5, "I/O error"), False)])
def test_a_display_outlives_its_terminal(error, calls):
    called = []
    console(Gone(error), lambda: called.append(True)).print("x")
    assert bool(called) == calls


def test_a_result_does_not():
    with pytest.raises(BrokenPipeError):
        console(Gone(BrokenPipeError())).print("x")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (clock(5.4), "0:05"),
        (clock(59.6), "1:00"),
        (clock(3723), "1:02:03"),
        (count(1, "step"), "1 step"),
        (count(1234, "step"), "1,234 steps"),
        (size(0), "0 B"),
        (size(999), "999 B"),
        (size(1500), "1.5 kB"),
        (size(338_988), "339 kB"),
        (size(2_800_000_000), "2.8 GB"),
    ],
)
def test_words(shown, expected):
    assert shown == expected


HOSTILE = "\x1b[2J\x07\x7f\x9b\u202e"


def test_no_renderable_brings_a_control_character_to_the_screen():
    stream = io.StringIO()
    screen = console(stream)
    table = Table(title=HOSTILE, caption=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    screen.print(table, Text(HOSTILE, style="bold"), HOSTILE)
    screen.rule(HOSTILE)
    assert not set(stream.getvalue()) & set(HOSTILE.replace("[2J", ""))
    assert "\\x1b[2J" in stream.getvalue()


def test_json_on_a_terminal_means_the_same(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", stream)
    write_json({"text": HOSTILE})
    assert stream.getvalue().removesuffix("\n").isprintable()
    assert json.loads(stream.getvalue()) == {"text": HOSTILE}
    write_code(f'text = "{HOSTILE[5:]}"\n')
    assert tomllib.loads(stream.getvalue().splitlines()[1]) == {"text": HOSTILE[5:]}
