"""What a classifier makes of texts, in NumPy: labels with calibrated probabilities, or numbers."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from charrnn.corpus.symbols import Ragged
from charrnn.models.saved import SavedClassifier
from charrnn.sampling.prediction import Prediction, read_inputs, told

BATCH = 128


def classify(saved: SavedClassifier, texts: Iterable[str], *, n: int = 5) -> Iterator[Prediction]:
    """For every text, in order, its n most probable labels, or its number; reads a batch ahead.

    A symbol that the model does not know is read as nothing in its place. Raises CorpusError for a text that is
    too long.
    """
    remaining = iter(texts)
    while batch := list(itertools.islice(remaining, BATCH)):
        logits = logits_of(saved, read_inputs(saved.symbols, batch))
        yield from told(saved.model.readout, saved.params, batch, logits, n)


def logits_of(saved: SavedClassifier, inputs: Ragged) -> npt.NDArray[np.floating]:
    """(R, K) for inputs of R texts, read in batches of similar lengths; no text depends on its neighbours."""
    result = np.zeros((len(inputs), saved.model.readout.num_logits), np.float32)
    order = np.argsort(inputs.lengths, kind="stable")
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        ids = inputs.padded(rows, fill=saved.symbols.size)
        result[rows] = saved.model.logits(saved.params, ids, inputs.lengths[rows])
    return result
