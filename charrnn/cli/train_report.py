"""What is said of a training run before, while and after it runs, in words and figures. Draws nothing."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.checkpoint import RunDirectory
from charrnn.cli.words import UNITS, bits, budget_words, clock, count, model_words, nats_and_bits, quality
from charrnn.config import Column, ResolvedConfig
from charrnn.corpus.dataset import Dataset
from charrnn.corpus.labelled import LabelledDataset
from charrnn.corpus.labelled_trees import TreeDataset
from charrnn.corpus.pairs import PairDataset
from charrnn.report.verdict import Rival, course_of, training_rival, verdict

if TYPE_CHECKING:
    from charrnn.tasks.observer import AnyDataset, Begun, Trial
    from charrnn.tasks.train import Outcome
    from charrnn.training.loop import Metrics, Progress

Facts = list[tuple[str, str]]
"""Pairs of label and text; an empty label goes on with the fact before."""

MOST_FILES = 3

CAREFUL = "0.8"
"""A temperature at which three minutes' plays have as many real words as held-out ones, and still more different
ones; below it they repeat themselves (`tests/benchmarks/samples.py`)."""


def opening(begun: "Begun", *, budget_given: bool, verbose: bool) -> Facts:
    """What is about to be trained, on what, and why that way; all settings if `verbose`."""
    record, config = begun.record, begun.record.config
    facts = _facts(begun.dataset)
    model = model_words(config, record.num_parameters)
    chosen = "" if budget_given else " (--minutes, --epochs or --steps set another)"
    budget = f"{budget_words(config)}{chosen}; {count(config.threads, 'thread')}, seed {config.seed}"
    resumed = "" if begun.resumed_at is None else f", going on at step {begun.resumed_at:,}"
    facts.append(("Model", model))
    if begun.trial is not None:
        facts.append(("", _trial(begun.trial)))
    facts += [("Budget", budget), ("Run", f"{begun.run}{resumed}")]
    if verbose:
        settings = {name: value for name, value in vars(config).items() if value is not None}
        facts.append(("Settings", ", ".join(f"{name} {_shown(value)}" for name, value in settings.items())))
        facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())))
    return facts + [("Note", warning) for warning in (*begun.warnings, *_busy(config))]


def _trial(trial: "Trial") -> str:
    """Why the sizes are as they are."""
    return (
        f"chosen for a machine that reads {trial.chars_per_second:,.0f} characters a second with "
        f"{trial.hidden_size} units in {trial.precision} on {count(trial.threads, 'thread')}, by a trial of "
        f"{trial.seconds:.1f} s"
    )


def _facts(dataset: "AnyDataset") -> Facts:
    """What the data is."""
    if isinstance(dataset, LabelledDataset):
        return _labelled_facts(dataset)
    if isinstance(dataset, PairDataset):
        return _pair_facts(dataset)
    if isinstance(dataset, TreeDataset):
        return _tree_facts(dataset)
    return _text_facts(dataset)


def _pair_facts(dataset: PairDataset) -> Facts:
    parts = (dataset.train, dataset.valid, dataset.test)
    facts = [("Corpus", f"{_files(dataset.files)}: {count(sum(map(len, parts)), 'pair')}")]
    facts += [("", note) for note in dataset.notes]
    facts += [("Pairs", "{:,} to train on, {:,} to validate, {:,} to test".format(*map(len, parts)))]
    symbols = f"{count(dataset.source.size, 'symbol')} read, {dataset.target.size:,} written"
    return [*facts, ("Symbols", symbols)]


def _tree_facts(dataset: TreeDataset) -> Facts:
    parts = (dataset.train, dataset.valid, dataset.test)
    facts = [("Corpus", f"{_files(dataset.files)}: {count(sum(map(len, parts)), 'tree')}")]
    facts += [("", note) for note in dataset.notes]
    deepest = int(dataset.train.forest.depths.max())
    sizes = "{:,} to train on, {:,} to validate, {:,} to test; ".format(*map(len, parts))
    facts.append(("Trees", f"{sizes}depth to {deepest}, {count(dataset.symbols.size, 'symbol')}"))
    return [*facts, ("Output", _output(dataset.label))]


def _output(label: Column) -> str:
    what = f"one of {len(label.values):,} labels" if label.values else "a number"
    return f"{label.name}, {what}"


def _text_facts(dataset: "Dataset") -> Facts:
    sequences, parts = dataset.corpus.sequences, dataset.parts
    size = f"{count(sequences.num_chars, 'character')} in {count(len(sequences), 'sequence')}"
    facts = [("Corpus", f"{_files(dataset.corpus.files)}: {size}")]
    facts += [("", note) for note in dataset.notes]
    sizes = f"{parts.train.num_chars:,} to train on, {parts.valid.num_chars:,} to validate, "
    sizes += f"{parts.test.num_chars:,} to test; {count(dataset.vocabulary.size, 'symbol')}"
    return [*facts, ("Characters", sizes)]


def _labelled_facts(dataset: "LabelledDataset") -> Facts:
    parts = (dataset.train, dataset.valid, dataset.test)
    facts = [("Corpus", f"{_files(dataset.files)}: {count(sum(map(len, parts)), 'text')}")]
    facts += [("", note) for note in dataset.notes]
    sizes = "{:,} to train on, {:,} to validate, {:,} to test; ".format(*map(len, parts))
    facts.append(("Texts", f"{sizes}{count(dataset.symbols.size, 'symbol')}"))
    return [*facts, ("Output", f"{_output(dataset.label)} (--label-column)")]


def position(progress: "Progress", metrics: "Metrics", seconds_left: float | None) -> str:
    """How far the run is."""
    total = progress.schedule.steps
    of = "" if total is None else f"/{total:,}"
    left = "" if seconds_left is None else f", {clock(seconds_left)} left"
    return f"step {progress.step:,}{of}  epoch {metrics.epoch:.2f}  {clock(metrics.elapsed_seconds)}{left}"


def figures(loss: float, progress: "Progress", metrics: "Metrics", unit: str) -> str:
    """How good the model is, and how fast it learns; `loss` in nats per unit."""
    best = "" if progress.best_loss is None else f"  best {bits(progress.best_loss):.3f} bits/{unit}"
    return f"train {nats_and_bits(loss, unit)}{best}  {metrics.chars_per_second:,.0f} {unit}s/s"


def share_done(progress: "Progress", seconds_left: float | None) -> float:
    """Of the budget, 0 to 1."""
    if progress.schedule.steps is not None:
        return progress.step / progress.schedule.steps
    total = progress.elapsed_seconds + (seconds_left or 0.0)
    return progress.elapsed_seconds / total if total else 0.0


def validation_line(progress: "Progress", trained: float | None, loss: float, improved: bool, unit: str) -> str:
    """Losses in nats per unit; a star marks the best so far."""
    train = "" if trained is None else f"  train {trained:.3f}"
    return f"step {progress.step:,}{train}  valid {nats_and_bits(loss, unit)}{' *' if improved else ''}"


class Judged(NamedTuple):
    """How a run compares with counts, and what would help it most."""

    rival: Rival | None = None
    verdict: str | None = None


def judged(begun: "Begun", outcome: "Outcome") -> Judged:
    """The verdict on a finished run; it may take some seconds."""
    config = begun.record.config
    loss = outcome.progress.best_loss
    rival = None if loss is None else training_rival(config, begun.dataset)
    return Judged(rival, verdict(loss, rival, course_of(RunDirectory(outcome.run)), UNITS[config.task]))


def closing(
    begun: "Begun", outcome: "Outcome", last: "Metrics | None", loss: float | None, found: Judged, root: Path
) -> Facts:
    """What came of it, and what to type next; `loss` is that of training, nats per character."""
    progress, config = outcome.progress, begun.record.config
    unit = UNITS[config.task]
    done = f"{count(progress.step, 'step')}, {clock(progress.elapsed_seconds)}"
    if last is not None:
        done += f", {last.epoch:.2f} epochs, last gradient's norm {last.grad_norm:.3g}"
    facts = [
        ("Run", str(outcome.run)),
        ("Model", model_words(config, begun.record.num_parameters)),
        ("Trained", done + _why_it_ended(progress, config, begun.resumed_at)),
    ]
    if loss is not None:
        facts.append(("Training", quality(loss, unit)))
    if progress.best_loss is not None:
        facts.append(("Validation", f"{quality(progress.best_loss, unit)} (step {progress.best_step:,})"))
    if found.verdict is not None:
        facts.append(("Verdict", found.verdict))
    columns = begun.dataset.columns if isinstance(begun.dataset, Dataset) else ()
    first, *others = next_commands(outcome.run, config, columns, root)
    return [*facts, ("Next", first), *(("", other) for other in others)]


def next_commands(run: Path, config: ResolvedConfig, columns: tuple[Column, ...], root: Path) -> list[str]:
    """Commands that use the run, by its name: a newer one may come."""
    extra = ["--num-chars", "500"] if config.stop == ("none",) else []
    if config.order == "independent" and not extra:
        extra = ["-n", "10"]
    where = _where(root)
    if config.task != "generate":
        return [shlex.join(["charrnn", command, run.name, *where]) for command in ("predict", "eval")]
    given = [item for column in columns for item in ("--given", f"{column.name}={_usual(column)}")]
    sample = ["charrnn", "sample", run.name, *given, *extra, *where]
    return [
        shlex.join(sample),
        f"{shlex.join([*sample, '--temperature', CAREFUL])}  # fewer slips",
        shlex.join(["charrnn", "eval", run.name, *where]),
    ]


def _usual(column: Column) -> str:
    """A value that is often given."""
    return column.values[column.counts.index(max(column.counts))] if column.values else f"{column.mean:.4g}"


def resume_command(run: Path, root: Path) -> str:
    return shlex.join(["charrnn", "train", "--resume", "--name", run.name, *_where(root)])


def result(
    begun: "Begun", outcome: "Outcome", last: "Metrics | None", loss: float | None, found: Judged
) -> dict[str, Any]:
    """The fields of `charrnn train --json`."""
    progress = outcome.progress
    return {
        "run": outcome.run.name,
        "path": str(outcome.run),
        "finished": outcome.finished,
        "early_stopped": progress.early_stopped,
        "steps": progress.step,
        "epochs": None if last is None else last.epoch,
        "grad_norm": None if last is None else last.grad_norm,
        "elapsed_seconds": progress.elapsed_seconds,
        "loss": loss,
        "best_step": progress.best_step,
        "best_loss": progress.best_loss,
        "best_bits_per_char": None if progress.best_loss is None else bits(progress.best_loss),
        "baseline_loss": None if found.rival is None else found.rival.loss,
        "verdict": found.verdict,
        "num_parameters": begun.record.num_parameters,
        "stop": begun.record.config.stop,
        "seed": begun.record.config.seed,
    }


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _files(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:MOST_FILES])
    return shown if len(names) <= MOST_FILES else f"{len(names):,} files ({shown}, …)"


def _why_it_ended(progress: "Progress", config: ResolvedConfig, resumed_at: int | None) -> str:
    if progress.early_stopped:
        return f"; ended early: {count(config.patience or 0, 'validation')} without a gain (--patience)"
    total = progress.schedule.steps
    if total is not None and progress.step == resumed_at == total:
        return "; it was finished already"
    if total is not None and progress.step < total and config.minutes is not None:
        return f"; the machine slowed down: {total:,} steps were planned, the time is up"
    return ""


def _busy(config: ResolvedConfig) -> list[str]:
    """A notice where other work takes cores that the threads need; a run in minutes gives one up by itself."""
    threads = config.threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    if config.minutes is not None or threads == 1 or load + threads < cores + 0.7:
        return []
    free = max(1, min(threads - 1, cores - round(load)))
    return [
        f"load average {load:.1f} on {count(cores, 'core')}: other work is running, and threads that wait for one "
        f"another lose much of their time; --threads {free} may be faster"
    ]


def _where(root: Path) -> list[str]:
    return [] if root == Path("checkpoints") else ["--checkpoints", str(root)]
