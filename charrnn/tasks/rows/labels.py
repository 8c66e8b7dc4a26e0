"""Reads labels, and evaluates a model of labels or numbers by its logits."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Params
from charrnn.config import ClassWeights, Prior, TrainConfig
from charrnn.corpus.columns import Column, encode_columns, known, shown
from charrnn.errors import CorpusError, UsageError
from charrnn.metrics.labels import Classification, Regression, classification, regression
from charrnn.models.label_readout import LOG_TEMPERATURE, TEMPERATURE_BOUND, LabelReadout
from charrnn.tasks.verdict import Rival
from charrnn.words import count

UNKNOWN = -1.0
"""The output of a row whose label the model does not know; NaN is that of a row without a label."""

MOST_NAMED = 5

WRONG = "counted as wrong, left out of the nats"
"""What becomes of unknown labels in a report."""


def check_label(label: Column, config: TrainConfig, file: str) -> None:
    """Raises CorpusError for a label that is always the same, UsageError for class weights of a number."""
    if label.values and len(label.values) < 2:
        raise CorpusError(
            f"{file}: the column {label.name} is always {label.values[0]!r}; there is nothing to tell apart "
            "(to find unusual texts, train on the texts alone and ask `charrnn score`)"
        )
    if config.class_weights != "none" and not label.values:
        raise UsageError(
            f"--class-weights {config.class_weights}: the column {label.name} is a number and has no classes; "
            f"leave it out, or say --label-column {label.name}:category"
        )


def encode_labels(label: Column, strings: Sequence[str], where: Callable[[int], str]) -> npt.NDArray[np.float64]:
    """(R,) for each string the index of the label, UNKNOWN for an unknown one, or the number, standardised.

    Raises CorpusError, located by `where`, if none of the labels is known, and for what is not a number.
    """
    if not label.values:
        return encode_columns([label], [strings], where)[:, 0].astype(np.float64)
    index = {value: float(i) for i, value in enumerate(label.values)}
    outputs = np.array([index.get(string, UNKNOWN) for string in strings])
    if len(strings) and (outputs == UNKNOWN).all():
        raise CorpusError(
            f"{where(0)}: {label.name} {shown(strings[0])} is unknown to the model, as all labels here are; "
            f"{known(label, strings[0])}"
        )
    return outputs


def unknown_labels(label: Column, strings: Sequence[str], fate: str) -> tuple[str, ...]:
    """A note on labels that the model does not know, if there are any; fate: what becomes of them."""
    values = set(label.values)
    unknown = Counter(string for string in strings if values and string not in values)
    if not unknown:
        return ()
    names = [shown(name) for name, _ in unknown.most_common(MOST_NAMED)] + ["…"] * (len(unknown) > MOST_NAMED)
    return (f"{count(unknown.total(), 'label')} unknown to the model ({', '.join(names)}): {fate}",)


def figures_of(
    readout: LabelReadout,
    params: Params,
    logits: npt.NDArray[np.floating],
    outputs: npt.NDArray[np.float64],
    prior: Prior | None = None,
) -> tuple[Classification, None] | tuple[None, Regression]:
    """The figures for logits (R, K) and outputs (R,): label indices, UNKNOWN, or numbers as in training."""
    label = readout.label
    readout.check_prior(prior)
    if readout.is_regression:
        return None, regression(readout.numbers(logits), outputs * label.scale + label.mean)
    probabilities = readout.probabilities(params, logits, prior)
    return classification(probabilities, outputs.astype(np.int64), label.values), None


def temperature_notes(readout: LabelReadout, params: Params) -> tuple[str, ...]:
    """A note on a temperature at its bound."""
    if readout.is_regression or abs(float(params[LOG_TEMPERATURE])) < TEMPERATURE_BOUND - 1e-3:
        return ()
    return ("the temperature is at its bound: the probabilities are not calibrated",)


def frequencies(label: Column, outputs: npt.NDArray[np.float64], class_weights: ClassWeights) -> Rival | None:
    """The loss of the training part's label frequencies on outputs (R,); None for numbers or no labels."""
    if not label.values or not len(labels := outputs[outputs >= 0].astype(np.int64)):
        return None
    readout = LabelReadout(label, 0, class_weights)
    logits = np.tile(readout.log_prior, (len(labels), 1))
    return Rival("label frequencies alone", float(readout.nll({}, logits, labels).mean()))
