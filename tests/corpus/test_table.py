"""Tables: what the csv and json modules write or tabs join is read back, and errors say the line."""

import bz2
import csv
import gzip
import hashlib
import io
import json
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import Encoding
from charrnn.corpus import readers, records, table
from charrnn.corpus.table import Table, is_number, read_table
from charrnn.errors import CorpusError

CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
ANY_FIELD = st.text(CHARACTERS | st.sampled_from('",;|\n\r\t é'), max_size=6)
LITERAL_FIELD = st.text(
    st.characters(exclude_characters="\0\t\n\r", exclude_categories=["Cs"]) | st.just('"'), max_size=6
)


@st.composite
def tables(draw, fields):
    """Distinct names, which are no numbers and one line, and rows of as many fields, of which the last has one."""
    width = draw(st.integers(2, 4))
    name = fields.filter(lambda x: not set("\n\r\ufeff") & set(x)).map(lambda x: f"n{x}n")
    names = st.lists(name, min_size=width, max_size=width, unique=True)
    rows = st.lists(st.lists(fields, min_size=width, max_size=width), min_size=1, max_size=5)
    everything = draw(names), draw(rows)
    everything[1][-1][-1] += "x"
    return everything


def written(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(*paths: Path, header: bool = True, **options) -> Table:
    return read_table(paths, spool=paths[0].parent, header=header, **options)


def rows_of(found: Table) -> list[list[str]]:
    assert {len(column) for column in found.columns} == {len(found)}
    return [list(row) for row in zip(*found.columns, strict=True)]


def error_of(*paths: Path, **options) -> str:
    with pytest.raises(CorpusError) as caught:
        read(*paths, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the examples of one property write over each other."""
    return tmp_path_factory.mktemp("scratch")


# Round trips


@given(
    tables(ANY_FIELD),
    st.booleans(),
    # Some versions of the csv module leave a lone "\r" bare where lines end at "\n" and little is quoted.
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
)
def test_csv_is_what_the_csv_module_writes(scratch, content, header, dialect):
    names, rows = content
    line_end, quoting = dialect
    everything = [names, *rows]
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=line_end, quoting=quoting).writerows(everything)
    found = read(written(scratch / "t.CSV", file.getvalue()), header=header)
    if header:
        assert found.names == tuple(names)
        assert rows_of(found) == rows
    else:
        assert found.names == tuple(str(k + 1) for k in range(len(names)))
        assert rows_of(found) == everything


@given(tables(LITERAL_FIELD), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_tsv_is_fields_joined_by_tabs(scratch, content, header, line_end, open_end):
    names, rows = content
    everything = [names, *rows]
    text = line_end.join("\t".join(fields) for fields in everything) + ("" if open_end else line_end)
    found = read(written(scratch / "t.tsv", text), header=header)
    if header:
        assert found.names == tuple(names)
        assert rows_of(found) == rows
    else:
        assert found.names == tuple(str(k + 1) for k in range(len(names)))
        assert rows_of(found) == everything


@given(tables(st.text('ab",\n\r', max_size=4)), st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_places_are_the_lines_at_which_csv_rows_begin(scratch, content, gaps):
    """Counted by the line feeds written before, a lone carriage return ends no line; empty lines lie between."""
    names, rows = content
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    lines = []
    for gap, fields in zip(gaps, [names, *rows], strict=False):
        file.write("\n" * gap)
        lines.append(file.getvalue().count("\n") + 1)
        writer.writerow(fields)
    found = read(written(scratch / "t.csv", file.getvalue()))
    assert found.places.tolist() == [[0, line] for line in lines[1:]]
    assert rows_of(found) == rows
    assert [found.where(row) for row in range(len(rows))] == [f"{scratch / 't.csv'}, line {k}" for k in lines[1:]]


def test_tsv_takes_fields_literally(tmp_path):
    path = written(tmp_path / "t.tsv", 'x\ty\n"a\t b"\n\'\t\\t\n\u2028\x0b\t \n')
    assert rows_of(read(path)) == [['"a', ' b"'], ["'", "\\t"], ["\u2028\x0b", " "]]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t", "T.CSV.gz"])
def test_a_form_that_is_not_what_the_ending_says_is_told(tmp_path, name):
    path = tmp_path / name
    for delimiter, word in (("\t", "tabs"), (";", "semicolons"), ("|", "pipes"), (",", "commas")):
        found = read(written(path, f"x{delimiter}y\n1{delimiter}a b\n"))
        assert rows_of(found) == [["1", "a b"]]
        usual = "," if ".csv" in name.lower() else "\t"
        told = () if delimiter == usual else (f"{path}: its fields are between {word}, as its first lines show",)
        assert found.notes == told


def test_excel_states_the_delimiter(tmp_path):
    path = written(tmp_path / "t.csv", "\ufeffsep=;\r\nlabel;text\r\nspam;a, b\r\nham\r\n")
    assert error_of(path).startswith(
        f"{path}, line 4: 1 column, but 2 were expected (label, text); columns are betw"
    )
    found = read(written(path, "\ufeffsep=;\r\nlabel;text\r\nspam;a, b\r\n"))
    assert (found.names, rows_of(found)) == (("label", "text"), [["spam", "a, b"]])
    assert found.where(0) == f"{path}, line 3"


# What spreadsheets and data frames add


def test_names_are_stripped_and_asked_for_either_way(tmp_path):
    found = read(written(tmp_path / "t.csv", "Label , Text,\ufeffx\nspam, a ,1\n"))
    assert found.names == ("Label", "Text", "x")
    assert rows_of(found) == [["spam", " a ", "1"]]
    assert found.column("Text") == found.column(" Text ") == [" a "]
    assert found.others("Label ", "x") == ["Text"]
    assert "two columns are called 'x'" in error_of(written(tmp_path / "t.csv", "x,x \n1,2\n"))


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_columns_without_a_name(tmp_path, name):
    def table_of(text: str, header: bool = True) -> Table:
        text = text if name == "t.csv" else text.replace(",", "\t")
        return read(written(tmp_path / name, text), header=header)

    found = table_of("x,y,,\n1,a,,\n2,,,\n")
    assert (found.names, rows_of(found)) == (("x", "y"), [["1", "a"], ["2", ""]])
    assert found.notes == (f"{tmp_path / name}: left out 2 columns of nothing, without a name",)
    index = table_of(",x,y\n0,1,a\n17,2,b\n")
    assert (index.names, rows_of(index)) == (("x", "y"), [["1", "a"], ["2", "b"]])
    assert index.notes == (f"{tmp_path / name}: left out 1 column of numbers of rows, without a name",)
    with pytest.raises(CorpusError, match="line 1: column 1 of the header has no name"):
        table_of(",\n0,1\n")
    # By position, the first two are kept.
    assert rows_of(table_of("x,,,\n1,,,\n", header=False)) == [["x", ""], ["1", ""]]
    assert rows_of(table_of("x,,,\n1,,a,\n", header=False)) == [["x", "", ""], ["1", "", "a"]]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_rows_without_a_value_at_the_end(tmp_path, name):
    rows = "x,y\n1,a\n,\n2,\n,\n\n,\n"
    path = written(tmp_path / name, rows if name == "t.csv" else rows.replace(",", "\t"))
    found = read(path)
    assert rows_of(found) == [["1", "a"], ["", ""], ["2", ""]]
    assert found.notes == (f"{path}: left out 2 rows without a value at the end",)
    other = written(tmp_path / f"other-{name}", path.read_text())
    assert rows_of(read(path, other)) == rows_of(found) * 2
    written(path, "x,y\n,\n" if name == "t.csv" else "x\ty\n\t\n")
    assert error_of(path) == f"{path}: holds only a header; a table needs rows"


# JSON lines


@given(
    st.lists(
        st.dictionaries(st.text("abé", min_size=1, max_size=2), st.text(CHARACTERS, max_size=5), min_size=1),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.booleans(),
)
def test_json_lines_are_what_the_json_module_writes(scratch, objects, line_end, ascii_only):
    objects[-1]["last"] = "x"
    path = scratch / "t.jsonl"
    lines = (json.dumps(fields, ensure_ascii=ascii_only) + line_end for fields in objects)
    found = read(written(path, "".join(lines)), header=False)
    assert set(found.names) == set().union(*objects)
    for name in found.names:
        assert found.column(name) == [fields.get(name, "") for fields in objects]
    assert found.places[:, 1].tolist() == [1 + k * line_end.count("\n") for k in range(len(objects))]


def test_values_of_json_lines_that_are_no_strings(tmp_path):
    path = written(tmp_path / "t.txt", '{"a": 1.50, "b": null, "c": true}\n{"a": -1E3, "b": ["x"], "c": NaN}\n')
    found = read(path)
    assert dict(zip(found.names, found.columns, strict=True)) == {
        "a": ["1.50", "-1E3"],
        "b": ["", '["x"]'],
        "c": ["true", "NaN"],
    }
    assert found.notes == (
        f"{path}: its fields are the keys of a JSON object in each line, as its first lines show",
    )


@pytest.mark.parametrize(
    "line", ["[1]", '{"a": 1', "x", '{"a": "\\ud83d"}', '{"a": ' + "[" * 100_000, "1", '{"a" "b"}']
)
def test_a_line_that_is_no_json_object(tmp_path, line):
    path = written(tmp_path / "t.jsonl", '{"a": 1}\n\n' + line + "\n")
    assert error_of(path).startswith(f"{path}, line 3: not a JSON object, as each line must be: ")


def test_a_folder_and_several_files_of_json_lines(tmp_path):
    a = written(tmp_path / "folder" / "a.jsonl", '{"x": 1, "y": 2}\n')
    b = written(tmp_path / "folder" / "b.ndjson", '{"y": 3}\n{"y": 4, "x": 5}\n')
    assert rows_of(read(tmp_path / "folder")) == [["1", "2"], ["", "3"], ["5", "4"]]
    assert f"{a}, line 1: other columns than in {b}: 'y, x', but 'y' were" in error_of(written(b, '{"y": 3}\n'), a)


def test_too_many_keys(tmp_path):
    path = written(tmp_path / "t.jsonl", "".join(f'{{"{k}": 1}}\n' for k in range(1001)))
    assert error_of(path) == f"{path}: its objects have 1,001 different keys; at most 1,000 are read"


# Lines


@pytest.mark.parametrize(("ending", "tab"), [(".tsv", "\t"), (".csv", ",")])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_empty_lines_are_left_out_and_counted(tmp_path, ending, tab, line_end):
    lines = ["", "x|y", "", "1|2", "", "", "|", "3|4", ""]
    path = written(tmp_path / f"t{ending}", line_end.join(lines).replace("|", tab))
    found = read(path)
    assert found.names == ("x", "y")
    assert rows_of(found) == [["1", "2"], ["", ""], ["3", "4"]]
    assert [found.where(row) for row in range(3)] == [f"{path}, line {k}" for k in (4, 7, 8)]


def test_no_header_numbers_the_columns(tmp_path):
    found = read(written(tmp_path / "t.tsv", "a\ta\nb\t\n"), header=False)
    assert found.names == ("1", "2")
    assert found.column("2") == ["a", ""]
    assert found.where(0).endswith("line 1")


def test_columns_asked_for_by_number():
    assert [name for name in ("1", "12", "", "x", "-1", "1.0", "²", "١", "1 ", "x1") if is_number(name)] == [
        "1",
        "12",
    ]


@pytest.mark.parametrize("ending", [".tsv", ".csv"])
def test_a_byte_order_mark_is_dropped_and_said(tmp_path, ending):
    text = "x\nü\n"
    plain, marked = tmp_path / f"plain{ending}", tmp_path / f"marked{ending}"
    plain_table = read(written(plain, text))
    marked_table = read(written(marked, text.encode("utf-8-sig")))
    both = read(plain, marked)
    assert (
        (plain_table.names, plain_table.columns)
        == (marked_table.names, marked_table.columns)
        == (("x",), (["ü"],))
    )
    assert plain_table.notes == ()
    assert marked_table.notes == both.notes == (f"{marked}: dropped the byte order mark at the beginning",)


def test_other_encodings(tmp_path):
    text = "größe,x\n“é”,1\n"
    for encoding in ("utf-16", "cp1252"):
        found = read(written(tmp_path / "t.csv", text.encode(encoding)), encoding=encoding)
        assert found.names == ("größe", "x")
        assert rows_of(found) == [["“é”", "1"]]
    assert "no text encoding" in error_of(tmp_path / "t.csv", encoding="utf-9")


def test_bytes_that_are_not_text_are_counted(tmp_path):
    path = written(tmp_path / "t.csv", b"x,y\na\xff,b\n")
    found = read(path, encoding=Encoding("utf-8", "skip"))
    assert rows_of(found) == [["a", "b"]]
    (note,) = found.notes
    assert note.startswith(f"{path}: 1 byte not utf-8")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_tables_are_read_by_the_ending_inside(tmp_path, pack):
    for name, text in {"t.csv.gz": "x,y\n1;2,3\n", "t.tsv.xz": "x\ty\n1;2\t3\n"}.items():
        found = read(written(tmp_path / "folder" / name, pack(text.encode())))
        assert (found.names, rows_of(found), found.notes) == (("x", "y"), [["1;2", "3"]], ())
    assert rows_of(read(tmp_path / "folder")) == [["1;2", "3"]] * 2


# What does not fit


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.tsv", "x\ty\n1\t2\n\n1\n", "line 4: 1 column, but 2 were expected (x, y); columns are between tabs"),
        ("t.tsv", "x\n1\t2\t3\n", "line 2: 3 columns, but 1 were expected (x); columns are between tabs"),
        (
            "t.csv",
            "x,y\n1,2\n1,2,\n",
            "line 3: 3 columns, but 2 were expected (x, y); columns are between commas",
        ),
        ("t.csv", 'x,y\n"a\nb\n\nc",2\n"d\ne"\n', "line 6: 1 column, but 2 were expected (x, y)"),
        ("t.csv", 'x,y\r\n"1\r\n2",3\r\n1\r\n', "line 4: 1 column, but 2 were expected"),
    ],
)
def test_wrong_number_of_columns(tmp_path, name, text, message):
    path = written(tmp_path / name, text)
    with pytest.raises(CorpusError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, {message}")


def test_wrong_number_of_columns_without_header(tmp_path):
    path = written(tmp_path / "t.csv", "a,b\nc\n")
    assert error_of(path, header=False).startswith(f"{path}, line 2: 1 column, but 2 were expected (1, 2)")


@pytest.mark.parametrize(("ending", "tab"), [(".tsv", "\t"), (".csv", ",")])
def test_names_that_cannot_be_told_apart(tmp_path, ending, tab):
    path = written(tmp_path / f"t{ending}", "\nx|y|x\n1|2|3\n".replace("|", tab))
    assert error_of(path).startswith(f"{path}, line 2: two columns are called 'x'")
    for name in ("a" * 1001, "a\rb", *(["a\nb"] if ending == ".csv" else [])):
        written(path, f'x{tab}"{name}"\n1{tab}2\n')
        assert "line 1: column 2 is called " in error_of(path)
    written(path, "x||\n1|2|a\n".replace("|", tab))
    assert error_of(path).startswith(f"{path}, line 1: column 3 of the header has no name")
    assert rows_of(read(path, header=False)) == [["x", "", ""], ["1", "2", "a"]]


@pytest.mark.parametrize("ending", [".tsv", ".csv"])
def test_nothing_to_read(tmp_path, ending):
    path = tmp_path / f"t{ending}"
    for text in ("x\n", "x", "\r\nx\r\n\r\n"):
        assert error_of(written(path, text)) == f"{path}: holds only a header; a table needs rows"
    for text in ("", "\n\n", "\r\n", b"\xef\xbb\xbf"):
        for header in (True, False):
            assert error_of(written(path, text), header=header) == f"{path}: holds nothing; a table needs rows"
    assert "no such file" in error_of(tmp_path / f"missing{ending}")


@pytest.mark.parametrize("ending", [".tsv", ".csv"])
def test_no_text(tmp_path, ending):
    path = written(tmp_path / f"t{ending}", b"x\na\0b\n")
    assert error_of(path).startswith(f"{path}: binary data, a NUL byte at byte offset 3")
    written(path, b"x\nabc\xe9\n")
    assert error_of(path).startswith(f"{path}: not utf-8 at byte offset 5 (0xE9")
    assert read(path, encoding="latin-1").column("x") == ["abcé"]


def test_a_quote_that_is_never_closed(tmp_path):
    path = written(tmp_path / "t.csv", 'x,y\n"a\nb",1\n2,"c\n3,4\n5,6\n')
    assert error_of(path).startswith(f"{path}, line 4: not CSV: unexpected end of data")


def test_text_after_a_closing_quote(tmp_path):
    path = written(tmp_path / "t.csv", 'x\n\n"a"b\n')
    assert error_of(path).startswith(f"{path}, line 3: not CSV:")


def test_a_lone_carriage_return_outside_quotes_is_no_line_end_of_csv(tmp_path):
    path = written(tmp_path / "t.csv", "x,y\n1,2\n3,4\r5,6\n")
    assert error_of(path).startswith(f"{path}, line 3: not CSV: new-line character seen in unquoted field;")
    written(path, 'x,y\n"1\r",2\n3\n')
    assert error_of(path).startswith(f"{path}, line 3: 1 column")


@pytest.mark.parametrize("ending", [".tsv", ".csv"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("before", [-2, -1, 0, 1])
def test_lines_that_lie_in_two_chunks(tmp_path, ending, line_end, before):
    """A file is decoded in pieces; the second line ends around where the first piece does."""
    end = readers.CHUNK_BYTES + before
    half, odd = divmod(end - len(f'x{line_end}""'), 2)
    first = "é" * half + "a" * odd
    path = written(tmp_path / f"t{ending}", line_end.join(["x", f'"{first}"', "", "b", ""]))
    assert path.read_bytes()[end:].decode() == f"{line_end}{line_end}b{line_end}"
    found = read(path)
    assert found.column("x") == [first if ending == ".csv" else f'"{first}"', "b"]
    assert [found.where(row) for row in (0, 1)] == [f"{path}, line 2", f"{path}, line 4"]


def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = written(tmp_path / "t.tsv", "x\n1\n")

    def fingerprint_and_change(sources):
        marks = readers.fingerprint(sources)
        written(path, "x\n2\n")
        return marks

    monkeypatch.setattr(table, "fingerprint", fingerprint_and_change)
    assert error_of(path).startswith(f"{path}: changed while it was read")


@pytest.mark.parametrize("ending", [".tsv", ".csv"])
def test_a_line_that_never_ends(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(records, "MOST_FIELD_CHARS", 100)
    path = written(tmp_path / f"t{ending}", "x\n1\n" + "a" * 101)
    assert error_of(path).startswith(f"{path}, line 3: longer than 100 characters")


def test_long_fields_and_the_limit_that_is_put_back(tmp_path, monkeypatch):
    before = csv.field_size_limit()
    long = "a" * (before + 1)  # more than the csv module takes unless told
    path = written(tmp_path / "t.csv", f'x\n1\n"{long}"\n')
    assert read(path).column("x") == ["1", long]
    assert csv.field_size_limit() == before
    monkeypatch.setattr(records, "MOST_FIELD_CHARS", 100)
    assert read(written(path, f"x\n{'a' * 100}\n")).column("x") == ["a" * 100]
    written(path, f"x\n1\n{'a' * 101}\n")
    assert error_of(path).startswith(f"{path}, line 3: not CSV: field larger than field limit")
    assert csv.field_size_limit() == before
    written(path, "x\n1,2\n")
    with pytest.raises(CorpusError) as caught:
        read(path)
    assert csv.field_size_limit() == before, caught  # even while the error is held


# Several files


def test_several_files_are_one_table(tmp_path):
    a = written(tmp_path / "a.tsv", "x\ty\n1\t2\n")
    b = written(tmp_path / "b.csv", 'x,y\r\n"3\n",4\r\n5,6\r\n')
    c = written(tmp_path / "c.tsv", "\n\nx\ty\n")
    found = read(a, c, b)
    assert found.files == (str(a), str(c), str(b))
    assert rows_of(found) == [["1", "2"], ["3\n", "4"], ["5", "6"]]
    assert [found.where(row) for row in range(3)] == [f"{a}, line 2", f"{b}, line 2", f"{b}, line 4"]
    data = b"".join(path.read_bytes() for path in (a, c, b))
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.num_bytes == len(data)


def test_a_folder_of_tables_is_one_table(tmp_path):
    for name, text in {"b.csv": "x\n2\n", "a.tsv": "x\n1\n", ".c.csv": "hidden\n3\n"}.items():
        written(tmp_path / "folder" / name, text)
    for class_name in (None, ""):
        found = read_table([tmp_path / "folder"], spool=tmp_path, header=True, class_name=class_name)
        assert found.names == ("x",)
        assert found.column("x") == ["1", "2"]


def test_headers_that_differ(tmp_path):
    empty = written(tmp_path / "empty.tsv", "\n")
    a = written(tmp_path / "a.tsv", "x\ty\n1\t2\n")
    b = written(tmp_path / "b.tsv", "\ny\tx\n1\t2\n")
    c = written(tmp_path / "c.tsv", "x\n1\n")
    other = f"line 1: other columns than in {a}: 'x', but 'x, y' were expected"
    assert error_of(a, b) == f"{b}, line 2: other columns than in {a}: 'y, x', but 'x, y' were expected"
    assert error_of(a, c) == error_of(empty, a, c) == f"{c}, {other}"
    assert rows_of(read(empty, a)) == [["1", "2"]]
    found = read(a, b, header=False)
    assert rows_of(found) == [["x", "y"], ["1", "2"], ["y", "x"], ["1", "2"]]
    assert error_of(a, c, header=False).startswith(f"{c}, line 1: 1 column, but 2 were expected (1, 2)")


# One file a class


def test_a_folder_of_one_file_a_class(tmp_path):
    folder = tmp_path / "folder"
    files = {
        "Zulu.txt": "b\r\n\r\na\ta\nb",
        "old.Greek.txt": "\nγ,\n",
        "Arabic": "ب\n",
        "none.txt": "",
        ".x": "x\n",
    }
    for name, text in files.items():
        written(folder / name, text)
    found = read_table([folder], spool=tmp_path, header=True, class_name="")
    assert found.names == ("class", "text")
    # By name, hidden files left out; a line is taken whole, as often as it is there.
    assert rows_of(found) == [["Arabic", "ب"], ["Zulu", "b"], ["Zulu", "a\ta"], ["Zulu", "b"], ["old.Greek", "γ,"]]
    places = [("Arabic", 1), ("Zulu.txt", 1), ("Zulu.txt", 3), ("Zulu.txt", 4), ("old.Greek.txt", 2)]
    assert [found.where(row) for row in range(5)] == [f"{folder / name}, line {line}" for name, line in places]
    assert found.notes[0] == "each of 3 files is a class, each line of it a text"
    assert found.notes[-1] == f"{folder / 'none.txt'}: is empty, and no class"


def test_a_folder_of_tables_and_of_other_files(tmp_path):
    table, other = written(tmp_path / "folder" / "t.tsv", "x\n1\n"), written(tmp_path / "folder" / "a.txt", "1\n")
    for class_name in (None, ""):
        assert error_of(tmp_path / "folder", class_name=class_name).startswith(
            f"{other}: is beside the table {table}; give a folder of tables alone"
        )
    # Who names the files knows what they are.
    assert read(table, written(tmp_path / "b.data", "x\n2\n")).column("x") == ["1", "2"]


def test_classes_by_another_name_and_from_files(tmp_path):
    a, b = written(tmp_path / "a.txt", "1\n2\n"), written(tmp_path / "b.txt", "3\n".encode("utf-8-sig"))
    found = read(a, b, class_name="language")
    assert found.names == ("language", "text")
    assert found.column("language") == ["a", "a", "b"]
    assert found.column("text") == ["1", "2", "3"]
    assert found.notes[1:] == (f"{b}: dropped the byte order mark at the beginning",)
    assert error_of(a, b, class_name="text").endswith("two columns are called 'text'; names must differ")
    # One file has no classes to tell apart, and nobody may have asked for any: these are tables.
    assert read(a, class_name="language").names == ("1",)
    assert read(a, b, header=False).names == ("1",)


def test_classes_without_a_line(tmp_path):
    files = [written(tmp_path / name, "\n\r\n") for name in ("a.txt", "b.txt")]
    assert "a table needs rows" in error_of(*files, class_name="")


# Columns by name


def test_a_column_that_is_not_there(tmp_path):
    path = written(tmp_path / "t.csv", "x,y z\n1,2\n")
    with pytest.raises(CorpusError) as caught:
        read(path).column("X")
    assert str(caught.value) == f"{path}: has no column 'X'; it has x, y z"
    with pytest.raises(CorpusError) as caught:
        read(path, header=False).column("3")
    assert str(caught.value).startswith(f"{path}: has no column '3'; it has 1, 2; its first line is read as data")
