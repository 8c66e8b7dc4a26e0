"""`charrnn info`: runs, one run, one checkpoint."""

import json
import os
import shutil
from pathlib import Path

import pytest
from helpers_cli import fail, imported_by, json_lines, run_code, succeed, train, write_names

from charrnn.checkpoint import Checkpoint, RunDirectory
from charrnn.config import RunRecord
from charrnn.models.store import ModelConfig


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints"
    corpus = write_names(tmp_path)
    train(folder, corpus, "--eval-every", "2", "--keep", "3")
    train(folder, corpus, "--stop", "all", "--cell", "gru", "--name", "other", steps=2)
    for age, name in enumerate(("other", "names")):
        for path in (folder / name).rglob("*"):
            os.utime(path, (2**30 + age, 2**30 + age))
    return folder


def show(root: Path, *arguments: str | Path) -> str:
    return succeed("info", *arguments, "--checkpoints", root).stdout


def test_all_runs_the_newest_first(root):
    head, *rows = show(root).splitlines()
    assert head.split() == ["RUN", "CELL", "STOP", "STEPS", "BITS/CHAR", "SAVED"]
    assert [row.split()[0] for row in rows] == ["names", "other"]
    assert "gru 1 x 8" in rows[1]
    assert "eos halt length" in rows[1]
    found = json.loads(show(root, "--json"))
    assert [run["name"] for run in found] == ["names", "other"]
    best = RunDirectory(root / "names").best()
    assert found[0]["best_step"] == best.step
    assert found[0]["best_bits_per_char"] == pytest.approx(best.loss / 0.6931471805599453)
    assert f"{found[0]['best_bits_per_char']:.3f}" in rows[0]


def test_no_runs_yet(tmp_path):
    result = succeed("info", "--checkpoints", tmp_path / "none")
    assert result.stdout == ""
    assert "charrnn train CORPUS" in result.stderr
    assert json.loads(succeed("info", "--json", "--checkpoints", tmp_path / "none").stdout) == []


def test_a_run(root):
    record = RunDirectory(root / "names").read_run(RunRecord)
    shown = show(root, "names")
    for words in (
        "lstm 1 x 8", f"{record.num_parameters:,} parameters", record.corpus_files[0], "4 steps; seed 1",
        "nats/char", "perplexity", "step 2, ", "step 4, ", "(best)",
    ):  # fmt: skip
        assert words in shown
    assert record.corpus_sha256 not in shown
    assert record.corpus_sha256 in show(root, "names", "-v")


def test_the_parent_of_a_run(root, tmp_path):
    train(root, tmp_path / "names.txt", "--init-from", "other", "--name", "child", "--cell", "gru")
    assert "Parent      other" in show(root, "child")
    assert "Parent" not in show(root, "other")


def test_a_run_as_json(root):
    (found,) = json_lines(succeed("info", "names", "--json", "--checkpoints", root))
    assert found["config"]["hidden_size"] == 8
    assert [checkpoint["step"] for checkpoint in found["checkpoints"]] == [2, 4]
    (best,) = (checkpoint["step"] for checkpoint in found["checkpoints"] if checkpoint["is_best"])
    assert best == found["best_step"]
    for checkpoint in found["checkpoints"]:
        files = [path for path in Path(checkpoint["path"]).iterdir() if path.name != "MANIFEST.json"]
        assert checkpoint["bytes"] == sum(path.stat().st_size for path in files)
    assert found["last_row"]["step"] == 4


def test_a_checkpoint_that_was_copied(root, tmp_path):
    copy = shutil.copytree(root / "other" / "checkpoint-00000002", tmp_path / "copy")
    shown = show(root, copy)
    config = Checkpoint.open(copy).config(ModelConfig)
    for words in ("step 2", "gru 1 x 8", "--stop eos halt length", f"{config.vocab_size}: 'abcdé'"):
        assert words in shown
    (found,) = json_lines(succeed("info", copy, "--json", "--checkpoints", root))
    record = RunDirectory(root / "other").read_run(RunRecord)
    assert found["num_parameters"] == record.num_parameters
    assert found["config"]["stop"] == ["eos", "halt", "length"]
    assert found["model_sha256"] == Checkpoint.open(copy).model_sha256
    assert "name its run" in fail(4, "info", copy, "--toml", "--checkpoints", root)


def test_a_run_that_has_not_saved_yet(root):
    shutil.rmtree(root / "names" / "checkpoint-00000002")
    shutil.rmtree(root / "names" / "checkpoint-00000004")
    (root / "names" / "best.json").unlink()
    assert "none yet" in show(root, "names")
    assert "names" in show(root)


def test_damage_is_shown_and_does_not_hide_other_runs(root):
    (root / "names" / "checkpoint-00000002" / "MANIFEST.json").write_text("{}")
    assert "step 2, damaged" in show(root, "names")
    (root / "names" / "run.json").write_text('{"schema": "charrnn.run/1"}')
    rows = show(root).splitlines()
    assert rows[2].split()[:2] == ["names", "damaged"] or rows[1].split()[:2] == ["names", "damaged"]
    assert any(row.startswith("other  gru") or "gru 1 x 8" in row for row in rows)
    problems = {run["name"]: run["problem"] for run in json.loads(show(root, "--json"))}
    assert "run.json" in problems["names"]
    assert problems["other"] is None
    assert "run.json" in fail(4, "info", "names", "--checkpoints", root)


def test_no_torch_is_imported(root):
    for arguments in ((), ("names",), (root / "names" / "checkpoint-00000004",)):
        modules = imported_by(run_code("info", *arguments, "--checkpoints", root))
        assert "torch" not in modules
