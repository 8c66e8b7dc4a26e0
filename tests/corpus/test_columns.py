"""Columns: the vector against loops written out, what is a number, and messages that say what is known."""

import math
import statistics
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from charrnn.corpus import columns as module
from charrnn.corpus.columns import (
    Column,
    encode_columns,
    fit_column,
    kind_of,
    known,
    log_prior,
    parse_given,
    parse_spec,
    tidied,
)
from charrnn.corpus.table import Table
from charrnn.errors import CorpusError, UsageError

CATEGORIES = st.text("abé ,", max_size=2)
NUMBERS = st.floats(-1e6, 1e6).map(repr) | st.integers(-1000, 1000).map(str)


def where(row: int) -> str:
    return f"some file, line {row + 2}"


def fit(values, kind=None, train=None) -> Column:
    train = np.ones(len(values), bool) if train is None else np.array(train, bool)
    return fit_column("x", kind, values, train, where)


def encode(column: Column, *values: str) -> list[list[float]]:
    return encode_columns([column], [values], where).tolist()


def message_of(error, function, *arguments) -> str:
    with pytest.raises(error) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@st.composite
def trained(draw, fields):
    """Values, and whether each is trained on."""
    rows = draw(st.lists(st.tuples(fields, st.booleans()), min_size=1, max_size=30))
    return [value for value, _ in rows], [trains for _, trains in rows]


# The vector


@given(st.lists(st.tuples(CATEGORIES, NUMBERS, CATEGORIES, st.booleans()), min_size=1, max_size=20))
def test_encoding_is_that_of_a_loop(rows):
    first, numbers, last, train = (list(column) for column in zip(*rows, strict=True))
    kinds = (("category", first), ("number", numbers), ("category", last))
    columns = [fit(values, kind, train) for kind, values in kinds]
    expected = []
    for a, x, b, _ in rows:
        vector = [1.0 if a == category else 0.0 for category in sorted(set(first))]
        vector.append((float(x) - columns[1].mean) / columns[1].scale)
        vector += [1.0 if b == category else 0.0 for category in sorted(set(last))]
        expected.append(vector)
    found = encode_columns(columns, [first, numbers, last], where)
    assert found.dtype == np.float32
    assert found.shape == (len(rows), sum(column.size for column in columns))
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


@given(trained(NUMBERS))
def test_numbers_are_standardised_over_the_training_rows(rows):
    values, train = rows
    numbers = [float(value) for value, trains in zip(values, train, strict=True) if trains]
    assume(numbers)
    column = fit(values, "number", train)
    assert column.values == column.counts == ()
    assert column.size == 1
    # Exact fractions inside, rounded once.
    assert column.mean == pytest.approx(statistics.mean(numbers), rel=1e-12, abs=1e-9)
    scale = statistics.pstdev(numbers)
    if len(set(numbers)) == 1:
        assert column.scale == 1.0
    elif scale > 1e-3:  # else lost in the rounding of the mean
        assert column.scale == pytest.approx(scale, rel=1e-6)
        found = np.array(encode(column, *values))[np.array(train)]
        assert found.mean() == pytest.approx(0.0, abs=1e-3)
        assert found.std() == pytest.approx(1.0, abs=1e-3)


def test_rows_that_are_not_trained_on_do_not_move_the_scale():
    column = fit(["1", "3", "1000000", "-7"], "number", [True, True, False, False])
    assert (column.mean, column.scale) == (2.0, 1.0)
    assert encode(column, "5", "-1e1") == [[3.0], [-12.0]]


@given(st.floats(-1e9, 1e9), st.integers(1, 50))
def test_a_number_that_does_not_vary_has_scale_one(number, count):
    """Whatever the rounding of its mean is."""
    column = fit([repr(number)] * count + ["1e12"], "number", [True] * count + [False])
    assert column.mean == pytest.approx(number)
    assert column.scale == 1.0


def test_numbers_of_which_none_is_trained_on():
    column = fit(["1.5", "2.5"], "number", [False, False])
    assert (column.mean, column.scale) == (0.0, 1.0)


@given(trained(CATEGORIES))
def test_categories_are_of_all_rows_and_counts_of_the_training_rows(rows):
    values, train = rows
    column = fit(values, "category", train)
    assert list(column.values) == sorted(set(values))
    assert column.size == len(column.values)
    for category, count in zip(column.values, column.counts, strict=True):
        assert count == sum(value == category and trains for value, trains in zip(values, train, strict=True))
    assert np.sum(encode(column, *values)) == len(values)


# Kinds


