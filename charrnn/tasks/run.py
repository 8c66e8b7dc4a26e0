"""A training run of any task, from corpus to run directory: a new run, or a resumed one."""

import datetime
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os.path import realpath
from pathlib import Path
from typing import Any

import numpy as np
import torch

import charrnn
from charrnn.checkpoint import Checkpoint, RunWriter, refuse_taken
from charrnn.config import BUDGETS, PastBudget, RunRecord, TrainConfig, budget_of, flag
from charrnn.corpus.kept import keep_standard_input
from charrnn.corpus.records import plain_name
from charrnn.errors import CheckpointError, CorpusError, UsageError
from charrnn.tasks.cell_options import cell_options, refuse_foreign
from charrnn.tasks.task import task
from charrnn.training.environment import tune_malloc
from charrnn.training.gears import Gears
from charrnn.training.job import Arrays, Job
from charrnn.training.loop import Loop, Metrics, Progress
from charrnn.training.observer import Begun, RunObserver
from charrnn.training.optimizer import Optimizer
from charrnn.training.schedule import Schedule
from charrnn.training.state import restore, state_files
from charrnn.words import amount

PATHS = ("corpus", "valid")
NO_BUDGET: dict[str, Any] = dict.fromkeys(BUDGETS)


@dataclass(frozen=True)
class Outcome:
    run: Path
    progress: Progress
    finished: bool
    """False if training was stopped before the end of its budget."""


