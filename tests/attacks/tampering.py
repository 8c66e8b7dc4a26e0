"""Changes the files of a run, a byte, a number or a word at a time, and reads and resumes what is left.

Whatever was changed, a command does its work or says in one line why not. A change that leaves the manifest as it
was must not change what a command prints: it is noticed, or it is in a file that the command does not need.
"""

import json
import math
import os
import random
import resource
import shutil
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from helpers_cli import NAMES, succeed, train
from report import Try
from starts import SECONDS, Ended, Forked, command, fault, json_fault

from charrnn.checkpoint import Checkpoint, RunDirectory, RunWriter, encode_json
from charrnn.checkpoint.manifest import MANIFEST, make_manifest
from charrnn.errors import CheckpointError

BYTE, REWRITTEN = "a byte changed, manifest left", "a byte changed, manifest rewritten"
VALUE, WEIGHTS = "a number or word changed, manifest rewritten", "weights changed, manifest rewritten"
SHARES = {BYTE: 0.42, REWRITTEN: 0.1, VALUE: 0.33, WEIGHTS: 0.15}

STEP, STEPS = 4, 6
"""The step of the only checkpoint, and of the end of training."""
FIRST_STEPS = 3
"""The first budget of a run that was trained on to STEPS."""
CHECKPOINT = f"checkpoint-{STEP:08d}"
MEMORY = 8 << 30
FORKED = 400
"""Changes that one process tries: it may be left unlike a new one by what it has read."""

MODEL, STATE = "model.safetensors", "training_state.safetensors"
OF_A_CHECKPOINT = ("config.json", "vocab.json", MODEL, "trainer_state.json", STATE)
USES = ("sample", "score", "predict")
OF_A_RUN = ("run.json", "best.json", "metrics.jsonl")
SMALL = ("config.json", "vocab.json", "trainer_state.json", *OF_A_RUN)
VALUES = (
    "0", "-1", "1", str(2**31), str(2**63), "1e308", "-1e308", "1e-308", "NaN", "null", '""', '"x"', "0.5",
    json.dumps("long" * 5_000), json.dumps("\x1b]52;c;aGk=\x07"), '"\u202e\x7f\x9b2J"', '"/dev/zero"', "[]", "{}",
    "true", "[" * 5_000 + "]" * 5_000,
)  # fmt: skip
WORDS = ("F64", "F16", "I32", "U8", "BOOL")
NUMBERS = (math.nan, math.inf, 1e38, -1e38, 0.0, 9e5, -9e5, 1e-40)

Edit = Callable[[bytes], bytes]


class Change(NamedTuple):
    kind: str
    run: str
    file: str
    what: str
    edit: Edit


def attack(tries: int, seed: int, folder: Path) -> Iterator[Try]:
    chance = random.Random(seed)
    with chdir(folder):  # where a changed run looks for its corpus
        runs = make_runs(folder)
    changes: list[Change] = []
    for kind, share in SHARES.items():
        possible = _CHANGES[kind](runs, chance)
        wanted = math.ceil(share * tries)
        while wanted > 0:
            drawn = chance.sample(possible, min(wanted, len(possible)))
            changes += drawn
            wanted -= len(drawn)
    while changes:
        changes = changes[(yield from _try(changes[:FORKED], folder)) :]


def _try(changes: list[Change], folder: Path) -> Iterator[Try]:
    """Tries changes in another process until it dies or all are tried; returns how many were."""
    child = Forked(lambda report: [_try_one(change, folder, report) for change in changes], folder / "errors")
    done, doing = 0, ""
    for report in child.reports():
        if "command" in report:
            doing = report["command"]
        else:
            change = changes[done]
            done += 1
            yield Try(change.kind, f"{change.run}, {change.file}: {change.what}", report["failure"])
    if child.death is None:
        return done
    change = changes[min(done, len(changes) - 1)]
    yield Try(change.kind, f"{change.run}, {change.file}: {change.what}", f"{doing}: {child.death}")
    return done + 1


def _try_one(change: Change, folder: Path, report: Callable[[Any], object]) -> None:
    os.fsync = lambda _descriptor: None  # type: ignore[assignment]
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    _tamper(change, folder)
    failure = _unverified(change, folder)
    for words in () if failure else commands(change):
        report({"command": " ".join(words)})
        signal.alarm(SECONDS)
        ended = _command(words, folder / "changed")
        signal.alarm(0)
        # To what is no terminal, JSON, TOML and the texts of a model go as they are.
        data = words[0] in ("sample", "predict") or "--json" in words or "--toml" in words
        failure = fault(ended, (0, 2, 3, 4, 5, 6, 7), data=data)
        if failure is None and "--json" in words:
            failure = json_fault(ended.out)
        if failure is None and change.kind == BYTE and words[0] in USES:
            whole = _whole(folder, change.run, words)
            failure = "it went unnoticed" if ended.code == 0 and ended != whole else None
        if failure is not None:
            failure = f"{' '.join(words)}: {failure}"
            break
    report({"failure": failure})


