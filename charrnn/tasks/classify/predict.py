"""A classifier's predictions, in NumPy: labels with calibrated probabilities, or numbers."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from charrnn.checkpoint import Checkpoint
from charrnn.config import Prior
from charrnn.corpus.symbols import Ragged
from charrnn.models.store import Saved, load_saved
from charrnn.sampling.prediction import Prediction, predictions, read_inputs
from charrnn.tasks.classify.classifier import Classifier, ClassifierConfig

BATCH = 128

SavedClassifier: TypeAlias = Saved[ClassifierConfig, Classifier]


def load(checkpoint: Checkpoint) -> SavedClassifier:
    """Raises CheckpointError for parts that do not fit together, before memory is allocated."""
    config = checkpoint.config(ClassifierConfig)
    return load_saved(checkpoint, config, Classifier(config), config.encoder.vocab_size, config.source_sep)


def open_model(checkpoint: Checkpoint) -> "LabelModel":
    """Raises CheckpointError."""
    return LabelModel(load(checkpoint), checkpoint.path)


class LabelModel:
    """A trained model that predicts a label or a number for each text. It needs no torch."""

    def __init__(self, saved: SavedClassifier, path: Path) -> None:
        self.saved, self.path = saved, path

    def predict(
        self, texts: Iterable[str], *, n: int = 5, number: int = 0, prior: Prior | None = None
    ) -> Iterator[Prediction]:
        """The n most probable labels of each text, or its number. Raises CorpusError for too long a text.

        prior: how frequent the labels are taken to be, uniform or as in training (`charrnn.models.label_readout`).
        """
        return classify(self.saved, texts, n=n, prior=prior)


def classify(
    saved: SavedClassifier, texts: Iterable[str], *, n: int = 5, prior: Prior | None = None
) -> Iterator[Prediction]:
    """For every text, in order, its n most probable labels, or its number; reads a batch ahead.

    An unknown symbol is read as a zero input. Raises CorpusError for a text that is too long.
    """
    remaining = iter(texts)
    while batch := list(itertools.islice(remaining, BATCH)):
        logits = logits_of(saved, read_inputs(saved.source, batch))
        yield from predictions(saved.model.readout, saved.params, batch, logits, n, prior)


def logits_of(saved: SavedClassifier, inputs: Ragged) -> npt.NDArray[np.floating]:
    """(R, K) for inputs of R texts, read in batches of similar lengths; texts are independent."""
    result = np.zeros((len(inputs), saved.model.readout.num_logits), np.float32)
    order = np.argsort(inputs.lengths, kind="stable")
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        ids = inputs.padded(rows, fill=saved.source.size)
        result[rows] = saved.model.logits(saved.params, ids, inputs.lengths[rows])
    return result
