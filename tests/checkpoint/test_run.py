"""A run directory: its name, its lock, its metrics, which checkpoints are kept and which one is meant."""

import dataclasses
import errno
import fcntl
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from checkpoint_examples import SHAPES, example_files, load, parameters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn.checkpoint import RunDirectory, RunWriter, encode_tensors
from charrnn.checkpoint.run_writer import as_name
from charrnn.errors import CharRNNError, CheckpointError, RunLockedError, UsageError


@dataclasses.dataclass(frozen=True)
class Run:
    argv: tuple[str, ...]
    seed: int


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def make_run(root: Path, name: str = "run", steps: tuple[int, ...] = (), best: int | None = None) -> RunDirectory:
    with RunWriter.create_named(root, name) as run:
        run.write_run({"name": name})
        for step in steps:
            run.append_metrics({"step": step})
            run.save_checkpoint(step, example_files(step))
        if best is not None:
            run.write_best(best, 2.0)
    return RunDirectory(run.path)


def damage(run: RunDirectory, step: int) -> None:
    path = run.checkpoint_path(step) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


# Names


def test_names_are_made_unique(tmp_path: Path) -> None:
    root = tmp_path / "a" / "checkpoints"
    names = []
    for _ in range(3):
        with RunWriter.create(root, "tinyshakespeare") as run:
            names.append(run.name)
    assert names == ["tinyshakespeare", "tinyshakespeare-2", "tinyshakespeare-3"]


def test_names_are_unique_among_many_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(20)

    def create(_: int) -> str:
        barrier.wait()
        with RunWriter.create(tmp_path / "root", "run") as run:
            run.write_run({})
            return run.name

    with ThreadPoolExecutor(20) as pool:
        names = set(pool.map(create, range(20)))
    assert names == {"run", *(f"run-{number}" for number in range(2, 21))}


@given(st.text(max_size=300))
def test_any_stem_makes_a_name(stem: str) -> None:
    name = as_name(stem)
    assert 0 < len(os.fsencode(name)) <= 200
    assert "/" not in name
    assert name.isprintable()
    assert not name.startswith((".", "-"))


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("tiny shakespeare", "tiny-shakespeare"),
        ("Война и мир", "Война-и-мир"),
        ("../../etc", "etc"),
        (".corpus", "corpus"),
        ("--help", "help"),
        ("-", "run"),
        ("", "run"),
        ("v1.2_b+c", "v1.2_b+c"),
    ],
)
def test_a_stem_becomes_a_plain_name(tmp_path: Path, stem: str, name: str) -> None:
    with RunWriter.create(tmp_path, stem) as run:
        assert run.path == tmp_path / name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp/a", ".hidden", "-n", "a b", "a\n", "a\0"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a run, but"):
        RunWriter.create_named(tmp_path / "root", name)
    assert not (tmp_path / "root").exists()


def test_an_existing_name_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, "names", (1,))
    before = contents(run.path)
    with pytest.raises(UsageError, match=r"names: exists; --resume .* --overwrite"):
        RunWriter.create_named(tmp_path, "names")
    assert contents(run.path) == before
    RunWriter.open(run.path).close()  # the refusal let go of the lock


def test_overwriting_replaces_the_run_and_nothing_else(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=(1, 2), best=1)
    other = make_run(tmp_path, "other", (1,))
    (run.path / "notes.txt").write_text("mine")
    before = contents(other.path)
    with RunWriter.create_named(tmp_path, "run", overwrite=True) as new:
        assert sorted(os.listdir(new.path)) == [".lock", "notes.txt"]
        new.write_run({"seed": 2})
    assert run.read_run(dict[str, Any]) == {"schema": "charrnn.run/1", "seed": 2}
    assert contents(other.path) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "files",
    [
        {"precious.txt": b"mine"},
        {"run.json": b'{"project": "another tool"}'},
        {"run.json": b'{"schema": "charrnn.eval/1"}'},
        {"run.json": b"not json", "metrics.jsonl": b"{}\n", "best.json": b"{}"},
        {"checkpoint-00000001/MANIFEST.json": b"{}"},
    ],
)
def test_what_is_not_a_run_is_never_touched(tmp_path: Path, files: dict[str, bytes], overwrite: bool) -> None:
    for name, data in files.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(data)
    with pytest.raises(CheckpointError, match="not a charrnn run"):
        RunWriter.create_named(tmp_path, "mine", overwrite=overwrite)
    with pytest.raises(CheckpointError, match="no charrnn run to go on with"):
        RunWriter.open(tmp_path / "mine")
    assert contents(tmp_path / "mine") == files


