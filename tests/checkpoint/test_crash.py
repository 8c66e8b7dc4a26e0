"""Whatever stops a writer, at whatever step of its input and output, the run opens and nothing saved is lost."""

import builtins
import errno
import io
import os
import random
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from checkpoint_examples import example_files, load

from charrnn.checkpoint import RunDirectory, RunWriter, list_runs, resolve_checkpoint
from charrnn.checkpoint.atomic import is_temporary, write_directory, write_file
from charrnn.errors import CharRNNError, CheckpointError, ResourceError


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches the disk is modelled by `Machine`; the tests with processes of their own wait for it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


STEPS = ["fsync", "replace", "rename", "mkdir", "unlink", "rmdir"]


class Crash(BaseException):
    """The process or the machine stops here."""


class Machine:
    """Counts the steps of input and output and fails at number `fail_at`; `log` names those it took.

    With `error` None it dies there: no later step takes place either, and a file that was never forced to the
    disk is found empty when the machine is up again.
    """

    def __init__(self, fail_at: int | None = None, error: int | None = None) -> None:
        self.fail_at, self.error = fail_at, error
        self.log: list[tuple[str, int]] = []
        self.unsynced: set[int] = set()
        self.failed = False

    def step(self, name: str, inode: int = 0) -> None:
        self.log.append((name, inode))
        dead = self.failed and self.error is None
        if dead or len(self.log) - 1 == self.fail_at:
            self.failed = True
            raise Crash if self.error is None else OSError(self.error, os.strerror(self.error))

    @contextmanager
    def running(self) -> Iterator[None]:
        real_open, real = builtins.open, {name: getattr(os, name) for name in STEPS}

        def wrap(name: str) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                self.step(name)
                return real[name](*args, **kwargs)

            return call

        def fsync(descriptor: int) -> None:
            inode = os.fstat(descriptor).st_ino
            self.step("fsync", inode)
            self.unsynced.discard(inode)

        def open_(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if mode.startswith("r"):
                return real_open(path, mode, *args, **kwargs)
            self.step("open")
            file = real_open(path, mode, *args, **kwargs)
            if mode.startswith("x"):
                self.unsynced.add(os.fstat(file.fileno()).st_ino)
            return file

        with pytest.MonkeyPatch.context() as patch:
            for name in STEPS:
                patch.setattr(os, name, wrap(name))
            patch.setattr(os, "fsync", fsync)
            patch.setattr(builtins, "open", open_)
            with suppress(Crash):
                yield

    def lose_what_was_not_synced(self, root: Path) -> None:
        for path in root.rglob("*"):
            if path.is_file() and path.stat().st_ino in self.unsynced:
                os.truncate(path, 0)


def make_run(root: Path) -> Path:
    """A run with checkpoints 1 (the best) and 2, and what a writer left that died while it saved another."""
    with RunWriter.create(root, "run") as run:
        run.write_run({"seed": 1})
        for step in (1, 2):
            run.append_metrics({"step": step})
            run.save_checkpoint(step, example_files(step))
        run.write_best(1, 2.5)
    left = run.path / ".tmp-checkpoint-00000003-1"
    left.mkdir()
    (left / "config.json").write_bytes(b"{")
    return run.path


def go_on(path: Path) -> None:
    """What a training run does after --resume: it saves step 3, better than all before, and drops the others."""
    with RunWriter.open(path) as run:
        run.cut_back(2)
        run.write_run({"seed": 1, "steps": 3})
        run.append_metrics({"step": 3})
        run.save_checkpoint(3, example_files(3))
        run.write_best(3, 2.0)
        run.rotate(keep=1)


def start_over(path: Path) -> None:
    with RunWriter.create_named(path.parent, path.name, overwrite=True) as run:
        run.write_run({"seed": 2})
        run.save_checkpoint(1, example_files(1))


def snapshot(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def temporaries(path: Path) -> list[str]:
    return [name for name in os.listdir(path) if is_temporary(name)]


def count_steps(root: Path, work: Callable[[Path], None]) -> int:
    path, machine = make_run(root), Machine()
    with machine.running():
        work(path)
    return len(machine.log)


def test_a_crash_at_any_step_leaves_the_run_whole(tmp_path: Path) -> None:
    total = count_steps(tmp_path / "count", go_on)
    assert total > 40
    for fail_at in range(total):
        root = tmp_path / str(fail_at)
        path, machine = make_run(root), Machine(fail_at)
        with machine.running():
            go_on(path)
        assert machine.failed
        machine.lose_what_was_not_synced(root)

        run = RunDirectory(path)
        assert [load(run.checkpoint_path(step)).step for step in run.steps()] in ([1, 2], [1, 2, 3], [2, 3], [3])
        assert resolve_checkpoint(None, root).step == (best.step if (best := run.best()) else None)
        assert run.read_run(dict[str, Any])["seed"] == 1
        assert [row["step"] for row in run.metrics(dict[str, int])][:2] == [1, 2]

        go_on(path)
        assert (run.steps(), run.best().step, temporaries(path)) == ([3], 3, [])
        assert [row["step"] for row in run.metrics(dict[str, int])] == [1, 2, 3]


def test_a_crash_at_any_step_of_overwriting_can_be_overwritten(tmp_path: Path) -> None:
    for fail_at in range(count_steps(tmp_path / "count", start_over)):
        root = tmp_path / str(fail_at)
        path, machine = make_run(root), Machine(fail_at)
        with machine.running():
            start_over(path)
        assert machine.failed
        machine.lose_what_was_not_synced(root)
        assert all(load(run.checkpoint_path(step)) for run in list_runs(root) for step in run.steps())
        start_over(path)
        assert RunDirectory(path).steps() == [1]
        assert RunDirectory(path).best() is None


def test_a_crash_at_any_step_of_creation_leaves_the_name_free(tmp_path: Path) -> None:
    def create(root: Path) -> None:
        with RunWriter.create_named(root, "new") as run:
            run.write_run({"seed": 1})

    fail_at = 0
    while True:
        root = tmp_path / str(fail_at)
        root.mkdir()
        machine = Machine(fail_at)
        with machine.running():
            create(root)
        if not machine.failed:
            break
        machine.lose_what_was_not_synced(root)
        if not list_runs(root):
            create(root)
        assert [run.name for run in list_runs(root)] == ["new"]
        fail_at += 1
    assert fail_at > 4


@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.ENOSPC, ResourceError), (errno.EROFS, CheckpointError)],
)
def test_a_failure_at_any_step_is_one_line_and_harms_nothing(
    tmp_path: Path, code: int, expected: type[CharRNNError]
) -> None:
    for fail_at in range(count_steps(tmp_path / "count", go_on)):
        path = make_run(tmp_path / str(fail_at))
        run = RunDirectory(path)
        before = {step: snapshot(run.checkpoint_path(step)) for step in run.steps()}
        machine = Machine(fail_at, code)
        with machine.running(), pytest.raises(expected) as caught:
            go_on(path)
        assert type(caught.value) is expected
        assert str(caught.value).startswith(str(path))
        assert os.strerror(code) in str(caught.value)
        assert str(caught.value).isprintable()
        # What could not be removed waits to be swept away; what could not be written is gone.
        waiting = {f".tmp-checkpoint-0000000{step}-{os.getpid()}" for step in (1, 2)}
        assert set(temporaries(path)) <= {".tmp-checkpoint-00000003-1", *waiting}
        for step in run.steps():
            assert load(run.checkpoint_path(step))
            assert snapshot(run.checkpoint_path(step)) == before.get(step, snapshot(run.checkpoint_path(step)))
        assert run.latest_valid()
        go_on(path)
        assert temporaries(path) == []


