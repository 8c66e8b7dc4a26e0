"""Fuzzes what reads files and arguments: `python tests/attacks/fuzz.py PARSER [--minutes M] [CORPUS_DIR]`.

Needs `pip install atheris`, which looks for inputs that reach new branches. Whatever the bytes, a parser does its
work or raises an error of charrnn, and warns of nothing. An input that does something else is printed and kept
among the cases, `cases/PARSER`, which `test_cases.py` runs without atheris.
"""

import io
import itertools
import json
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).parent
CASES = HERE / "cases"
sys.path[:0] = [str(HERE), str(HERE.parent)]

LONGEST = 8192
Harness = Callable[[bytes], object]
"""Gives bytes to a parser, and lets through what the parser raises."""

# charrnn is imported inside the functions, so that atheris can add its counters before that.


def check(harness: Harness, data: bytes) -> None:
    """Raises what no parser may raise."""
    with warnings.catch_warnings(), suppress(*_expected()):
        warnings.simplefilter("error")
        harness(data)


# Small files and arguments ---------------------------------------------------------------------------------


def _tensors(_folder: Path) -> Harness:
    from charrnn.checkpoint.tensors import read_tensors

    return lambda data: read_tensors(io.BytesIO(data).read, len(data), "weights")


def _manifest(folder: Path) -> Harness:
    from charrnn.checkpoint.manifest import MANIFEST, read_manifest

    return _of_file(folder / MANIFEST, lambda path: read_manifest(path.parent))


def _toml(folder: Path) -> Harness:
    from charrnn.api import train_config
    from charrnn.cli.train_options import read_config_file

    return _of_file(folder / "settings.toml", lambda path: train_config(**read_config_file(str(path))))


def _table(folder: Path) -> Harness:
    """The first byte says how the table is read, and a number in a column is read as one."""
    import numpy as np

    from charrnn.corpus.columns import encode_columns, fit_column, parse_spec
    from charrnn.corpus.table import read_table

    def read(flags: int, data: bytes) -> None:
        path = folder / ("rows.csv" if flags & 1 else "rows.tsv")
        path.write_bytes(data)
        encoding = ("utf-8", "utf-16", "latin-1", "utf-7")[flags >> 2 & 3]
        table = read_table([path], spool=folder, header=bool(flags & 2), encoding=encoding)
        train = np.ones(len(table), bool)
        train[::3] = False
        for name in table.names:
            spec, kind = parse_spec(name)
            column = fit_column(spec, kind, table.column(name), train, table.where)
            encode_columns([column], [table.column(name)], table.where)

    return _flagged(read)


def _tree(_folder: Path) -> Harness:
    import numpy as np

    from charrnn.tasks.tree.trees import levels_of, parse_trees

    def read(flags: int, data: bytes) -> None:
        texts = data.decode(errors="replace").split("\n")
        forest = parse_trees(texts, str, labelled=bool(flags & 1), pairs=bool(flags & 2))
        levels_of(forest.take(np.arange(len(forest))), np.arange(len(forest)))

    return _flagged(read)


def _text(folder: Path) -> Harness:
    """The first byte is the encoding, the split and whether the text arrives in small chunks."""
    from charrnn.corpus.encoded import encode
    from charrnn.corpus.partition import partition

    splits, encodings = ("auto", "line", "paragraph", "file"), ("utf-8", "utf-16", "cp1252", "utf-7", "utf-32")

    def read(flags: int, data: bytes) -> None:
        path = folder / "text.txt"
        path.write_bytes(data)
        split: Any = splits[flags & 3]
        chunk_bytes = 3 if flags & 4 else 1 << 16
        corpus = encode([path], split=split, encoding=encodings[(flags >> 3) % 5], chunk_bytes=chunk_bytes)
        for order in ("independent", "ordered"):
            partition(
                corpus.sequences,
                order=order,
                valid_fraction=None,
                test_fraction=None,
                hold_out="auto",
                scratch=folder,
            )

    return _flagged(read)


def _separators(_folder: Path) -> Harness:
    """The first line separates the symbols of the others."""
    from charrnn.corpus.symbols import Symbols, normalised

    def read(data: bytes) -> None:
        separator, *texts = data.decode(errors="replace").split("\n")
        texts = [normalised(text) for text in texts]
        symbols = Symbols.of(texts, separator)
        for text in texts:
            numbers = symbols.encode(text, symbols.size)
            assert symbols.split(symbols.decode(numbers)) == symbols.split(text)

    return read


def _attempts(folder: Path) -> Harness:
    from charrnn.study.attempts import AttemptLog

    return _of_file(folder / "attempts.jsonl", lambda path: AttemptLog(path).close())


# Files of runs and what is asked of models -----------------------------------------------------------------


def _copied(folder: Path, run: str) -> Path:
    """A new folder with a copy of a run, for one harness to change; the runs of all tasks are made once."""
    from tampering import make_runs

    if not (folder / "runs").exists():
        with chdir(folder):
            make_runs(folder)
    root = Path(tempfile.mkdtemp(dir=folder))
    shutil.copytree(folder / "runs" / run, root / run)
    return root


