"""Shows hostile text on a terminal, with every command: as labels, symbols, names, arguments and stored values.

What arrives at the terminal holds no control character but those that rich writes for colours and progress bars.
"""

import fcntl
import io
import json
import os
import pty
import random
import re
import shutil
import signal
import struct
import sys
import termios
import warnings
from collections.abc import Iterator
from importlib import import_module
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from helpers_cli import train, write_names
from report import Try
from starts import SECONDS

from charrnn.checkpoint import encode_json
from charrnn.checkpoint.manifest import MANIFEST, make_manifest
from charrnn.cli import main

MARKUP = "[red]zq[/red]:smile:"
HOSTILE = {
    "all at once": f"\x1b[2J\x1b]52;c;aGk=\x07\x1b[8m\x9b2J\x9d0;t\x9c\x7f\u202e\u2066\u200f\u061c{MARKUP}",
    "CR, NUL": "a\rb\x00c\x0b\x0c\x1c\x85d",
    "ESC [2J": "\x1b[2J",
    "OSC 52": "\x1b]52;c;aGk=\x07",
    "conceal": "\x1b[8m",
    "C1 CSI": "\x9b2J",
    "DEL": "\x7f\x7f",
    "BEL": "\x07",
    "CR": "a\rb",
    "U+202E": "\u202e",
    "U+2066": "\u2066",
    "markup": MARKUP,
}
SURROGATE = "\udcff"
"""The byte 0xFF in the name of a file."""

