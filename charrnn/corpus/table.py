"""Tables held in memory: columns of strings, and the file and line of each row.

Handles TSV, CSV and folders of one file per class, not what a column means.
"""

import csv
import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn.corpus.readers import Source, TextReader, canonical_encoding, expand, fingerprint
from charrnn.errors import CorpusError

TABLES = (".tsv", ".csv")

CLASS, TEXT = "class", "text"
"""Column names for a folder of one file per class."""

MOST_FIELD_CHARS = 10_000_000
"""Maximum length of a CSV field, and of a line."""

MOST_NAME_CHARS = 1000
"""Maximum length of a column's name, which a checkpoint must be able to store."""


@dataclass(frozen=True, eq=False)
class Table:
    """R rows.

    Attributes:
        names: the names of the columns, in order; "1", "2", … if there is no header.
        columns: one list of R strings for each name.
        files: the names of the files.
        places: (R, 2) the number of the file, and the line in it at which each row begins.
        sha256, num_bytes: the hash and the size of the files' concatenated bytes.
        notes: what a user should know about how the files were read.
    """

    names: tuple[str, ...]
    columns: tuple[list[str], ...]
    files: tuple[str, ...]
    places: NDArray[np.int64]
    sha256: str
    num_bytes: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> list[str]:
        """Raises CorpusError, listing the existing columns, if there is none of that name."""
        if name not in self.names:
            there = ", ".join(self.names)
            numbered = "; its first line is read as data, as columns are asked for by number"
            raise CorpusError(
                f"{self.files[0]}: has no column {name!r}; it has {there}"
                f"{numbered if self.names[0] == '1' else ''}"
            )
        return self.columns[self.names.index(name)]

    def where(self, row: int) -> str:
        """`PATH, line N`."""
        file, line = self.places[row]
        return f"{self.files[file]}, line {line}"


def is_number(name: str) -> bool:
    """Whether a column is requested by its number, as in a table without a header."""
    return name.isascii() and name.isdecimal()


def read_table(
    paths: Sequence[str | Path],
    *,
    spool: Path,
    header: bool,
    encoding: str = "utf-8",
    class_name: str | None = None,
) -> Table:
    """Reads files as one table; `header`: the first line of each file names the columns.

    A file that ends in .csv is CSV (RFC 4180); any other is TSV, whose fields are taken literally between tabs.
    Empty lines are skipped. With `class_name`, a folder without tables, or several files that are not tables, form
    a table of one file per class: the class is the file's name without its ending, and every line is a row. Pipes
    are copied into the folder `spool`. Raises CorpusError, naming the line, for a row that does not fit, and for a
    folder that mixes tables and other files.
    """
    encoding = canonical_encoding(encoding)
    sources = expand(paths, spool)
    marks = fingerprint(sources)
    tables = [source.name for source in sources if _ending(source) in TABLES]
    tabular, several = bool(tables), Path(paths[0]).is_dir() or len(sources) > 1
    if tabular and len(tables) < len(sources) and all(Path(path).is_dir() for path in paths):
        other = next(source.name for source in sources if source.name not in tables)
        raise CorpusError(
            f"{other}: is beside the table {tables[0]}; give a folder of tables alone, "
            "a folder of one file a class, or name the files"
        )
    by_class = class_name is not None and several and not tabular
    rows = _Rows(header and not by_class)
    notes: list[str] = []
    if by_class:
        rows.name((class_name or CLASS, TEXT), sources[0].name)
    digest = hashlib.sha256()
    for number, source in enumerate(sources):
        reader = TextReader(source, encoding, on_bytes=digest.update)
        lines = _lines(source.name, reader)
        if by_class:
            stem = Path(source.name).stem
            rows.add(number, source, ((line, [stem, text]) for line, text in _filled(lines)))
        elif _ending(source) == ".csv":
            with _long_fields():
                rows.add(number, source, _csv_records(source.name, lines))
        else:
            rows.add(number, source, ((line, text.split("\t")) for line, text in _filled(lines)))
        if reader.dropped_mark:
            notes.append(f"{source.name}: dropped the byte order mark at the beginning")
    if digest.hexdigest() != marks.sha256:
        raise CorpusError(f"{sources[0].name}: changed while it was read; try again when it is complete")
    if not rows.places:
        what = "only a header" if rows.names else "nothing"
        raise CorpusError(f"{sources[0].name}: holds {what}; a table needs rows")
    if by_class:
        filled = set(rows.places[::2])
        empty = [source.name for number, source in enumerate(sources) if number not in filled]
        notes.insert(0, f"each of {len(sources) - len(empty)} files is a class, each line of it a text")
        notes += [f"{name}: is empty, and no class" for name in empty]
    return Table(
        names=rows.names,
        columns=tuple(rows.columns),
        files=tuple(source.name for source in sources),
        places=np.array(rows.places, np.int64).reshape(-1, 2),
        sha256=marks.sha256,
        num_bytes=sum(marks.sizes),
        notes=tuple(notes),
    )


