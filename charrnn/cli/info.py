"""`charrnn info`: what is in a run or checkpoint, or a table of all runs."""

import datetime
import json
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from charrnn.cli.options import option, run_argument, subcommand
from charrnn.cli.terminal import (
    console,
    note,
    one_blas_thread,
    print_facts,
    print_table,
    use_utf8,
    write_code,
    write_json,
)
from charrnn.config import ResolvedConfig, RunRecord, StopName, settings
from charrnn.errors import CheckpointError
from charrnn.words import Facts, bits, budgets_words, clock, count, quality, shape, size

if TYPE_CHECKING:
    from charrnn.checkpoint import Checkpoint, RunDirectory


class Row(msgspec.Struct):
    """The shown fields of a row of metrics.jsonl."""

    step: int
    epoch: float
    loss: float | None
    elapsed_seconds: float


class SavedStep(msgspec.Struct):
    """A checkpoint of a run; `bytes` is None for one that is damaged."""

    step: int
    path: str
    bytes: int | None
    is_best: bool


class Summary(msgspec.Struct):
    """A run in the table of runs. A value that its files do not hold is None, and `problem` says why."""

    name: str
    path: str
    cell: str | None = None
    num_layers: int | None = None
    hidden_size: int | None = None
    stop: tuple[StopName, ...] = ()
    last_step: int | None = None
    best_step: int | None = None
    best_bits_per_char: float | None = None
    saved: str | None = None
    problem: str | None = None


@subcommand("info")
@run_argument
@option("--toml", is_flag=True, help="Print the run's settings as a file for `charrnn train --config`.")
def command(*, run: str | None, toml: bool, as_json: bool, quiet: bool, verbose: bool, checkpoints: Path) -> None:
    """Show what is in a run, or list all runs.

    RUN is a run's name, its directory, or one checkpoint, also one that was copied elsewhere.

    \b
    Examples:
      charrnn info
      charrnn info names
      charrnn info names --toml > names.toml
      charrnn info --json | jq -r '.[] | select(.best_bits_per_char < 2) | .name'
    """
    one_blas_thread()
    from charrnn.checkpoint import RunDirectory, list_runs, resolve

    use_utf8()
    if run is None and not toml:
        summaries = [_summary(found) for found in list_runs(checkpoints)]
        if as_json:
            write_json(summaries)
        elif summaries:
            print_table(console(sys.stdout), _HEADS, map(_cells, summaries))
        elif not quiet:
            note(f"no runs in {checkpoints} yet; `charrnn train CORPUS` makes one")
        return
    found = resolve(run, checkpoints)
    if toml:
        if not isinstance(found, RunDirectory):
            raise CheckpointError(f"{found.path}: a checkpoint alone holds no training settings; name its run")
        write_code(to_toml(_settings(found.read_run(RunRecord).config)))
    elif isinstance(found, RunDirectory):
        _show_run(found, as_json, verbose)
    else:
        _show_checkpoint(found, as_json)


def _settings(config: ResolvedConfig) -> dict[str, Any]:
    """The settings that the run's task has."""
    known = settings()
    return {k: v for k, v in asdict(config).items() if k == "corpus" or config.task in known[k].tasks}


def _show_run(run: "RunDirectory", as_json: bool, verbose: bool) -> None:
    record = run.read_run(RunRecord)
    best = run.best()
    last = next(iter(deque(run.metrics(Row), maxlen=1)), None)
    steps = [_saved_step(run, step, best is not None and step == best.step) for step in run.steps()]
    if as_json:
        write_json(
            {
                "path": str(run.path),
                "saved": _saved_at(run),
                **msgspec.to_builtins(record),
                "last_row": last,
                "best_step": None if best is None else best.step,
                "best_loss": None if best is None else best.loss,
                "best_bits_per_char": None if best is None else bits(best.loss),
                "checkpoints": steps,
            }
        )
        return
    from charrnn.tasks.task import task

    config, of = record.config, task(record.config.task)
    facts: Facts = [("Run", str(run.path)), ("Model", of.model_words(config, record.num_parameters))]
    corpus = f"{', '.join(record.corpus_files)}: {size(record.corpus_bytes)}, {config.order} by {config.split}"
    facts += [("Corpus", corpus), ("Budget", f"{budgets_words(record)}; seed {config.seed}")]
    if config.init_from is not None:
        unseen = "" if record.parent is None else ", whose held-out text is not trained on"
        facts.append(("Parent", f"{config.init_from}{unseen}"))
    if last is not None:
        done = f"{count(last.step, 'step')}, {last.epoch:.2f} epochs, {clock(last.elapsed_seconds)}"
        facts.append(("Trained", done))
        if last.loss is not None:
            facts.append(("Training", quality(last.loss, of.unit)))
    if best is not None:
        facts.append(("Validation", f"{quality(best.loss, of.unit)} (step {best.step:,})"))
    kept = [
        f"step {s.step:,}, {'damaged' if s.bytes is None else size(s.bytes)}{' (best)' if s.is_best else ''}"
        for s in steps
    ]
    facts += _together("Checkpoints", kept or ["none yet; `charrnn train --resume` goes on"])
    begun = _here(record.created)
    facts.append(("Begun", f"{begun.isoformat(' ', 'minutes')}, last saved {_saved_at(run)}"))
    if verbose:
        facts.append(("Command", " ".join(record.argv)))
        facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())))
        facts.append(("SHA-256", f"{record.corpus_sha256} (corpus)"))
        facts += _together("Settings", to_toml(_settings(config)).splitlines())
    print_facts(console(sys.stdout), facts)