LONGEST = 8
"""Characters of a separator."""
AT_ONCE = 20
"""Tries with one hostile text before it is the turn of the next."""
STORED = 40
"""Stored values that are changed for each hostile text, of some hundreds."""
COLUMNS, LINES = 80, 24
CODES = (0, 2, 3, 4, 5, 6, 7, 8, 9)
_OF_RICH = re.compile(
    r"\x1b\[(?!8[;m])[\d;]*m|\x1b\[\?25[lh]|\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*|\r(?:\x1b\[1A\x1b\[2K)+"
)
"""Colours, but no hidden text; the cursor hidden and shown; a progress bar erased."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

TRAINING = ("--hidden-size", "8", "--steps", "4", "--threads", "1", "--seed", "1", "--batch-size", "4")
CHECKPOINT = "checkpoint-00000004"
OF_A_CHECKPOINT = ("config.json", "vocab.json", "trainer_state.json")

Words = tuple[str, ...]


class Shown(NamedTuple):
    """What a command wrote on its terminal."""

    code: int
    """Negative: the signal that killed it."""
    data: bytes


def on_terminal(words: Words, folder: Path, **environment: str) -> Shown:
    """Runs a command in a forked process whose standard streams are a terminal, inside `folder`."""
    sys.stdout.flush()
    pid, terminal = pty.fork()
    if not pid:
        _command(words, folder, environment)
    os.write(terminal, b"\x04")  # the end of standard input
    written = []
    with open(terminal, "rb", buffering=0) as stream:
        try:
            while data := stream.read(1 << 16):
                written.append(data)
        except OSError:
            pass  # Linux says so when the last process has left the terminal.
    _, status = os.waitpid(pid, 0)
    return Shown(os.waitstatus_to_exitcode(status), b"".join(written))


def _writer(descriptor: int, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(descriptor, "w"), "utf-8", errors, write_through=True)


def _command(words: Words, folder: Path, environment: dict[str, str]) -> NoReturn:
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        modes = termios.tcgetattr(0)
        modes[1] &= ~termios.OPOST  # or the terminal itself would write CR before each LF
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(0, termios.TCSANOW, modes)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout, sys.stderr = _writer(1, "strict"), _writer(2, "backslashreplace")
        for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
            os.environ.pop(name, None)
        os.environ |= {"TERM": "xterm-256color"} | environment
        # Processes that this one starts import what is called __main__.
        sys.modules["__main__"] = import_module("charrnn.__main__")
        warnings.resetwarnings()
        warnings.simplefilter("always")
        os.fsync = lambda _descriptor: None  # type: ignore[assignment]
        os.chdir(folder)
        main(list(words), prog_name="charrnn")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException as error:
        os.write(2, f"Traceback of {type(error).__name__}: {error}".encode(errors="replace"))
    finally:
        os._exit(code)


def fault(shown: Shown, words: Words) -> str | None:
    """What is wrong with what arrived at the terminal."""
    try:
        text = _OF_RICH.sub("", shown.data.decode())
    except UnicodeDecodeError as error:
        return f"no UTF-8: {shown.data[max(0, error.start - 40) : error.end + 10]!r}"
    if shown.code not in CODES:
        return f"exit {shown.code}, {text[-200:]!a}"
    if "Warning" in text or ("Traceback" in text and "--debug" not in words) or "Exception ignored" in text:
        return f"a warning or traceback, {text[-300:]!a}"
    if "--print0" in words:
        text = text.replace("\0", "\n")
    # The answer to a shell, which completes a word (there are no words then), holds names as they are.
    if words and (found := _CONTROL.search(text)):
        return f"{found[0]!a} in {text[max(0, found.start() - 40) : found.end() + 10]!a}"
    # The symbols of a model are drawn in any order, so only what is quoted must be as it was.
    drawn = words and words[0] in ("sample", "predict", "eval", "study")
    text = "".join(text.split())  # It may be wrapped.
    if "\U0001f604" in text or (not drawn and re.search(r"(?<!\[red\])(?<!-red-)zq", text)):
        return f"markup or an emoji code was read, {text[:200]!a}"
    return None


def attack(tries: int, seed: int, folder: Path) -> Iterator[Try]:
    """One hostile text after another; each is trained on first, and what reads the runs follows."""
    train(folder / "warm", write_names(folder), "--stop", "all")  # loads all that a training needs
    chance = random.Random(seed)
    made = 0
    for number in count():
        worlds = [_with(what, folder / f"{number}-{place}", chance) for place, what in enumerate(HOSTILE)]
        while worlds:
            world = worlds.pop(0)
            some = list(islice(world, min(AT_ONCE, tries - made)))
            yield from some
            made += len(some)
            if made == tries:
                return
            if len(some) == AT_ONCE:
                worlds.append(world)


def _with(what: str, folder: Path, chance: random.Random) -> Iterator[Try]:
    folder.mkdir()
    world = World(HOSTILE[what], folder)

    def shown(kind: str, words: Words, name: str = "", **environment: str) -> Try:
        wrong = fault(on_terminal(words, folder, **environment), words)
        return Try(f"terminal: {kind}", f"{what}: {name}charrnn {' '.join(words)!a}", wrong)

    for words in world.trainings():
        yield shown("train on hostile text", words)
    world.rename()
    others = [("hostile text is read", words, "") for words in world.readings()]
    others += [("hostile arguments", words, "") for words in world.arguments()]
    stored = [("hostile stored values", (), change) for change in world.stored()]
    others += chance.sample(stored, min(STORED, len(stored)))
    chance.shuffle(others)
    for kind, words, change in others:
        if change:
            for words in world.change(change):
                yield shown(kind, words, f"{change}: ")
        else:
            yield shown(kind, words, **({} if words else world.completion))


class World:
    """A folder of files and runs that hold one hostile text wherever they can."""

    def __init__(self, text: str, folder: Path) -> None:
        self._text, self._folder = text, folder
        self._word = text.replace("\0", "")
        """As an argument, which holds no NUL."""
        self._file = self._word.replace("/", "|")
        self._name = f"run {self._file}{SURROGATE}"
        self._root = f"runs {self._file}"
        self._lines, self._rows, self._trees = (
            f"{name}{self._file}{end}" for name, end in (("lines", ".txt"), ("rows", ".tsv"), ("trees", ".tsv"))
        )
        column = re.sub(r"[\r\v\f\x1c\x85]", "", self._word)
        self._columns = [f"{name}{column}" for name in ("kind", "size", "text", "out")]
        binary = [text]
        text = self._word  # A corpus holds no NUL.
        lines = [f"ab{text if n % 3 else ''}c" for n in range(60)]
        rows = [f"{'ab'[n % 2]}{text}\t{n}.5\txy{text * (n % 3)}y\tXY{text * (n % 3)}Y" for n in range(40)]
        trees = [f"{'ab'[n % 2]}{text}\t( xy{text} ( yx b ) )" for n in range(40)]
        files = {
            self._lines: lines,
            self._rows: ["\t".join(self._columns), *rows],
            "binary.txt": binary,
            self._trees: trees,
            "plain.txt": [f"xy{text}y", "yx", f"( xy{text} b )"],
            "bad.toml": [f"{json.dumps('steps' + text)} = 1"],
            "worse.toml": [f"steps = {json.dumps(text)}", f"name{text}"],
        }
        for name, content in files.items():
            (folder / name).write_bytes("".join(f"{line}\n" for line in content).encode())
        (folder / f"lines{SURROGATE}.txt").write_bytes((folder / self._lines).read_bytes())
        self.completion = {
            "_CHARRNN_COMPLETE": "bash_complete", "COMP_CWORD": "4",
            "COMP_WORDS": f"charrnn info --checkpoints {self._quoted(self._root)} ",
        }  # fmt: skip

    @staticmethod
    def _quoted(name: str) -> str:
        return "'" + name.replace("'", "'\\''") + "'"

    def trainings(self) -> Iterator[Words]:
        kind, size, text, out = self._columns
        pair = ("--source-column", text, "--target-column", out)
        for name, corpus, *options in (
            ("all", self._lines, "--stop", "all", "--split", "line"),
            ("given", self._rows, "--context", kind, "--context", size, "--text-column", text, "-v"),
            ("classify", self._rows, "--task", "classify", "--text-column", text, "--label-column", kind),
            ("tag", self._rows, "--task", "tag", *pair, "--feedback", "target", "--json"),
            ("transduce", self._rows, "--task", "transduce", *pair, "--target-sep", self._word[:LONGEST], "-v"),
            ("tree", self._trees, "--task", "tree", "--leaves", "characters"),
        ):
            yield "train", corpus, "--name", name, "--checkpoints", self._root, *TRAINING, *options

    def rename(self) -> None:
        """Gives a copy of a run a name that `charrnn train` would refuse."""
        run = self._folder / self._root / "all"
        if run.exists():
            shutil.copytree(run, run.with_name(self._name))

    def readings(self) -> Iterator[Words]:
        kind, size, *_ = self._columns
        given = ("given", "--given", f"{kind}=a{self._word}", "--given", f"{size}=1")
        run, lines = self._name, self._lines
        for words in (
            (),
            ("sample", "all"), ("sample", run, "-v", "-n", "3"), ("sample", *given, "-n", "3"),
            ("sample", "all", "-n", "3", "--json"), ("sample", "all", "-n", "3", "--print0"),
            ("sample", "all", "--prompt", f"ab{self._word}"), ("sample", "all", "--prompt", f"@{lines}"),
            ("sample", "all", "-n", "50", "--unique", "--novel", "--max-chars", "3"),
            ("eval", "all"), ("eval", run, "-v"), ("eval", "all", "--json"), ("eval", "given", "-v"),
            ("eval", "--compare", "all", run), ("eval", run, lines, "--max-bits-per-char", "0.01"),
            ("eval", "classify", "-v"), ("eval", "tag", "-v"), ("eval", "transduce", "-v"), ("eval", "tree", "-v"),
            ("eval", "classify", "--json"), ("eval", "transduce", "--json"), ("eval", "tag"), ("eval", "tree"),
            ("score", run, lines, "-v"), ("score", "all", "plain.txt", "--json"),
            ("score", *given, f"lines{SURROGATE}.txt"),
            ("predict", "classify", "plain.txt", "-n", "2"), ("predict", "tag", "plain.txt", "-v"),
            ("predict", "tag", "plain.txt", "--json"), ("predict", "transduce", "plain.txt", "--attention"),
            ("predict", "transduce", "plain.txt", "--sample"), ("predict", "tree", "plain.txt", "--json"),
            ("predict", "classify", "plain.txt", "--json"), ("predict", *given[:1], "plain.txt", *given[3:]),
            ("predict", "tag", lines), ("predict", "tree", lines), ("score", "tag", lines), ("sample", "tag"),
            ("info",), ("info", "--json"), *(("info", "-v", name) for name in ("all", "given", "classify")),
            ("info", run), ("info", run, "--json"), ("info", "transduce", "--toml"), ("info", "given", "--json"),
            *(("info", f"{self._root}/{name}/{CHECKPOINT}") for name in (run, "tag", "tree", "given")),
            ("info", f"{self._root}/{run}/{CHECKPOINT}", "--json"), ("info", "tag", "-v"), ("info", "tree", "-v"),
            ("study", "states", run, lines), ("study", "states", "all", lines, "--unit", "0:1"),
            ("study", "states", "all", lines, "--json"), ("study", "states", "given", "--feature", "upper"),
            ("study", "gradients", run, lines, "-v"), ("study", "gradients", "all", lines, "--json"),
            ("study", "gradients", "--cell", "tanh", "--hidden-size", "4", lines, "-v"),
            ("study", "compare", lines, "--variant", f"{self._word}: --cell tanh", "--", *TRAINING),
            ("study", "compare", lines, "--cell", "tanh", "--json", "--", *TRAINING),
            ("train", "--resume", "--name", run), ("train", "--resume", "--name", "tag", "-v"),
            ("train", "plain.txt", "--init-from", run, *TRAINING),
        ):  # fmt: skip
            yield (*words, "--checkpoints", self._root) if words else ()

    def arguments(self) -> Iterator[Words]:
        word, lines, rows = self._word, self._lines, self._rows
        yield from ((word,), (f"--{word}",), ("cells", word), ("study", word), ("study", "span", "--cell", word))
        yield from (
            ("info", word, "--debug"),
            ("train", word, "--debug"),
            ("train", f"lines{SURROGATE}.txt"),
            ("train", f"{word}.txt"),
        )
        yield from (("study", "listops", word), ("study", "span", "--problem", word), ("study", "compare", word))
        yield from (
            ("cells", "lstm"),
            ("cells", "lstm", f"--{word}"),
            ("train", lines, "--resume", f"--name={word}"),
        )
        for option in (
            "cell", "hidden-size", "stop", "config", "name", "device", "encoding", "init-from", "optimizer", word,
            "valid", "label-column", "context", "text-column", "source-sep", "seed", "leak-alpha", "skip-delay",
        ):  # fmt: skip
            yield "train", rows, f"--{option}={word}", "--checkpoints", self._root, *TRAINING
        yield "train", "binary.txt", *TRAINING
        for file in ("bad.toml", "worse.toml"):
            yield "train", lines, "--config", file
        for command, *options in (
            ("sample", "given", word, f"--given={word}", "--stop=" + word, "--checkpoint=" + word),
            ("sample", "all", f"--temperature={word}", f"--prompt=@{word}", f"--{word}=1", "--prompt=\x1b[2J"),
            ("score", "all", f"--given={word}", word, f"--stop={word}"),
            ("predict", "given", f"--given={word}={word}", word, f"--picture={word}"),
            ("eval", "all", word, f"--part={word}", f"--split={word}"),
            ("study", "states", f"--unit={word}", f"--feature={word}", word, f"--what={word}"),
            ("study", "gradients", f"--cell={word}", word, f"--leak-alpha={word}"),
            ("info", word, f"--checkpoints={lines}", f"{word}/{word}"),
        ):
            first, rest = (options[:1], options[1:]) if command != "info" else ([], options)
            for option in rest:
                yield command, *first, option, "--checkpoints", self._root

    def stored(self) -> Iterator[str]:
        """The text values of the JSON files of each run, as `run/file: key.key`."""
        for run in ("all", "given", "classify", "tag", "transduce", "tree"):
            path = self._folder / self._root / run
            for file in (path / "run.json", *(path / CHECKPOINT / name for name in OF_A_CHECKPOINT)):
                if file.exists():
                    for way in _texts(json.loads(file.read_bytes())):
                        yield f"{run}/{file.name}: {'.'.join(map(str, way))}"

    def change(self, change: str) -> Iterator[Words]:
        """Makes the text value hostile in a copy of the run, and yields commands that read it."""
        place, _, way = change.partition(": ")
        run, _, file = place.partition("/")
        copy = self._folder / "changed" / run
        shutil.rmtree(copy.parent, ignore_errors=True)
        shutil.copytree(self._folder / self._root / run, copy)
        path = copy / file if file == "run.json" else copy / CHECKPOINT / file
        values = json.loads(path.read_bytes())
        *above, last = (int(key) if key.isdecimal() else key for key in way.split("."))
        parent = values
        for key in above:
            parent = parent[key]
        separates = str(last).endswith(("sep", "separator"))
        parent[last] = self._text[:LONGEST] if separates else f"{parent[last]}{self._text}"
        path.write_bytes(encode_json(values))
        if file != "run.json":
            names = json.loads((copy / CHECKPOINT / MANIFEST).read_bytes())["files"]
            files = {name: (copy / CHECKPOINT / name).read_bytes() for name in names}
            (copy / CHECKPOINT / MANIFEST).write_bytes(encode_json(make_manifest(4, files)))
        use = (
            ("sample", run, "-n", "2", "--max-chars", "20")
            if run in ("all", "given")
            else ("predict", run, "plain.txt")
        )
        uses = {
            "run.json": (
                ("info", run, "-v"),
                ("info", run, "--toml"),
                ("info", run, "--json"),
                ("info",),
                ("eval", run),
            ),
            "trainer_state.json": (("train", "--resume", "--name", run),),
        }
        for words in uses.get(file, (use, ("info", f"changed/{run}/{CHECKPOINT}"), ("eval", run, "-v"))):
            yield *words, "--checkpoints", "changed"


def _texts(value: Any, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The ways to all texts in an object; in a list to the first two and the last."""
    if isinstance(value, str):
        yield way
    elif isinstance(value, dict):
        for key in value:
            yield from _texts(value[key], (*way, key))
    elif isinstance(value, list):
        for number in sorted({0, 1, len(value) - 1} & set(range(len(value)))):
            yield from _texts(value[number], (*way, number))
