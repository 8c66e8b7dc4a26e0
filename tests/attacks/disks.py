"""Runs commands on disks that are full, become full or cannot be written to.

A command does its work or says in one line why not. What was saved before stays whole, and training goes on as
soon as that is possible. Disks are mounted in a process of its own and vanish with it; where nothing can be
mounted, only the limit on file sizes and folders without permission are tried.
"""

import ctypes
import math
import os
import random
import re
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from helpers_cli import write_names
from kills import RESUME, RUN, SETTINGS, TEXT, Child, Place, Training
from report import Try
from starts import SECONDS, Ended, Forked, command, fault

FULL, NEARLY, LIMIT, READ_ONLY = "full disk", "nearly full disk", "file size limit", "read-only folder or disk"
SHARES = {FULL: 0.2, NEARLY: 0.35, LIMIT: 0.25, READ_ONLY: 0.2}

PAGE = 4096
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MS_KEPT = 2 | 4 | 8 | 1024 | 2048
"""What stays as it was when a disk is mounted anew: nosuid, nodev, noexec, noatime, nodiratime."""
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
CAPABILITIES, IGNORES_MODES = 0x20080522, 0b110
"""The version of the system's call, and the capabilities DAC_OVERRIDE and DAC_READ_SEARCH."""

_MEASURED = re.compile(r"\"(chars_per_second|texts_per_second|peak_memory_bytes)\":[^,]+")

_libc = ctypes.CDLL(None, use_errno=True)


