"""Evaluates a model of labels or numbers by its logits."""

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Params
from charrnn.corpus.columns import Column
from charrnn.metrics.labels import Classification, Regression, classification, regression
from charrnn.models.label_readout import LabelReadout
from charrnn.tasks.verdict import Rival


def figures_of(
    readout: LabelReadout,
    params: Params,
    logits: npt.NDArray[np.floating],
    outputs: npt.NDArray[np.float64],
) -> tuple[Classification, None] | tuple[None, Regression]:
    """The figures for logits (R, K) and outputs (R,): label indices, NaN for none, or numbers as in training."""
    label = readout.label
    if readout.is_regression:
        return None, regression(readout.numbers(logits), outputs * label.scale + label.mean)
    truth = np.where(np.isnan(outputs), -1, outputs).astype(np.int64)
    return classification(readout.probabilities(params, logits), truth, label.values), None


def frequencies(label: Column, outputs: npt.NDArray[np.float64]) -> Rival | None:
    """The loss of the training part's label frequencies on outputs (R,); None for numbers or no labels."""
    labels = outputs[~np.isnan(outputs)].astype(np.int64)
    if not label.values or not len(labels):
        return None
    counts = np.array(label.counts, np.float64)
    return Rival("label frequencies alone", float(-np.log(counts / counts.sum())[labels].mean()))
