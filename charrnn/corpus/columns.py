"""Columns of a table as a model takes them: as the strings of categories and numbers, and as a vector of both."""

import difflib
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from charrnn.config import Positive
from charrnn.corpus.table import Table
from charrnn.errors import CorpusError, UsageError
from charrnn.words import count

Kind = Literal["category", "number"]

MOST_WHOLE_NUMBERS = 20
"""A column of whole numbers is a number if it has more distinct values than this, otherwise a category."""

MOST_CATEGORIES, MOST_CATEGORY_CHARS = 10_000, 1000
"""Each category is an entry of every row's vector and is stored in the checkpoint."""

MOST_NAMED = 20

MOST_SHOWN_CHARS = 60

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "-"))
"""What stands for no value in a column of numbers, in any case."""

MOST_ALIKE = 3
"""A note names at most this many groups of categories that look alike."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table as a part of the vector that a model is conditioned on: a category or a number."""

    name: Annotated[str, Meta(max_length=1000)]
    values: Annotated[tuple[Annotated[str, Meta(max_length=100_000)], ...], Meta(max_length=0x110000)] = ()
    """The categories, sorted; empty for a number."""
    counts: Annotated[tuple[Annotated[int, Meta(ge=0, le=2**53)], ...], Meta(max_length=0x110000)] = ()
    """How often each category occurs in the training rows."""
    mean: float = 0.0
    scale: Positive = 1.0
    """Standard deviation of a number over the training rows, 1 if it does not vary."""

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.values):
            raise ValueError(f"column {self.name!r} has {len(self.values)} values and {len(self.counts)} counts")

    @property
    def size(self) -> int:
        """Number of entries in the vector."""
        return len(self.values) or 1

    @property
    def spec(self) -> str:
        """How it is asked for in another table, so that its kind is the same there."""
        return f"{self.name}:{'category' if self.values else 'number'}"


def parse_spec(spec: str) -> tuple[str, Kind | None]:
    """A column's name, and its kind if the name is followed by `:number` or `:category`."""
    name, colon, kind = spec.rpartition(":")
    if colon and kind in ("number", "category"):
        return name, "number" if kind == "number" else "category"
    return spec, None


def kind_of(kind: Kind | None, values: Sequence[str]) -> Kind:
    """The requested kind; else `number` if all values are numbers and not just a few whole ones."""
    if kind is not None:
        return kind
    numbers = [_number(value) for value in values]
    whole = all(number is not None and number.is_integer() for number in numbers)
    few = len(set(values)) <= MOST_WHOLE_NUMBERS
    return "category" if None in numbers or (whole and few) else "number"


def tidied(table: Table, specs: Sequence[tuple[str, Kind | None]]) -> Table:
    """The table with some columns, of names and requested kinds, as `fit_column` and `encode_columns` take them.

    Space around their values is dropped. Without a requested kind, `kind_of` decides by the values that are there.
    If all values of a number have decimal commas, these become points; rows without a value for it are left out.
    Notes count what was changed, and point out what may be a mistake in a category. Raises CorpusError for a
    column that is not there, and if no row is left.
    """
    columns, notes = list(table.columns), list(table.notes)
    kept = np.ones(len(table), bool)
    for name, kind in specs:
        strings, called = table.column(name), f"column {name}" if name.isdigit() else name
        values = [string.strip() for string in strings]
        there = [value for value in values if not _is_missing(value)]
        commas = _have_decimal_commas(there)
        points = [value.replace(",", ".") for value in there] if commas else there
        if (kind or (kind_of(None, points) if there else "category")) == "category":
            notes += _category_notes(called, strings, values, table.where)
            if kind is None:
                notes += _number_notes(called, values, there, table.where)
        else:
            if commas:
                values = [value.replace(",", ".") for value in values]
                comma = next(row for row, value in enumerate(there) if "," in value)
                notes.append(f"{called}: read with decimal commas, {there[comma]} as {points[comma]}")
            gaps = [row for row, value in enumerate(values) if _is_missing(value)]
            if gaps:
                first = f"{shown(values[gaps[0]])} in {table.where(gaps[0])}"
                notes.append(
                    f"{called}: left out {count(len(gaps), 'row')} without a number, the first with {first}"
                )
            kept[gaps] = False
        columns[table.index(name)] = values
    if not kept.any():
        raise CorpusError(f"{table.files[0]}: no row has a number where one is needed; name another column")
    tidy = replace(table, columns=tuple(columns), notes=tuple(notes))
    return tidy if kept.all() else tidy.take(np.flatnonzero(kept))