def _system(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _mount(path: Path | str, flags: int, kind: str = "none", options: str = "") -> None:
    arguments = (kind.encode(), os.fsencode(path), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _system(_libc.mount(*arguments))


def _new_disk(path: Path) -> None:
    """Mounts an empty disk that only this process sees, and that vanishes with it. Raises OSError."""
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(CLONE_NEWNS):
        _system(_libc.unshare(CLONE_NEWNS | CLONE_NEWUSER))
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(text)
    _mount("/", MS_REC | MS_PRIVATE)
    _mount(path, 0, "tmpfs", "size=4m,nr_inodes=400")


Trouble = Callable[[Path], AbstractContextManager[None]]
"""Gets a folder of runs into trouble, and out of it again."""


def room(num_bytes: int | None, num_files: int | None = None) -> Trouble:
    """Its disk has this much room left; None: all that there was."""

    @contextmanager
    def trouble(root: Path) -> Iterator[None]:
        ballast = root.with_name("ballast")
        ballast.mkdir()
        with open(ballast / "large", "wb") as file:
            disk = os.statvfs(root)
            if num_bytes is not None:
                os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_bsize - num_bytes)
        for number in range(0 if num_files is None else os.statvfs(root).f_favail - num_files):
            (ballast / str(number)).touch()
        yield
        shutil.rmtree(ballast)

    return trouble


def file_size(size: int) -> Trouble:
    """No file may grow beyond `size` bytes."""

    @contextmanager
    def trouble(_root: Path) -> Iterator[None]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return trouble


@contextmanager
def read_only_disk(root: Path) -> Iterator[None]:
    flags = MS_REMOUNT | MS_BIND | (os.statvfs(root).f_flag & MS_KEPT)
    _mount(root.parent, flags | MS_RDONLY)
    yield
    _mount(root.parent, flags)


@contextmanager
def read_only_system(root: Path) -> Iterator[None]:
    """All that is mounted, temporary folders included."""
    flags = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        path = line.split()[1].encode().decode("unicode_escape")
        with suppress(OSError):
            before = os.statvfs(path).f_flag
            _mount(path, MS_REMOUNT | MS_BIND | MS_RDONLY | (before & MS_KEPT))
            flags[path] = MS_REMOUNT | MS_BIND | (before & (MS_KEPT | MS_RDONLY))
    tempfile.tempdir = None
    yield
    for path, kept in flags.items():
        with suppress(OSError):
            _mount(path, kept)
    tempfile.tempdir = None


def no_permission(part: str) -> Trouble:
    """One folder may not be written to, not even by the superuser, until the process ends."""

    @contextmanager
    def trouble(root: Path) -> Iterator[None]:
        header, sets = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
        _system(_libc.capget(header, sets))
        for which in range(2):  # the effective and the permitted ones
            sets[which] &= ~IGNORES_MODES
        _system(_libc.capset(header, sets))
        folder = root / part
        if folder.exists():
            folder.chmod(0o555)
        yield
        if folder.exists():
            folder.chmod(0o755)

    return trouble


class Reading:
    """A command that writes nothing beside the runs, and what it prints."""

    def __init__(self, name: str, root: Path, before: Path, *words: str, stdin: str | None = None) -> None:
        self.name, self.root, self.words, self.stdin = name, root, words, stdin
        self._before = before
        self.begin()
        self.printed = self.run().out

    def run(self) -> Ended:
        ended = command(*self.words, "--checkpoints", self.root, stdin=self.stdin)
        return ended._replace(out=_MEASURED.sub("", ended.out))

    def begin(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._before, self.root)

    def fault_when_continued(self) -> str | None:
        ended = self.run()
        return fault(ended, (0,)) or (None if ended.out == self.printed else "it prints something else")


Case = Training | Reading

TROUBLES: dict[str, dict[str, Trouble]] = {
    FULL: {"no byte left": room(0), "no file left": room(None, 0), "neither left": room(0, 0)},
    NEARLY: {
        **{f"{pages * PAGE} bytes left": room(pages * PAGE) for pages in range(1, 50)},
        **{f"{number} files left": room(None, number) for number in range(1, 50)},
    },
    LIMIT: {f"{size} bytes": file_size(size) for size in sorted({0, *(round(1.3**n) for n in range(40))})},
    READ_ONLY: {
        "the disk": read_only_disk,
        "the system": read_only_system,
        **{f"the folder {part}": no_permission(part) for part in (".", "names", ".corpus")},
    },
}
SAVED = 3
"""The last step that is saved in a run that is half done."""


def attack(tries: int, seed: int, folder: Path) -> Iterator[Try]:
    """Commands meet troubles of each kind."""
    chance = random.Random(seed)
    cases = _cases(folder)
    disk = Forked(lambda _report: _new_disk(folder), folder / "errors")
    list(disk.reports())
    possible = {
        kind: [what for what in TROUBLES[kind] if disk.death is None or _needs_no_disk(kind, what)]
        for kind in SHARES
    }
    share = sum(SHARES[kind] for kind in possible if possible[kind])
    for kind, whats in possible.items():
        pairs = [(case, what) for case in cases for what in whats]
        chance.shuffle(pairs)
        for number in range(math.ceil(SHARES[kind] / share * tries) if pairs else 0):
            case, what = pairs[number % len(pairs)]
            yield Try(kind, f"{case.name}, {what}", _try(case, kind, what, folder, on_disk=disk.death is None))


def _needs_no_disk(kind: str, what: str) -> bool:
    """Whether a trouble can be had where nothing can be mounted."""
    return kind == LIMIT or what.startswith("the folder")


def _try(case: Case, kind: str, what: str, folder: Path, *, on_disk: bool) -> str | None:
    def work(report: Callable[[Any], object]) -> None:
        signal.alarm(2 * SECONDS)
        if on_disk:
            _new_disk(case.root.parent)
        case.begin()
        with TROUBLES[kind][what](case.root):
            ended = case.run()
        left = [str(path.relative_to(case.root)) for path in case.root.rglob(".tmp-*")]
        wrong = fault(ended, _codes(kind, case, what)) or (f"left behind: {left}" if left else None)
        if wrong is None and isinstance(case, Training):
            wrong = case.fault_when_killed(SAVED if "--resume" in case.words else 0)
        if wrong is None and isinstance(case, Reading) and ended.code == 0 and ended.out != case.printed:
            wrong = "it printed something else"
        report(wrong or case.fault_when_continued())

    process = Forked(work, folder / "errors of the command")
    reports = list(process.reports())
    return process.death or reports[0]


def _codes(kind: str, case: Case, what: str) -> tuple[int, ...]:
    """How the command may end."""
    refused: tuple[int, ...] = (3, 4) if kind == READ_ONLY else (6,)
    if what == "the system":  # There is no temporary folder either.
        refused += (6,)
    if isinstance(case, Reading):
        # It encodes a corpus, on a disk, if none is kept.
        return (0, *refused) if case.name.startswith("eval") else (0,)
    return (0, *refused) if kind in (NEARLY, LIMIT) or what.startswith("the folder") else refused


def _cases(folder: Path) -> list[Case]:
    corpus, root = write_names(folder), folder / "killed" / "runs"
    table = folder / "table.tsv"
    table.write_text("kind\ttext\n" + "a\txyxx\nb\tyxyy\n" * 30, encoding="utf-8")
    begin = ("train", corpus, *RUN, *SETTINGS)
    nothing, half, whole = (folder / name for name in ("nothing", "half", "whole"))
    nothing.mkdir()
    command(*begin, "--checkpoints", whole)
    labels = ("--task", "classify", "--text-column", "text", "--label-column", "kind", "--name", "labels")
    command("train", table, "--checkpoints", whole, *SETTINGS[:6], "--steps", "2", *labels)
    saved = Child(begin, half, place=Place(-1)).saved
    shutil.rmtree(half)
    Child(begin, half, place=Place(saved[SAVED]))
    unkept = []
    for kept in (half, whole):
        unkept.append(kept.with_name(f"{kept.name} not kept"))
        shutil.copytree(kept, unkept[-1])
        shutil.rmtree(unkept[-1] / ".corpus")
    sample = ("sample", "names", "-n", "2", "--max-chars", "20", "--seed", "1")
    return [
        Training("train", root, nothing, begin),
        Training("train -", root, nothing, ("train", "-", *RUN, *SETTINGS), stdin=TEXT),
        Training("train --overwrite", root, half, (*begin, "--overwrite")),
        Training("train --resume", root, half, RESUME),
        Training("train --resume of a corpus that is not kept", root, unkept[0], RESUME),
        Reading("sample", root, whole, *sample),
        Reading("score", root, whole, "score", "names", stdin=TEXT),
        Reading("info", root, whole, "info", "--json"),
        Reading("predict", root, whole, "predict", "labels", stdin="xyx\nyx\n"),
        Reading("eval", root, whole, "eval", "labels", "--json"),
        Reading(
            "eval of a corpus that is not kept", root, unkept[1], "eval", "names", "--stop", "length", "--json"
        ),
    ]
