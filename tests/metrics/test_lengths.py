import json
import statistics
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.metrics.lengths import PIT_BINS, ks_distance, length_report, pit, quantiles

LENGTHS = st.lists(st.integers(0, 12), min_size=2, max_size=30)


@given(LENGTHS)
def test_quantiles_are_those_of_the_standard_library(lengths):
    found = quantiles(np.array(lengths))
    twentieths = statistics.quantiles(lengths, n=20, method="inclusive")
    expected = [
        min(lengths),
        *(twentieths[i] for i in (0, 4, 9, 14, 18)),
        max(lengths),
        statistics.mean(lengths),
    ]
    assert list(asdict(found).values()) == pytest.approx(expected)


def test_quantiles_are_named_for_their_percentiles():
    found = quantiles(np.arange(101))
    expected = {"min": 0, "p5": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95, "max": 100, "mean": 50}
    assert asdict(found) == pytest.approx(expected)


@given(LENGTHS, LENGTHS)
def test_ks_distance_is_the_largest_gap_at_any_length(a, b):
    gaps = [
        abs(Fraction(sum(x <= k for x in a), len(a)) - Fraction(sum(x <= k for x in b), len(b))) for k in range(13)
    ]
    assert ks_distance(np.array(a), np.array(b)) == pytest.approx(float(max(gaps)), abs=1e-12)


def test_ks_distance_of_ties_and_of_strangers():
    assert ks_distance([3, 3, 3, 3], [3]) == 0
    assert ks_distance([1, 2], [3, 4, 5]) == 1


@st.composite
def probability_intervals(draw):
    """(F(τ-1), F(τ)) of a few sequences, in 1/40, so that many ends fall on the edges of bins."""
    ends = draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=8))
    return [(Fraction(min(pair), 40), Fraction(max(pair), 40)) for pair in ends]


@given(probability_intervals())
def test_pit_spreads_each_interval_over_the_bins_it_covers(intervals):
    expected = [Fraction(0)] * PIT_BINS
    for low, high in intervals:
        for bin in range(PIT_BINS):
            left, right = Fraction(bin, PIT_BINS), Fraction(bin + 1, PIT_BINS)
            if high > low:
                expected[bin] += max(Fraction(0), min(high, right) - max(low, left)) / (high - low)
            else:
                expected[bin] += left <= low < right or low == right == 1
    shares = [share / len(intervals) for share in expected]
    found = pit([float(low) for low, _ in intervals], [float(high) for _, high in intervals])
    assert found.histogram == pytest.approx([float(share) for share in shares], abs=1e-12)
    assert sum(found.histogram) == pytest.approx(1)
    assert found.mean == pytest.approx(float(sum(low + high for low, high in intervals) / 2 / len(intervals)))
    worst = max(abs(share - Fraction(1, PIT_BINS)) for share in shares)
    assert found.max_deviation == pytest.approx(float(worst), abs=1e-12)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12).filter(any))
def test_pit_is_uniform_where_lengths_follow_the_model_exactly(counts):
    cdf = np.cumsum(counts) / sum(counts)
    lengths = np.repeat(np.arange(len(counts)), counts)
    found = pit(np.append(0.0, cdf)[lengths], cdf[lengths])
    assert found.histogram == pytest.approx([1 / PIT_BINS] * PIT_BINS)
    assert found.mean == pytest.approx(0.5)
    assert found.max_deviation == pytest.approx(0, abs=1e-12)


def test_pit_takes_rounding_and_tiny_intervals():
    found = pit([0.0, -1e-9, 1.0, 1.0000001], [5e-324, 1e-320, 1.0, 1.0])
    assert found.histogram == (0.5, *[0.0] * 8, 0.5)


def test_pit_leans_left_where_the_model_ends_too_late():
    geometric = 1 - 0.9 ** np.arange(1, 100)
    short = np.array([0, 1, 2, 3])
    found = pit(np.append(0.0, geometric)[short], geometric[short])
    assert found.histogram[0] > 0.2
    assert found.mean < 0.25


def test_report_leaves_out_what_it_cannot_know():
    report = length_report([3, 4], [], [], [])
    assert report.held_out is not None
    assert report.sampled is report.ks_distance is report.pit is None
    report = length_report([3, 4], [4, 4], [0.1, 0.5], [0.5, 0.9])
    assert report.sampled == quantiles([4, 4])
    assert report.ks_distance == 0.5
    assert report.pit == pit([0.1, 0.5], [0.5, 0.9])
    assert json.loads(json.dumps(asdict(report), allow_nan=False))["pit"]["histogram"] == list(
        report.pit.histogram
    )
