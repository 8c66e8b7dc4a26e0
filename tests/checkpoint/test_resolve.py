"""What a person means by RUN."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoint_examples import example_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn.checkpoint import (
    Checkpoint,
    RunDirectory,
    RunWriter,
    list_runs,
    names_a_run,
    resolve,
    resolve_checkpoint,
)
from charrnn.errors import CheckpointError, UsageError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Three runs, `old`, `new` and `empty`, beside what does not belong there; the working directory is above."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.chdir(tmp_path)
    root = Path("checkpoints")
    for age, (name, steps) in enumerate([("new", (1, 2)), ("old", (10, 20)), ("empty", ())]):
        with RunWriter.create_named(root, name) as run:
            run.write_run({})
            for step in steps:
                run.save_checkpoint(step, example_files(step))
            if steps:
                run.write_best(steps[0], 1.0)
        for path in (run.run_path, *run.path.glob("*/MANIFEST.json")):
            os.utime(path, ns=(0, 10**18 - age * 10**9))
    for name in (".corpus", "foreign", "foreign/checkpoint-00000001", ".tmp-gone-1"):
        (root / name).mkdir()
    (root / "foreign" / "run.json").write_text('{"project": "another tool"}')
    (root / "README.md").write_text("a note")
    Path("corpus.txt").write_text("text")
    return root


def test_list_runs_is_newest_first_and_passes_over_the_rest(root: Path) -> None:
    assert [run.name for run in list_runs(root)] == ["new", "old", "empty"]
    os.utime(root / "old" / "checkpoint-00000020" / "MANIFEST.json", ns=(0, 2 * 10**18))
    assert [run.name for run in list_runs(root)] == ["old", "new", "empty"]
    assert list_runs(Path("nowhere")) == []
    assert list_runs(Path("corpus.txt")) == []


def test_a_run_whose_run_json_is_damaged_is_still_listed(root: Path) -> None:
    (root / "old" / "run.json").write_bytes(b"{")
    assert "old" in [run.name for run in list_runs(root)]
    assert resolve_checkpoint("old", root).step == 10


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (None, "checkpoints/new"),
        ("old", "checkpoints/old"),
        ("checkpoints/old", "checkpoints/old"),
        ("checkpoints/old/", "checkpoints/old"),
        ("./checkpoints/../checkpoints/old", "checkpoints/../checkpoints/old"),
        ("checkpoints/old/checkpoint-00000020", "checkpoints/old/checkpoint-00000020"),
        ("old/checkpoint-00000020", "checkpoints/old/checkpoint-00000020"),
    ],
)
def test_resolve(root: Path, name: str | None, path: str) -> None:
    found = resolve(name, root)
    assert found.path == Path(path)
    assert isinstance(found, Checkpoint if found.path.name.startswith("checkpoint-") else RunDirectory)
    assert name is None or names_a_run(name, root)


def test_an_absolute_path_is_found_from_anywhere(root: Path, tmp_path: Path) -> None:
    assert (
        resolve(str(tmp_path / "checkpoints" / "old"), Path("elsewhere")).path == tmp_path / "checkpoints" / "old"
    )


def test_a_copied_checkpoint_is_found(root: Path) -> None:
    shutil.copytree(root / "old" / "checkpoint-00000020", "model")
    assert resolve_checkpoint("model", root).step == 20


def test_which_checkpoint(root: Path) -> None:
    assert resolve_checkpoint(None, root).step == 1
    assert resolve_checkpoint("old", root).step == 10
    assert resolve_checkpoint("old", root, "last").step == 20
    assert resolve_checkpoint("old", root, 20).step == 20
    assert resolve_checkpoint("old/checkpoint-00000020", root).step == 20
    assert resolve_checkpoint("old/checkpoint-00000020", root, 20).step == 20
    with pytest.raises(UsageError, match="is the checkpoint of step 20; name its run to choose 10"):
        resolve_checkpoint("old/checkpoint-00000020", root, 10)
    with pytest.raises(CheckpointError, match="no checkpoint of step 0"):
        resolve_checkpoint("old", root, 0)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        resolve_checkpoint("empty", root)


@pytest.mark.parametrize(
    "name", ["nowhere", "foreign", "corpus.txt", ".corpus", "README.md", "checkpoints", "-", "", "x" * 999]
)
def test_what_is_no_run_is_refused_with_those_there_are(root: Path, name: str) -> None:
    assert not names_a_run(name, root)
    with pytest.raises(CheckpointError, match="there are new, old, empty") as caught:
        resolve(name, root)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", [None, "names"])
def test_without_runs_the_command_that_makes_one_is_named(name: str | None) -> None:
    with pytest.raises(CheckpointError, match=r"no run.* in nowhere; `charrnn train CORPUS` makes one"):
        resolve(name, Path("nowhere"))


def test_a_damaged_checkpoint_is_a_checkpoint(root: Path) -> None:
    (root / "old" / "checkpoint-00000020" / "MANIFEST.json").write_bytes(b"{")
    assert names_a_run("old/checkpoint-00000020", root)
    with pytest.raises(CheckpointError, match=r"MANIFEST\.json"):
        resolve("old/checkpoint-00000020", root)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), max_size=300))
def test_any_argument_may_be_asked_about(root: Path, argument: str) -> None:
    assert names_a_run(argument, root) == (argument in ("new", "old", "empty"))
