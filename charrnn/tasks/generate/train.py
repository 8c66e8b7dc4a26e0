"""The task `generate`: a language model on text, optionally conditioned on the columns of a table."""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from charrnn.cells import CELLS
from charrnn.checkpoint import Checkpoint, resolve_checkpoint
from charrnn.config import Precision, ResolvedConfig, RunRecord, TrainConfig
from charrnn.corpus.batching import batch_source
from charrnn.corpus.encoded import Progress
from charrnn.corpus.sequences import sample_lengths
from charrnn.corpus.steps import StepReader
from charrnn.errors import CheckpointError, CorpusError
from charrnn.models.language_model import LanguageModel
from charrnn.models.store import ModelConfig, load_model, model_files
from charrnn.sampling.ancestral import Drawn, Request, Sampler
from charrnn.sampling.fix_context import fix_context
from charrnn.sampling.stepper import Stepper
from charrnn.tasks.cell_options import layer_settings
from charrnn.tasks.defaults import has_width
from charrnn.tasks.generate.data import PLURALS, Dataset, load_dataset, parent_text, text_of
from charrnn.tasks.generate.defaults import REFERENCE_UNITS, resolve
from charrnn.tasks.generate.learner import GenerateLearner
from charrnn.tasks.generate.parent import ParentText
from charrnn.tasks.generate.transfer import alphabet_note, transfer
from charrnn.tasks.generate.trial import try_out
from charrnn.tasks.stored import run_record
from charrnn.training.environment import fast_bfloat16
from charrnn.training.job import Arrays
from charrnn.training.observer import Trial

PREVIEW_CHARS = 200


@dataclass(frozen=True, eq=False)
class GenerateJob:
    """A `training.job.Job`."""

    config: ResolvedConfig
    dataset: Dataset
    trial: Trial | None = None
    parent: RunRecord | None = None
    parent_symbols: str = ""

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> "GenerateJob":
        parent, text, notes = _parent(config, root)
        dataset = load_dataset(config, root, progress, parent=text)
        symbols = ""
        if config.init_from is not None:
            saved = load_model(resolve_checkpoint(config.init_from, root))
            notes.append(alphabet_note(config.init_from, saved.vocabulary, dataset.vocabulary))
            symbols = "".join(saved.vocabulary.symbols)
            if (dataset.split, dataset.order) == (saved.config.split, saved.config.order):
                how = f"{PLURALS[dataset.split]}, {dataset.order}"
                notes.append(f"the text is read as that of {config.init_from}: {how} (--split, --order)")
        dataset = _with_symbols(replace(dataset, notes=(*dataset.notes, *notes)), symbols)
        trial = _trial(config, dataset, root)
        resolved = resolve(config, dataset, trial)
        return cls(resolved, dataset, trial, parent if dataset.parts.num_moved else None, symbols)

    @classmethod
    def stored(cls, record: RunRecord, root: Path, progress: Progress) -> "GenerateJob":
        symbols = record.parent_symbols
        dataset = _with_symbols(text_of(record, root, progress), symbols)
        return cls(record.config, dataset, parent=record.parent, parent_symbols=symbols)

    @property
    def files(self) -> tuple[str, ...]:
        return self.dataset.corpus.files

    @property
    def sha256(self) -> str:
        return self.dataset.corpus.sha256

    @property
    def num_bytes(self) -> int:
        return self.dataset.corpus.num_bytes

    @property
    def num_parameters(self) -> int:
        return self._model.num_parameters

    @cached_property
    def _model_config(self) -> ModelConfig:
        return model_config(self.config, self.dataset)

    @cached_property
    def _model(self) -> LanguageModel:
        return LanguageModel(self._model_config)

    def initial_params(self, root: Path) -> dict[str, Any]:
        lengths = sample_lengths(self.dataset.parts.train)
        params = self._model.init(np.random.default_rng(self.config.seed), lengths)
        if self.config.init_from is None:
            return params
        saved = load_model(resolve_checkpoint(self.config.init_from, root))
        return transfer(params, self._model_config, self.dataset.vocabulary, saved)

    def saved_params(self, checkpoint: Checkpoint) -> dict[str, Any]:
        saved = load_model(checkpoint)
        if saved.config != self._model_config or saved.vocabulary != self.dataset.vocabulary:
            raise CheckpointError(f"{checkpoint.path}: is not of the model that run.json describes")
        return saved.params

    def learner(self, params: dict[str, Any], device: torch.device) -> GenerateLearner:
        config, dataset = self.config, self.dataset
        source = batch_source(
            StepReader.of(dataset.parts.train, dataset.vocabulary),
            dataset.order,
            config.stop,
            batch_size=config.batch_size,
            window=config.bptt_steps,
            seed=config.seed,
        )
        valid = dataset.parts.valid
        return GenerateLearner(
            self._model,
            params,
            source,
            StepReader.of(valid, dataset.vocabulary) if valid.num_chars else None,
            order=dataset.order,
            dropout=config.dropout,
            weight_dropout=config.weight_dropout,
            washout=config.washout,
            scheduled_sampling=config.scheduled_sampling,
            precision=config.precision,
            seed=config.seed,
            device=device,
        )

    def model_files(self, params: Arrays) -> dict[str, bytes]:
        return model_files(self._model_config, params, self.dataset.vocabulary.symbols)

    def preview(self, params: Arrays, step: int) -> str:
        """A short sample, in the context of some training row if the text has contexts."""
        model, contexts = self._model, self.dataset.parts.train.contexts
        if contexts is not None:
            model, params = fix_context(model, params, contexts[step % len(contexts)])
        stop = model.stops[0]
        request = Request(stop=stop, num_chars=PREVIEW_CHARS if stop == "none" else None, seed=step)
        symbols = Sampler(Stepper(model, params), request).stream(0)
        shown = [item for item in itertools.islice(symbols, PREVIEW_CHARS) if not isinstance(item, Drawn)]
        return self.dataset.vocabulary.decode(np.array(shown, np.int64))