def _unverified(change: Change, folder: Path) -> str | None:
    """Whether a checkpoint is said to be whole whose manifest no longer fits."""
    if change.kind != BYTE or change.file in OF_A_RUN:
        return None
    try:
        Checkpoint.open(folder / "changed" / "run" / CHECKPOINT).verify()
    except CheckpointError:
        return None
    return "the checkpoint is said to be whole"


def _command(words: tuple[str, ...], root: Path) -> Ended:
    text = {
        "score": "ab\n\nxyx\nzz\n",
        "predict": "xyx\nyx\n",
        "tree": "( a ( xyxx b ) )\n",
        "transduce": "xyx\ta\n",
    }
    stdin = text.get(words[-1], text.get(words[0]))
    words = words[:2] if words[0] == "predict" else words
    return command(*(word.replace("ROOT", str(root)) for word in words), "--checkpoints", root, stdin=stdin)


@cache
def _whole(folder: Path, run: str, words: tuple[str, ...]) -> Ended:
    """What a command prints of a run that nobody has changed."""
    return _command((words[0], run, *words[2:]), folder / "runs")


def commands(change: Change) -> Iterator[tuple[str, ...]]:
    """The commands that read the changed file, of the long ones only a share; one that writes comes last."""

    def one_in(share: int) -> bool:
        return zlib.crc32(f"{change.run} {change.file} {change.what}".encode()) % share == 0

    run, file = change.run, change.file
    given = ("--given", "kind=a", "--given", "size=1") if run == "given" else ()
    generates = run in ("all", "longer", "given")
    if file not in ("trainer_state.json", STATE, "run.json"):
        if generates:
            yield "sample", "run", "-n", "2", "--max-chars", "20", "--seed", "1", *given
            yield "score", "run", "--json", *given
            yield "info", f"ROOT/run/{CHECKPOINT}"
        else:
            yield "predict", "run", run
    if file in (*OF_A_RUN, MANIFEST):
        yield "info", "run"
        yield "info", "run", "--json"
        yield "info", "run", "-v" if one_in(2) else "--toml"
        yield "info", *(("--json",) if one_in(2) else ())
    if file in ("config.json", "vocab.json", MODEL, "run.json") and one_in(100 if generates else 2):
        yield "eval", "run", "--json"
    resumed = file in ("trainer_state.json", STATE) and change.kind != BYTE
    if resumed or (file not in ("config.json", "vocab.json", MODEL) and one_in(2 if change.kind == VALUE else 4)):
        yield "train", "--resume", "--name", "run", "--json" if one_in(3) else "--quiet"


def _tamper(change: Change, folder: Path) -> None:
    """Makes a new copy of the run, with the change."""
    copy = folder / "changed" / "run"
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(folder / "runs" / change.run, copy)
    checkpoint = copy / CHECKPOINT
    path = (copy if change.file in OF_A_RUN else checkpoint) / change.file
    path.write_bytes(change.edit(path.read_bytes()))
    if change.kind != BYTE and change.file not in OF_A_RUN:
        files = {name: (checkpoint / name).read_bytes() for name in OF_A_CHECKPOINT}
        (checkpoint / MANIFEST).write_bytes(encode_json(make_manifest(STEP, files)))


def make_runs(folder: Path) -> dict[str, dict[str, bytes]]:
    """A run of each task, with two steps to go, and their files."""
    rows = [("a", "1.5", "xyxx"), ("b", "2.5", "yxyy"), ("a", "0.5", "xxxy"), ("b", "3.5", "yyyx")] * 8
    tables = {
        "names.txt": NAMES,
        "rows.tsv": ["kind\tsize\ttext", *("\t".join(row) for row in rows)],
        "tags.tsv": [f"{text}\t{text.upper()}" for _, _, text in rows],
        "trees.tsv": [f"{kind}\t( {kind} ( {text} b ) )" for kind, _, text in rows],
    }
    for name, lines in tables.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    pairs = ("--task", "transduce", "--source-column", "text", "--target-column", "size", "--context", "kind")
    runs: dict[str, tuple[str, ...]] = {
        "all": ("names.txt", "--stop", "all"),
        "longer": ("names.txt",),
        "given": ("rows.tsv", "--context", "kind", "--context", "size", "--text-column", "text"),
        "classify": ("rows.tsv", "--task", "classify", "--text-column", "text", "--label-column", "kind"),
        "tag": ("tags.tsv", "--task", "tag", "--feedback", "target"),
        "tree": ("trees.tsv", "--task", "tree", "--leaves", "characters"),
        "transduce": ("rows.tsv", *pairs),
    }
    found = {}
    for name, (corpus, *options) in runs.items():
        train(
            folder / "runs", Path(corpus), "--name", name, "--batch-size", "4", "--save-every", str(STEP),
            "--keep", str(STEPS), *options, steps=STEPS if name != "longer" else FIRST_STEPS,
        )  # fmt: skip
        if name == "longer":
            longer = ("--resume", "--name", name, "--checkpoints", folder / "runs", "--steps", str(STEPS))
            succeed("train", *longer, "--quiet")
        with RunWriter.open(folder / "runs" / name) as writer:
            writer.cut_back(STEP)
            for step in writer.steps()[:-1]:
                shutil.rmtree(writer.checkpoint_path(step))
            writer.write_best(STEP, 2.0)
        path = RunDirectory(folder / "runs" / name).checkpoint_path(STEP)
        found[name] = {
            file.name: file.read_bytes() for file in (*path.parent.iterdir(), *path.iterdir()) if file.is_file()
        }
    return found