def _here(moment: datetime.datetime) -> datetime.datetime:
    """The moment on this machine's clock, or in UTC if that cannot show it."""
    with suppress(OverflowError, OSError):
        moment = moment.astimezone()
    return moment.replace(tzinfo=None)


def _show_checkpoint(checkpoint: "Checkpoint", as_json: bool) -> None:
    from charrnn.models.store import load_model
    from charrnn.tasks.task import task

    saved = load_model(checkpoint)
    config = saved.config
    num_parameters = sum(array.size for array in saved.params.values())
    if as_json:
        write_json(
            {
                "path": str(checkpoint.path),
                "step": checkpoint.step,
                "config": config,
                "num_parameters": num_parameters,
                "symbols": saved.vocabulary.symbols,
                "model_sha256": saved.sha256,
                "bytes": _bytes(checkpoint),
            }
        )
        return
    facts = [
        ("Checkpoint", f"{checkpoint.path}, step {checkpoint.step:,}, {size(_bytes(checkpoint))}"),
        ("Model", task(config.task).model_words(config, num_parameters)),
        ("Text", f"{config.order} by {config.split}, {count(config.training_chars, 'character')} trained on"),
        ("Symbols", f"{config.vocab_size:,}: {''.join(saved.vocabulary.symbols)!r}"),
        ("SHA-256", f"{saved.sha256} (weights)"),
    ]
    print_facts(console(sys.stdout), facts)


def _summary(run: "RunDirectory") -> Summary:
    from charrnn.models.store import ModelConfig

    summary = Summary(name=run.name, path=str(run.path), saved=_saved_at(run))
    try:
        summary.last_step = max(run.steps(), default=None)
        model: Any = run.read_run(RunRecord).config if run.has_run_file() else run.select().config(ModelConfig)
        summary.cell, summary.num_layers, summary.hidden_size = model.cell, model.num_layers, model.hidden_size
        summary.stop = model.stop
        if best := run.best():
            summary.best_step, summary.best_bits_per_char = best.step, bits(best.loss)
    except CheckpointError as error:
        summary.problem = str(error)
    return summary


_HEADS = ("RUN", "CELL", "STOP", "STEPS", "BITS/CHAR", "SAVED")


def _cells(summary: Summary) -> tuple[str, ...]:
    if summary.cell is None:
        return (summary.name, "damaged", "", "", "", summary.saved or "")
    return (
        summary.name,
        shape(summary.cell, summary.num_layers, summary.hidden_size),
        " ".join(summary.stop),
        "" if summary.last_step is None else f"{summary.last_step:,}",
        "" if summary.best_bits_per_char is None else f"{summary.best_bits_per_char:.3f}",
        summary.saved or "",
    )


def _saved_step(run: "RunDirectory", step: int, is_best: bool) -> SavedStep:
    from charrnn.checkpoint import Checkpoint

    path = run.checkpoint_path(step)
    try:
        num_bytes: int | None = _bytes(Checkpoint.open(path))
    except CheckpointError:
        num_bytes = None
    return SavedStep(step, str(path), num_bytes, is_best)


def _bytes(checkpoint: "Checkpoint") -> int:
    return sum(entry.size for entry in checkpoint.manifest.files.values())


def _saved_at(run: "RunDirectory") -> str:
    moment = datetime.datetime.fromtimestamp(run.modified_ns() / 1e9)
    return moment.isoformat(" ", "minutes")


def _together(label: str, texts: list[str]) -> Facts:
    return [(label if number == 0 else "", text) for number, text in enumerate(texts)]


def to_toml(values: Mapping[str, Any]) -> str:
    """A line for each value that is not None: strings, numbers, booleans, and lists of them."""
    return "".join(f"{key} = {_value(value)}\n" for key, value in values.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON and TOML escapes agree, but TOML also requires DEL to be escaped, and it has no surrogate pairs.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError(f"{type(value).__name__} has no place in a flat TOML file")
