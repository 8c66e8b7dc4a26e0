"""Checkpoints whose files are whole and whose configuration does not fit together, of every task."""

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from helpers_cli import fail, succeed, train

from charrnn.checkpoint import MODEL, Checkpoint, encode_json, encode_tensors, resolve_checkpoint
from charrnn.checkpoint.atomic import write_directory
from charrnn.checkpoint.manifest import make_manifest
from charrnn.errors import CheckpointError
from charrnn.models.store import task_of
from charrnn.tasks.task import task

ROWS = [("a", "1.5", "xyxx"), ("b", "2.5", "yxyy"), ("a", "0.5", "xxxy"), ("b", "3.5", "yyyx")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    table = folder / "rows.tsv"
    table.write_text("kind\tsize\ttext\n" + "".join("\t".join(row) + "\n" for row in ROWS * 8), encoding="utf-8")
    pairs = ("--source-column", "text", "--target-column")
    root, same = folder / "runs", folder / "same.tsv"
    same.write_text("".join(f"{row[2]}\t{row[2].upper()}\n" for row in ROWS * 8), encoding="utf-8")
    train(root, table, "--context", "kind", "--context", "size", "--text-column", "text", "--name", "generate")
    train(
        root, table, "--task", "classify", "--text-column", "text", "--label-column", "kind", "--name", "classify"
    )
    train(root, same, "--task", "tag", "--feedback", "target", "--name", "tag")
    nested = folder / "nested.tsv"
    nested.write_text("".join(f"{row[0]}\t( {row[0]} ( {row[2]} b ) )\n" for row in ROWS * 8), encoding="utf-8")
    train(root, nested, "--task", "tree", "--leaves", "characters", "--name", "tree")
    train(root, table, "--task", "transduce", *pairs, "size", "--context", "kind", "--name", "transduce")
    return root


def altered(checkpoint: Checkpoint, path: Path, file: str, change: Callable[[Any], object]) -> Checkpoint:
    """A copy in which one JSON file is another and everything else, the manifest included, is in order."""
    files = {name: (checkpoint.path / name).read_bytes() for name in checkpoint.manifest.files}
    values = json.loads(files[file])
    change(values)
    files[file] = encode_json(values)
    write_directory(path, {**files, "MANIFEST.json": encode_json(make_manifest(checkpoint.step, files))})
    return Checkpoint.open(path)


def at(*keys: str | int, value: object) -> Callable[[Any], None]:
    """A change: the value at a place of nested objects and lists."""

    def change(values: Any) -> None:
        *way, last = keys
        for key in way:
            values = values[key]
        values[last] = value

    change.__name__ = f"{'.'.join(map(str, keys))}={value}"
    return change


@pytest.mark.parametrize(
    ("run", "file", "change"),
    [
        ("generate", "config.json", at("columns", 0, "counts", value=[1])),
        ("generate", "config.json", at("columns", 0, "values", value=["a"])),
        ("generate", "config.json", at("columns", 1, "scale", value=0)),
        ("generate", "config.json", at("columns", value=[])),
        ("generate", "config.json", at("separator", value="\x1b]52;c;aGk=\x07")),
        ("generate", "config.json", at("context_size", value=2)),
        ("generate", "config.json", at("context_readout", value=True)),
        ("generate", "config.json", at("attention", value="dot")),
        ("generate", "config.json", at("memory_size", value=8)),
        ("generate", "config.json", at("task", value="classify")),
        ("classify", "config.json", at("label", "counts", value=[])),
        ("classify", "config.json", at("label", "values", value=["a", "b", "c"])),
        ("classify", "config.json", at("pooling", value="median")),
        ("classify", "config.json", at("encoder", "direction", value="forward")),
        ("classify", "config.json", at("encoder", "hidden_size", value=1 << 40)),
        ("tag", "config.json", at("num_tags", value=3)),
        ("tag", "config.json", at("decoder", value=None)),
        ("tag", "config.json", at("decoder", "context_mode", value="both")),
        ("tag", "config.json", at("decoder", "context_readout", value=False)),
        ("tag", "config.json", at("decoder", "stop", value=["eos"])),
        ("tag", "config.json", at("decoder", "context_size", value=1)),
        ("tag", "vocab.json", at("outputs", value=None)),
        ("tag", "vocab.json", at("outputs", value=["Y", "X"])),
        ("tree", "config.json", at("composition", value="child_sum")),
        ("tree", "config.json", at("encoder", value=None)),
        ("tree", "config.json", at("encoder", "vocab_size", value=2)),
        ("tree", "config.json", at("encoder", "hidden_size", value=7)),
        ("tree", "config.json", at("hidden_size", value=1 << 40)),
        ("tree", "config.json", at("vocab_size", value=1)),
        ("tree", "vocab.json", at("symbols", value=["x"])),
        ("transduce", "config.json", at("columns", value=[])),
        ("transduce", "config.json", at("decoder", "memory_size", value=7)),
        ("transduce", "config.json", at("decoder", "attention", value=None)),
        ("transduce", "config.json", at("decoder", "vocab_size", value=1)),
        ("transduce", "config.json", at("encoder", "cell", value="output_recurrent")),
        ("transduce", "vocab.json", at("symbols", value=["x"])),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(run, file, change, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    checkpoint = resolve_checkpoint(run, runs, "best")
    task(task_of(checkpoint)).open_model(checkpoint)
    other = altered(checkpoint, tmp_path / checkpoint.path.name, file, change)
    of = task(task_of(other))
    with pytest.raises(CheckpointError) as caught:
        of.open_model(other)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("run", "name", "value"),
    [
        ("classify", "log_temperature", 10_000.0),
        ("classify", "log_temperature", math.nan),
        ("generate", "readout.bias", 1e38),
        ("tree", "readout.weight", -math.inf),
    ],
)
def test_weights_that_no_training_makes_are_refused(run, name, value, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    checkpoint = resolve_checkpoint(run, runs, "best")
    files = {file: (checkpoint.path / file).read_bytes() for file in checkpoint.manifest.files}
    weights = safetensors.numpy.load(files[MODEL])
    weights[name] = np.full_like(weights[name], value)
    files[MODEL] = encode_tensors(weights)
    path = tmp_path / checkpoint.path.name
    write_directory(path, {**files, "MANIFEST.json": encode_json(make_manifest(checkpoint.step, files))})
    with pytest.raises(CheckpointError, match=f"{name} is not within"):
        task(task_of(checkpoint)).open_model(Checkpoint.open(path))


@pytest.mark.parametrize("created", ["x", "", "9999-99-99T00:00:00Z", 5, None, "2026-01-01T00:00:00"])
def test_a_date_that_is_none_is_refused(runs, tmp_path, created):
    shutil.copytree(runs / "generate", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_bytes())
    record["created"] = created
    (tmp_path / "run" / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert "created" in fail(4, "info", tmp_path / "run")


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"])
def test_a_date_that_no_clock_shows_is_shown(runs, tmp_path, created):
    shutil.copytree(runs / "generate", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_bytes())
    record["created"] = created
    (tmp_path / "run" / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert created[:4] in succeed("info", tmp_path / "run").stdout
