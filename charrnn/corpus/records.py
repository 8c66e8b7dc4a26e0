"""The records of a table's file: in which form they are written, found from the first lines, and read.

Knows delimiters, quotes and JSON lines, not what a field means.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from charrnn.corpus.readers import Source, read_head
from charrnn.errors import CorpusError

DELIMITERS = {"\t": "tabs", ";": "semicolons", "|": "pipes", ",": "commas"}

ENDINGS = {".tsv": "\t", ".csv": ",", ".jsonl": "", ".ndjson": ""}
"""What names a table, and its delimiter."""

COMPRESSED = (".gz", ".bz2", ".xz")

HEAD_CHARS = 1 << 18
"""The form of a file is found from this much of its beginning."""

FEW_RAGGED = 0.9
"""A delimiter is found where at least this share of records is as wide as the first."""

MOST_FIELD_CHARS = 10_000_000
"""Maximum length of a field in quotes, and of a line."""

MOST_KEYS = 1000

_STATED = re.compile(r"sep=([\t;|,])\r?\n")
_IN_QUOTES = re.compile(r'"(?:[^"]|"")*"')
_COMMA_BETWEEN_FIELDS = re.compile(r"(?<!\d),(?! )|,(?![\d ])")
"""A comma neither in a number nor before a space."""

Record = tuple[int, list[str]]
"""The line at which it begins, and its fields."""


class Form(NamedTuple):
    """How the records of a file are written."""

    delimiter: str
    """Stands between fields; empty if each line is a JSON object."""
    quoted: bool = True
    """A field may be in quotes, doubled within, and then hold delimiters and line ends (RFC 4180)."""
    stated: bool = False
    """The first line says the delimiter, as Excel writes it (sep=;), and is no record."""

    def __str__(self) -> str:
        if not self.delimiter:
            return "the keys of a JSON object in each line"
        return f"between {DELIMITERS[self.delimiter]}" + ", in quotes" * (self.quoted and self.delimiter == "\t")


JSON_LINES = Form("")


def plain_name(name: str) -> Path:
    """The name of a file without the ending of its compression."""
    path = Path(name)
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def ending_of(name: str) -> str:
    return plain_name(name).suffix.lower()


def usual_form(name: str) -> Form:
    """What a file's ending says; tabs, whose fields are taken literally, if it says nothing."""
    delimiter = ENDINGS.get(ending_of(name), "\t")
    return Form(delimiter, quoted=delimiter != "\t")


def form_of(source: Source, encoding: str) -> Form:
    """The form of a file."""
    return find_form(read_head([source], encoding, HEAD_CHARS), source.name)


def find_form(head: str, name: str) -> Form:
    """The form of a text that begins with `head` and is called `name`.

    JSON lines if the first line is an object; the delimiter that the first line states; else that by which most
    records are as wide as the first, of several fields. A tie goes to what the name says, unless its commas may be
    those of numbers and sentences. Fields between tabs are literal, unless all fields with a quote are written as
    quoted ones, or only quotes make the records even.
    """
    lines = list(lines_of(name, [head if len(head) < HEAD_CHARS else head[: head.rfind("\n") + 1] or head]))
    usual = usual_form(name)
    if usual == JSON_LINES or _is_object(next((line for line in lines if line.strip()), "")):
        return JSON_LINES
    if lines and (stated := _STATED.fullmatch(lines[0])):
        return Form(stated[1], stated=True)
    tabs = [Form("\t", quoted=False), Form("\t")]
    forms = [*(tabs[::-1] if _written_in_quotes(lines) else tabs), Form(";"), Form("|"), Form(",")]
    if usual == Form(",") and _COMMA_BETWEEN_FIELDS.search(head):
        forms = [usual, *forms[:-1]]
    shares = [_even_share(lines, form) for form in forms]
    return forms[shares.index(max(shares))] if max(shares) >= FEW_RAGGED else usual


def _even_share(lines: Sequence[str], form: Form) -> float:
    """The share of records that are as wide as the first; 0 if that is a single field."""
    widths = []
    try:
        for _, fields in _delimited("", lines, form):
            widths.append(len(fields))
    except CorpusError:
        widths.append(0)
    return widths.count(widths[0]) / len(widths) if widths and widths[0] > 1 else 0.0


