"""A model as the files of a checkpoint, and back. Reading imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from charrnn.cells.arrays import Params
from charrnn.checkpoint.checkpoint import CONFIG, MODEL, VOCAB, Checkpoint, encode_vocab
from charrnn.checkpoint.reading import encode_json
from charrnn.checkpoint.tensors import encode_tensors
from charrnn.config import (
    CheckpointConfig,
    ClassifierConfig,
    ModelConfig,
    TaggerConfig,
    TaskName,
    TransducerConfig,
    TreeConfig,
)
from charrnn.corpus.labelled_trees import leaf_separator
from charrnn.corpus.symbols import Symbols
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CheckpointError
from charrnn.models.classifier import Classifier
from charrnn.models.encoder_decoder import EncoderDecoder
from charrnn.models.language_model import LanguageModel
from charrnn.models.recursive import RecursiveNetwork
from charrnn.models.tagger import Tagger


@dataclass(frozen=True)
class SavedModel:
    """A model with its NumPy parameters and the characters that it knows."""

    config: ModelConfig
    model: LanguageModel
    params: Params
    vocabulary: Vocabulary
    sha256: str
    """Of model.safetensors."""


def model_files(
    config: CheckpointConfig,
    params: Mapping[str, np.ndarray],
    symbols: Sequence[str],
    outputs: Sequence[str] | None = None,
) -> dict[str, bytes]:
    """What a checkpoint holds of a model; the weights' bytes depend on the weights alone.

    outputs: the symbols that it writes where they are others than those it reads.
    """
    return {
        CONFIG: encode_json(config),
        VOCAB: encode_vocab(symbols, outputs),
        MODEL: encode_tensors(params),
    }


@dataclass(frozen=True)
class SavedClassifier:
    """The same of a model that tells what a text is."""

    config: ClassifierConfig
    model: Classifier
    params: Params
    symbols: Symbols
    sha256: str


@dataclass(frozen=True)
class SavedTagger:
    """The same of a model of a symbol for each symbol."""

    config: TaggerConfig
    model: Tagger
    params: Params
    source: Symbols
    target: Symbols
    sha256: str


@dataclass(frozen=True)
class SavedTransducer:
    """The same of a model of a sequence for a sequence."""

    config: TransducerConfig
    model: EncoderDecoder
    params: Params
    source: Symbols
    target: Symbols
    sha256: str


@dataclass(frozen=True)
class SavedTreeModel:
    """The same of a model that tells what a tree is."""

    config: TreeConfig
    model: RecursiveNetwork
    params: Params
    symbols: Symbols
    """What leaves are made of."""
    sha256: str


Saved = SavedModel | SavedClassifier | SavedTagger | SavedTransducer | SavedTreeModel


def task_of(checkpoint: Checkpoint) -> TaskName:
    """What a checkpoint's model does. Raises CheckpointError."""
    return checkpoint.config(CheckpointConfig).task


def load_any(checkpoint: Checkpoint) -> Saved:
    """The model of a checkpoint of any task. Raises CheckpointError."""
    return _LOADERS[task_of(checkpoint)](checkpoint)


def load_model(checkpoint: Checkpoint) -> SavedModel:
    """A language model. Raises CheckpointError for what does not fit together, before memory is asked for."""
    task = task_of(checkpoint)
    if task != "generate":
        raise CheckpointError(
            f"{checkpoint.path}: is a model of --task {task}, which generates no text; use `charrnn predict` and "
            "`charrnn eval`"
        )
    config = checkpoint.config(ModelConfig)
    if sum(column.size for column in config.columns) != config.context_size or config.attention is not None:
        raise CheckpointError(f"{checkpoint.path / CONFIG}: its columns are not what its context is made of")
    symbols = _symbols(checkpoint, config.vocab_size)
    try:
        vocabulary = Vocabulary(symbols)
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path / VOCAB}: {error}") from error
    model = LanguageModel(config)
    return SavedModel(config, model, _params(checkpoint, model), vocabulary, checkpoint.model_sha256)


def load_classifier(checkpoint: Checkpoint) -> SavedClassifier:
    """Raises CheckpointError as `load_model` does."""
    config = checkpoint.config(ClassifierConfig)
    symbols = Symbols(_symbols(checkpoint, config.encoder.vocab_size), config.source_sep)
    model = Classifier(config)
    return SavedClassifier(config, model, _params(checkpoint, model), symbols, checkpoint.model_sha256)


def load_tagger(checkpoint: Checkpoint) -> SavedTagger:
    """Raises CheckpointError as `load_model` does."""
    config = checkpoint.config(TaggerConfig)
    source, target = _both_symbols(checkpoint, config, config.num_tags)
    model = Tagger(config)
    return SavedTagger(config, model, _params(checkpoint, model), source, target, checkpoint.model_sha256)


def load_transducer(checkpoint: Checkpoint) -> SavedTransducer:
    """Raises CheckpointError as `load_model` does."""
    config = checkpoint.config(TransducerConfig)
    source, target = _both_symbols(checkpoint, config, config.decoder.vocab_size)
    model = EncoderDecoder(config)
    params = _params(checkpoint, model)
    return SavedTransducer(config, model, params, source, target, checkpoint.model_sha256)


def load_tree_model(checkpoint: Checkpoint) -> SavedTreeModel:
    """Raises CheckpointError as `load_model` does."""
    config = checkpoint.config(TreeConfig)
    if config.encoder is not None and config.encoder.vocab_size != config.vocab_size:
        raise CheckpointError(f"{checkpoint.path / CONFIG}: its encoder does not read the symbols of its leaves")
    symbols = Symbols(_symbols(checkpoint, config.vocab_size), leaf_separator(config.encoder is not None))
    model = RecursiveNetwork(config)
    return SavedTreeModel(config, model, _params(checkpoint, model), symbols, checkpoint.model_sha256)


_LOADERS: dict[TaskName, Callable[[Checkpoint], Saved]] = {
    "generate": load_model,
    "classify": load_classifier,
    "tag": load_tagger,
    "transduce": load_transducer,
    "tree": load_tree_model,
}


def _symbols(checkpoint: Checkpoint, expected: int) -> tuple[str, ...]:
    return _counted(checkpoint, checkpoint.vocab(), expected)


def _both_symbols(
    checkpoint: Checkpoint, config: TaggerConfig | TransducerConfig, num_outputs: int
) -> tuple[Symbols, Symbols]:
    """What is read, and what is written."""
    source = Symbols(_symbols(checkpoint, config.encoder.vocab_size), config.source_sep)
    return source, Symbols(_counted(checkpoint, checkpoint.output_vocab(), num_outputs), config.target_sep)


def _counted(checkpoint: Checkpoint, symbols: list[str], expected: int) -> tuple[str, ...]:
    if len(symbols) != expected:
        raise CheckpointError(f"{checkpoint.path}: {VOCAB} has {len(symbols)} symbols, {CONFIG} says {expected}")
    return tuple(symbols)


def _params(
    checkpoint: Checkpoint, model: LanguageModel | Classifier | Tagger | EncoderDecoder | RecursiveNetwork
) -> Params:
    try:
        shapes = model.shapes
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.path / CONFIG}: {error}") from error
    params = checkpoint.tensors(shapes)
    if not all(np.isfinite(array).all() for array in params.values()):
        raise CheckpointError(f"{checkpoint.path / MODEL}: has weights that are not finite")
    return params
