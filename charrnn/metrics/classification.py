"""Predicted class probabilities against the truth: how often right, how sharp, how well calibrated.

This file knows neither the model nor the examples, only the probabilities of K classes for N examples. A label
that the model does not know has truth -1 and counts as a class of probability zero: its example is wrong, and
adds to the Brier score what such a class would. Its likelihood would be zero, so `nll` and `loss` exclude it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

CALIBRATION_BINS = 15

SMALLEST = float(np.finfo(np.float64).tiny)
"""A probability that has underflowed counts as this, so that nll stays finite: at most 708 nats per example."""


@dataclass(frozen=True)
class ClassFigures:
    """One class against all others; a ratio is 0 if its denominator is 0, as in scikit-learn."""

    label: str
    support: int
    """Examples whose true class it is."""
    predicted: int
    """Examples for which it is predicted, those of unknown truth included."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ReliabilityBin:
    """The examples whose top probability is in one bin; a calibrated model has confidence = accuracy."""

    count: int
    confidence: float
    """Mean top probability."""
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Can be written as strict JSON; a figure is None if there is no example to compute it from."""

    num_examples: int
    num_unknown_labels: int
    accuracy: float | None
    majority_accuracy: float | None
    """The baseline: the accuracy of always predicting the one of the K classes most frequent in the truth."""
    macro_precision: float | None
    """The macro averages are plain means over the classes that occur in the truth or are predicted, as in
    scikit-learn with zero_division=0 and these classes as `labels`. Unknown labels are not a class."""
    macro_recall: float | None
    macro_f1: float | None
    """The mean of the F1, not the F1 of the means."""
    nll: float
    """Total nats of the known labels."""
    loss: float | None
    """nll / (num_examples - num_unknown_labels)"""
    brier: float | None
    """Mean squared distance of the probabilities from the truth, summed over classes: 0 to 2."""
    expected_calibration_error: float | None
    """Mean |confidence - accuracy| of the bins of `reliability`, weighted by their counts."""
    reliability: tuple[ReliabilityBin, ...]
    """The non-empty ones of CALIBRATION_BINS bins of equal width, each including its upper edge; lowest first."""
    per_class: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Examples of known truth, (K, K): a row for each true class, a column for each predicted one."""


def classification(probabilities: ArrayLike, truth: ArrayLike, labels: Sequence[str]) -> Classification:
    """The figures of probabilities (N, K) whose rows sum to one, given the true classes (N,) in -1 ... K-1.

    `labels` names the K > 0 classes. The most probable class is predicted, the first if several are equal. Raises
    ValueError if the shapes disagree.
    """
    probabilities, truth = np.asarray(probabilities, np.float64), np.asarray(truth, np.int64)
    if probabilities.shape != (len(truth), len(labels)):
        raise ValueError(f"probabilities have shape {probabilities.shape}, not ({len(truth)}, {len(labels)})")
    predicted, known = np.argmax(probabilities, axis=1), truth >= 0
    right, confidence = predicted == truth, np.max(probabilities, axis=1)
    is_true = truth[:, None] == np.arange(len(labels))
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (truth[known], predicted[known]), 1)
    support = confusion.sum(axis=1)
    per_class = _per_class(labels, support, np.bincount(predicted, minlength=len(labels)), np.diag(confusion))
    occurring = [figures for figures in per_class if figures.support or figures.predicted]
    # Subtracted from zero, because a negated empty sum would be -0.0.
    nll = float(0.0 - np.sum(np.log(np.maximum(probabilities[is_true], SMALLEST))))
    reliability = _reliability(confidence, right)
    return Classification(
        num_examples=len(truth),
        num_unknown_labels=int(np.sum(~known)),
        accuracy=_mean(right),
        majority_accuracy=int(np.max(support)) / len(truth) if len(truth) else None,
        macro_precision=_mean([figures.precision for figures in occurring]),
        macro_recall=_mean([figures.recall for figures in occurring]),
        macro_f1=_mean([figures.f1 for figures in occurring]),
        nll=nll,
        loss=nll / int(np.sum(known)) if np.any(known) else None,
        brier=_mean(np.sum((probabilities - is_true) ** 2, axis=1) + ~known),
        expected_calibration_error=(
            sum(bin.count * abs(bin.confidence - bin.accuracy) for bin in reliability) / len(truth)
            if len(truth)
            else None
        ),
        reliability=reliability,
        per_class=per_class,
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def _per_class(
    labels: Sequence[str], support: NDArray[np.int64], predicted: NDArray[np.int64], hits: NDArray[np.int64]
) -> tuple[ClassFigures, ...]:
    """The figures of each class, from counts (K,)."""

    def ratio(part: int, whole: int) -> float:
        return part / whole if whole else 0.0

    return tuple(
        ClassFigures(label, s, p, precision=ratio(hit, p), recall=ratio(hit, s), f1=ratio(2 * hit, p + s))
        for label, s, p, hit in zip(labels, support.tolist(), predicted.tolist(), hits.tolist(), strict=True)
    )


def _reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """The non-empty bins of examples with top probability `confidence` (N,); `right`: that class was the truth."""
    bins = np.searchsorted(np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS, confidence, side="left")
    return tuple(
        ReliabilityBin(
            count=int(np.sum(bins == bin)),
            confidence=float(np.mean(confidence[bins == bin])),
            accuracy=float(np.mean(right[bins == bin])),
        )
        for bin in np.unique(bins)
    )


def _mean(values: NDArray[Any] | list[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