@pytest.mark.parametrize("kind", ["file", "dangling link", "file above"])
def test_a_file_in_the_way_is_an_error(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "file above":
        root.write_bytes(b"")
    else:
        root.mkdir()
        (root / "run").write_bytes(b"") if kind == "file" else (root / "run").symlink_to("nowhere")
    with pytest.raises(CheckpointError, match="cannot write"):
        RunWriter.create_named(root, "run", overwrite=True)
    if kind == "file above":
        with pytest.raises(CheckpointError, match="cannot write"):
            RunWriter.create(root, "run")
    else:
        RunWriter.create(root, "run").close()
        assert (root / "run-2").is_dir()


def test_a_run_that_stopped_before_its_run_json_leaves_its_name_free(tmp_path: Path) -> None:
    RunWriter.create(tmp_path, "run").close()
    (tmp_path / "run" / ".tmp-run.json-17").write_bytes(b"{")
    with RunWriter.create_named(tmp_path, "run") as run:
        assert os.listdir(run.path) == [".lock"]


def test_a_linked_run_is_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "big-disk", steps=(1, 2))
    (tmp_path / "link").symlink_to(run.path)
    with RunWriter.open(tmp_path / "link") as linked:
        linked.rotate(keep=1)
        with pytest.raises(RunLockedError):
            RunWriter.open(run.path)
    assert run.steps() == [2]


# Lock


def test_a_second_writer_is_refused_at_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=(1,))
    with RunWriter.open(run.path):
        for attempt in (
            lambda: RunWriter.open(run.path),
            lambda: RunWriter.create_named(tmp_path, "run"),
            lambda: RunWriter.create_named(tmp_path, "run", overwrite=True),
        ):
            with pytest.raises(RunLockedError, match="another process is writing"):
                attempt()
        assert run.steps() == [1]
    RunWriter.open(run.path).close()


def test_one_of_many_writers_wins(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    barrier = threading.Barrier(20)
    outcomes: list[str] = []

    def write(_: int) -> None:
        barrier.wait()
        try:
            with RunWriter.open(run.path):
                outcomes.append("won")
                barrier.wait()
        except RunLockedError:
            outcomes.append("locked")
            barrier.wait()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(write, range(20)))
    assert sorted(outcomes) == ["locked"] * 19 + ["won"]


def test_a_file_system_without_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    run = make_run(tmp_path)
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(CheckpointError, match="No locks available"):
        RunWriter.open(run.path)


# run.json and metrics.jsonl


def test_run_json_comes_back(tmp_path: Path) -> None:
    run = Run(("train", "Война.txt"), 7)
    with RunWriter.create(tmp_path, "run") as writer:
        writer.write_run(run)
        assert writer.read_run(Run) == run
    assert msgspec.json.decode(writer.run_path.read_bytes())["schema"] == "charrnn.run/1"


def test_a_damaged_run_json_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.run_path.write_bytes(run.run_path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"run\.json: "):
        run.read_run(dict[str, Any])


