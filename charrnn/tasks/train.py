"""A whole training run of the task `generate`: corpus in, run directory out. Also going on with one."""

import datetime
import itertools
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import charrnn
from charrnn.cells import CELLS, option_names
from charrnn.checkpoint import Checkpoint, RunWriter, refuse_taken, resolve_checkpoint
from charrnn.config import DEPTHS, ModelConfig, Option, ResolvedConfig, RunRecord, TrainConfig
from charrnn.corpus.batching import BatchSource, batch_source
from charrnn.corpus.dataset import Dataset, keep_standard_input, load_dataset
from charrnn.corpus.sequences import sample_lengths
from charrnn.corpus.steps import StepReader
from charrnn.errors import CheckpointError, CorpusError, UsageError
from charrnn.models.given import given
from charrnn.models.language_model import LanguageModel
from charrnn.models.saved import load_model, model_files
from charrnn.models.transfer import transfer
from charrnn.sampling.ancestral import Drawn, Request, Sampler
from charrnn.sampling.stepper import Stepper
from charrnn.tasks.defaults import resolve
from charrnn.tasks.generate import GenerateLearner
from charrnn.tasks.observer import Begun, RunObserver
from charrnn.training.loop import Loop, Metrics, Progress
from charrnn.training.memory import keep_big_blocks
from charrnn.training.schedule import Schedule
from charrnn.training.state import restore, state_files

ADAM_BETAS = (0.9, 0.99)
PATHS = ("corpus", "valid")
PREVIEW_CHARS = 200