def _of_checkpoint(task: str, file: str) -> Callable[[Path], Harness]:
    """Replaces a file in a checkpoint with a fitting manifest, opens the model and asks it something."""

    def make(folder: Path) -> Harness:
        from tampering import CHECKPOINT, STEP

        from charrnn.checkpoint import Checkpoint, encode_json
        from charrnn.checkpoint.manifest import MANIFEST, make_manifest
        from charrnn.models.store import task_of
        from charrnn.tasks import task as tasks

        path = _copied(folder, task) / task / CHECKPOINT
        names = json.loads((path / MANIFEST).read_bytes())["files"]
        files = {name: (path / name).read_bytes() for name in names}
        lines = {"tree": "( a ( xyxx b ) )", "transduce": "xyx\ta"}

        def read(data: bytes) -> None:
            changed = files | {file: data}
            (path / file).write_bytes(data)
            (path / MANIFEST).write_bytes(encode_json(make_manifest(STEP, changed)))
            checkpoint = Checkpoint.open(path)
            of = tasks.task(task_of(checkpoint))
            model = of.open_model(checkpoint)
            if task in ("all", "given"):
                of.model_words(model.saved.config, 1)
                list(model.score(["xyx", ""], None, ("kind=a", "size=1") if task == "given" else ()))  # type: ignore[attr-defined]
            else:
                list(model.predict([lines.get(task, "xyx")]))

        return read

    return make


def _trainer_state(folder: Path) -> Harness:
    """Restores a training from the state and takes its next step."""
    import torch
    from tampering import CHECKPOINT, STEP, STEPS

    from charrnn.checkpoint import Checkpoint, RunDirectory, encode_json
    from charrnn.checkpoint.manifest import MANIFEST, make_manifest
    from charrnn.config import RunRecord
    from charrnn.tasks.task import task
    from charrnn.training.loop import Progress
    from charrnn.training.optimizer import Optimizer
    from charrnn.training.schedule import Schedule
    from charrnn.training.state import restore

    root = _copied(folder, "all")
    run = RunDirectory(root / "all")
    record = run.read_run(RunRecord)
    path = run.path / CHECKPOINT
    files = {name: (path / name).read_bytes() for name in json.loads((path / MANIFEST).read_bytes())["files"]}
    job = task("generate").job().stored(record, root, lambda _done, _total: None)
    params = job.saved_params(Checkpoint.open(path))
    fresh = Progress(
        schedule=Schedule.for_steps(record.config.learning_rate, STEPS), eval_every=record.config.eval_every
    )

    def read(data: bytes) -> None:
        files["trainer_state.json"] = data
        (path / "trainer_state.json").write_bytes(data)
        (path / MANIFEST).write_bytes(encode_json(make_manifest(STEP, files)))
        learner = job.learner(params, torch.device("cpu"))
        optimizer = Optimizer.of(record.config, learner.trained)
        state = restore(Checkpoint.open(path), fresh, optimizer, learner, timed=False)
        step = state.progress.step
        learner.next_loss(step, state.progress.schedule.share(step))
        state.progress.schedule.rate(step)

    return read


def _of_run(file: str) -> Callable[[Path], Harness]:
    """Replaces a file of a run and shows the run."""

    def make(folder: Path) -> Harness:
        from helpers_cli import invoke

        root = _copied(folder, "all")

        def read(path: Path) -> None:
            for words in (("info", "all", "-v"), ("info", "all", "--json"), ("info", "all", "--toml"), ("info",)):
                ended = invoke(*words, "--checkpoints", root)
                assert ended.exit_code in (0, 4), ended.output

        return _of_file(root / "all" / file, read)

    return make


def _given(folder: Path) -> Harness:
    """Lines are values of `--given`, for models given one column and several."""
    from charrnn.api import load_text
    from charrnn.corpus.columns import Column, encode_columns, parse_given

    model = load_text(_copied(folder, "given") / "given")
    one = Column(name="a=b", values=("", "a", "a=b"), counts=(1, 2, 3))

    def read(data: bytes) -> None:
        given = tuple(data.decode(errors="surrogateescape").split("\n"))
        for columns in ([one], [one, Column(name="a", mean=1e300, scale=1e-300)]):
            with suppress(*_expected()):
                values = parse_given(columns, given)
                encode_columns(columns, [[value] for value in values], lambda _row: "--given")
        list(model.score(["xyx"], None, given))

    return read


def _prompt(folder: Path) -> Harness:
    from charrnn.api import load_text
    from charrnn.cli.prompt import read_prompt

    model = load_text(_copied(folder, "all") / "all")

    def read(path: Path) -> None:
        prompt = read_prompt(f"@{path}", model.saved.vocabulary.symbols)
        for stop in ("eos", "halt", "length"):
            for _ in itertools.islice(model.draws(prompt=prompt, stop=stop, seed=1, max_chars=20).stream(), 3):
                pass

    return _of_file(folder / "prompt.txt", read)


