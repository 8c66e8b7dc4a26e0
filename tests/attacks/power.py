"""Cuts the power at every step of saving, and keeps of what was not synced to the disk nothing, a part or all.

A model of a disk records what a writer does, and is built anew as it may be after the cut: what happened to the
names in a directory or to the bytes of a file is certain once that is synced, and until then may be lost.
"""

import builtins
import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from checkpoint_examples import example_files, load
from report import Try

from charrnn.checkpoint import RunDirectory, RunWriter
from charrnn.checkpoint.atomic import is_temporary
from charrnn.checkpoint.checkpoint import checkpoint_name
from charrnn.errors import CharRNNError

NOTHING, BEGINNING = "power cut, all unsynced is lost", "power cut, the later unsynced is lost"
ANY, ALL = "power cut, any of the unsynced is lost", "power cut, nothing is lost"
NEW = "power cut, the folder of runs was new"

FOLDER = 0
"""The folder that was there, and on the disk, before anything was recorded."""


class Names(NamedTuple):
    """A name in a directory is made (old is None), changed, or removed (new is None)."""

    directory: int
    old: str | None
    new: str | None
    node: int
    """The file or directory that it names."""


class Data(NamedTuple):
    """Bytes are written to a file; None: it is cut off there."""

    file: int
    offset: int
    data: bytes | None


class Sync(NamedTuple):
    node: int


class Note(NamedTuple):
    """What the writer is about to do or has done: saved, marking or marked as best, begun or ending the run."""

    what: str
    step: int | None = None


Change = Names | Data
Event = Names | Data | Sync | Note


