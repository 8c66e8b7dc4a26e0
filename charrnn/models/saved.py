"""A language model as the files of a checkpoint, and back. Reading imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from charrnn.cells.arrays import Params
from charrnn.checkpoint.checkpoint import CONFIG, MODEL, VOCAB, Checkpoint, encode_vocab
from charrnn.checkpoint.reading import encode_json
from charrnn.checkpoint.tensors import encode_tensors
from charrnn.config import ModelConfig
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CheckpointError
from charrnn.models.language_model import LanguageModel


@dataclass(frozen=True)
class SavedModel:
    """A model with its NumPy parameters and the characters that it knows."""

    config: ModelConfig
    model: LanguageModel
    params: Params
    vocabulary: Vocabulary
    sha256: str
    """Of model.safetensors."""


def model_files(config: ModelConfig, params: Mapping[str, np.ndarray], symbols: Sequence[str]) -> dict[str, bytes]:
    """What a checkpoint holds of a model; the weights' bytes depend on the weights alone."""
    return {
        CONFIG: encode_json(config),
        VOCAB: encode_vocab(symbols),
        MODEL: encode_tensors(params),
    }


def load_model(checkpoint: Checkpoint) -> SavedModel:
    """Raises CheckpointError for anything that does not fit together, before memory is asked for."""
    config = checkpoint.config(ModelConfig)
    symbols = checkpoint.vocab()
    if len(symbols) != config.vocab_size:
        raise CheckpointError(
            f"{checkpoint.path}: {VOCAB} has {len(symbols)} symbols, {CONFIG} says {config.vocab_size}"
        )
    model = LanguageModel(config)
    try:
        shapes = model.shapes
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{checkpoint.path / CONFIG}: {error}") from error
    params = checkpoint.tensors(shapes)
    if not all(np.isfinite(array).all() for array in params.values()):
        raise CheckpointError(f"{checkpoint.path / MODEL}: has weights that are not finite")
    return SavedModel(config, model, params, Vocabulary(tuple(symbols)), checkpoint.model_sha256)
