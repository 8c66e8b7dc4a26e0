"""Compares designs on one text at equal training time and, if requested, at equal size.

Each is trained as `charrnn train` does it, in a process of its own, and measured by one full pass over the
held-out part. An interrupted comparison continues where it stopped: unfinished runs are resumed, and finished ones
are only measured.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import median

from charrnn.checkpoint import RunDirectory, resolve_checkpoint
from charrnn.config import TrainConfig, budget_of
from charrnn.errors import CharRNNError, CorpusError, DivergedError, UsageError
from charrnn.models.language_model import LanguageModel
from charrnn.models.store import load_model
from charrnn.study.pool import CancelledError, Notify, Report, results
from charrnn.tasks.generate.data import Dataset
from charrnn.tasks.generate.defaults import resolve
from charrnn.tasks.generate.evaluate import evaluate
from charrnn.tasks.generate.held_out import held_out
from charrnn.tasks.generate.train import model_config
from charrnn.tasks.run import resume_run, start_run
from charrnn.training.loop import Metrics, Progress
from charrnn.training.observer import SilentObserver

SIZE_TOLERANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One run. Its figures are None if training diverged."""

    label: str
    seed: int
    run: str
    model: str | None = None
    parameters: int | None = None
    steps: int | None = None
    epochs: float | None = None
    chars_per_second: float | None = None
    """Training speed, the median over the run."""
    loss: float | None = None
    """Nats per character of the held-out text."""


def equal_hidden_size(config: TrainConfig, dataset: Dataset, target: int) -> int:
    """The hidden size whose parameter count is nearest to the target. Raises UsageError beyond ± 5 %."""

    def parameters(units: int) -> int:
        resolved = resolve(replace(config, hidden_size=units, seed=config.seed or 0), dataset)
        return LanguageModel(model_config(resolved, dataset)).num_parameters

    low, high = 1, 2
    while parameters(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters(middle) < target else (low, middle)
    units = min((low, high), key=lambda n: abs(parameters(n) - target))
    if abs(parameters(units) - target) > SIZE_TOLERANCE * target:
        raise UsageError(f"--equal-size: no number of units gives {target:,} parameters within 5 %")
    return units


@dataclass(frozen=True, kw_only=True)
class Run:
    """A design to train with one seed."""

    label: str
    seed: int
    name: str
    root: Path
    config: TrainConfig


def compare(
    designs: Mapping[str, TrainConfig],
    seeds: Sequence[int],
    root: Path,
    *,
    jobs: int = 1,
    notify: Notify = lambda _what, _share: None,
) -> Iterator[Compared]:
    """Trains and measures each design with each seed, `jobs` at a time; yields results in the order they end.

    designs: what to train, by label.
    Raises CharRNNError if a run fails to train.
    """
    runs = [
        Run(
            label=label,
            seed=seed,
            name=_name(config, label, seed),
            root=root,
            config=replace(config, seed=seed),
        )
        for seed in seeds
        for label, config in designs.items()
    ]
    if len({run.name for run in runs}) < len(runs):
        raise UsageError("two variants have one name")
    ended = results(
        train_and_measure,
        runs,
        [1.0] * len(runs),
        processes=jobs,
        threads=1 if jobs > 1 else None,
        noun="run",
        notify=notify,
    )
    for _, found in ended:
        yield found


def _name(config: TrainConfig, label: str, seed: int) -> str:
    """Another budget makes another run: one that was trained on is not like one that was planned so."""
    unit, number = budget_of(config)
    words = f"{Path(config.corpus[0]).stem} {label} {number:.10g} {unit} {seed}"
    return re.sub("[^a-z0-9.]+", "-", words.lower()).strip("-")


def train_and_measure(run: Run, report: Report) -> Compared:
    """Trains a run, or what is left of it, and reads the whole held-out text once."""
    found = Compared(label=run.label, seed=run.seed, run=run.name)
    path, watch = run.root / run.name, _Watch(report)
    try:
        if path.exists():
            given = {
                field.name: value
                for field in fields(run.config)
                if (value := getattr(run.config, field.name)) != field.default
            }
            outcome = resume_run(path, root=run.root, observer=watch, given=given, should_stop=report.cancelled)
        else:
            outcome = start_run(
                run.config,
                root=run.root,
                observer=watch,
                name=run.name,
                should_stop=report.cancelled,
            )
    except DivergedError:
        return found
    except CharRNNError as error:
        error.args = (f"{run.name}: {error}", *error.args[1:])
        raise
    if not outcome.finished:
        raise CancelledError
    at = resolve_checkpoint(run.name, run.root)
    saved = load_model(at)
    text = held_out(at, run.root)
    if not text.sequences.num_chars:
        raise CorpusError(f"{run.name}: no held-out text; give --valid-fraction or --test-fraction")
    measured = evaluate(saved, text, stop=saved.model.stops[0], run=run.name, step=at.step, samples=0)
    rows = list(RunDirectory(path).metrics(Metrics))
    return replace(
        found,
        model=measured.model,
        parameters=saved.model.num_parameters,
        steps=rows[-1].step,
        epochs=rows[-1].epoch,
        chars_per_second=median(row.chars_per_second for row in rows),
        loss=measured.loss,
    )


class _Watch(SilentObserver):
    """Reports the share of the budget that is spent."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def stepped(self, progress: Progress, metrics: Metrics, seconds_left: float | None) -> None:
        self._report(progress.schedule.share(progress.step))