@pytest.mark.parametrize(
    ("values", "is_number"),
    [
        (["1", "2", "3"], False),
        ([str(k) for k in range(20)] * 2, False),
        ([str(k) for k in range(21)], True),
        ([str(-k) for k in range(21)], True),
        ([f"{k}.0" for k in range(20)], False),
        (["1", "2.5"], True),
        (["0.5"], True),
        (["1e-3", "+2", ".5"], True),
        (["1.5", ""], False),
        (["1.5", "2.5", "1_000"], False),
        (["1.5", "nan"], False),
        (["1.5", "inf"], False),
        (["1.5", "-Infinity"], False),
        (["1.5", "1e999"], False),
        (["1.5", "2,5"], False),
        ([""], False),
        (["red", "blue"], False),
        ([*map(str, range(100)), "n/a"], False),
    ],
)
def test_what_is_a_number(values, is_number):
    column = fit(values)
    assert column.values == (() if is_number else tuple(sorted(set(values))))
    assert column.size == (1 if is_number else len(set(values)))


def test_a_kind_that_was_asked_for_is_kept():
    assert fit(["1", "2", "3"], "number").values == ()
    assert fit(["1.5", "2.5"], "category").values == ("1.5", "2.5")


@pytest.mark.parametrize("value", ["", "red", "1_000", "nan", "inf", "-inf", "1e999", "2,5", "0x10"])
def test_what_should_be_a_number(value):
    column = fit(["1.5", "2.5"])
    expected = f"some file, line 3: x {value!r} is not a number; write it as 2.5 or -1e3"
    assert message_of(CorpusError, fit, ["1.5", value], "number", [True, False]) == expected
    assert message_of(CorpusError, encode, column, "1.5", value) == expected


def test_numbers_beyond_what_a_vector_holds():
    huge = ["1.5", "-1e308", "-1.5e308"]
    assert message_of(CorpusError, fit, huge).startswith("some file, line 4: x '-1.5e308' is too large")
    mixed = ["1e308", "1.1e308", "1.2e308", "1.3e308"] * 10 + ["-1.5e308", "-1.4e308"] * 20
    assert "too large" in message_of(CorpusError, fit, mixed, "number")
    column = fit(["1.5", "2.5"])
    message = message_of(CorpusError, encode, column, "1e30", "1e39")
    assert message.startswith("some file, line 3: x '1e39' is too large; x is a number (mean 2, ")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("age", ("age", None)),
        ("age:number", ("age", "number")),
        ("age:category", ("age", "category")),
        ("3:number", ("3", "number")),
        ("a:b", ("a:b", None)),
        ("a:b:category", ("a:b", "category")),
        ("age:number:category", ("age:number", "category")),
        ("age:Number", ("age:Number", None)),
        ("number", ("number", None)),
        ("age:", ("age:", None)),
        ("", ("", None)),
    ],
)
def test_parse_spec(spec, expected):
    assert parse_spec(spec) == expected


@given(st.text("ab:", max_size=3), st.booleans())
def test_a_column_is_asked_for_again_with_its_kind(name, is_number):
    column = Column(name=name) if is_number else Column(name=name, values=("a",), counts=(1,))
    assert parse_spec(column.spec) == (name, "number" if is_number else "category")


# Columns as people write them


def table_of(*columns: list[str], notes: tuple[str, ...] = ()) -> Table:
    """Columns x, y, … of a file t in which row r begins in line r + 2."""
    places = np.array([(0, row + 2) for row in range(len(columns[0]))])
    return Table(tuple("xyz"[: len(columns)]), columns, ("t",), places, "", 0, notes)


def tidy(*columns: list[str], specs=(("x", None),)) -> tuple[list[list[str]], tuple[str, ...]]:
    found = tidied(table_of(*columns), specs)
    assert {len(column) for column in found.columns} == {len(found)}
    return [list(row) for row in zip(*found.columns, strict=True)], found.notes


@given(
    st.lists(st.tuples(NUMBERS | st.sampled_from([*module.MISSING, "NA", "NaN", "None", "N/A"]), st.text("ab"))),
    st.sampled_from(["", " ", "\u00a0"]),
    st.booleans(),
)
def test_rows_without_a_number_are_left_out(rows, space, asked):
    rows = [("0.5", "first"), *rows]
    kept = [[x, text] for x, text in rows if x.casefold() not in module.MISSING]
    found, notes = tidy(
        [space + x + space for x, _ in rows],
        [text for _, text in rows],
        specs=[("x", "number" if asked else None)],
    )
    assert found == kept
    gaps = [k for k, (x, _) in enumerate(rows) if x.casefold() in module.MISSING]
    assert len(notes) == bool(gaps)
    if gaps:
        number = f"{len(gaps)} row{'s' if len(gaps) > 1 else ''}"
        first = f"{rows[gaps[0]][0]!r} in t, line {gaps[0] + 2}"
        assert notes == (f"x: left out {number} without a number, the first with {first}",)
    assert kind_of(None, [x for x, _ in found]) == "number"


