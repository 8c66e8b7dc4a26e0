"""Converts a model to the files of a checkpoint and back. Reading imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, Protocol, TypeVar

import numpy as np
from msgspec import Meta

from charrnn.cells.arrays import Params
from charrnn.checkpoint.checkpoint import CONFIG, MODEL, VOCAB, Checkpoint, CheckpointConfig, encode_vocab
from charrnn.checkpoint.reading import encode_json
from charrnn.checkpoint.tensors import encode_tensors
from charrnn.config import OrderName, Separator, SplitName, TaskName
from charrnn.corpus.columns import Column
from charrnn.corpus.symbols import Symbols
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CheckpointError
from charrnn.models.language_model import GeneratorConfig, LanguageModel

LARGEST_WEIGHT = 1e6
"""Products of trained weights are far from what float32 holds; beyond this they could overflow."""

LARGEST_LOGARITHM = 40.0
"""Its exponential squared is still far from what float32 holds."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(CheckpointConfig, GeneratorConfig):
    """A language model's sizes and options, and what is needed to read text as in training."""

    task: Literal["generate"] = "generate"
    columns: tuple[Column, ...] = ()
    """What the text is conditioned on; `context_size` is their total size."""
    text_column: Annotated[str, Meta(max_length=1000)] | None = None
    """The table column that contains the text; None if the corpus is plain text."""
    split: SplitName
    order: OrderName
    separator: Separator = "\n"
    """The string between the sequences of the corpus, and between samples."""


class _Parametric(Protocol):
    @property
    def shapes(self) -> dict[str, tuple[int, ...]]: ...


Config = TypeVar("Config", bound=CheckpointConfig)
Model = TypeVar("Model", bound=_Parametric)


@dataclass(frozen=True)
class Saved(Generic[Config, Model]):
    """A model of whole inputs with its NumPy parameters and the symbols that it reads."""

    config: Config
    model: Model
    params: Params
    sha256: str
    """The hash of model.safetensors."""
    source: Symbols


@dataclass(frozen=True)
class SavedPair(Saved[Config, Model]):
    """A saved model that also writes symbols, from a vocabulary of its own."""

    target: Symbols


@dataclass(frozen=True)
class SavedModel:
    """A language model with its NumPy parameters and its vocabulary."""

    config: ModelConfig
    model: LanguageModel
    params: Params
    vocabulary: Vocabulary
    sha256: str
    """The hash of model.safetensors."""


def model_files(
    config: CheckpointConfig,
    params: Mapping[str, np.ndarray],
    symbols: Sequence[str],
    outputs: Sequence[str] | None = None,
) -> dict[str, bytes]:
    """A model's files in a checkpoint; the weights' bytes depend on the weights alone.

    outputs: the symbols that it writes, if they differ from those it reads.
    """
    return {
        CONFIG: encode_json(config),
        VOCAB: encode_vocab(symbols, outputs),
        MODEL: encode_tensors(params),
    }


def task_of(checkpoint: Checkpoint) -> TaskName:
    """What a checkpoint's model does. Raises CheckpointError."""
    return checkpoint.config(CheckpointConfig).task


def load_model(checkpoint: Checkpoint) -> SavedModel:
    """Loads a language model. Raises CheckpointError for inconsistent files, before it allocates memory."""
    task = task_of(checkpoint)
    if task != "generate":
        raise CheckpointError(
            f"{checkpoint.path}: is a model of --task {task}, which generates no text; use `charrnn predict` and "
            "`charrnn eval`"
        )
    config = checkpoint.config(ModelConfig)
    if sum(column.size for column in config.columns) != config.context_size or config.attention is not None:
        raise CheckpointError(f"{checkpoint.path / CONFIG}: its columns are not what its context is made of")
    symbols = _counted(checkpoint, checkpoint.vocab(), config.vocab_size)
    try:
        vocabulary = Vocabulary(symbols)
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path / VOCAB}: {error}") from error
    model = LanguageModel(config)
    return SavedModel(config, model, _params(checkpoint, model), vocabulary, checkpoint.model_sha256)


def load_saved(
    checkpoint: Checkpoint, config: Config, model: Model, num_symbols: int, separator: str
) -> Saved[Config, Model]:
    """Loads a model that reads `num_symbols` symbols. Raises CheckpointError as `load_model` does."""
    source = _symbols(checkpoint, checkpoint.vocab(), num_symbols, separator)
    return Saved(config, model, _params(checkpoint, model), checkpoint.model_sha256, source)


def load_pair(
    checkpoint: Checkpoint,
    config: Config,
    model: Model,
    num_symbols: tuple[int, int],
    separators: tuple[str, str],
) -> SavedPair[Config, Model]:
    """Loads a model that also writes symbols; `num_symbols` and `separators` are (read, written)."""
    read, written = num_symbols
    saved = load_saved(checkpoint, config, model, read, separators[0])
    target = _symbols(checkpoint, checkpoint.output_vocab(), written, separators[1])
    return SavedPair(config, model, saved.params, saved.sha256, saved.source, target)


def _symbols(checkpoint: Checkpoint, symbols: list[str], expected: int, separator: str) -> Symbols:
    try:
        return Symbols(_counted(checkpoint, symbols, expected), separator)
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path / VOCAB}: {error}") from error


def _counted(checkpoint: Checkpoint, symbols: list[str], expected: int) -> tuple[str, ...]:
    """The symbols. Raises CheckpointError unless there are as many as expected."""
    if len(symbols) != expected:
        raise CheckpointError(f"{checkpoint.path}: {VOCAB} has {len(symbols)} symbols, {CONFIG} says {expected}")
    return tuple(symbols)


def _params(checkpoint: Checkpoint, model: _Parametric) -> Params:
    """A checkpoint's parameters. Raises CheckpointError if they are not the model's, or no training made them."""
    try:
        shapes = model.shapes
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.path / CONFIG}: {error}") from error
    params = checkpoint.tensors(shapes)
    for name, array in params.items():
        limit = LARGEST_LOGARITHM if name.startswith("log_") else LARGEST_WEIGHT
        # Not a number, too, is not within the limit.
        if not (np.abs(array) <= limit).all():
            raise CheckpointError(f"{checkpoint.path / MODEL}: {name} is not within ±{limit:g}; it is damaged")
    return params
