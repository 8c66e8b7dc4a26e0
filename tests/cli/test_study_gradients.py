"""`charrnn study gradients`: what it prints, draws and refuses."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import fail, imported_by, run_code, succeed, train, write_names

from charrnn.checkpoint import resolve_checkpoint
from charrnn.cli.decay import chart, some_lags
from charrnn.models.store import load_model

COMMAND = ("study", "gradients")
TEXT = "the cat sat on the mat and the dog ate the rat\n" * 40


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Under `runs` a model of names, one of two layers of a text, and one of another task."""
    folder: Path = tmp_path_factory.mktemp("gradients")
    (folder / "book.txt").write_text(TEXT)
    (folder / "table.tsv").write_text("text\tlabel\n" + "aab\tx\nbba\ty\n" * 40)
    train(folder / "runs", write_names(folder), "--name", "names", "--cell", "gru")
    book = ("--name", "book", "--split", "file", "--stop", "none", "--num-layers", "2", "--test-fraction", "0.3")
    train(folder / "runs", folder / "book.txt", *book)
    train(folder / "runs", folder / "table.tsv", "--task", "classify", "--name", "labels", steps=1)
    return folder


def found(home: Path, *arguments: str | Path) -> dict[str, Any]:
    shown = succeed(*COMMAND, *arguments, "--checkpoints", home / "runs", "--json", "-q").stdout

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not strict JSON")

    report: dict[str, Any] = json.loads(shown, parse_constant=refuse)
    return report


def refused(code: int, home: Path, *arguments: str | Path) -> str:
    return fail(code, *COMMAND, *arguments, "--checkpoints", home / "runs")


@pytest.fixture(scope="module")
def report(home) -> dict[str, Any]:
    return found(home, "book", "--length", "60", "--rows", "2")


def test_a_run_on_its_own_held_out_text(home, report):
    assert report["schema"] == "charrnn.study.gradients/1"
    assert (report["run"], report["step"], report["model"]) == ("book", 4, "lstm 2 x 8")
    assert (report["data"], report["rows"], report["length"]) == ("the test split of book", 2, 60)
    saved = load_model(resolve_checkpoint("book", home / "runs"))
    for number, layer in enumerate(report["layers"]):
        assert len(layer["own"]["norms"]) == len(layer["top"]["norms"]) == len(layer["stretch"]["each"]) == 60
        assert layer["own"]["norms"][0] > layer["own"]["norms"][-1] > 0.0
        W = saved.params[f"layers.{number}.weight_hh"].astype(np.float64)
        for block, matrix in zip(np.vsplit(W, 4), layer["matrices"], strict=True):
            eigenvalues = np.linalg.eigvals(block)
            assert matrix["radius"] == pytest.approx(np.abs(eigenvalues).max(), rel=1e-9)
            got = [complex(*pair) for pair in matrix["eigenvalues"]]
            np.testing.assert_allclose(np.sort_complex(got), np.sort_complex(eigenvalues), atol=1e-9)


def test_another_text_and_the_text_of_a_model_of_independent_sequences(home):
    report = found(home, "names", "--rows", "2")
    assert report["warm_up"] == 0
    assert 2 <= report["length"] <= 7, "names of at most six characters, and BOS"
    other = found(home, "book", home / "names.txt", "--length", "5", "--rows", "3")
    assert (other["data"], other["rows"]) == (str(home / "names.txt"), 3)
    assert other["layers"] != found(home, "book", "--length", "5", "--rows", "3")["layers"]


def test_the_table_fits_80_columns_and_says_what_it_shows(home, report):
    result = succeed(*COMMAND, "book", "--checkpoints", home / "runs", "--length", "60", "--rows", "2", "-q")
    lines = result.stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("∂")}
    heads = next(line for line in lines if line.startswith("NORM AT LAG"))
    assert heads.split()[3:] == ["1", "2", "5", "10", "20", "50", "60"]
    assert list(rows) == ["∂h1/∂s1", "∂h2/∂s1", "∂h2/∂s2"]
    for name, curve in (("∂h1/∂s1", report["layers"][0]["own"]), ("∂h2/∂s1", report["layers"][0]["top"])):
        expected = [curve["norms"][lag - 1] for lag in (1, 2, 5, 10, 20, 50, 60)]
        np.testing.assert_allclose([float(x) for x in rows[name]], expected, rtol=0.06)
    words = next(number for number, line in enumerate(lines) if line.startswith("Norm "))
    assert max(map(len, lines[2:words])) <= 80
    assert "the Lyapunov exponent does" in result.stdout
    assert sum(line.split()[1:2] == ["W_f"] for line in lines) == 2
    assert "\x1b" not in result.stdout


