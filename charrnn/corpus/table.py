"""Tables held in memory: columns of strings, and the file and line of each row.

Handles files of records and folders of one file per class, not what a column means.
"""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from charrnn.corpus.encoded import wrong_notes
from charrnn.corpus.readers import BYTE_ORDER_MARK, TextReader, canonical_encoding, expand, fingerprint
from charrnn.corpus.records import (
    ENDINGS,
    JSON_LINES,
    Form,
    Record,
    ending_of,
    filled,
    form_of,
    lines_of,
    long_fields,
    plain_name,
    read_records,
    usual_form,
)
from charrnn.errors import CorpusError
from charrnn.words import count

CLASS, TEXT = "class", "text"
"""Column names for a folder of one file per class."""

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
        """Raises CorpusError as `index` does."""
        return self.columns[self.index(name)]

    def index(self, name: str) -> int:
        """Raises CorpusError, listing the existing columns, if there is none of that name, padding aside."""
        if (name := _stripped(name)) not in self.names:
            there = ", ".join(self.names)
            numbered = "; its first line is read as data, as columns are asked for by number"
            raise CorpusError(
                f"{self.files[0]}: has no column {name!r}; it has {there}"
                f"{numbered if self.names[0] == '1' else ''}"
            )
        return self.names.index(name)

    def others(self, *names: str) -> list[str]:
        """The names of the other columns."""
        named = set(map(_stripped, names))
        return [name for name in self.names if name not in named]

    def take(self, rows: NDArray[np.integer]) -> "Table":
        """Some of the rows."""
        columns = tuple([column[row] for row in rows] for column in self.columns)
        return replace(self, columns=columns, places=self.places[rows])

    def where(self, row: int) -> str:
        """`PATH, line N`."""
        file, line = self.places[row]
        return f"{self.files[file]}, line {line}"


def is_number(name: str) -> bool:
    """Whether a column is requested by its number, as in a table without a header."""
    return name.isascii() and name.isdecimal()


def _stripped(name: str) -> str:
    return name.replace(BYTE_ORDER_MARK, "").strip()


def read_table(
    paths: Sequence[str | Path],
    *,
    spool: Path,
    header: bool,
    encoding: str = "utf-8",
    class_name: str | None = None,
) -> Table:
    """Reads files as one table; `header`: the first record of each file names the columns.

    The form of each file is found from its beginning (`records.find_form`), the same whoever reads it; the keys of
    JSON lines name the columns in any case. Empty lines are skipped, and so are records without a value at the end
    of a file, and columns that a spreadsheet or a data frame adds: without a name, and empty or of row numbers.
    With `class_name`, a folder without tables, or several files that are not tables, form a table of one file per
    class: the class is the file's name without its ending, and every line is a row. Pipes are copied into the
    folder `spool`. Raises CorpusError, naming the line, for a row that does not fit, and for a folder that mixes
    tables and other files.
    """
    encoding = canonical_encoding(encoding)
    notes: list[str] = []
    sources = expand(paths, spool, notes)
    marks = fingerprint(sources)
    notes += marks.copies(sources)
    tables = [source.name for source in sources if ending_of(source.name) in ENDINGS]
    tabular, several = bool(tables), Path(paths[0]).is_dir() or len(sources) > 1
    if tabular and len(tables) < len(sources) and all(Path(path).is_dir() for path in paths):
        other = next(source.name for source in sources if source.name not in tables)
        raise CorpusError(
            f"{other}: is beside the table {tables[0]}; give a folder of tables alone, "
            "a folder of one file a class, or name the files"
        )
    by_class = class_name is not None and several and not tabular
    rows = _Rows(header and not by_class)
    if by_class:
        rows.name((class_name or CLASS, TEXT), sources[0].name)
    digest = hashlib.sha256()
    for number, source in enumerate(sources):
        name, reader = source.name, TextReader(source, encoding, on_bytes=digest.update)
        with long_fields():
            if by_class:
                stem, form = plain_name(name).stem, usual_form(name)
                records: Iterable[Record] = ((n, [stem, text]) for n, text in filled(lines_of(name, reader)))
            else:
                form = form_of(source, encoding)
                records = read_records(name, reader, form, rows.names)
                if form[:2] != usual_form(name)[:2]:
                    notes.append(f"{name}: its fields are {form}, as its first lines show")
            rows.add(number, name, records, form)
        if reader.dropped_mark:
            notes.append(f"{name}: dropped the byte order mark at the beginning")
        notes += wrong_notes([reader])
    if digest.hexdigest() != marks.sha256:
        raise CorpusError(f"{sources[0].name}: changed while it was read; try again when it is complete")
    if not rows.places:
        what = "only a header" if rows.names else "nothing"
        raise CorpusError(f"{sources[0].name}: holds {what}; a table needs rows")
    if by_class:
        filled_files = set(rows.places[::2])
        empty = [source.name for number, source in enumerate(sources) if number not in filled_files]
        notes.insert(0, f"each of {len(sources) - len(empty)} files is a class, each line of it a text")
        notes += [f"{name}: is empty, and no class" for name in empty]
    kept = rows.meaningful()
    return Table(
        names=tuple(rows.names[k] for k in kept),
        columns=tuple(rows.columns[k] for k in kept),
        files=tuple(source.name for source in sources),
        places=np.array(rows.places, np.int64).reshape(-1, 2),
        sha256=marks.sha256,
        num_bytes=sum(marks.sizes),
        notes=(*notes, *rows.notes),
    )