def _bytes(kind: str, runs: dict[str, dict[str, bytes]], chance: random.Random) -> Iterator[Change]:
    """Every byte of the small files, and as many of the weights."""
    small = (*SMALL, MANIFEST) if kind == BYTE else SMALL[:3]
    for run, files in runs.items():
        for file in (*small, MODEL, STATE):
            size = len(files[file])
            places = range(size) if file in small else chance.sample(range(size), min(size, 1_000))
            for place in places:
                mask = chance.randrange(1, 256)
                yield Change(kind, run, file, f"byte {place} ^ {mask}", _flip(place, mask))


def _flip(place: int, mask: int) -> Edit:
    return lambda data: data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


Way = tuple[str | int, ...]


def _values(runs: dict[str, dict[str, bytes]]) -> Iterator[Change]:
    """Every value of the JSON files replaced by each hostile one, left out, and given twice."""
    for run, files in runs.items():
        for file in ("config.json", "vocab.json", "trainer_state.json", "run.json", "best.json"):
            for way in _ways(json.loads(files[file])):
                for token in (*VALUES, "left out", "given twice"):
                    what = f"{'.'.join(map(str, way))} = {token[:60]!a}"
                    yield Change(VALUE, run, file, what, _replaced(way, token))


def _ways(value: Any, way: Way = ()) -> Iterator[Way]:
    """The ways to all values in an object; in a long list to the first two and the last."""
    if way:
        yield way
    if isinstance(value, dict):
        for key in value:
            yield from _ways(value[key], (*way, key))
    elif isinstance(value, list):
        for number in sorted({0, 1, len(value) - 1} & set(range(len(value)))):
            yield from _ways(value[number], (*way, number))


def _replaced(way: Way, token: str) -> Edit:
    mark = "a value"

    def edit(data: bytes) -> bytes:
        values = json.loads(data)
        *above, last = way
        parent = values
        for key in above:
            parent = parent[key]
        if token == "left out":
            del parent[last]
            return json.dumps(values).encode()
        new = token
        if token == "given twice":
            before = json.dumps(parent[last])
            new = f"{before}, {json.dumps(last)}: 0" if isinstance(parent, dict) else f"{before}, {before}"
        parent[last] = mark
        return json.dumps(values).replace(json.dumps(mark), new).encode()

    return edit


def _weights(runs: dict[str, dict[str, bytes]], chance: random.Random) -> Iterator[Change]:
    """Numbers in every tensor, one or all of them, and the numbers and words of the headers."""
    for run, files in runs.items():
        for file in (MODEL, STATE):
            header, _ = _parts(files[file])
            for name, tensor in header.items():
                begin, end = tensor["data_offsets"]
                for number in NUMBERS if end - begin >= 4 else ():
                    one = begin + 4 * chance.randrange((end - begin) // 4)
                    yield Change(WEIGHTS, run, file, f"{name}, byte {one} = {number}", _set(one, one + 4, number))
                    yield Change(WEIGHTS, run, file, f"{name}, all = {number}", _set(begin, end, number))
            for way in _ways(header):
                for token in (*VALUES, *map(json.dumps, WORDS), "left out", "given twice"):
                    what = f"header {'.'.join(map(str, way))} = {token[:60]!a}"
                    yield Change(WEIGHTS, run, file, what, _header(_replaced(way, token)))
            for length in (0, 1, 7, len(files[file]), 2**31, 2**63, 2**64 - 1):
                yield Change(WEIGHTS, run, file, f"{length} bytes of header", _length(length))


def _parts(data: bytes) -> tuple[dict[str, Any], int]:
    """The header of safetensors and where the numbers begin."""
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:end]), end


def _set(begin: int, end: int, number: float) -> Edit:
    def edit(data: bytes) -> bytes:
        _, at = _parts(data)
        return data[: at + begin] + struct.pack("<f", number) * ((end - begin) // 4) + data[at + end :]

    return edit


def _header(change: Edit) -> Edit:
    def edit(data: bytes) -> bytes:
        _, at = _parts(data)
        header = change(data[8:at])
        return struct.pack("<Q", len(header)) + header + data[at:]

    return edit


def _length(length: int) -> Edit:
    return lambda data: struct.pack("<Q", length) + data[8:]


_CHANGES: dict[str, Callable[[dict[str, dict[str, bytes]], random.Random], list[Change]]] = {
    BYTE: lambda runs, chance: list(_bytes(BYTE, runs, chance)),
    REWRITTEN: lambda runs, chance: list(_bytes(REWRITTEN, runs, chance)),
    VALUE: lambda runs, _chance: list(_values(runs)),
    WEIGHTS: lambda runs, chance: list(_weights(runs, chance)),
}
