"""`charrnn cells`: the table of the registry, and each of its rows."""

import io
import json

import numpy as np
import pyte
import pytest
from helpers_cli import fail, imported_by, run_code, succeed
from helpers_models import make_model
from rich.console import Console

from charrnn.cells import option_names
from charrnn.cells.catalogue import describe, symbol
from charrnn.cli import cells
from charrnn.config import CELL_NAMES


def table(*arguments: str) -> list[dict]:
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(succeed("cells", "--json", *arguments).stdout, parse_constant=refuse)


def test_every_cell_is_there_once_and_says_what_it_is():
    shown = succeed("cells").stdout.splitlines()
    heads = [line.split()[0] for line in shown if not line.startswith(" ")]
    assert heads == ["CELL", *CELL_NAMES]
    for row in table():
        assert row["equations"]
        assert any("h(t) = " in line or "h_k(t) = " in line for line in row["equations"])
        assert len(row["purpose"].split()) > 5
        assert (row["section"] is None) != (row["paper"] is None)
        assert row["section"] is None or row["section"].split(".")[0] == "10"
        for line in (row["purpose"], *row["equations"]):
            assert f"    {line}" in shown


@pytest.mark.parametrize("name", CELL_NAMES)
def test_parameters_are_those_of_a_fresh_model(name):
    V, H = 5, 6
    (row,) = (row for row in table("--vocab-size", str(V), "--hidden-size", str(H)) if row["name"] == name)
    model = make_model(name, vocab_size=V, hidden_size=H)
    fresh = model.init(np.random.default_rng(0), np.array([3]))
    assert row["num_parameters"] == sum(value.size for value in fresh.values())
    assert row["num_trained"] == sum(value.size for key, value in fresh.items() if key not in model.frozen)


def test_parameters_counted_by_hand():
    """At V = 65, with BOS read and EOS written: U has 66 columns, the readout 66 rows."""
    H, S = 384, 66
    readout = S * H + S
    expected = {
        "tanh": H * S + H * H + H + readout,
        "lstm": 4 * (H * S + H * H + H) + readout,
        "coupled_lstm": 3 * (H * S + H * H + H) + readout,
        "gru": 3 * (H * S + H * H + H) + H + readout,
        "min_gru": 2 * (H * S + H) + readout,
        "skip": H * S + 2 * H * H + H + readout,
        "output_recurrent": H * S + H * S + H + readout,
    }
    found = {row["name"]: row for row in table()}
    assert {name: found[name]["num_parameters"] for name in expected} == expected
    assert found["lstm"]["num_trained"] == expected["lstm"]
    assert found["echo_state"]["num_trained"] == readout


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("tanh", "10.2"),
        ("leaky", "10.9.2"),
        ("lstm", "10.10.1"),
        ("gru", "10.10.2"),
        ("output_recurrent", "10.2.1"),
        ("time_delay", "10"),
        ("echo_state", "10.8"),
        ("coupled_lstm", "Greff et al. 2017"),
        ("layer_norm_lstm", "Ba, Kiros and Hinton 2016"),
        ("min_gru", "Feng et al. 2024"),
    ],
)
def test_where_a_cell_comes_from(name, place):
    about = describe(name)
    assert (about.section or about.paper) == place
    assert place in about.source


def test_symbols_are_those_of_the_docstrings():
    assert symbol("lstm", "weight_hh") == "W"
    assert symbol("skip", "weight_ih") == "U"
    assert symbol("leaky", "leak") == "a"
    assert symbol("time_delay", "3.weight_delayed") == "A'_3"
    assert symbol("output_recurrent", "bias_ho") == "c"
    assert symbol("tanh", "unheard_of") == "unheard_of"


LINES = " ╵╷│╴┘┐┤╶└┌├─┴┬┼"
"""Indexed by the sum of the directions in which lines leave a place: 1 up, 2 down, 4 left, 8 right."""


@pytest.mark.parametrize("name", CELL_NAMES)
def test_no_line_of_a_drawing_ends_in_nothing(name):
    """Every line goes on at each place, or touches a node, a label or an arrow."""
    _, *lines = describe(name).unfolded
    there = {(x, y): c for y, line in enumerate(lines) for x, c in enumerate(line) if c != " "}
    for (x, y), c in there.items():
        bits = LINES.find(c)
        for bit, step in ((1, (0, -1)), (2, (0, 1)), (4, (-1, 0)), (8, (1, 0))):
            if bits > 0 and bits & bit:
                assert (x + step[0], y + step[1]) in there, (x, y, c)


@pytest.mark.parametrize("name", CELL_NAMES)
def test_one_cell_is_shown_whole(name):
    """The drawing names each matrix; the table has each parameter, the list each option."""
    shown = succeed("cells", name).stdout
    row = json.loads(succeed("cells", name, "--json").stdout)
    assert row == next(other for other in table() if other["name"] == name)
    drawing = "\n".join(row["unfolded"][1:])
    assert all(f"    {line}" in shown.splitlines() for line in row["unfolded"][1:])
    matrices = [part["symbol"] for part in row["parameters"] if part["name"].startswith("weight")]
    assert matrices
    assert all(matrix in drawing for matrix in matrices)
    model = make_model(name, vocab_size=65, hidden_size=384)
    assert sum(np.prod(part["shape"]) for part in row["parameters"]) == row["num_parameters"]
    assert {part["name"] for part in row["parameters"]} == {key.removeprefix("layers.0.") for key in model.shapes}
    assert {option["name"] for option in row["options"]} == set(option_names(name))
    for option in row["options"]:
        assert f"--{option['name'].replace('_', '-')}" in shown
    assert len(row["unfolded"]) > 5


def test_a_cell_that_does_not_exist():
    assert "lstm" in fail(2, "cells", "lstn")


@pytest.mark.parametrize("arguments", [(), ("-v",), *((name,) for name in CELL_NAMES)])
def test_it_fits_a_terminal_of_80_columns(arguments, monkeypatch):
    """Nothing reaches past the last column, where a terminal would break the line wherever it is."""
    file = io.StringIO()
    where = Console(file=file, force_terminal=True, width=80, markup=False, emoji=False, highlight=False)
    monkeypatch.setattr(cells, "console", lambda stream: where)
    succeed("cells", *arguments)
    lines = file.getvalue().splitlines()
    screen = pyte.Screen(200, len(lines) + 1)
    pyte.Stream(screen).feed("\r\n".join(lines))
    assert max(len(line.rstrip()) for line in screen.display) <= 80


def test_no_torch_is_imported():
    assert "torch" not in imported_by(run_code("cells"))