class Recorder:
    """Records what this process changes in a folder."""

    def __init__(self, folder: Path) -> None:
        """folder: is made."""
        folder.mkdir()
        self.events: list[Event] = []
        self.directories = {FOLDER}
        self._folder, self._next = folder, FOLDER + 1
        self._nodes = {_identity(folder): FOLDER}

    @contextmanager
    def running(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", self._sync)
            patch.setattr(os, "mkdir", self._mkdir(os.mkdir))
            for name in ("rename", "replace"):
                patch.setattr(os, name, self._rename(getattr(os, name)))
            for name in ("unlink", "rmdir"):
                patch.setattr(os, name, self._remove(getattr(os, name)))
            patch.setattr(os, "open", self._open_descriptor(os.open))
            for module, real in ((builtins, builtins.open), (io, io.open)):
                patch.setattr(module, "open", self._open(real))
            yield

    def note(self, what: str, step: int | None = None) -> None:
        self.events.append(Note(what, step))

    def _node(self, path: Any, directory: int | None = None) -> int:
        return self._nodes[_identity(path, directory)]

    def _sync(self, descriptor: int) -> None:
        node = self._nodes.get(_identity(descriptor))
        if node is not None:  # None: of the folders above
            self.events.append(Sync(node))

    def _made(self, path: Any) -> int:
        # The system gives the number of a removed file to a new one.
        node = self._nodes[_identity(path)] = self._next
        self._next += 1
        self.events.append(Names(self._node(os.path.dirname(path)), None, os.path.basename(path), node))
        return node

    def _mkdir(self, real: Callable[..., None]) -> Callable[..., None]:
        def mkdir(path: Any, *args: Any) -> None:
            real(path, *args)
            self.directories.add(self._made(path))

        return mkdir

    def _rename(self, real: Callable[..., None]) -> Callable[..., None]:
        def rename(source: Any, target: Any) -> None:
            real(source, target)
            assert os.path.dirname(source) == os.path.dirname(target)
            directory, node = self._node(os.path.dirname(target)), self._node(target)
            self.events.append(Names(directory, os.path.basename(source), os.path.basename(target), node))

        return rename

    def _remove(self, real: Callable[..., None]) -> Callable[..., None]:
        def remove(path: Any, *, dir_fd: int | None = None) -> None:
            node = self._node(path, dir_fd) if os.access(path, os.F_OK, dir_fd=dir_fd) else -1
            real(path, dir_fd=dir_fd)
            directory = self._node(os.path.dirname(path) if dir_fd is None else dir_fd)
            self.events.append(Names(directory, os.path.basename(path), None, node))

        return remove

    def _open_descriptor(self, real: Callable[..., int]) -> Callable[..., int]:
        def open_(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            new = bool(flags & os.O_CREAT) and not os.path.exists(path)
            descriptor = real(path, flags, *args, **kwargs)
            if new:
                self._made(path)
            return descriptor

        return open_

    def _open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def open_(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if mode.strip("bt") == "r":
                return real(path, mode, *args, **kwargs)
            there = os.path.exists(path)
            file = real(path, mode, *args, **kwargs)
            return _File(file, self._node(path) if there else self._made(path), self.events)

        return open_


def _identity(path: Any, directory: int | None = None) -> tuple[int, int]:
    found = os.stat(path, dir_fd=directory)
    return found.st_dev, found.st_ino


class _File:
    """An open file whose changes are recorded."""

    def __init__(self, file: Any, node: int, events: list[Event]) -> None:
        self._file, self._node, self._events = file, node, events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        self._events.append(Data(self._node, self._file.tell(), bytes(data)))
        self._file.write(data)

    def truncate(self, size: int) -> None:
        self._events.append(Data(self._node, size, None))
        self._file.truncate(size)


class Disk:
    """What is on the disk after some events for certain, and what may be."""

    def __init__(self, events: list[Event]) -> None:
        self.names: dict[int, dict[str, int]] = {}
        self.bytes: dict[int, bytearray] = {}
        self.pending: list[Change] = []
        for event in events:
            if isinstance(event, Sync):
                self.apply([change for change in self.pending if change[0] == event.node])
                self.pending = [change for change in self.pending if change[0] != event.node]
            elif not isinstance(event, Note):
                self.pending.append(event)

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            if isinstance(change, Names):
                names = self.names.setdefault(change.directory, {})
                if change.old is not None and names.get(change.old) == change.node:
                    del names[change.old]
                if change.new is not None:
                    names[change.new] = change.node
            else:
                data = self.bytes.setdefault(change.file, bytearray())
                data[change.offset :] = bytes(max(0, change.offset - len(data))) + (change.data or b"")

    def write(self, folder: Path, directories: set[int], node: int = FOLDER) -> None:
        folder.mkdir()
        for name, entry in self.names.get(node, {}).items():
            if entry in directories:
                self.write(folder / name, directories, entry)
            else:
                (folder / name).write_bytes(self.bytes.get(entry, b""))


def _kept(kind: str, pending: list[Change], chance: random.Random) -> list[Change]:
    """What is on the disk after the cut, though it was not synced."""
    if kind in (NOTHING, NEW, ALL):
        return pending if kind == ALL else []
    if kind == BEGINNING:
        return [*pending[: (many := chance.randrange(len(pending) + 1))], *_torn(pending[many : many + 1], chance)]
    kept: list[Change] = [change for change in pending if isinstance(change, Names) and chance.random() < 0.5]
    for file in sorted({change.file for change in pending if isinstance(change, Data)}):
        written = [change for change in pending if isinstance(change, Data) and change.file == file]
        kept += _kept(BEGINNING, list(written), chance)
        if chance.random() < 0.5 and (last := written[-1]).data is not None:
            # The file has its size, but where nothing was written there are zeros.
            kept.append(Data(file, last.offset + len(last.data), b""))
    return kept


def _torn(changes: list[Change], chance: random.Random) -> list[Change]:
    return [
        change._replace(data=change.data[: chance.randrange(len(change.data) + 1)])
        for change in changes
        if isinstance(change, Data) and change.data is not None
    ]


class Promise:
    """What a run must be after some events, however little of them is on the disk."""

    def __init__(self, events: list[Event]) -> None:
        self.begun = False
        self.saved: set[int] = set()
        self.best: set[int | None] = {None}
        names = {checkpoint_name(step): step for step in range(10)}
        for event in events:
            if isinstance(event, Note):
                if event.what == "saved":
                    self.saved.add(event.step or 0)
                elif event.what == "marking":
                    self.best.add(event.step)
                elif event.what == "marked":
                    self.best = {event.step}
                else:
                    self.begun = event.what == "begun"
            elif isinstance(event, Names) and event.old in names:
                self.saved.discard(names[event.old])

    def broken(self, run: RunDirectory) -> str | None:
        """What is wrong with a run that was found after the power was cut."""
        if not (run.path.is_dir() and run.has_run_file()):
            return "the run is lost" if self.begun or self.saved else None
        steps, best = run.steps(), run.best()
        for step in steps:
            load(run.checkpoint_path(step))
        if not self.saved <= set(steps):
            return f"the steps {sorted(self.saved)} were saved, and there are {steps}"
        if (best.step if best else None) not in self.best:
            return f"step {best.step if best else None} is the best, and should be one of {self.best}"
        if steps:
            load(run.select("best").path)
            load(run.select("last").path)
        list(run.metrics(dict[str, int]))
        return None


def attack(tries: int, seed: int, folder: Path) -> Iterator[Try]:
    """Each cut is tried with every way to lose what was not synced."""
    chance = random.Random(seed)
    ways = (NOTHING, ALL, *[BEGINNING] * 2, *[ANY] * 4)
    for root, kinds, cuts in (("", ways, tries), ("new", (NEW,), max(1, tries // 10))):
        recorder = Recorder(folder / f"recorded {root}")
        with recorder.running():
            _write(folder / f"recorded {root}" / root, recorder.note)
        events, begin = recorder.events, chance.random()
        for number in range(cuts):
            cut = int((number + begin) * len(events) / cuts) + 1
            for kind in kinds:
                way = chance.randrange(1 << 32)
                disk = Disk(events[:cut])
                disk.apply(_kept(kind, disk.pending, random.Random(way)))
                shutil.rmtree(folder / "found", ignore_errors=True)
                disk.write(folder / "found", recorder.directories)
                what = f"after event {cut} of {len(events)}, {_shown(events[cut - 1])}, way {way}"
                yield Try(kind, what, _fault(Promise(events[:cut]), folder / "found" / root))


def _write(root: Path, note: Callable[..., None]) -> None:
    """A run is begun, resumed before its best checkpoint, and replaced."""

    def save(run: RunWriter, step: int, keep: int) -> None:
        run.append_metrics({"step": step})
        run.save_checkpoint(step, example_files(step))
        note("saved", step)
        if step != 2:
            note("marking", step)
            run.write_best(step, 1 / step)
            note("marked", step)
        run.rotate(keep)

    with RunWriter.create(root, "run") as run:
        run.write_run({"seed": 1})
        note("begun")
        for step in (1, 2, 3, 4):
            save(run, step, keep=2)
    with RunWriter.open(run.path) as run:
        note("marking")
        run.cut_back(3)
        note("marked")
        for step in (4, 5):
            save(run, step, keep=1)
    note("ending")
    note("marking")
    with RunWriter.create_named(root, "run", overwrite=True) as run:
        run.write_run({"seed": 2})
        note("begun")
        note("marked")
        save(run, 1, keep=2)


def _fault(promise: Promise, root: Path) -> str | None:
    """What is wrong with a run after the power was cut, and when it goes on."""
    run = RunDirectory(root / "run")
    try:
        return promise.broken(run) or _fault_when_continued(run)
    except (CharRNNError, AssertionError) as error:
        return f"{type(error).__name__}: {error}"


def _fault_when_continued(run: RunDirectory) -> str | None:
    begun = run.path.is_dir() and run.has_run_file()
    with RunWriter.open(run.path) if begun else RunWriter.create_named(run.path.parent, run.name) as writer:
        writer.write_run({"seed": 3})
        last = writer.latest_valid()
        writer.cut_back(-1 if last is None else last.step)
        step = 1 if last is None else last.step + 1
        writer.append_metrics({"step": step})
        writer.save_checkpoint(step, example_files(step))
        writer.write_best(step, 0.01)
        writer.rotate(keep=1)
    rows = [row["step"] for row in run.metrics(dict[str, int])]
    left = [name for name in os.listdir(run.path) if is_temporary(name)]
    if (run.steps(), run.select("best").step) != ([step], step):
        return f"after step {step} there are the steps {run.steps()}"
    if rows != sorted(set(rows)) or rows[-1] != step:
        return f"after step {step} there are rows of metrics of the steps {rows}"
    return f"left behind: {left}" if left else None


def _shown(event: Event) -> str:
    if isinstance(event, Data):
        return f"{0 if event.data is None else len(event.data)} bytes at {event.offset} of a file"
    return str(event)
