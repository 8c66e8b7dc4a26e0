"""Resolves the argument RUN: the path or the name of a run or of one of its checkpoints."""

import os
from pathlib import Path

from charrnn.checkpoint.checkpoint import Checkpoint
from charrnn.checkpoint.manifest import MANIFEST
from charrnn.checkpoint.run_directory import RunDirectory, Which, is_run
from charrnn.errors import CheckpointError, UsageError

_MAX_LISTED = 10


def list_runs(root: Path) -> list[RunDirectory]:
    """The runs under `root`, the most recently saved first. Anything else there is ignored."""
    names = os.listdir(root) if os.path.isdir(root) else []
    runs = [RunDirectory(root / name) for name in names if not name.startswith(".") and is_run(root / name)]
    return sorted(runs, key=lambda run: (-run.modified_ns(), run.name))


def names_a_run(argument: str, root: Path) -> bool:
    """Whether a single argument names a run or a checkpoint, intact or damaged; otherwise it is a file."""
    return _find(argument, root) is not None


def resolve(name: str | None, root: Path) -> RunDirectory | Checkpoint:
    """The run or the checkpoint that `name` refers to: a path, or a name under `root`; None: the newest run.

    Raises: CheckpointError, listing the existing runs, or the command that makes one.
    """
    path = _newest(root) if name is None else _find(name, root)
    if path is None:
        wanted = "no run" if name is None else f"no run or checkpoint {name!r}"
        runs = [run.name for run in list_runs(root)[:_MAX_LISTED]]
        there = f"there are {', '.join(runs)}" if runs else "`charrnn train CORPUS` makes one"
        raise CheckpointError(f"{wanted} in {root}; {there}")
    return RunDirectory(path) if is_run(path) else Checkpoint.open(path)


def resolve_checkpoint(name: str | None, root: Path, which: Which = "best") -> Checkpoint:
    """The checkpoint that `name` refers to; for a run, the one that `which` selects.

    Raises: CheckpointError like `resolve` and `RunDirectory.select`; UsageError if `name` is a checkpoint and
    `which` is the step of another.
    """
    found = resolve(name, root)
    if isinstance(found, RunDirectory):
        return found.select(which)
    if isinstance(which, int) and which != found.step:
        raise UsageError(f"{found.path}: is the checkpoint of step {found.step}; name its run to choose {which}")
    return found


def _newest(root: Path) -> Path | None:
    return next((run.path for run in list_runs(root)), None)


def _find(name: str, root: Path) -> Path | None:
    for path in (Path(name), root / name):
        if is_run(path) or os.path.isfile(path / MANIFEST):
            return path
    return None