@dataclass(frozen=True)
class Outcome:
    run: Path
    progress: Progress
    finished: bool
    """False when training was told to stop before the end of its budget."""


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
    """Trains a new run under `root`. Raises any CharRNNError; what was saved before it stays."""
    if name is not None and not overwrite:
        refuse_taken(root / name)
    cell_options(config)  # Before a long corpus is read.
    config = replace(config, corpus=keep_standard_input(config.corpus, root))
    if config.seed is None:
        config = replace(config, seed=int(np.random.SeedSequence().generate_state(1)[0]))
    dataset = load_dataset(config, root, observer.reading)
    resolved = resolve(_with_init_size(config, root), dataset)
    model = LanguageModel(model_config(resolved, dataset))
    stem = Path(resolved.corpus[0]).resolve().stem
    writer = (
        RunWriter.create(root, stem) if name is None else RunWriter.create_named(root, name, overwrite=overwrite)
    )
    with writer:
        record = RunRecord(
            name=writer.name,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            directory=str(Path.cwd()),
            argv=tuple(argv),
            config=resolved,
            versions={
                "charrnn": charrnn.__version__,
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            corpus_files=dataset.corpus.files,
            corpus_sha256=dataset.corpus.sha256,
            corpus_bytes=dataset.corpus.num_bytes,
            num_parameters=model.num_parameters,
        )
        writer.write_run(record)
        return _Run(writer, record, dataset, model, observer, should_stop, root).train(None)


def resume_run(
    path: Path,
    *,
    root: Path,
    observer: RunObserver,
    given: dict[str, Any],
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Goes on with a run from its last whole checkpoint, or from the beginning when it has none.

    given: configuration values that were asked for explicitly; one that contradicts the stored
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
        directory = Path(record.directory)
        dataset = load_dataset(record.config, root, observer.reading, directory=directory)
        if dataset.corpus.sha256 != record.corpus_sha256:
            raise CorpusError(
                f"{record.corpus_files[0]}: has changed since the run {record.name} began; "
                "restore it to go on, or start a new run"
            )
        model = LanguageModel(model_config(record.config, dataset))
        checkpoint = writer.latest_valid()
        writer.cut_back(-1 if checkpoint is None else checkpoint.step)
        return _Run(writer, record, dataset, model, observer, should_stop, root).train(checkpoint)


def cell_options(config: TrainConfig) -> dict[str, Option]:
    """What was chosen among the cell's own options.

    Raises UsageError for a value that the cell cannot take, and for an option that only other cells have.
    """
    owners: dict[str, list[str]] = {}
    for cell in CELLS:
        for name in option_names(cell):
            owners.setdefault(name, []).append(cell)
    chosen = {name: value for name in owners if (value := getattr(config, name)) is not None}
    for name in chosen:
        if config.cell not in owners[name]:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"--cell {config.cell} has no {flag}; it is an option of {', '.join(owners[name])}")
    depths: dict[str, Any] = {name: getattr(config, name) or 1 for name in DEPTHS}
    tiny = ModelConfig(
        cell=config.cell,
        cell_options=chosen,
        vocab_size=1,
        hidden_size=1,
        num_layers=1,
        **depths,
        context_size=min(1, len(config.context)),
        context_mode=config.context_mode,
        stop=("none",),
        split="file",
        order="ordered",
        training_chars=1,
    )
    try:
        _ = LanguageModel(tiny).shapes
    except ValueError as error:
        raise UsageError(f"--cell {config.cell}: {error}") from error
    return chosen


def model_config(config: ResolvedConfig, dataset: Dataset) -> ModelConfig:
    """The model that a resolved configuration asks for on this text."""
    train = dataset.parts.train
    return ModelConfig(
        cell=config.cell,
        cell_options=cell_options(config),
        vocab_size=len(dataset.vocabulary.symbols),
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        **{name: getattr(config, name) for name in DEPTHS},
        initial_state=config.initial_state,
        columns=dataset.columns,
        text_column=dataset.text_column,
        context_size=sum(column.size for column in dataset.columns),
        context_mode=config.context_mode,
        stop=config.stop,
        length_scale=max(1.0, train.num_chars / len(train)),
        split=dataset.split,
        order=dataset.order,
        separator=dataset.corpus.separator,
        training_chars=train.num_chars,
    )


class _Run:
    """One process's work on a run: everything is built, a checkpoint is put back if there is one."""

    def __init__(
        self,
        writer: RunWriter,
        record: RunRecord,
        dataset: Dataset,
        model: LanguageModel,
        observer: RunObserver,
        should_stop: Callable[[], bool],
        root: Path,
    ) -> None:
        self._writer, self._record, self._dataset, self._model = writer, record, dataset, model
        self._observer, self._should_stop, self._root = observer, should_stop, root
        self._config = record.config
        self._model_config = model_config(record.config, dataset)

    def train(self, checkpoint: Checkpoint | None) -> Outcome:
        config = self._config
        device = _device(config.device)
        torch.set_num_threads(config.threads)
        keep_big_blocks()
        source = self._source()
        self._learner = GenerateLearner(
            self._model,
            self._initial_params() if checkpoint is None else self._saved_params(checkpoint),
            source,
            self._validation_reader(),
            order=self._dataset.order,
            dropout=config.dropout,
            weight_dropout=config.weight_dropout,
            washout=config.washout,
            scheduled_sampling=config.scheduled_sampling,
            seed=config.seed,
            device=device,
        )
        self._optimizer = torch.optim.AdamW(
            list(self._learner.trained.values()),
            lr=torch.finfo(torch.float32).tiny,
            betas=ADAM_BETAS,
            weight_decay=config.weight_decay,
            fused=True,
        )
        warnings: tuple[str, ...] = ()
        if checkpoint is None:
            progress = self._fresh_progress(source)
        else:
            progress, warnings = self._restore(checkpoint)
        self._observer.begun(
            Begun(
                run=self._writer.path,
                record=self._record,
                dataset=self._dataset,
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
        )
        progress = loop.run()
        return Outcome(self._writer.path, progress, finished=loop.finished)

    def _source(self) -> BatchSource:
        config, dataset = self._config, self._dataset
        reader = StepReader.of(dataset.parts.train, dataset.vocabulary)
        return batch_source(
            reader,
            dataset.order,
            config.stop,
            batch_size=config.batch_size,
            window=config.bptt_steps,
            seed=config.seed,
        )

    def _validation_reader(self) -> StepReader | None:
        valid = self._dataset.parts.valid
        return StepReader.of(valid, self._dataset.vocabulary) if valid.num_chars else None

    def _initial_params(self) -> dict[str, Any]:
        config = self._config
        lengths = sample_lengths(self._dataset.parts.train)
        params = self._model.init(np.random.default_rng(config.seed), lengths)
        if config.init_from is None:
            return params
        saved = load_model(resolve_checkpoint(config.init_from, self._root))
        return transfer(params, self._model_config, self._dataset.vocabulary, saved)

    def _saved_params(self, checkpoint: Checkpoint) -> dict[str, Any]:
        saved = load_model(checkpoint)
        if saved.config != self._model_config or saved.vocabulary != self._dataset.vocabulary:
            raise CheckpointError(f"{checkpoint.path}: is not of the model that run.json describes")
        return saved.params

    def _fresh_progress(self, source: BatchSource) -> Progress:
        config = self._config
        if config.minutes is not None:
            return Progress(schedule=Schedule(peak=config.learning_rate), eval_every=config.eval_every)
        steps = config.steps
        if steps is None:
            assert config.epochs is not None
            steps = max(1, round(config.epochs * source.windows_per_epoch))
        schedule = Schedule.for_steps(config.learning_rate, steps)
        return Progress(schedule=schedule, eval_every=config.eval_every or max(1, steps // 10))

    def _restore(self, checkpoint: Checkpoint) -> tuple[Progress, tuple[str, ...]]:
        state, carried = restore(checkpoint, self._learner.trained, self._optimizer)
        self._learner.restore(carried, state.position)
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
        parameters = self._learner.parameters
        arrays = {name: value.detach().cpu().numpy() for name, value in parameters.items()}
        files = model_files(self._model_config, arrays, self._dataset.vocabulary.symbols)
        files |= state_files(
            self._learner.trained,
            self._optimizer,
            self._learner.carried(),
            self._learner.source.position,
            progress,
        )
        self._writer.save_checkpoint(progress.step, files)
        if progress.best_step == progress.step and progress.best_loss is not None:
            self._writer.write_best(progress.step, progress.best_loss)
        self._writer.rotate(self._config.keep)

    def _preview(self, step: int) -> str:
        """A short sample of the weights as they are."""
        params = {name: value.detach().cpu().numpy() for name, value in self._learner.parameters.items()}
        model, contexts = self._model, self._dataset.parts.train.contexts
        if contexts is not None:
            model, params = given(model, params, contexts[step % len(contexts)])
        stop = model.stops[0]
        request = Request(stop=stop, num_chars=PREVIEW_CHARS if stop == "none" else None, seed=step)
        symbols = Sampler(Stepper(model, params), request).stream(0)
        shown = [item for item in itertools.islice(symbols, PREVIEW_CHARS) if not isinstance(item, Drawn)]
        return self._dataset.vocabulary.decode(np.array(shown, np.int64))


class _Recorder:
    """Writes metrics to the run, asks for a sample at each validation, and passes everything on."""

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
    """Whether paths given here are those that were stored, relative to another directory."""
    here, there = ([given], [stored]) if isinstance(given, str) else (given, stored or ())
    return [Path(p).resolve() for p in here] == [(directory / p).resolve() for p in there if p is not None]


def _with_init_size(config: TrainConfig, root: Path) -> TrainConfig:
    if config.init_from is None or config.hidden_size is not None:
        return config
    saved = resolve_checkpoint(config.init_from, root).config(ModelConfig)
    return replace(config, hidden_size=saved.hidden_size)


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
