"""Records: the form that a text is written in is found, whatever its fields hold, and only from its beginning."""

import csv
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.corpus import records
from charrnn.corpus.records import (
    JSON_LINES,
    Form,
    ending_of,
    find_form,
    plain_text_note,
    read_records,
    usual_form,
)

COMMA, TAB, QUOTED_TAB = Form(","), Form("\t", quoted=False), Form("\t")
FIELDS = st.text(st.sampled_from('ab12,;|" ') | st.characters(exclude_characters="\r", exclude_categories=["Cs"]))


def fields_of(text: str, name: str) -> list[list[str]]:
    return [fields for _, fields in read_records(name, [text], find_form(text, name))]


@given(
    st.lists(
        st.tuples(FIELDS, FIELDS, st.sampled_from(["a\nb", "\t", "x, y", 'say "a"', "3,14", ""])), min_size=1
    ),
    st.sampled_from("\t;|,"),
    st.sampled_from(["t.csv", "t.tsv", "t.txt"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_the_csv_module_writes_with_any_delimiter(rows, delimiter, name, quoting):
    """Between tabs, a field with both a tab and a line end may look like two rows."""
    rows = [["id", "y", "z"], *([*row[:2], row[2]] for row in rows if not {"\t", "\n"} <= set("".join(row)))]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=quoting).writerows(rows)
    text = file.getvalue()
    form = find_form(text, name)
    assert form.delimiter == delimiter
    assert fields_of(text, name) == rows
    assert form.quoted or '"' not in text


@given(
    st.lists(st.tuples(st.text("ab", min_size=1), st.text('ab,;|" ')), min_size=1), st.sampled_from([".tsv", ""])
)
def test_quotes_between_tabs_are_literal_unless_a_program_wrote_them(rows, ending):
    """A program doubles the quotes inside quotes; a text may begin or end with one by itself."""
    text = "".join(f"{a}\t{b}\n" for a, b in [("speaker", "text"), *rows])
    quoted = [field for row in rows for field in row if '"' in field]
    by_program = all(
        len(field) > 1 and field[0] == field[-1] == '"' and '"' not in field[1:-1].replace('""', "")
        for field in quoted
    ) and any('""' in field[1:-1] for field in quoted)
    assert find_form(text, f"t{ending}") == (QUOTED_TAB if by_program else TAB)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('speaker\ttext\nA\t"I am here,\nB\tand so are you."\n', TAB),
        ('speaker\ttext\nA\t"Yes," he said\nB\t"No"\n', TAB),
        ('"speaker"\t"text"\n"A"\t"Yes"\n', QUOTED_TAB),
        ('speaker\ttext\nA\t"two\nlines"\n', QUOTED_TAB),
        ("label;text\na;x, y\nb;z, w\n", Form(";")),
        ("a|x, y; z\nb|u, v; w; t\n", Form("|")),
        ("1,5;a\n2,5;b\n", Form(";")),
        ("1,5\n2,5\n", COMMA),
        ("label, text\na, b\n", COMMA),
        ("sep=|\na,b|c\n", Form("|", stated=True)),
        ('{"a": 1}\n', JSON_LINES),
        ('\n \n{"a": 1}\nno\n', JSON_LINES),
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt.gz"])
def test_forms_that_the_ending_does_not_change(text, form, name):
    assert find_form(text, name) == form


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one\ncolumn\n",
        "Call me, Ishmael.\nSome years, ago, never mind\nhow long\n",
        "sep=x\na\n",
        "a,b\tc\nd,e\tf\n",  # both fit
        "{}\n",
        "{\n",
    ],
)
@pytest.mark.parametrize(("name", "form"), [("t.csv", COMMA), ("t.tsv", TAB), ("t.txt.gz", TAB), ("t", TAB)])
def test_else_the_ending_decides(text, name, form):
    assert find_form(text, name) == form


def test_a_few_ragged_rows_do_not_hide_the_delimiter():
    rows = [f"a;text {k}" for k in range(50)]
    rows[20] += "; more"
    assert find_form("label;text\n" + "\n".join(rows), "t.csv") == Form(";")
    assert find_form("label;text\n" + "\n".join(rows[:3] * 3 + rows[20:22] * 3), "t.csv") == COMMA


def test_only_the_beginning_decides(monkeypatch):
    monkeypatch.setattr(records, "HEAD_CHARS", 64)
    text = "label;text\n" + "a;b\n" * 20 + "\tno\n" * 200
    assert find_form(text[:64], "t.csv") == Form(";")  # cut within a line
    rng = random.Random(1)
    long = "".join(rng.choice("ab") for _ in range(100))
    assert find_form(f"x;{long}"[:64], "t.csv") == Form(";")


def test_endings():
    assert [ending_of(name) for name in ("a.CSV", "a.tsv.gz", "a.txt.bz2", "a.gz", "a")] == [
        ".csv",
        ".tsv",
        ".txt",
        "",
        "",
    ]
    assert usual_form("a.jsonl.xz") == JSON_LINES


def test_what_looks_like_a_table_and_is_read_as_plain_text():
    objects = '{"id": 1, "text": "a"}\n{"id": 2, "text": "b"}\n'
    expected = "t.txt: each line is a JSON object, read as plain text; --text-column KEY reads one of id, text"
    assert plain_text_note(["t.txt"], objects) == plain_text_note(["t.txt"], objects + '{"id"') == expected
    assert plain_text_note(["t.txt"], objects + "x\n" + objects) is None
    for text in ("label,text\na,b\n", "label;text\na;b\n"):
        assert plain_text_note(["t.csv"], text) == (
            "t.csv: a table, read as plain text, delimiters and all; --text-column NAME reads one column"
        )
        assert plain_text_note(["t.txt"], text) is None
    for text in ("", "\n", "anna\nbo\n", "a, b\nc\n"):
        assert plain_text_note(["names.tsv"], text) is None