def _written_in_quotes(lines: Sequence[str]) -> bool:
    """Whether a program put fields between tabs in quotes: all of the first line, or some with quotes doubled."""
    fields = [field for line in lines for field in line.rstrip("\r\n").split("\t") if '"' in field]
    first = next((line for line in lines if line.strip()), "").rstrip("\r\n").split("\t")
    return all(map(_IN_QUOTES.fullmatch, fields)) and (
        all(map(_IN_QUOTES.fullmatch, first)) or any('""' in field[1:-1] for field in fields)
    )


def read_records(name: str, chunks: Iterable[str], form: Form, keys: Sequence[str] = ()) -> Iterator[Record]:
    """The records of a text in chunks. The first one of JSON lines holds their keys, of which `keys` come first.

    Empty lines are skipped. Raises CorpusError, naming the line, for what is not in this form.
    """
    lines = lines_of(name, chunks)
    if not form.delimiter:
        yield from _objects(name, lines, keys)
    else:
        # An empty line in place of the stated delimiter keeps the numbers of the lines.
        yield from _delimited(name, chain(["\n"], islice(lines, 1, None)) if form.stated else lines, form)


def lines_of(name: str, chunks: Iterable[str]) -> Iterator[str]:
    """Each line with its LF, which the last one may lack. Only LF ends a line."""
    rest, number = "", 1
    for text in chunks:
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            yield line + "\n"
        number += len(lines)
        if len(rest) > MOST_FIELD_CHARS:
            raise CorpusError(
                f"{name}, line {number}: longer than {MOST_FIELD_CHARS:,} characters; "
                "a table has a row a line, and a line ends at LF or CRLF"
            )
    if rest:
        yield rest


def filled(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers and without LF or CRLF."""
    for number, line in enumerate(lines, start=1):
        line = line.removesuffix("\n").removesuffix("\r")
        if line:
            yield number, line


def _delimited(name: str, lines: Iterable[str], form: Form) -> Iterator[Record]:
    if not form.quoted:
        yield from ((line, text.split(form.delimiter)) for line, text in filled(lines))
        return
    reader = csv.reader(lines, delimiter=form.delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            # What follows the dash is advice on how to open a file in Python.
            reason = str(error).partition(" - ")[0]
            raise CorpusError(
                f"{name}, line {line}: not CSV: {reason}; put fields with {DELIMITERS[form.delimiter]}, quotes "
                "or line ends between quotes, doubled within"
            ) from error
        if fields is None:
            return
        if fields:
            yield line, fields


@contextmanager
def long_fields() -> Iterator[None]:
    """Sets the field limit of the csv module, which is global, and restores it afterwards."""
    before = csv.field_size_limit(MOST_FIELD_CHARS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _objects(name: str, lines: Iterable[str], keys: Sequence[str]) -> Iterator[Record]:
    objects = []
    for number, line in filled(lines):
        try:
            objects.append((number, _object(line)))
        except ValueError as error:
            raise CorpusError(
                f"{name}, line {number}: not a JSON object, as each line must be: {error}"
            ) from error
    names = list(dict.fromkeys([*keys, *(key for _, fields in objects for key in fields)]))
    if len(names) > MOST_KEYS:
        raise CorpusError(
            f"{name}: its objects have {len(names):,} different keys; at most {MOST_KEYS:,} are read"
        )
    if objects:
        yield objects[0][0], names
    for number, fields in objects:
        yield number, [fields.get(key, "") for key in names]


def _object(line: str) -> dict[str, str]:
    """The fields of a JSON object: numbers as they are written, null as nothing, a list or an object as JSON.

    Raises ValueError, saying why, for another line.
    """
    try:
        found = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("another kind of value")
    texts = {
        key: value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
        for key, value in found.items()
    }
    "".join([*texts, *texts.values()]).encode()  # refuses half of a surrogate pair
    return texts


def _is_object(line: str) -> bool:
    try:
        return bool(_object(line))
    except ValueError:
        return False


def plain_text_note(files: Sequence[str], head: str) -> str | None:
    """What to say where files that look like a table, and begin with `head`, are read as plain text."""
    lines = [line for line in lines_of(files[0], [head]) if line.strip()]
    if lines and all(map(_is_object, lines[:-1] or lines)):
        keys = ", ".join(_object(lines[0]))
        return f"{files[0]}: each line is a JSON object, read as plain text; --text-column KEY reads one of {keys}"
    if ending_of(files[0]) in ENDINGS and _even_share(lines, find_form(head, files[0])) >= FEW_RAGGED:
        return f"{files[0]}: a table, read as plain text, delimiters and all; --text-column NAME reads one column"
    return None