def _is_missing(value: str) -> bool:
    return value.casefold() in MISSING


def _have_decimal_commas(values: Sequence[str]) -> bool:
    """Whether all are numbers if a comma is read as a point, and some have one."""
    return any("," in value for value in values) and all(
        "." not in value and _number(value.replace(",", ".")) is not None for value in values
    )


def _category_notes(
    called: str, strings: Sequence[str], values: Sequence[str], where: Callable[[int], str]
) -> list[str]:
    """What may be a mistake in a category's strings, of which `values` are those without space around them."""
    notes = []
    padded = [string for string, value in zip(strings, values, strict=True) if string != value]
    if padded:
        notes.append(
            f"{called}: dropped the space around {count(len(padded), 'value')}, such as {shown(padded[0])}"
        )
    counts, alike = Counter(values), defaultdict(list)
    for value in sorted(counts):
        alike[unicodedata.normalize("NFC", value).casefold()].append(f"{shown(value)} ({counts[value]:,})")
    groups = [" and ".join(group) for group in alike.values() if len(group) > 1]
    if groups:
        more = f", and {len(groups) - MOST_ALIKE:,} more groups" if len(groups) > MOST_ALIKE else ""
        notes.append(f"{called}: {'; '.join(groups[:MOST_ALIKE])}{more} differ only by case or Unicode form")
    if 0 < counts[""] < len(values):
        first = where(values.index(""))
        notes.append(f"{called}: {count(counts[''], 'row')} without a value, as a category, the first in {first}")
    return notes


def _number_notes(
    called: str, values: Sequence[str], there: Sequence[str], where: Callable[[int], str]
) -> list[str]:
    """What to say of a category most of whose values, those that are not missing, are numbers."""
    numbers = [value for value in there if _number(value) is not None]
    if not len(there) / 2 < len(numbers) < len(there) or kind_of(None, numbers) == "category":
        return []
    row, value = next((row, v) for row, v in enumerate(values) if not _is_missing(v) and _number(v) is None)
    return [
        f"{called}: each value is a category, as {len(there) - len(numbers):,} of {len(there):,} are no numbers, "
        f"the first {shown(value)} in {where(row)}; NAME:number or NAME:category decides"
    ]


def fit_column(
    name: str,
    kind: Kind | None,
    values: Sequence[str],
    train: NDArray[np.bool_],
    where: Callable[[int], str],
) -> Column:
    """Fits a column to R values; `train` (R,) marks the training rows.

    Without a kind, `kind_of` decides. Categories come from all rows, so that no row of the table is unknown;
    their counts, and a number's mean and standard deviation, come from the training rows. Raises CorpusError
    for a value that should be a number and is not, or is too large.
    """
    kind = kind_of(kind, values)
    if kind == "category":
        counts = Counter(value for value, trained in zip(values, train, strict=True) if trained)
        categories = tuple(sorted(set(values)))
        if len(categories) > MOST_CATEGORIES:
            raise CorpusError(
                f"{where(0)}: {name} has {len(categories):,} different values, more than the "
                f"{MOST_CATEGORIES:,} that a category can have; choose another column, or {name}:number"
            )
        if len(longest := max(categories, key=len, default="")) > MOST_CATEGORY_CHARS:
            raise CorpusError(
                f"{where(list(values).index(longest))}: {name} {shown(longest)} is longer than the "
                f"{MOST_CATEGORY_CHARS:,} characters of a category; choose another column"
            )
        return Column(name=name, values=categories, counts=tuple(counts[value] for value in categories))
    all_rows = _numbers(name, values, where)
    x = all_rows[train]
    if not len(x):
        return Column(name=name)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(x.mean()), float(x.std())
    if not (math.isfinite(mean) and math.isfinite(scale)):
        row = int(np.abs(all_rows).argmax())
        raise CorpusError(
            f"{where(row)}: {name} {shown(values[row])} is too large to be standardised; scale it down"
        )
    # For equal numbers, rounding may make the mean differ from each of them, and the deviation from zero.
    varies = scale > 0 and x.min() < x.max()
    return Column(name=name, mean=mean, scale=scale if varies else 1.0)


def encode_columns(
    columns: Sequence[Column], values: Sequence[Sequence[str]], where: Callable[[int], str]
) -> NDArray[np.float32]:
    """Encodes the strings of each column, in the order of the columns, as vectors (R, X).

    Raises CorpusError, located by `where`, for an unknown category (listing known ones) and for a value that is
    not a number or is too large.
    """
    blocks = [_encode(column, strings, where) for column, strings in zip(columns, values, strict=True)]
    return np.concatenate(blocks, axis=1, dtype=np.float32)


