"""The three ways in which a sequence ends, as probability distributions.

`eos` is a symbol of the softmax and needs nothing here but its name; `halt` is a Bernoulli output at every
step; `length` draws τ first, from a distribution with unbounded support, and counts down. Written with
`charrnn.cells.arrays`, so NumPy and torch run the same lines.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import (
    Array,
    asarray,
    concat,
    exp,
    floats,
    log,
    log1p,
    log_softmax,
    logsumexp,
    sigmoid,
    softplus,
    where,
)

COUNT_CENTRES = np.arange(0.0, 12.5, 0.5)
"""Where the features of the count stand, in octaves of r + 1: fine near the end, coarse far from it."""

COUNT_FEATURES = 1 + len(COUNT_CENTRES)

COMPONENTS = 8
"""Logistic components of the length distribution; three parameters each."""

LOG_SCALE_BOUND = 4.0
"""Bound on |ln s| of a component, softly kept: no component degenerates, so F stays a proper distribution."""


def count_features(remaining: Array, like: Array) -> Array:
    """The count input: r_t = τ − t, the characters still to come, as bounded features (..., F).

    A present flag, then bumps max(0, 1 − 2 |log₂(r + 1) − c|) at c = 0, ½, 1, …, 12, where all larger counts
    are told as the largest; all zero where `remaining` is negative (absent). The bumps sum to one and hardly
    overlap, so a unit can tell the last few counts apart by their own weights.
    """
    present = floats(remaining >= 0, like)[..., None]
    octaves = log(floats(where(remaining >= 0, remaining, 0), like) + 1.0)[..., None] * (1.0 / math.log(2.0))
    last = float(COUNT_CENTRES[-1])
    distance = where(octaves < last, octaves, last) - floats(asarray(COUNT_CENTRES, like), like)
    bumps = 1.0 - 2.0 * abs(distance)
    return concat([present, present * where(bumps > 0.0, bumps, 0.0 * bumps)], axis=-1)


def log_halt(logit: Array) -> Array:
    """ln s_t for the halt head's logit v·h_t + d."""
    return -softplus(-logit)


def log_go_on(logit: Array) -> Array:
    """ln(1 − s_t)."""
    return -softplus(logit)


class LengthDistribution(NamedTuple):
    """p(τ), τ = 0, 1, …: a mixture of logistics in g(k) = ln(k + 1) + (k + 1)/κ.

        F(k) = Σ_i w_i σ((g(k) − μ_i) / s_i),    p(τ) = F(τ) − F(τ − 1),    F(−1) = 0 as g(−1) = −∞

    The logarithm lets one family fit lengths that differ by orders of magnitude, the mixture their several
    modes; the linear term, with κ the mean training length, makes the tail fall geometrically, at least as
    fast as exp(−k / (κ s)), so that a sample is never absurdly long. F is closed in sigmoids and
    exponentials, p(τ) is computed without cancellation, and a quantile needs only a search. All parameters
    are an output of h_0, hence shapes (..., K).
    """

    log_weights: Array
    means: Array
    log_scales: Array
    kappa: float

    @classmethod
    def from_output(cls, output: Array, kappa: float) -> "LengthDistribution":
        """The distribution whose raw parameters (..., 3K) are the length head's output."""
        K = COMPONENTS
        scales = output[..., 2 * K :]
        bounded = LOG_SCALE_BOUND * (2.0 * sigmoid(scales * (2.0 / LOG_SCALE_BOUND)) - 1.0)
        return cls(log_softmax(output[..., :K]), output[..., K : 2 * K], bounded, kappa)

    def log_prob(self, tau: Array) -> Array:
        """ln p(τ), shape (...), for integers τ ≥ 0 (...).

        σ(a) − σ(b) = σ(a) σ(−b) (1 − exp(b − a)) for a > b, with a − b = (ln(1 + 1/τ) + 1/κ) / s; at τ = 0
        the second and the third factor are 1.
        """
        previous = where(tau > 0, tau - 1, 0)
        rise = log1p(1.0 / (floats(previous, self.means) + 1.0)) + 1.0 / self.kappa
        inner = _log1m_exp(rise[..., None] * exp(-self.log_scales)) - softplus(self._standardised(previous))
        log_parts = where(tau[..., None] > 0, inner, 0.0) - softplus(-self._standardised(tau))
        return logsumexp(self.log_weights + log_parts)

    def cdf(self, k: Array) -> Array:
        """F(k), shape (...), for integers k ≥ −1 (...)."""
        inside = floats(k >= 0, self.means)
        parts = sigmoid(self._standardised(where(k >= 0, k, 0)))
        return inside * (exp(self.log_weights) * parts).sum(-1)

    def log_survival(self, k: Array) -> Array:
        """ln(1 − F(k)), shape (...), for integers k ≥ −1 (...), accurate in the tail."""
        tail = logsumexp(self.log_weights - softplus(self._standardised(where(k >= 0, k, 0))))
        return where(k >= 0, tail, 0.0 * tail)

    def inverse_survival(self, log_survival: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The smallest k ≥ 0 with ln(1 − F(k)) ≤ the given values (...); NumPy only.

        For ln(1 − u) with u uniform it draws exactly from p(τ); for ln(1 − u) + ln(1 − F(j)) from p(τ | τ > j).
        """

        def above(k: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
            return np.asarray(self.log_survival(k) > log_survival)

        high = np.zeros(np.shape(log_survival), np.int64)
        while np.any(short := above(high) & (high < 2**40)):
            high = np.where(short, 2 * high + 1, high)
        low = np.full_like(high, -1)
        while np.any(low + 1 < high):
            middle = (low + high) // 2
            up = above(middle)
            low = np.where(up, middle, low)
            high = np.where(up, high, np.maximum(middle, low + 1))
        return high

    def _standardised(self, k: Array) -> Array:
        """(g(k) − μ) / s, shape (..., K)."""
        following = floats(k, self.means)[..., None] + 1.0
        return (log(following) + following / self.kappa - self.means) * exp(-self.log_scales)


def initial_length_bias(lengths: npt.NDArray[np.int64], kappa: float) -> npt.NDArray[np.float32]:
    """The length head's bias (3K,) before training: components at the quantiles of the training lengths."""
    # F(τ) − F(τ − 1) is largest where a component stands halfway between g(τ − 1) and g(τ).
    middle = lengths + 0.5
    g = np.log(middle) + middle / kappa
    means = np.quantile(g, (np.arange(COMPONENTS) + 0.5) / COMPONENTS)
    spacing = max(float(means[-1] - means[0]) / COMPONENTS, 0.02)
    log_scales = np.full(COMPONENTS, np.log(spacing))
    # The inverse of the soft bound that `from_output` puts on ln s.
    raw = LOG_SCALE_BOUND * np.arctanh(np.clip(log_scales / LOG_SCALE_BOUND, -0.99, 0.99))
    return np.concatenate([np.zeros(COMPONENTS), means, raw]).astype(np.float32)


def _log1m_exp(x: Array) -> Array:
    """ln(1 − e^(−x)) for x > 0, without cancellation for small x."""
    if isinstance(x, np.ndarray):
        return np.log(-np.expm1(-x))
    return (-(-x).expm1()).log()
