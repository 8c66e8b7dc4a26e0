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
from charrnn.config import RunRecord, TrainConfig
from charrnn.corpus.kept import keep_standard_input
from charrnn.errors import CorpusError, UsageError
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

PATHS = ("corpus", "valid")


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
    config = replace(config, corpus=keep_standard_input(config.corpus, root))
    if config.seed is None:
        config = replace(config, seed=int(np.random.SeedSequence().generate_state(1)[0]))
    job = task(config.task).job().fresh(config, root, observer.reading)
    resolved = job.config
    stem = Path(realpath(resolved.corpus[0])).stem
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

    given: configuration values that were set explicitly; one that contradicts the stored
    configuration raises UsageError.
    """
    with RunWriter.open(path) as writer:
        record = writer.read_run(RunRecord)
        for key, value in given.items():
            stored = getattr(record.config, key)
            if value != stored and not (key in PATHS and _same_files(value, stored, Path(record.directory))):
                flag = "--" + key.replace("_", "-") if key != "corpus" else "corpus"
                raise UsageError(
                    f"{path}: was begun with {flag} {_words(stored)}, not {_words(value)}; "
                    "--resume keeps the stored configuration: leave it out, or start a new run"
                )
        job = task(record.config.task).job().stored(record, root, observer.reading)
        if job.sha256 != record.corpus_sha256:
            raise CorpusError(
                f"{record.corpus_files[0]}: has changed since the run {record.name} began; "
                "restore it to go on, or start a new run"
            )
        checkpoint = writer.latest_valid()
        writer.cut_back(-1 if checkpoint is None else checkpoint.step)
        return _Run(writer, record, job, observer, should_stop, root).train(checkpoint)


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

    def train(self, checkpoint: Checkpoint | None) -> Outcome:
        config = self._config
        device = _device(config.device)
        torch.set_num_threads(config.threads)
        tune_malloc()
        job = self._job
        params = job.initial_params(self._root) if checkpoint is None else job.saved_params(checkpoint)
        self._learner = job.learner(params, device)
        self._optimizer = Optimizer.of(config, self._learner.trained)
        warnings: tuple[str, ...] = ()
        progress = self._fresh_progress()
        if checkpoint is not None:
            progress, warnings = self._restore(checkpoint, progress)
        self._observer.begun(
            Begun(
                run=self._writer.path,
                record=self._record,
                dataset=self._job.dataset,
                trial=self._job.trial,
                resumed_at=None if checkpoint is None else checkpoint.step,
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
        return Outcome(self._writer.path, progress, finished=loop.finished)

    def _fresh_progress(self) -> Progress:
        config = self._config
        if config.minutes is not None:
            return Progress(
                schedule=Schedule(peak=config.learning_rate),
                eval_every=config.eval_every,
                elapsed_seconds=0.0 if self._job.trial is None else self._job.trial.seconds,
            )
        steps = config.steps
        if steps is None:
            assert config.epochs is not None
            steps = max(1, round(config.epochs * self._learner.source.windows_per_epoch))
        schedule = Schedule.for_steps(config.learning_rate, steps)
        return Progress(schedule=schedule, eval_every=config.eval_every)

    def _restore(self, checkpoint: Checkpoint, fresh: Progress) -> tuple[Progress, tuple[str, ...]]:
        state = restore(checkpoint, fresh, self._optimizer, self._learner)
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