def _encode(column: Column, strings: Sequence[str], where: Callable[[int], str]) -> NDArray[np.float32]:
    if not column.values:
        with np.errstate(over="ignore"):
            x = (_numbers(column.name, strings, where) - column.mean) / column.scale
            encoded = x[:, None].astype(np.float32)
        if not np.isfinite(encoded).all():
            row = int(np.isfinite(encoded).argmin())
            raise CorpusError(
                f"{where(row)}: {_called(column)} {shown(strings[row])} is too large; {known(column)}"
            )
        return encoded
    block = np.zeros((len(strings), len(column.values)), np.float32)
    block[np.arange(len(strings)), category_indices(column, strings, where)] = 1.0
    return block


def category_indices(column: Column, strings: Sequence[str], where: Callable[[int], str]) -> NDArray[np.int64]:
    """(R,) the index of each string among the column's categories. Raises CorpusError for an unknown string."""
    index = {value: i for i, value in enumerate(column.values)}
    found = np.empty(len(strings), np.int64)
    for row, value in enumerate(strings):
        if value not in index:
            raise CorpusError(
                f"{where(row)}: {_called(column)} {shown(value)} is unknown to the model; {known(column, value)}"
            )
        found[row] = index[value]
    return found


def _called(column: Column) -> str:
    """The column's name, after the word `column` if it is a number, as in a table without a header."""
    return f"column {column.name}:" if column.name.isdigit() else column.name


def known(column: Column, value: str = "") -> str:
    """Describes the values that a column can take; if there are many, only those similar to `value`."""
    if not column.values:
        return f"{column.name} is a number (mean {column.mean:.4g}, standard deviation {column.scale:.4g})"
    if len(column.values) <= MOST_NAMED:
        return f"it knows {_listed(column.values)}"
    close = difflib.get_close_matches(value, column.values, n=5, cutoff=0.4)
    such = f", such as {_listed(close or column.values[:5])}"
    return f"it knows {len(column.values):,} values{such}"


def shown(value: str) -> str:
    """The value quoted, on one line, and truncated."""
    return repr(value if len(value) <= MOST_SHOWN_CHARS else value[:MOST_SHOWN_CHARS] + "…")


def _listed(values: Sequence[str]) -> str:
    """Lists values; quotes a value only if it could not be told from its neighbours otherwise."""
    return ", ".join(
        value if value.strip() and "," not in value and shown(value)[1:-1] == value else shown(value)
        for value in values
    )


def parse_given(columns: Sequence[Column], given: Sequence[str]) -> tuple[str, ...]:
    """The values of `--given VALUE` or `--given NAME=VALUE`, in the order of the columns. Raises UsageError."""
    names = [column.name for column in columns]
    found: dict[str, str] = {}
    if given and not columns:
        raise UsageError(f"--given {shown(given[0])}: the model is not conditioned on anything; leave it out")
    for item in given:
        named = [name for name in names if item.startswith(f"{name}=")]
        if not named and len(columns) > 1:
            raise UsageError(f"--given {shown(item)}: expected NAME=VALUE, NAME one of {', '.join(names)}")
        name = max(named, key=len, default=names[0])  # a name may itself contain "="
        if name in found:
            raise UsageError(f"--given {name} is there twice")
        found[name] = item.removeprefix(f"{name}=")
    for column in columns:
        if column.name not in found:
            form = "VALUE" if len(columns) == 1 else f"{column.name}=VALUE"
            raise UsageError(
                f"--given {form} is missing: the model is conditioned on {column.name}; {known(column)}"
            )
    return tuple(found[name] for name in names)


def log_prior(column: Column) -> NDArray[np.float64]:
    """ln p(value), (K,), from the training rows, with 1/2 added to each count (Krichevsky and Trofimov 1981)."""
    counts = np.array(column.counts, np.float64) + 0.5
    result: NDArray[np.float64] = np.log(counts / counts.sum())
    return result


def _numbers(name: str, values: Sequence[str], where: Callable[[int], str]) -> NDArray[np.float64]:
    result = np.empty(len(values))
    for row, value in enumerate(values):
        number = _number(value)
        if number is None:
            raise CorpusError(f"{where(row)}: {name} {shown(value)} is not a number; write it as 2.5 or -1e3")
        result[row] = number
    return result


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in value else None
