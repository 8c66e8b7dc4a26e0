"""Calibration of probabilities: the temperature of a softmax, fitted on held-out text."""

import math

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import log_softmax, take_last
from charrnn.models.label_readout import TEMPERATURE_BOUND

STRENGTH = 4.0
"""λ of the prior on ln T, whose mode is T = 1 and whose standard deviation is about λ^(−1/2) = 0.5."""

FEWEST_LABELS = 30
"""With fewer held-out labels there is nothing to fit, and T is 1."""


def fit_temperature(
    logits: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64] | float = 1.0,
) -> float:
    """ln T for the T in [1/20, 20] that minimises, for N labels (N,) of weights w (N,) and logits (N, K),

        −Σ w ln softmax(β logits)[label] + λ (β − 1 − ln β),    β = 1 / T

    The second term is a log-gamma prior on ln β = −ln T (Guo et al. 2017, *On Calibration of Modern Neural
    Networks*, section 4.2, have the first alone). Without it few labels, or labels that are all far from an error,
    would put T at a bound. Both terms are convex in β, so the slope has one zero, which is found by bisection.

    T is 1 where an optimum of the likelihood says nothing: of fewer than FEWEST_LABELS labels, of one label
    throughout, and if the largest logit is never wrong.
    """
    wrong = logits.argmax(-1) != labels
    if len(labels) < FEWEST_LABELS or not wrong.any() or (labels == labels[0]).all():
        return 0.0

    def slope(beta: float) -> float:
        """The slope in β of the sum above: the expected logits minus the labels' logits, and the prior's slope."""
        p = np.exp(log_softmax(logits * beta))
        excess = (p * logits).sum(-1) - take_last(logits, labels)
        return float((weights * excess).sum()) + STRENGTH * (1.0 - 1.0 / beta)

    low, high = -TEMPERATURE_BOUND, TEMPERATURE_BOUND
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(math.exp(middle)) > 0 else (middle, high)
    return -(low + high) / 2