def test_gaps_of_several_columns():
    columns = ["1.5", "NA", "2.5", "3.5"], ["a", "NA", "NA", "b"], ["0.1", "0.2", "", "0.4"]
    found, notes = tidy(*columns, specs=[(name, None) for name in "xyz"])
    assert found == [["1.5", "a", "0.1"], ["3.5", "b", "0.4"]]
    assert len(notes) == 2
    table = tidied(table_of(*columns, notes=("before",)), [("x", None)])
    assert table.places[:, 1].tolist() == [2, 4, 5]
    assert table.notes[0] == "before"
    message = message_of(CorpusError, tidied, table_of(["1.5", "-"], ["-", "2.5"]), [("x", None), ("y", None)])
    assert message == "t: no row has a number where one is needed; name another column"


def test_a_category_keeps_what_stands_for_no_number():
    rows = ["1.5", "NA", "2.5", "nan"]
    assert tidy(rows, specs=[("x", "category")]) == ([[row] for row in rows], ())
    few = [*"12345", "NA", ""]
    found, notes = tidy(few)
    assert found == [[row] for row in few]
    assert notes == ("x: 1 row without a value, as a category, the first in t, line 8",)


@given(st.lists(st.tuples(st.integers(-999, 999), st.integers(0, 999)), min_size=1), st.booleans())
def test_decimal_commas(numbers, asked):
    found, notes = tidy(
        ["0,5", "NA", *(f"{a},{b:03}" for a, b in numbers), "7"], specs=[("x", "number" if asked else None)]
    )
    assert found == [["0.5"], *([f"{a}.{b:03}"] for a, b in numbers), ["7"]]
    assert notes[0] == "x: read with decimal commas, 0,5 as 0.5"


@pytest.mark.parametrize("other", ["2.5", "1,234.5", "1,2,3", "a", ","])
def test_commas_that_are_not_all_decimal(other):
    found, notes = tidy(["0,5", "1,5", other])
    assert found == [["0,5"], ["1,5"], [other]]
    assert not any("decimal" in note for note in notes)
    message = message_of(
        CorpusError, lambda: fit(tidied(table_of(["0,5", other]), [("x", "number")]).column("x")[:1], "number")
    )
    assert message.startswith("some file, line 2: x '0,5' is not a number")


def test_a_few_values_among_numbers_that_are_none():
    """Measurements with a unit, and the like: categories, which is said unless it was asked for."""
    values = [*(f"{k / 10}" for k in range(100)), "NA", "2.50 mg", "3%"]
    found, notes = tidy(values)
    assert found == [[value] for value in values]
    assert notes == (
        "x: each value is a category, as 2 of 102 are no numbers, the first '2.50 mg' in t, line 103; "
        "NAME:number or NAME:category decides",
    )
    assert tidy(values, specs=[("x", "category")])[1] == ()
    assert tidy([*"12345" * 4, "many"])[1] == ()  # stars
    assert tidy(["a", "b", "c", "1.5"])[1] == ()


def test_categories_that_look_alike():
    values = ["spam", " spam", "SPAM", "ham", "spam\t", "café", "cafe\u0301", ""]
    found, notes = tidy(values)
    assert [row for (row,) in found] == ["spam", "spam", "SPAM", "ham", "spam", "café", "cafe\u0301", ""]
    assert notes == (
        "x: dropped the space around 2 values, such as ' spam'",
        "x: 'SPAM' (1) and 'spam' (3); 'cafe\u0301' (1) and 'café' (1) differ only by case or Unicode form",
        "x: 1 row without a value, as a category, the first in t, line 9",
    )
    many = [f"{letter}{k}" for k in range(5) for letter in "ab"]
    (note,) = tidy([*many, *map(str.upper, many)])[1]
    assert note.endswith("'A2' (1) and 'a2' (1), and 7 more groups differ only by case or Unicode form")
    assert tidy(["1.5", " 2.5 "]) == ([["1.5"], ["2.5"]], ())


def test_columns_that_are_not_asked_for_stay_as_they_are():
    found, _ = tidy(["1.5", "NA"], [" a ", "NA"])
    assert found == [["1.5", " a "]]
    message = message_of(CorpusError, tidied, table_of(["1"]), [("w", None)])
    assert message == "t: has no column 'w'; it has x"


# Unknown categories


def test_an_unknown_category_lists_a_few():
    column = fit([f"v{k:02}" for k in range(20)])
    listed = ", ".join(f"v{k:02}" for k in range(20))
    expected = f"some file, line 3: x 'v20' is unknown to the model; it knows {listed}"
    assert message_of(CorpusError, encode, column, "v00", "v20") == expected


def test_a_column_that_is_a_number_is_called_a_column():
    column = replace(fit(["a", "b"]), name="2")
    assert message_of(CorpusError, encode, column, "9").startswith("some file, line 2: column 2: '9' is unknown")


