"""`charrnn study compare`: what is trained, that it goes on, and that what it says of a run is so."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import fail, succeed, write_names

from charrnn.checkpoint import RunDirectory, resolve_checkpoint
from charrnn.config import RunRecord, TrainConfig
from charrnn.errors import UsageError
from charrnn.models.store import load_model
from charrnn.study.compare import equal_hidden_size
from charrnn.tasks.generate.data import load_dataset
from charrnn.tasks.generate.defaults import resolve

TINY = ("--steps", "6", "--hidden-size", "8", "--num-layers", "1", "--batch-size", "4")


def compare(folder: Path, *options: str, tiny: tuple[str, ...] = TINY) -> list[dict[str, Any]]:
    arguments = (
        write_names(folder),
        "--checkpoints",
        folder / "checkpoints",
        "--json",
        "-q",
        *options,
        "--",
        *tiny,
    )
    found: list[dict[str, Any]] = json.loads(succeed("study", "compare", *arguments).stdout)
    return found


@pytest.mark.slow
def test_each_design_is_trained_with_each_seed_and_measured(tmp_path):
    found = compare(tmp_path, "--cell", "tanh", "--cell", "gru", "--seeds", "2", "--jobs", "2")
    assert {(run["label"], run["seed"]) for run in found} == {(c, s) for c in ("tanh", "gru") for s in (1, 2)}
    for run in found:
        record = RunDirectory(tmp_path / "checkpoints" / run["run"]).read_run(RunRecord)
        assert (record.config.cell, record.config.seed, record.config.threads) == (run["label"], run["seed"], 1)
        saved = load_model(resolve_checkpoint(run["run"], tmp_path / "checkpoints"))
        assert run["parameters"] == sum(array.size for array in saved.params.values())
        report = json.loads(
            succeed("eval", run["run"], "--checkpoints", tmp_path / "checkpoints", "--json").stdout
        )
        assert run["loss"] == pytest.approx(report["loss"], rel=1e-9)
        assert run["steps"] == 6
        assert run["chars_per_second"] > 0


@pytest.mark.slow
def test_what_is_done_is_not_trained_again(tmp_path):
    first = compare(tmp_path, "--cell", "tanh")
    runs = tmp_path / "checkpoints" / "names-tanh-6-steps-1"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("model.safetensors")}
    both = compare(tmp_path, "--cell", "tanh", "--cell", "leaky")
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("model.safetensors")} == before
    assert both[0] == first[0]
    assert both[1]["label"] == "leaky"


@pytest.mark.slow
def test_another_budget_makes_other_runs(tmp_path):
    short = compare(tmp_path, "--cell", "tanh")
    long = compare(tmp_path, "--cell", "tanh", tiny=("--steps", "8", *TINY[2:]))
    assert (short[0]["steps"], long[0]["steps"]) == (6, 8)
    assert compare(tmp_path, "--cell", "tanh") == short


@pytest.mark.slow
def test_other_settings_for_a_run_that_is_there_are_an_error(tmp_path):
    compare(tmp_path, "--cell", "tanh")
    options = ("--checkpoints", tmp_path / "checkpoints", "-q", "--cell", "tanh", "--", *TINY[:-1], "5")
    line = fail(2, "study", "compare", write_names(tmp_path), *options)
    assert "names-tanh-6-steps-1" in line
    assert "--batch-size" in line


@pytest.mark.slow
def test_a_design_that_diverges_is_a_line_of_the_table(tmp_path):
    variants = ("--variant", "sound: --cell tanh", "--variant", "wild: --cell tanh --learning-rate 1e9")
    found = compare(tmp_path, *variants, tiny=("--steps", "60", *TINY[2:]))
    assert [run["loss"] is None for run in sorted(found, key=lambda run: run["label"])] == [False, True]


@pytest.mark.slow
def test_depth_is_compared_at_equal_size(tmp_path):
    found = compare(tmp_path, "--what", "depth", tiny=("--steps", "2", "--hidden-size", "40"))
    sizes = {run["label"]: run["parameters"] for run in found}
    assert set(sizes) == {"wide", "deep input", "deep transition", "deep output", "stacked"}
    assert len(set(sizes.values())) > 1, "equal to the last parameter would be a coincidence"
    assert max(abs(size / sizes["wide"] - 1.0) for size in sizes.values()) < 0.05


def test_the_units_of_a_size_are_the_nearest(tmp_path):
    config = TrainConfig(corpus=(str(write_names(tmp_path)),), cell="lstm", seed=1)
    dataset = load_dataset(config, tmp_path / "checkpoints")
    V, E = dataset.vocabulary.size, resolve(config, dataset).embedding_size
    for target in (20_000, 50_000):
        H = equal_hidden_size(config, dataset, target)
        sizes = [abs((V + 1) * E + 4 * n * (E + n + 1) + (V + 1) * (n + 1) - target) for n in (H - 1, H, H + 1)]
        assert int(np.argmin(sizes)) == 1
    with pytest.raises(UsageError, match="within 5 %"):
        equal_hidden_size(config, dataset, 70)


@pytest.mark.slow
def test_a_table_fits_80_columns(tmp_path):
    options = ("--checkpoints", tmp_path / "checkpoints", "-q", "--cell", "layer_norm_lstm", "--seeds", "2")
    shown = succeed("study", "compare", write_names(tmp_path), *options, "--", *TINY).stdout.splitlines()
    assert shown[0].split() == ["DESIGN", "PARAMETERS", "CHARS/S", "EPOCHS", "NATS/CHAR"]
    assert "±" in shown[1]
    assert max(map(len, shown)) <= 80


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--cell", "elman"), "min_gru"), (("--variant", "a: ", "--variant", "a: "), "one name")],
)
def test_what_cannot_be_compared_is_refused(tmp_path, options, words):
    line = fail(2, "study", "compare", write_names(tmp_path), "--checkpoints", tmp_path / "c", "-q", *options)
    assert words in line


@pytest.mark.slow
def test_a_comparison_that_is_stopped_keeps_its_runs_and_goes_on(tmp_path):
    runs = tmp_path / "checkpoints"
    arguments = ["study", "compare", str(write_names(tmp_path)), "--checkpoints", str(runs), "--cell", "tanh"]
    budget = ["--", "--steps", "100000", *TINY[2:]]
    process = subprocess.Popen(
        [sys.executable, "-m", "charrnn", *arguments, *budget], stderr=subprocess.PIPE, text=True
    )
    metrics = runs / "names-tanh-100000-steps-1" / "metrics.jsonl"
    while process.poll() is None and not metrics.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert "goes on" in said
    assert RunDirectory(runs / "names-tanh-100000-steps-1").steps(), "the run was saved"