def _expected() -> tuple[type[Exception], ...]:
    from charrnn.errors import CharRNNError

    return (CharRNNError, click.UsageError)


def _of_file(path: Path, read: Callable[[Path], object]) -> Harness:
    def harness(data: bytes) -> None:
        path.write_bytes(data)
        read(path)

    return harness


def _flagged(read: Callable[[int, bytes], object]) -> Harness:
    return lambda data: read(data[0], data[1:]) if data else None


PARSERS: dict[str, Callable[[Path], Harness]] = {
    "tensors": _tensors,
    "manifest": _manifest,
    **{f"config-{run}": _of_checkpoint(run, "config.json") for run in ("all", "given", "classify", "tag")},
    **{f"config-{run}": _of_checkpoint(run, "config.json") for run in ("transduce", "tree")},
    **{f"vocab-{run}": _of_checkpoint(run, "vocab.json") for run in ("all", "tag", "transduce")},
    "trainer-state": _trainer_state,
    "run": _of_run("run.json"),
    "best": _of_run("best.json"),
    "metrics": _of_run("metrics.jsonl"),
    "table": _table,
    "tree": _tree,
    "given": _given,
    "toml": _toml,
    "prompt": _prompt,
    "separators": _separators,
    "text": _text,
    "attempts": _attempts,
}
"""A harness for each parser, made in an empty folder or one that another harness was made in."""


# The search ------------------------------------------------------------------------------------------------


def _mutated(data: bytes, longest: int, seed: int) -> bytes:
    """JSON, or the JSON before tensors, with one value changed; any other bytes, and every other time, blindly."""
    import atheris

    chance = random.Random(seed)
    if chance.random() < 0.6:
        with suppress(ValueError, RecursionError, IndexError):
            return _with_another_value(data, chance)[:longest]
        end = 8 + int.from_bytes(data[:8], "little")
        with suppress(ValueError, RecursionError, IndexError):
            header = _with_another_value(data[8:end], chance)
            return (len(header).to_bytes(8, "little") + header + data[end:])[:longest]
    mutated: bytes = atheris.Mutate(data, longest)
    return mutated


def _with_another_value(data: bytes, chance: random.Random) -> bytes:
    """Raises ValueError for what is no JSON and IndexError where there is no value to change."""
    from tampering import VALUES

    values = json.loads(data)
    ways = list(_ways(values))
    above, last = chance.choice(ways)
    parent = _at(values, above)
    old, hostile = parent[last], map(json.loads, VALUES[:-1])
    if chance.random() < 0.1:
        del parent[last]
        return json.dumps(values).encode()
    pool = [*hostile, *(_at(values, way)[key] for way, key in ways)]
    if isinstance(old, int):
        pool += [old + 1, old - 1, 2 * old] * 5
    # A value of another type is refused before anything is done with it.
    same = [value for value in pool if type(value) is type(old)]
    parent[last] = json.loads(json.dumps(chance.choice(same if same and chance.random() < 0.9 else pool)))
    return json.dumps(values).encode()


def _at(value: Any, way: tuple[str | int, ...]) -> Any:
    for key in way:
        value = value[key]
    return value


def _ways(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str | int]]:
    """Each place in nested objects and lists, as the way to what holds it and its key there."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield above, key
        yield from _ways(value[key], (*above, key))


@click.command()
@click.argument("name", type=click.Choice(list(PARSERS)), metavar="PARSER")
@click.argument("corpus", required=False, type=click.Path(file_okay=False, path_type=Path), metavar="[CORPUS_DIR]")
@click.option("--minutes", type=float, default=1.0, show_default=True)
def main(name: str, corpus: Path | None, minutes: float) -> None:
    """Search for inputs that a parser does not expect. Parsers: see `PARSERS`."""
    import atheris

    folder = Path(tempfile.mkdtemp())
    with atheris.instrument_imports(include=["charrnn"]):
        harness = PARSERS[name](folder)
    cases, grown = CASES / name, corpus or folder / "corpus"
    for path in (cases, grown):
        path.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()

    def run(data: bytes) -> None:
        try:
            check(harness, data)
        except Exception as error:
            # One input for each place that raises is kept, and the search goes on.
            frame = [f for f in traceback.extract_tb(error.__traceback__) if "charrnn/" in f.filename][-1:]
            place = (
                f"{type(error).__name__} at {frame[0].filename}:{frame[0].lineno}" if frame else repr(error)[:80]
            )
            if place not in seen:
                seen.add(place)
                kept = cases / f"found-{len(seen)}"
                kept.write_bytes(data)
                print(f"{place}: {error}\n  {data[:300]!r}\n  kept as {kept}", flush=True)

    options = [f"-max_total_time={60 * minutes:.0f}", f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=6000"]
    options += [f"-artifact_prefix={cases}/", "-print_final_stats=1", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *options, str(grown), str(cases)], run, custom_mutator=_mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
