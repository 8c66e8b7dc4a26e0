"""Whether a model's sequences end where they should: held-out lengths against drawn and predicted ones.

Lengths are in characters. This file knows neither the model nor how it stops: it receives lengths, and the
model's cumulative distribution function at the held-out lengths.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

PIT_BINS = 10


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of lengths, in characters; a percentile between two observed lengths is interpolated."""

    min: float
    p5: float
    p25: float
    p50: float
    p75: float
    p95: float
    max: float
    mean: float


@dataclass(frozen=True)
class PIT:
    """The probability integral transform of the held-out lengths under the model.

    Each length τ gives u, uniform on [F(τ-1), F(τ)]. If lengths follow F, u is uniform on [0, 1]. A hump in the
    middle means that the length distribution is too wide, a bowl that it is too narrow; mass on the left means
    that endings come too late.
    """

    histogram: tuple[float, ...]
    """The share of u expected in each of PIT_BINS equal parts of [0, 1]; they sum to one."""
    mean: float
    """Expected mean of u: one half if endings are neither too early nor too late."""
    max_deviation: float
    """The largest distance of a share from 1 / PIT_BINS: 0 is perfect, 0.9 the worst."""


@dataclass(frozen=True)
class LengthReport:
    """Can be written as strict JSON; a part is None if there is nothing to compute it from."""

    held_out: Quantiles | None
    sampled: Quantiles | None
    ks_distance: float | None
    """Largest distance between the two empirical distribution functions, 0 to 1."""
    ks_training: float | None
    """The same between training and held-out text: the distance that a model with exactly the training lengths
    would have, because a text's lengths drift."""
    pit: PIT | None


def length_report(
    held_out: ArrayLike,
    sampled: ArrayLike,
    cdf_before: ArrayLike,
    cdf_at: ArrayLike,
    training: ArrayLike = (),
) -> LengthReport:
    """The report on the lengths of held-out (S,), drawn (M,) and training texts; any of them may be empty.

    `cdf_before` and `cdf_at` hold F(τ-1) and F(τ) of the held-out sequences, (S,); empty if the model has no
    length distribution.
    """
    held_out, sampled = np.asarray(held_out), np.asarray(sampled)
    return LengthReport(
        held_out=quantiles(held_out) if held_out.size else None,
        sampled=quantiles(sampled) if sampled.size else None,
        ks_distance=ks_distance(held_out, sampled) if held_out.size and sampled.size else None,
        ks_training=ks_distance(held_out, training) if held_out.size and np.size(training) else None,
        pit=pit(cdf_before, cdf_at) if np.size(cdf_at) else None,
    )


def quantiles(lengths: ArrayLike) -> Quantiles:
    """Quantiles of lengths (S,), S > 0."""
    values = np.asarray(lengths, np.float64)
    low, p5, p25, p50, p75, p95, high = np.quantile(values, [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]).tolist()
    return Quantiles(low, p5, p25, p50, p75, p95, high, mean=float(np.mean(values)))


def ks_distance(a: ArrayLike, b: ArrayLike) -> float:
    """The two-sample Kolmogorov-Smirnov distance, max over x of |F_a(x) - F_b(x)|, of samples (M,) and (N,).

    Both functions are evaluated after all copies of a value, so ties are handled correctly. M, N > 0.
    """
    a, b = np.sort(a), np.sort(b)
    values = np.concatenate([a, b])
    difference = _share_up_to(a, values) - _share_up_to(b, values)
    return float(np.max(np.abs(difference)))


def pit(cdf_before: ArrayLike, cdf_at: ArrayLike) -> PIT:
    """The expected histogram of u from F(τ-1) and F(τ) of each sequence, (S,), S > 0; nothing is drawn.

    The share of each sequence is spread evenly over [F(τ-1), F(τ)]; if the two are equal in floating point, it
    falls into the bin of that value. Values that rounding moves outside [0, 1] are clipped.
    """
    low = np.clip(np.asarray(cdf_before, np.float64), 0.0, 1.0)
    width = np.clip(np.asarray(cdf_at, np.float64), low, 1.0) - low
    below = [
        np.mean(np.divide(np.clip(edge - low, 0.0, width), width, out=1.0 * (low < edge), where=width > 0))
        for edge in np.arange(1, PIT_BINS) / PIT_BINS
    ]
    histogram = np.diff([0.0, *below, 1.0])
    return PIT(
        histogram=tuple(histogram.tolist()),
        mean=float(np.mean(low + width / 2)),
        max_deviation=float(np.max(np.abs(histogram - 1 / PIT_BINS))),
    )


def _share_up_to(ordered: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    """(V,) the share of the ordered sample (N,) that is at most each of `values` (V,)."""
    return np.searchsorted(ordered, values, side="right") / len(ordered)
