"""How good predicted labels and numbers are."""

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


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Can be written as strict JSON; errors are in the unit of the truth, None if there is no example."""

    num_examples: int
    mse: float | None = None
    rmse: float | None = None
    mae: float | None = None
    mean_baseline_mse: float | None = None
    """The mse of always predicting the mean of the truth, which is the variance of the truth."""
    r2: float | None = None
    """1 - mse / mean_baseline_mse; None if the truth does not vary."""
    pearson: float | None = None
    """None if the truth or the prediction does not vary."""
    spearman: float | None = None
    """The Pearson correlation of the ranks; equal values share the mean of their ranks. None like `pearson`."""
    exact: float | None = None
    """The share of predictions that round to the true number; None if any true number is not whole."""


def regression(predicted: ArrayLike, truth: ArrayLike) -> Regression:
    """The figures of `predicted` (N,) for `truth` (N,); both and their squares must be finite.

    Raises ValueError if the shapes disagree.
    """
    predicted, truth = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if predicted.shape != truth.shape:
        raise ValueError(f"predictions have shape {predicted.shape}, the truth {truth.shape}")
    if not len(truth):
        return Regression(num_examples=0)
    error = predicted - truth
    mse = float(np.mean(error**2))
    variance = float(np.var(truth)) if _varies(truth) else 0.0
    right = rounded_right(predicted, truth)
    return Regression(
        num_examples=len(truth),
        mse=mse,
        rmse=float(np.sqrt(mse)),
        mae=float(np.mean(np.abs(error))),
        mean_baseline_mse=variance,
        r2=1 - mse / variance if variance else None,
        pearson=_pearson(predicted, truth),
        spearman=_pearson(_average_ranks(predicted), _average_ranks(truth)),
        exact=None if right is None else float(right.mean()),
    )


def rounded_right(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """(N,) whether each prediction rounds to the true number; None if any true number is not whole.

    Whole means within 1e-6, because the truth may have been standardised and converted back.
    """
    whole = np.rint(truth)
    if not np.allclose(whole, truth, rtol=0.0, atol=1e-6):
        return None
    right: NDArray[np.bool_] = np.rint(predicted) == whole
    return right


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """The correlation of a and b, (N,) each, N > 0; None if one of them does not vary."""
    if not (_varies(a) and _varies(b)):
        return None
    a, b = _centred(a), _centred(b)
    return float(np.clip(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)), -1.0, 1.0))


def _varies(values: NDArray[np.float64]) -> bool:
    """Compares the values themselves, because rounding may give a constant a variance above zero."""
    return bool(np.any(values != values[0]))


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values centred on zero and scaled to at most 1, so that squares of small differences do not vanish."""
    centred = values - np.mean(values)
    return centred / float(np.max(np.abs(centred)))


def _average_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) the ranks from 1 of values (N,); equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