def test_an_unknown_category_names_near_ones_of_many():
    column = fit([f"v{k:04}" for k in range(1200)] + ["Scottish"])
    message = message_of(CorpusError, encode, column, "scotish")
    assert message.endswith("x 'scotish' is unknown to the model; it knows 1,201 values, such as Scottish")
    # Nothing is near: the first ones.
    assert message_of(CorpusError, encode, column, "###").endswith("such as Scottish, v0000, v0001, v0002, v0003")


def test_values_are_named_on_one_line_and_cut_short():
    column = fit(["", "a\nb", "c, d", "e", "l" * 1000])
    message = message_of(CorpusError, encode, column, "q\n" + "q" * 1000)
    listed = f"'', 'a\\nb', 'c, d', e, '{'l' * 60}…'"
    assert message == (f"some file, line 2: x 'q\\n{'q' * 58}…' is unknown to the model; it knows {listed}")
    assert r"--given 'a\nb'" in message_of(UsageError, parse_given, [COLOUR, SIZE], ["a\nb"])


def test_more_categories_than_a_vector_should_have():
    """Such as where the column is the text itself: its vectors would fill the memory."""
    most = [f"v{k}" for k in range(module.MOST_CATEGORIES)]
    assert fit([*most, "v0"]).size == module.MOST_CATEGORIES
    assert "x has 10,001 different values" in message_of(CorpusError, fit, [*most, "w"])
    long = "a" * module.MOST_CATEGORY_CHARS
    assert msgspec.json.decode(msgspec.json.encode(fit([long])), type=Column).values == (long,)
    message = message_of(CorpusError, fit, ["b", long + "a", "c"])
    assert message.startswith(f"some file, line 3: x '{'a' * 60}…' is longer than the 1,000 characters")


def test_what_a_number_is_known_to_be():
    assert known(fit(["1.5", "2.5"])) == "x is a number (mean 2, standard deviation 0.5)"


# --given


COLOUR = Column(name="colour", values=("blue", "red"), counts=(1, 1))
SIZE = Column(name="size", mean=2.0, scale=0.5)


@given(st.text("ab=", max_size=6))
def test_a_value_given_to_one_column_with_or_without_its_name(value):
    column = Column(name="x", values=("a",), counts=(1,))
    assert parse_given([column], [f"x={value}"]) == (value,)
    assert parse_given([column], [value]) == (value,)  # no prefix "x=" in this alphabet


@given(st.permutations(["colour", "size", "a"]), st.lists(st.text("ab=", max_size=4), min_size=3, max_size=3))
def test_values_are_in_the_order_of_the_columns(names, values):
    columns = [COLOUR, SIZE, Column(name="a")]
    by_name = dict(zip(names, values, strict=True))
    found = parse_given(columns, [f"{name}={value}" for name, value in by_name.items()])
    assert found == tuple(by_name[column.name] for column in columns)


def test_names_that_hold_an_equals_sign():
    columns = [Column(name="a"), Column(name="a=b")]
    assert parse_given(columns, ["a=b=1", "a=2"]) == ("2", "1")


def test_nothing_given_to_a_model_that_is_not_conditioned():
    assert parse_given([], []) == ()
    assert message_of(UsageError, parse_given, [], ["red"]).startswith(
        "--given 'red': the model is not conditioned"
    )


def test_what_cannot_be_given():
    two = [COLOUR, SIZE]
    named = "expected NAME=VALUE, NAME one of colour, size"
    assert message_of(UsageError, parse_given, two, ["red"]) == f"--given 'red': {named}"
    assert message_of(UsageError, parse_given, two, ["hue=red"]) == f"--given 'hue=red': {named}"
    assert message_of(UsageError, parse_given, two, ["size=1", "size=2"]) == "--given size is there twice"
    assert message_of(UsageError, parse_given, [COLOUR], ["red", "colour=red"]) == "--given colour is there twice"
    assert message_of(UsageError, parse_given, two, ["colour=red"]) == (
        "--given size=VALUE is missing: the model is conditioned on size; "
        "size is a number (mean 2, standard deviation 0.5)"
    )
    assert message_of(UsageError, parse_given, [COLOUR], []) == (
        "--given VALUE is missing: the model is conditioned on colour; it knows blue, red"
    )


# The prior


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30))
def test_the_prior_sums_to_one_and_no_value_has_none(counts):
    found = log_prior(Column(name="x", values=tuple(f"{k:02}" for k in range(len(counts))), counts=tuple(counts)))
    assert math.fsum(map(math.exp, found)) == pytest.approx(1.0, abs=1e-12)
    total = sum(counts) + len(counts) / 2
    for count, log_p in zip(counts, found, strict=True):
        assert math.exp(log_p) == pytest.approx((count + 0.5) / total, rel=1e-12)