ROWS = st.lists(st.integers(0, 3), max_size=8).map(
    lambda gaps: [{"step": sum(gaps[: i + 1]), "loss": i / 7} for i in range(len(gaps))]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(ROWS, st.integers(-1, 12), st.sampled_from([0, 1, 2]) | st.integers(0, 40))
def test_metrics_survive_a_torn_end_and_are_cut_to_a_step(
    tmp_path: Path, rows: list[dict[str, Any]], step: int, torn: int
) -> None:
    run = RunDirectory(tmp_path / "run")
    with RunWriter.create_named(tmp_path, "run", overwrite=True) as writer:
        writer.write_run({})
        for row in rows:
            writer.append_metrics(row)
    whole = run.metrics_path.read_bytes() if rows else b""
    cut = whole[: max(len(whole) - torn, 0)]
    run.metrics_path.write_bytes(cut)
    left = rows[: cut.count(b"\n")]
    assert list(run.metrics(dict[str, Any])) == left
    with RunWriter.open(run.path) as writer:
        writer.cut_back(step)
        kept = [row for row in left if row["step"] <= step]
        assert list(run.metrics(dict[str, Any])) == kept
        writer.append_metrics({"step": step + 1, "loss": math.nan})
    assert list(run.metrics(dict[str, Any])) == [*kept, {"step": step + 1, "loss": None}]


def test_a_damaged_line_is_named_and_ends_what_a_resumed_run_keeps(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.metrics_path.write_bytes(b'{"step":1}\n\0\0\0\n{"step":3}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl, line 2: "):
        list(run.metrics(dict[str, Any]))
    with RunWriter.open(run.path) as writer:
        writer.cut_back(3)
    assert run.metrics_path.read_bytes() == b'{"step":1}\n'


def test_an_endless_line_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with run.metrics_path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="line 1: longer than"):
        list(run.metrics(dict[str, Any]))


def test_no_metrics_are_no_error(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert list(run.metrics(dict[str, Any])) == []
    with RunWriter.open(run.path) as writer:
        writer.cut_back(-1)


@pytest.mark.parametrize("name", ["metrics.jsonl", ".lock"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_nothing_is_changed_through_what_is_no_regular_file(tmp_path: Path, name: str, kind: str) -> None:
    run, outside = make_run(tmp_path, steps=(1,)), tmp_path / "outside"
    path = run.path / name
    path.unlink(missing_ok=True)
    outside.write_bytes(b"not ours\n")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(outside if kind == "link" else tmp_path / "missing")
    with pytest.raises(CheckpointError, match="not a regular file"), RunWriter.open(run.path) as writer:
        writer.cut_back(0)
    assert outside.read_bytes() == b"not ours\n"
    assert not (tmp_path / "missing").exists()


# Checkpoints


def test_steps_are_ascending_and_finished(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=(1000, 9, 123456789))
    for name in ("checkpoint-00000010", "checkpoint-7", "checkpoint-000000011", "model-00000001", ".tmp-a-1"):
        (run.path / name).mkdir()
    (run.path / "checkpoint-7" / "MANIFEST.json").write_bytes(b"{}")
    (run.path / "checkpoint-00000012").write_bytes(b"")
    assert run.steps() == [9, 1000, 123456789]
    assert run.checkpoint_path(9).name == "checkpoint-00000009"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.sets(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 4), st.data())
def test_rotation_keeps_the_newest_and_the_best(tmp_path: Path, steps: set[int], keep: int, data: Any) -> None:
    best = data.draw(st.sampled_from(sorted(steps)) | st.none())
    with RunWriter.create(tmp_path, "run") as run:
        for step in steps:
            run.save_checkpoint(step, example_files(step))
        if best is not None:
            run.write_best(best, 1.0)
        run.rotate(keep)
    expected = {step for step in steps if sum(other > step for other in steps) < keep or step == best}
    assert run.steps() == sorted(expected)
    assert not [name for name in os.listdir(run.path) if name.startswith(".tmp-")]


def test_rotation_removes_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=(1, 2))
    run.checkpoint_path(1).rename(tmp_path / "archive")
    run.checkpoint_path(1).symlink_to(tmp_path / "archive")
    assert run.steps() == [1, 2]
    with RunWriter.open(run.path) as writer:
        writer.rotate(keep=1)
    assert run.steps() == [2]
    assert load(tmp_path / "archive").step == 1


def test_saving_a_step_again_keeps_the_one_that_stands(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=(1, 2))
    before = contents(run.path)
    with RunWriter.open(run.path) as writer:
        other = {**example_files(2), "model.safetensors": encode_tensors(parameters(7))}
        assert writer.save_checkpoint(2, other).step == 2
        assert contents(run.path) == before
        damage(run, 2)
        writer.save_checkpoint(2, example_files(2))
    assert contents(run.path) == before


def test_latest_valid_passes_over_damage(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=(1, 2, 3))
    (run.checkpoint_path(3) / "trainer_state.json").unlink()
    damage(run, 2)
    latest = run.latest_valid()
    assert latest is not None
    assert latest.step == 1
    damage(run, 1)
    assert run.latest_valid() is None
    with pytest.raises(CheckpointError, match="none of its 3 checkpoints is whole"):
        run.select("last")


def test_cutting_back_drops_later_checkpoints_and_a_later_best(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=(1, 2, 3), best=3)
    damage(run, 3)
    with RunWriter.open(run.path) as writer:
        writer.cut_back(2)
        assert (writer.steps(), writer.best()) == ([1, 2], None)
        writer.write_best(1, 2.0)
        writer.cut_back(2)
        best = writer.best()
    assert best is not None
    assert best.step == 1
    assert [row["step"] for row in run.metrics(dict[str, int])] == [1, 2]


def test_select(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=(1, 2, 3))
    assert run.select().step == 3  # nothing is known to be better
    with RunWriter.open(run.path) as writer:
        writer.write_best(2, 1.5)
    assert [run.select(which).step for which in ("best", "last", 1, 3)] == [2, 3, 1, 3]
    with pytest.raises(
        CheckpointError, match="no checkpoint of step 4; --checkpoint takes last or one of 1, 2, 3"
    ):
        run.select(4)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        make_run(tmp_path, "fresh").select()


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"step": 2, "loss": null}', b'{"step": "2", "loss": 1.0}', b"[" * 9999]
)
def test_a_damaged_best_json_says_what_to_do(tmp_path: Path, text: bytes) -> None:
    run = make_run(tmp_path, steps=(1, 2))
    run.best_path.write_bytes(text)
    with pytest.raises(CheckpointError, match="--checkpoint last"):
        run.select("best")
    assert run.select("last").step == 2


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_no_loss_is_no_best_loss(tmp_path: Path, loss: float) -> None:
    with RunWriter.create(tmp_path, "run") as run, pytest.raises(ValueError, match="no best loss"):
        run.write_best(1, loss)


def test_writing_into_a_run_that_was_removed_is_one_line(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path, "run") as run:
        (run.path / ".lock").unlink()
        run.path.rmdir()
        for attempt in (
            lambda: run.write_run({}),
            lambda: run.append_metrics({}),
            lambda: run.save_checkpoint(1, example_files(1)),
            lambda: run.rotate(),
        ):
            with pytest.raises(CharRNNError, match="No such file"):
                attempt()


def test_a_checkpoint_that_was_opened_outlives_its_rotation(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=(1,), best=1)
    chosen = run.select("best")
    with RunWriter.open(run.path) as writer:
        writer.save_checkpoint(2, example_files(2))
        writer.write_best(2, 0.5)
        writer.rotate(keep=1)
    assert not chosen.path.exists()
    assert chosen.vocab() == run.select("best").vocab()
    assert {name: array.tobytes() for name, array in chosen.tensors(SHAPES).items()} == {
        name: array.tobytes() for name, array in parameters(1).items()
    }


def test_a_checkpoint_that_goes_while_it_is_chosen_is_chosen_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, steps=(1,), best=1)
    first_steps = RunDirectory.steps

    def rotated_after_the_first_look(self: RunDirectory) -> list[int]:
        found = first_steps(self)
        if found == [1]:
            with RunWriter.open(run.path) as writer:
                monkeypatch.setattr(RunDirectory, "steps", first_steps)
                writer.save_checkpoint(2, example_files(2))
                writer.write_best(2, 0.5)
                writer.rotate(keep=1)
        return found

    monkeypatch.setattr(RunDirectory, "steps", rotated_after_the_first_look)
    assert run.select("best").step == 2
