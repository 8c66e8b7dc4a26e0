"""`charrnn study span`: what it tries, what it tells, that it goes on, and what it refuses."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers_cli import fail, succeed

from charrnn.cli.study_span import PROBLEM_NAMES
from charrnn.study.problems import PROBLEMS

TINY = ("--hidden-size", "8", "--batch-size", "8", "--steps", "6", "--jobs", "1")
COPYING = ("--problem", "copying", "--span", "1", "--span", "4")


def span(root: Path, *options: str | Path, tiny: tuple[str, ...] = TINY) -> Any:
    return succeed("study", "span", "--checkpoints", root, *tiny, *options)


def span_json(root: Path, *options: str | Path, tiny: tuple[str, ...] = TINY) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is not JSON")

    found: dict[str, Any] = json.loads(
        span(root, "--json", "-q", *options, tiny=tiny).stdout, parse_constant=refuse
    )
    return found


def test_the_problems_of_the_help_are_those_there_are():
    assert tuple(PROBLEMS) == PROBLEM_NAMES


def test_every_attempt_is_told(tmp_path):
    found = span_json(tmp_path, *COPYING, "--seeds", "2", "--cell", "tanh", "--cell", "lstm")
    assert found["schema"] == "charrnn.study.span/1"
    assert (found["problem"], found["spans"], found["seeds"], found["steps"]) == ("copying", [1, 4], 2, 6)
    assert found["baseline"] == PROBLEMS["copying"].baseline
    assert [(a["label"], a["span"], a["seed"]) for a in found["attempts"]] == [
        (cell, n, seed) for cell in ("tanh", "lstm") for n in (1, 4) for seed in (1, 2)
    ]
    for one in found["attempts"]:
        assert (one["solved"], one["steps"]) == (False, 6)
        assert 1.0 < one["loss"] < 2.0
    assert [(s["label"], s["span"], s["attempts"], s["solved"]) for s in found["summary"]] == [
        (cell, n, 2, 0) for cell in ("tanh", "lstm") for n in (1, 4)
    ]
    assert found["chain"] is None
    kept = (tmp_path / ".span" / "copying.jsonl").read_text().splitlines()
    assert len(kept) == 8


def test_the_same_command_makes_nothing_anew(tmp_path):
    options = (*COPYING, "--seeds", "1", "--cell", "gru")
    first = span_json(tmp_path, *options, "--results", tmp_path / "mine.jsonl")
    kept = (tmp_path / "mine.jsonl").read_bytes()
    shown = span(tmp_path, *options, "--results", tmp_path / "mine.jsonl")
    assert "2 of 2 attempts are in" in shown.stderr
    assert (tmp_path / "mine.jsonl").read_bytes() == kept
    assert span_json(tmp_path, *options, "--results", tmp_path / "mine.jsonl") == first
    assert not (tmp_path / ".span").exists()


def test_the_table_holds_successes_steps_losses_and_the_constant(tmp_path):
    options = ("--problem", "copying", "--span", "1", "--span", "30", "--cell", "tanh", "--seeds", "2", "-q")
    shown = span(tmp_path, *options, "--learning-rate", "0.02", tiny=("--jobs", "1", "--steps", "200"))
    heads, counts, losses, constant = shown.stdout.splitlines()
    assert heads.split() == ["DESIGN", "SPAN", "1", "SPAN", "30"]
    solved, failed = counts.removeprefix("tanh").rsplit(maxsplit=1)
    assert solved.split()[:2] == ["2/2", "in"]
    assert 100 <= float(solved.split()[2]) <= 200
    assert failed == "0/2"
    low, high = map(float, losses.removeprefix("  loss").split())
    assert low < 0.3 < 1.2 < high
    assert constant.split() == ["constant's", "loss", "1.386", "1.386"]


def test_the_default_table_fits_80_columns(tmp_path):
    """With as many digits as its figures can have."""
    from charrnn.cli.span_report import print_successes
    from charrnn.study.sweep import Successes

    cells = {
        (label, n): Successes(label=label, span=n, attempts=5, solved=5, median_steps=1500.0, median_loss=0.1667)
        for label in ("tanh", "lstm", "gru")
        for n in (25, 50, 100, 200)
    }
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as written:
        print_successes(PROBLEMS["adding"], ["tanh", "lstm", "gru"], [25, 50, 100, 200], cells, 0.1)
    lines = written.getvalue().splitlines()
    assert "5/5 in 1,500" in lines[1]
    assert max(map(len, lines[:8])) <= 80


def test_options_hold_for_all_designs_and_variants_add_to_them(tmp_path):
    found = span_json(
        tmp_path, *COPYING, "--seeds", "1", "--clip", "value", "--grad-clip", "0.5", "--cell", "tanh",
        "--variant", "slow: --cell leaky --leak-alpha 0:0.99 --learning-rate 0.002 --clip none",
        "--variant", "flow: --cell tanh --init orthogonal --flow-penalty 2",
    )  # fmt: skip
    plain, slow, flow = found["designs"]
    assert [design["label"] for design in found["designs"]] == ["tanh", "slow", "flow"]
    assert plain["remedies"] == {"clip": "value", "grad_clip": 0.5, "init": "default", "flow_penalty": 0.0}
    assert (slow["cell"], slow["options"], slow["learning_rate"]) == ("leaky", {"leak_alpha": "0:0.99"}, 0.002)
    assert slow["remedies"]["clip"] == "none"
    assert flow["remedies"] == {"clip": "value", "grad_clip": 0.5, "init": "orthogonal", "flow_penalty": 2.0}
    assert {design["hidden_size"] for design in found["designs"]} == {8}
    losses = {one["label"]: one["loss"] for one in found["attempts"]}
    assert len(set(losses.values())) == 3


def test_a_forget_bias_is_the_cells(tmp_path):
    found = span_json(tmp_path, *COPYING, "--seeds", "1", "--cell", "lstm", "--forget-bias", "3")
    assert found["designs"][0]["options"] == {"forget_bias": 3.0}


def test_the_chain_is_told_of(tmp_path):
    options = (*COPYING, "--seeds", "1", "--cell", "tanh", "--chain", "0.1")
    chain = span_json(tmp_path, *options)["chain"]
    assert [item["weights"] for item in chain] == [1, 4]
    assert chain[1]["weight_variance"] ** 4 == pytest.approx(0.1)
    assert chain[1]["log10_repeated_variance"] == pytest.approx(0.98, abs=0.01), "(105 − 9) v⁴"
    assert "PRODUCT OF N WEIGHTS" in span(tmp_path, *options).stdout


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_a_picture_is_drawn(tmp_path, suffix, magic):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"spans{suffix}"
    span(tmp_path, *COPYING, "--seeds", "1", "--cell", "tanh", "--picture", path)
    assert path.read_bytes().startswith(magic)


def test_without_matplotlib_a_picture_is_refused_before_anything_is_tried(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    line = fail(2, "study", "span", "--checkpoints", tmp_path / "c", "--picture", tmp_path / "x.png")
    assert "pip install matplotlib" in line
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--span", "1"), "--span 1: adding needs at least 2"),
        (("--problem", "adjoining"), "adding"),
        (("--forget-bias", "2"), "tanh has no --forget-bias"),
        (("--cell", "lstm", "--init", "identity"), "identity"),
        (("--variant", "leaky"), "LABEL"),
        (("--variant", "x: --leak-alpha 0.5"), "--cell"),
        (("--variant", "x: --cell leaky --leak-alpha 1.5"), "leak_alpha"),
        (("--variant", "x: --cell leaky --seeds 3"), "--seeds"),
        (("--variant", "x: --cell 'tanh"), "quotation"),
        (("--variant", "x: --cell tanh", "--variant", "x: --cell gru"), "already"),
        (("--learning-rate", "inf"), "finite"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, options, words):
    line = fail(2, "study", "span", "--checkpoints", tmp_path / "c", "-q", *options)
    assert words in line
    assert not (tmp_path / "c").exists()


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("anna\n")
    line = fail(4, "study", "span", *COPYING, *TINY, "--cell", "tanh", "-q", "--results", path)
    assert "names.txt: line 1" in line


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_sweep_that_is_stopped_keeps_what_has_ended_and_goes_on(tmp_path, jobs):
    options = ["--problem", "copying", "--cell", "tanh", "--span", "3", "--span", "4", "--seeds", "3"]
    options += ["--hidden-size", "8", "--steps", "400", "--jobs", jobs]
    command = [sys.executable, "-m", "charrnn", "study", "span", "--checkpoints", str(tmp_path), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    kept = tmp_path / ".span" / "copying.jsonl"
    while process.poll() is None and not (kept.exists() and kept.read_bytes().count(b"\n")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert "goes on" in said
    done = kept.read_bytes().count(b"\n")
    assert 1 <= done < 6

    def told(root: Path) -> list[dict[str, Any]]:
        return [{**one, "seconds": 0} for one in span_json(root, *options, tiny=())["attempts"]]

    assert told(tmp_path) == told(tmp_path / "whole")