class _Rows:
    """Collects the records of one file after another, and checks that their columns agree."""

    def __init__(self, header: bool) -> None:
        self.names: tuple[str, ...] = ()
        self.columns: list[list[str]] = []
        self.places = array("q")
        self.notes: list[str] = []
        self._header, self._numbered, self._named_by, self._named_at = header, False, "", ""

    def name(self, names: tuple[str, ...], where: str) -> None:
        """Starts the columns. Raises CorpusError for names that are not distinct or cannot be stored."""
        for k, name in enumerate(names):
            if len(name) > MOST_NAME_CHARS or "\n" in name or "\r" in name:
                raise CorpusError(
                    f"{where}: column {k + 1} is called {name[:40]!r}; a name is one line, of at most "
                    f"{MOST_NAME_CHARS} characters; to read it as data, ask by number"
                )
            if name and name in names[:k]:
                raise CorpusError(f"{where}: two columns are called {name!r}; names must differ")
        self.names, self.columns, self._named_at = names, [[] for _ in names], where

    def add(self, number: int, file: str, records: Iterable[Record], form: Form) -> None:
        """Adds the records of a file, the `number`-th one."""
        begin = len(self.places)
        for first, (line, fields) in enumerate(records):
            where = f"{file}, line {line}"
            names = first == 0 and (self._header or form == JSON_LINES)
            if names:
                fields = list(map(_stripped, fields))
            if not self.names:
                self._named_by, self._numbered = file, not names
                self.name(tuple(fields) if names else tuple(str(k + 1) for k in range(len(fields))), where)
            elif names and tuple(fields) != self.names:
                fields_shown = ", ".join(fields)[:200]
                raise CorpusError(
                    f"{where}: other columns than in {self._named_by}: {fields_shown!r}, "
                    f"but {', '.join(self.names)!r} were expected"
                )
            if names:
                continue
            if len(fields) != len(self.names):
                raise CorpusError(
                    f"{where}: {len(fields)} column{'s' if len(fields) != 1 else ''}, but {len(self.names)} were "
                    f"expected ({', '.join(self.names)}); columns are {form}"
                )
            for column, field in zip(self.columns, fields, strict=True):
                column.append(field)
            self.places.extend((number, line))
        end = len(self.places)
        while len(self.places) > begin and len(self.names) > 1 and not any(column[-1] for column in self.columns):
            for column in self.columns:
                column.pop()
            del self.places[-2:]
        if left_out := (end - len(self.places)) // 2:
            self.notes.append(f"{file}: left out {count(left_out, 'row')} without a value at the end")

    def meaningful(self) -> list[int]:
        """The columns, without those that a spreadsheet or a data frame added, which a note counts.

        Raises CorpusError for a column without a name that holds something else.
        """
        idle = [k for k, name in enumerate(self.names) if not name]
        for k in idle:
            if len(idle) == len(self.names) or any(value and not value.isdecimal() for value in self.columns[k]):
                raise CorpusError(
                    f"{self._named_at}: column {k + 1} of the header has no name; name it, or to read the header "
                    "as data, ask by number"
                )
        last = len(self.names) - 1
        while self._numbered and last > 1 and not any(self.columns[last]):  # the first two are read by position
            idle.append(last)
            last -= 1
        if idle:
            what = "numbers of rows" if any(any(self.columns[k]) for k in idle) else "nothing"
            self.notes.append(f"{self._named_by}: left out {count(len(idle), 'column')} of {what}, without a name")
        return [k for k in range(len(self.names)) if k not in idle]