@pytest.mark.parametrize(
    ("error", "expected", "exit_code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ResourceError, 6),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ResourceError, 6),
        (OSError(errno.EFBIG, "File too large"), ResourceError, 6),
        (MemoryError(), ResourceError, 6),
        (OSError(errno.EROFS, "Read-only file system"), CheckpointError, 4),
        (OSError(errno.EACCES, "Permission denied"), CheckpointError, 4),
        (OSError(errno.EIO, "Input/output error"), CheckpointError, 4),
    ],
)
@pytest.mark.parametrize(
    "save", [lambda path: write_file(path, b"x"), lambda path: write_directory(path, {"a": b"x"})]
)
def test_a_failure_names_the_place_and_has_its_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    save: Callable[[Path], None],
    error: Exception,
    expected: type[CharRNNError],
    exit_code: int,
) -> None:
    def fail(descriptor: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(expected, match=f"^{tmp_path / 'target'}: ") as caught:
        save(tmp_path / "target")
    assert caught.value.exit_code == exit_code
    assert os.listdir(tmp_path) == []


def test_an_interrupt_while_saving_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(source: Any, target: Any) -> None:
        raise KeyboardInterrupt

    path = make_run(tmp_path)
    with RunWriter.open(path) as run:
        for name, save in (
            ("rename", lambda: run.save_checkpoint(3, example_files(3))),
            ("replace", lambda: run.write_best(2, 1.0)),
        ):
            monkeypatch.setattr(os, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                save()
        assert temporaries(path) == []
        assert (run.steps(), run.best().step) == ([1, 2], 1)


def test_a_file_system_that_cannot_sync_directories_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    go_on(make_run(tmp_path))


def test_everything_is_on_the_disk_before_it_is_renamed(tmp_path: Path) -> None:
    path, machine = make_run(tmp_path), Machine()
    with machine.running(), RunWriter.open(path) as run:
        machine.log.clear()
        run.save_checkpoint(3, example_files(3))
        saved, machine.log = machine.log, []
        run.write_best(3, 2.0)
    target = run.checkpoint_path(3)
    inode = {name: (target / name).stat().st_ino for name in os.listdir(target)}
    expected = [("mkdir", 0)]
    for name in [*example_files(3), "MANIFEST.json"]:
        expected += [("open", 0), ("fsync", inode[name])]
    expected += [("fsync", target.stat().st_ino), ("rename", 0), ("fsync", path.stat().st_ino)]
    assert [step for step in saved if step[0] != "unlink"] == expected
    best = (path / "best.json").stat().st_ino
    assert [step for step in machine.log if step[0] != "unlink"] == [
        ("open", 0),
        ("fsync", best),
        ("replace", 0),
        ("fsync", path.stat().st_ino),
    ]


@pytest.mark.parametrize(("umask", "file_mode", "directory_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_modes_follow_the_umask(tmp_path: Path, umask: int, file_mode: int, directory_mode: int) -> None:
    previous = os.umask(umask)
    try:
        go_on(make_run(tmp_path / "root"))
    finally:
        os.umask(previous)
    for path in (tmp_path / "root").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (directory_mode if path.is_dir() else file_mode), path


def test_a_leftover_or_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (tmp_path / f".tmp-a-{os.getpid()}").symlink_to(precious)
    write_file(tmp_path / "a", b"new")
    (tmp_path / f".tmp-b-{os.getpid()}").symlink_to(tmp_path)
    write_directory(tmp_path / "b", {"c": b"new"})
    assert precious.read_bytes() == b"precious"
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b" / "c").read_bytes() == b"new"
    assert not (tmp_path / "a").is_symlink()


HERE = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=HERE, check=False, capture_output=True, text=True)


def test_a_full_disk_exits_6_and_leaves_no_trace(tmp_path: Path) -> None:
    """The limit on file sizes stops a write in the middle of a file, as a full disk does."""
    path = make_run(tmp_path)
    result = run_python(
        """
import resource, sys
from pathlib import Path
from checkpoint_examples import example_files
from charrnn.checkpoint import RunWriter
from charrnn.errors import CharRNNError
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
with RunWriter.open(Path(sys.argv[1])) as run:
    for size in 5_001, 20_000:
        try:
            run.save_checkpoint(3, example_files(3) | {"model.safetensors": bytes(size)})
        except CharRNNError as error:
            print(error.exit_code, error)
""",
        path,
    )
    assert result.stderr == ""
    first, second = result.stdout.splitlines()
    assert first.startswith(f"6 {path}")
    assert second.startswith(f"6 {path}")
    assert temporaries(path) == []
    assert [load(path / f"checkpoint-0000000{step}").step for step in RunDirectory(path).steps()] == [1, 2]


KILLED = """
import os, random, signal, sys
from pathlib import Path
from checkpoint_examples import example_files, load
from charrnn.checkpoint import RunDirectory, RunWriter

path, trials, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))


def write(report):
    \"\"\"Save, again and again; report a dot before each step of input and output and an S after each save.\"\"\"
    def reporting(real):
        def call(*args, **kwargs):
            os.write(report, b".")
            return real(*args, **kwargs)
        return call
    for name in "fsync", "replace", "rename", "unlink", "rmdir", "mkdir":
        setattr(os, name, reporting(getattr(os, name)))
    with RunWriter.open(path) as run:
        step = run.latest_valid().step
        run.cut_back(step)
        while True:
            step += 1
            run.append_metrics({"step": step})
            run.save_checkpoint(step, example_files(step))
            os.write(report, b"S")
            if step % 3 == 0:
                run.write_best(step, 1 / step)
            run.rotate(keep=2)


for _ in range(trials):
    before = RunDirectory(path).latest_valid().step
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        write(send)
    os.close(send)
    seen = b"".join(os.read(receive, 1) for _ in range(chance.randrange(1, 80)))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the writer failed by itself"
    os.close(receive)
    run = RunDirectory(path)
    steps = run.steps()
    assert all(load(run.checkpoint_path(step)).step == step for step in steps)
    assert run.latest_valid().step == steps[-1] >= before + seen.count(b"S")
    assert run.select("best").step == run.best().step
    rows = [row["step"] for row in run.metrics(dict)]
    assert rows == list(range(1, len(rows) + 1)) and len(rows) >= steps[-1]
    assert sum(name.startswith(".tmp-") for name in os.listdir(path)) <= 1
print(steps[-1])
"""


@pytest.mark.parametrize("trials", [25, pytest.param(1_000, marks=pytest.mark.slow)])
def test_a_killed_writer_loses_nothing_it_saved(tmp_path: Path, trials: int) -> None:
    seed = random.randrange(1 << 32)
    result = run_python(KILLED, make_run(tmp_path), trials, seed)
    assert result.stderr == "", f"seed {seed}"
    assert int(result.stdout) > 2


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = make_run(tmp_path)
    code = """
import sys
from pathlib import Path
from charrnn.checkpoint import RunWriter
with RunWriter.open(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, env=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert isinstance(other.stdout, io.TextIOBase)
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(CharRNNError, match="another process is writing") as caught:
            RunWriter.open(path)
        assert caught.value.exit_code == 7
        assert load(resolve_checkpoint(None, tmp_path).path)  # readers need no lock
        other.send_signal(signal.SIGKILL)
        other.wait()
    RunWriter.open(path).close()