class _Rows:
    """Collects the records of one file after another, and checks that their columns agree."""

    def __init__(self, header: bool) -> None:
        self.names: tuple[str, ...] = ()
        self.columns: list[list[str]] = []
        self.places = array("q")
        self._header, self._named_by = header, ""

    def name(self, names: tuple[str, ...], where: str) -> None:
        """Starts the columns. Raises CorpusError for names that are not distinct or cannot be stored."""
        for k, name in enumerate(names):
            if not name:
                raise CorpusError(
                    f"{where}: column {k + 1} of the header has no name; to read it as data, ask by number"
                )
            if len(name) > MOST_NAME_CHARS or "\n" in name or "\r" in name:
                raise CorpusError(
                    f"{where}: column {k + 1} is called {name[:40]!r}; a name is one line, of at most "
                    f"{MOST_NAME_CHARS} characters; to read it as data, ask by number"
                )
            if name in names[:k]:
                raise CorpusError(f"{where}: two columns are called {name!r}; names must differ")
        self.names, self.columns = names, [[] for _ in names]

    def add(self, number: int, source: Source, records: Iterable[tuple[int, list[str]]]) -> None:
        """Adds records: each is the line at which it begins, and its fields. `number` is the file's number."""
        for first, (line, fields) in enumerate(records):
            where = f"{source.name}, line {line}"
            if not self.names:
                self._named_by = source.name
                self.name(tuple(fields) if self._header else tuple(str(k + 1) for k in range(len(fields))), where)
                if self._header:
                    continue
            elif self._header and first == 0:
                if tuple(fields) != self.names:
                    fields_shown = ", ".join(fields)[:200]
                    raise CorpusError(
                        f"{where}: other columns than in {self._named_by}: {fields_shown!r}, "
                        f"but {', '.join(self.names)!r} were expected"
                    )
                continue
            if len(fields) != len(self.names):
                raise CorpusError(
                    f"{where}: {len(fields)} column{'s' if len(fields) != 1 else ''}, but {len(self.names)} were "
                    f"expected ({', '.join(self.names)}); columns are between "
                    f"{'commas' if _ending(source) == '.csv' else 'tabs'}"
                )
            for column, field in zip(self.columns, fields, strict=True):
                column.append(field)
            self.places.extend((number, line))


def _ending(source: Source) -> str:
    return Path(source.name).suffix.lower()


def _lines(name: str, chunks: Iterable[str]) -> Iterator[str]:
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


def _filled(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, with their numbers and without LF or CRLF."""
    for number, line in enumerate(lines, start=1):
        line = line.removesuffix("\n").removesuffix("\r")
        if line:
            yield number, line


def _csv_records(name: str, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(lines, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            # What follows the dash is advice on how to open a file in Python.
            reason = str(error).partition(" - ")[0]
            raise CorpusError(
                f"{name}, line {line}: not CSV: {reason}; put fields with commas, quotes or line ends "
                "between quotes, doubled within"
            ) from error
        if fields is None:
            return
        if fields:
            yield line, fields


@contextmanager
def _long_fields() -> Iterator[None]:
    """Sets the field limit of the csv module, which is global, and restores it afterwards."""
    before = csv.field_size_limit(MOST_FIELD_CHARS)
    try:
        yield
    finally:
        csv.field_size_limit(before)