def test_a_model_that_was_not_trained(home):
    sizes = ("--hidden-size", "6", "--num-layers", "2", "--length", "10", "--rows", "1")
    one = found(home, "--cell", "leaky", "--leak-alpha", "0.9", *sizes, home / "book.txt")
    assert (one["run"], one["step"], one["model"]) == (None, None, "leaky 2 x 6")
    again = found(home, "--cell", "leaky", "--leak-alpha", "0.9", *sizes, home / "book.txt")
    other = found(home, "--cell", "leaky", "--leak-alpha", "0.9", "--seed", "1", *sizes, home / "book.txt")
    assert again == one
    assert other["layers"] != one["layers"]
    quick = found(home, "--cell", "leaky", "--leak-alpha", "0", *sizes, home / "book.txt")
    assert quick["layers"][0]["lyapunov"] < one["layers"][0]["lyapunov"] < 0.0
    fed = ("--cell", "output_recurrent", "--feedback", "output", "--hidden-size", "6", "--length", "3")
    assert [m["matrix"] for m in found(home, *fed, home / "book.txt")["layers"][0]["matrices"]] == ["V W"]


def test_what_has_no_logarithm_is_null(home):
    options = ("--cell", "time_delay", "--delay-levels", "2", "--hidden-size", "4", "--length", "9", "--rows", "1")
    (layer,) = found(home, *options, "--num-layers", "1", home / "book.txt")["layers"]
    assert layer["own"]["norms"][3:] == [0.0] * 6
    assert layer["own"]["log_norms"][3:] == [None] * 6
    assert layer["lyapunov"] is layer["own"]["rate"] is None
    shown = succeed(*COMMAND, *options, home / "book.txt", "--checkpoints", home / "runs", "-q").stdout
    assert "−∞" in shown


@pytest.mark.parametrize(
    ("length", "lags"),
    [
        (1, [1]),
        (2, [1, 2]),
        (7, [1, 2, 5, 7]),
        (100, [1, 2, 5, 10, 20, 50, 100]),
        (300, [1, 10, 20, 50, 100, 200, 300]),
    ],
)
def test_the_lags_of_the_table_are_seven_at_most(length, lags):
    assert some_lags(length) == lags


def test_a_length_of_one(home):
    report = found(home, "book", "--length", "1")
    assert report["layers"][0]["own"]["rate"] is None
    assert math.isfinite(report["layers"][0]["lyapunov"])
    assert "∂h1/∂s1" in succeed(*COMMAND, "book", "--length", "1", "--checkpoints", home / "runs", "-q").stdout


def test_a_chart_of_a_straight_line_is_straight():
    """10⁻¹ to 10⁻¹¹ over eleven lags: one order of magnitude a column and a row."""
    lines = chart([[10.0**-lag for lag in range(1, 12)]])
    assert [line.rstrip()[9:] for line in lines[:11]] == [" " * column + "1" for column in range(11)]
    assert lines[0].split()[0] == "1e-1"
    assert lines[10].split()[0] == "1e-11"
    assert chart([[0.0, 0.0]]) == []
    assert chart([[1.0]]) == []


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture(home, tmp_path, kind):
    path = tmp_path / f"decay.{kind}"
    found(home, "book", "--length", "12", "--rows", "1", "--picture", path)
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_a_picture_needs_matplotlib_and_a_place(home, tmp_path, monkeypatch):
    short = ("book", "--length", "5", "--rows", "1", "--json", "--checkpoints", home / "runs", "--picture")
    assert "a.xyz" in fail_after_output(2, *short, tmp_path / "a.xyz")
    assert "cannot be written" in fail_after_output(3, *short, tmp_path / "none" / "a.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install matplotlib" in refused(2, home, "book", "--picture", tmp_path / "a.png")


def fail_after_output(code: int, *arguments: str | Path) -> str:
    from helpers_cli import invoke

    result = invoke(*COMMAND, *arguments)
    assert result.exit_code == code, result.output
    return result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (4, ("labels",), "--task classify"),
        (4, ("labels", "book.txt"), "--task classify"),
        (3, ("book", "--length", "5000"), "too few for 1 row of 5,000"),
        (3, ("names", "--length", "50"), "independent sequences have 50 steps or more"),
        (3, ("nothing",), "nothing: neither a run"),
        (2, ("--cell", "output_recurrent", "book.txt"), "carries no state"),
        (2, ("--cell", "tanh"), "--cell needs one FILE"),
        (2, ("--cell", "tanh", "book", "book.txt"), "no RUN"),
        (3, ("--cell", "tanh", "nothing.txt"), "nothing.txt"),
        (2, ("--cell", "tanh", "--leak-alpha", "0.5", "book.txt"), "--cell tanh has no --leak-alpha"),
        (2, ("book", "--hidden-size", "5"), "--hidden-size"),
        (2, ("book", "--rows", "0"), "--rows"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(home, code, arguments, words):
    paths = [home / word if word == "book.txt" else word for word in arguments]
    assert words in refused(code, home, *paths)


def test_progress_is_on_stderr_alone(home):
    result = succeed(*COMMAND, "book", "--length", "5", "--checkpoints", home / "runs", "--json")
    assert len(result.stdout.splitlines()) == 1


def test_no_picture_imports_no_matplotlib():
    assert "matplotlib" not in imported_by(run_code(*COMMAND, "-h"))