def start_run(
    config: TrainConfig,
    *,
    root: Path,
    observer: RunObserver,
    name: str | None = None,
    overwrite: bool = False,
    argv: Sequence[str] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains a new run under `root`. May raise any CharRNNError; what was saved before it is kept."""
    if name is not None and not overwrite:
        refuse_taken(root / name)
    # Checked before a long corpus is read.
    refuse_foreign(config)
    cell_options(config)
    corpus, valid = config.corpus, config.valid
    config = replace(config, corpus=keep_standard_input(corpus, root))
    if valid is not None:
        config = replace(config, valid=keep_standard_input((valid,), root)[0])
    if config.seed is None:
        config = replace(config, seed=int(np.random.SeedSequence().generate_state(1)[0]))
    job = task(config.task).job().fresh(config, root, observer.reading)
    resolved = job.config
    stem = plain_name(realpath(resolved.corpus[0])).stem
    writer = (
        RunWriter.create(root, stem) if name is None else RunWriter.create_named(root, name, overwrite=overwrite)
    )
    with writer:
        record = RunRecord(
            name=writer.name,
            created=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
            directory=str(Path.cwd()),
            argv=tuple(argv),
            config=resolved,
            versions={
                "charrnn": charrnn.__version__,
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            corpus_files=job.files,
            corpus_sha256=job.sha256,
            corpus_bytes=job.num_bytes,
            num_parameters=job.num_parameters,
            parent=job.parent,
            parent_symbols=job.parent_symbols,
        )
        writer.write_run(record)
        return _Run(writer, record, job, observer, should_stop, root).train(None)


def resume_run(
    path: Path,
    *,
    root: Path,
    observer: RunObserver,
    given: dict[str, Any],
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Resumes a run from its last valid checkpoint, or from the beginning if it has none.

    given: configuration values that were set explicitly. Another budget than the stored one is the new budget of
    the whole run; any other contradiction of the stored configuration raises UsageError, and so does a budget that
    is spent already.
    """
    with RunWriter.open(path) as writer:
        record = writer.read_run(RunRecord)
        for key, value in given.items():
            stored = getattr(record.config, key)
            same = value == stored or (key in PATHS and _same_files(value, stored, Path(record.directory)))
            if not same and key not in BUDGETS:
                name = flag(key) if key != "corpus" else "corpus"
                raise UsageError(
                    f"{path}: was begun with {name} {_words(stored)}, not {_words(value)}; "
                    "--resume keeps the stored configuration, but for the budget: leave it out, or start a new run"
                )
        budget = {key: value for key, value in given.items() if key in BUDGETS and value is not None}
        if all(value == getattr(record.config, key) for key, value in budget.items()):
            budget = {}
        job = task(record.config.task).job().stored(record, root, observer.reading)
        if job.sha256 != record.corpus_sha256:
            raise CorpusError(
                f"{record.corpus_files[0]}: has changed since the run {record.name} began; "
                "restore it to go on, or start a new run"
            )
        checkpoint = writer.latest_valid()
        writer.cut_back(-1 if checkpoint is None else checkpoint.step)
        return _Run(writer, record, job, observer, should_stop, root).train(checkpoint, budget)


class _Run:
    """One process's work on a run: builds everything, and restores a checkpoint if any."""

    def __init__(
        self,
        writer: RunWriter,
        record: RunRecord,
        job: Job,
        observer: RunObserver,
        should_stop: Callable[[], bool],
        root: Path,
    ) -> None:
        self._writer, self._record, self._job = writer, record, job
        self._observer, self._should_stop, self._root = observer, should_stop, root
        self._config = record.config

    def train(self, checkpoint: Checkpoint | None, budget: dict[str, Any] | None = None) -> Outcome:
        """budget: a new one, by its name; None or empty: the stored one."""
        device = _device(self._config.device)
        torch.set_num_threads(self._config.threads)
        tune_malloc()
        job = self._job
        params = job.initial_params(self._root) if checkpoint is None else job.saved_params(checkpoint)
        self._learner = job.learner(params, device)
        self._optimizer = Optimizer.of(self._config, self._learner.trained)
        progress, warnings = self._begin(checkpoint, budget or {})
        config = self._config
        self._observer.begun(
            Begun(
                run=self._writer.path,
                record=self._record,
                dataset=self._job.dataset,
                trial=self._job.trial,
                resumed_at=None if checkpoint is None else checkpoint.step,
                finished=progress.finished,
                warnings=warnings,
            )
        )
        loop = Loop(
            self._learner,
            self._optimizer,
            progress,
            _Recorder(self._observer, self._writer, self._preview),
            self._save,
            grad_clip=config.grad_clip,
            seconds=None if config.minutes is None else 60.0 * config.minutes,
            save_every=config.save_every,
            patience=config.patience,
            should_stop=self._should_stop,
            gears=None if config.minutes is None else Gears(config.threads, torch.set_num_threads),
        )
        progress = loop.run()
        return Outcome(self._writer.path, progress, finished=progress.finished)

    def _begin(self, checkpoint: Checkpoint | None, budget: dict[str, Any]) -> tuple[Progress, tuple[str, ...]]:
        """The progress at the checkpoint, or at the beginning, and warnings; records a new budget.

        A budget that was new at this checkpoint, or behind it, is new here again.
        """
        record = self._record
        step = 0 if checkpoint is None else checkpoint.step
        past = tuple(other for other in record.past_budgets if other.until < step)
        behind = [other for other in record.past_budgets if other.until >= step]
        here = behind[0] if behind else record.config
        config = record.config
        if budget:
            config = replace(config, **(NO_BUDGET | budget))
        warnings: tuple[str, ...] = ()
        if checkpoint is None:
            progress = self._planned((), config)
        else:
            progress, warnings = self._restore(checkpoint, past, here)
            if behind or budget:
                steps = self._steps_in_all(config, progress)
                spent = {name: getattr(here, name) for name in BUDGETS}
                past = (*past, PastBudget(until=step, planned=steps, **spent))
                progress = progress.for_budget(step, steps)
        self._config, self._record = config, replace(record, config=config, past_budgets=past)
        if self._record != record:
            self._writer.write_run(self._record)
        return progress, warnings

    def _planned(self, past: Sequence[PastBudget], budget: TrainConfig | PastBudget) -> Progress:
        """The progress that the run begins with, and the schedule of all its budgets. Raises CheckpointError."""
        config, trial, steps = self._config, self._job.trial, self._steps(past[0] if past else budget)
        peak = config.learning_rate
        progress = Progress(
            schedule=Schedule(peak=peak) if steps is None else Schedule.for_steps(peak, steps),
            eval_every=config.eval_every,
            elapsed_seconds=0.0 if steps is not None or trial is None else trial.seconds,
        )
        for spent in past:
            progress = progress.for_budget(spent.until, spent.planned)
        if self._steps(budget) not in (None, progress.schedule.steps):
            raise CheckpointError(f"{self._writer.run_path}: its past budgets do not lead to its budget")
        return progress

    def _steps(self, budget: TrainConfig | PastBudget) -> int | None:
        """The steps of a whole run; None for a budget in minutes."""
        unit, number = budget_of(budget)
        if unit == "epochs":
            number = max(1.0, min(number * self._learner.source.windows_per_epoch, 2.0**53))
        return None if unit == "minutes" else round(number)

    def _steps_in_all(self, config: TrainConfig, progress: Progress) -> int:
        """The steps of the whole run under a new budget, at the speed so far. Raises UsageError if it is spent."""
        unit, number = budget_of(config)
        minutes = progress.elapsed_seconds / 60.0
        epochs = progress.step / self._learner.source.windows_per_epoch
        done = {"minutes": minutes, "epochs": epochs, "steps": progress.step}[unit]
        steps = self._steps(config)
        if steps is None:
            steps = round(min(progress.step * number / max(minutes, 1e-6), 2.0**53))
        if steps <= progress.step:
            raise UsageError(
                f"{self._writer.path}: has been trained for {amount(unit, round(done, 2))} already, and "
                f"{flag(unit)} is the budget of the whole run; give more"
            )
        return steps

    def _restore(
        self, checkpoint: Checkpoint, past: Sequence[PastBudget], budget: TrainConfig | PastBudget
    ) -> tuple[Progress, tuple[str, ...]]:
        timed = any(other.minutes is not None for other in (*past, budget))
        state = restore(checkpoint, self._planned(past, budget), self._optimizer, self._learner, timed=timed)
        if state.progress.best_step in self._writer.steps() and state.progress.best_loss is not None:
            self._writer.write_best(state.progress.best_step, state.progress.best_loss)
        warnings = []
        if state.torch_version != torch.__version__:
            warnings.append(
                f"saved with torch {state.torch_version}, resumed with {torch.__version__}: "
                "the weights will not be the same bit for bit"
            )
        if state.threads != torch.get_num_threads():
            warnings.append(f"saved with {state.threads} threads, resumed with {torch.get_num_threads()}")
        return state.progress, tuple(warnings)

    def _save(self, progress: Progress) -> None:
        files = self._job.model_files(self._arrays())
        files |= state_files(
            self._optimizer,
            self._learner.carried(),
            self._learner.source.position,
            progress,
        )
        self._writer.save_checkpoint(progress.step, files)
        if progress.best_step == progress.step and progress.best_loss is not None:
            self._writer.write_best(progress.step, progress.best_loss)
        self._writer.rotate(self._config.keep)

    def _arrays(self) -> Arrays:
        """The current parameters."""
        return {name: value.detach().cpu().numpy() for name, value in self._learner.parameters.items()}

    def _preview(self, step: int) -> str:
        # A model that is about to diverge may overflow here; the loss will show it.
        with np.errstate(all="ignore"):
            return self._job.preview(self._arrays(), step)


class _Recorder:
    """Writes metrics to the run, draws a sample at each validation, and forwards everything to the observer."""

    def __init__(self, observer: RunObserver, writer: RunWriter, preview: Callable[[int], str]) -> None:
        self._observer, self._writer, self._preview = observer, writer, preview
        self.planned, self.stepped = observer.planned, observer.stepped
        self.validating = observer.validating

    def validated(self, progress: Progress, loss: float | None, improved: bool) -> None:
        self._observer.validated(progress, loss, improved)
        self._observer.sampled(self._preview(progress.step))

    def logged(self, metrics: Metrics) -> None:
        self._writer.append_metrics(metrics)
        self._observer.logged(metrics)


def _same_files(given: Any, stored: Any, directory: Path) -> bool:
    """Whether the given paths are the stored ones, which are relative to `directory`."""
    here, there = ([given], [stored]) if isinstance(given, str) else (given, stored or ())
    return [realpath(p) for p in here] == [realpath(directory / p) for p in there if p is not None]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: not available here; use cpu or auto") from error
    return device


def _words(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "unset" if value is None else str(value)