def _trial(config: TrainConfig, dataset: Dataset, root: Path) -> Trial | None:
    """Measures this machine's speed, if some setting is chosen by it.

    A budget in steps or epochs means the same run on every machine, so it needs no trial.
    """
    usual = resolve(config, dataset)
    on_cpu = config.device == "cpu" or (config.device == "auto" and not torch.cuda.is_available())
    if usual.minutes is None or not on_cpu:
        return None
    precisions: list[Precision] = [config.precision or "float32"]
    if config.precision is None and CELLS[config.cell].trains_in_bfloat16 and fast_bfloat16():
        precisions.append("bfloat16")
    sized = config.hidden_size is not None or not has_width(config.cell)
    if sized and len(precisions) == 1:
        return None
    tried = usual if sized else replace(usual, hidden_size=REFERENCE_UNITS)

    def job_of(precision: Precision, threads: int) -> GenerateJob:
        return GenerateJob(replace(tried, precision=precision, threads=threads), dataset)

    return try_out(job_of, precisions, usual.threads, root)


def model_config(config: ResolvedConfig, dataset: Dataset) -> ModelConfig:
    """The model configuration for a resolved configuration and this text."""
    train = dataset.parts.train
    return ModelConfig(
        **layer_settings(config),
        vocab_size=len(dataset.vocabulary.symbols),
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


def _with_symbols(dataset: Dataset, symbols: str) -> Dataset:
    return replace(dataset, vocabulary=dataset.vocabulary.with_symbols(symbols))


def _parent(config: TrainConfig, root: Path) -> tuple[RunRecord | None, ParentText | None, list[str]]:
    """The run of `--init-from` and its text; None, and the reason, if what it held out cannot be known."""
    if config.init_from is None:
        return None, None, []
    unknown = f"what {config.init_from} held out cannot be known, nor whether this run trains on it"
    record = run_record(resolve_checkpoint(config.init_from, root))
    if record is None:
        return None, None, [f"{unknown}: the checkpoint has no run beside it"]
    try:
        return record, parent_text(record, root), []
    except CorpusError as error:
        return None, None, [f"{unknown}: {error}"]


JOB = GenerateJob
