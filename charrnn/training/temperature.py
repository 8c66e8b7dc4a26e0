"""Calibration of probabilities: the temperature of a softmax, fitted on held-out text."""

import math

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import log_softmax, take_last

BOUND = math.log(20.0)


def fit_temperature(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> float:
    """ln T for the T in [1/20, 20] that maximises the likelihood of labels (N,) under softmax(logits / T), (N, K).

    The cost is convex in 1 / T, so its slope has one zero, which is found by bisection (Guo et al. 2017,
    *On Calibration of Modern Neural Networks*, section 4.2).
    """

    def slope(beta: float) -> float:
        """The slope of the cost in β = 1 / T: the sum of the expected logits minus the labels' logits."""
        p = np.exp(log_softmax(logits * beta))
        return float(((p * logits).sum(-1) - take_last(logits, labels)).sum())

    low, high = -BOUND, BOUND
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(math.exp(middle)) > 0 else (middle, high)
    return -(low + high) / 2
