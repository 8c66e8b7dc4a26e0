"""Predicted numbers against the true ones: the size of the errors, and the correlation.

This file knows neither the model nor the examples, only N predicted and N true numbers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
