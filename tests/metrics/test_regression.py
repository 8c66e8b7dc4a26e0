import json
import math
import statistics
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from charrnn.metrics.labels import regression

PAIRS = st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), min_size=1, max_size=15)


def varies(values):
    return len(set(values)) > 1


@given(PAIRS)
def test_errors_are_those_of_a_hand_loop(pairs):
    predicted, truth = (list(column) for column in zip(*pairs, strict=True))
    found = regression(predicted, truth)
    mse = sum((p - t) ** 2 for p, t in pairs) / len(pairs)
    assert found.num_examples == len(pairs)
    assert found.mse == pytest.approx(mse)
    assert found.rmse == pytest.approx(math.sqrt(mse))
    assert found.mae == pytest.approx(sum(abs(p - t) for p, t in pairs) / len(pairs))
    assert found.mean_baseline_mse == pytest.approx(statistics.pvariance(truth))
    assert found.r2 == (pytest.approx(1 - mse / statistics.pvariance(truth)) if varies(truth) else None)


@given(PAIRS)
def test_correlations_are_those_of_the_standard_library(pairs):
    columns = [list(column) for column in zip(*pairs, strict=True)]
    found = regression(*columns)
    if not all(map(varies, columns)):
        assert found.pearson is found.spearman is None
        return
    ranks = [[sum(x < y for x in c) + (1 + c.count(y)) / 2 for y in c] for c in columns]
    assert found.pearson == pytest.approx(statistics.correlation(*columns), abs=1e-12)
    assert found.spearman == pytest.approx(statistics.correlation(*ranks), abs=1e-12)


def test_published_examples():
    # Those in the documentation of scikit-learn's r2_score and of SciPy's pearsonr and spearmanr.
    found = regression([2.5, 0.0, 2, 8], [3, -0.5, 2, 7])
    assert (found.mse, found.mae, found.r2) == pytest.approx((0.375, 0.5, 0.9486081370449679))
    assert regression(range(1, 8), [10, 9, 2.5, 6, 4, 3, 2]).pearson == pytest.approx(-0.828503883588428)
    assert regression([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]).spearman == pytest.approx(0.8207826816681233)


@given(
    PAIRS, st.lists(st.floats(-0.75, 0.75).filter(lambda x: abs(abs(x) - 0.5) > 1e-6), min_size=15, max_size=15)
)
def test_whole_numbers_are_met_by_what_rounds_to_them(pairs, errors):
    predicted, truth = (list(column) for column in zip(*pairs, strict=True))
    found = regression([p + e for p, e in zip(predicted, errors, strict=False)], truth)
    near = [abs(p + e - t) < 0.5 for (p, t), e in zip(pairs, errors, strict=False)]
    assert found.exact == pytest.approx(sum(near) / len(near))
    assert regression(predicted, [t + 0.25 for t in truth]).exact is None


@given(st.permutations(range(8)))
def test_spearman_without_ties_has_a_closed_form(truth):
    squares = sum((i - t) ** 2 for i, t in enumerate(truth))
    assert regression(range(8), truth).spearman == pytest.approx(1 - 6 * squares / (8 * (8**2 - 1)))


@given(PAIRS, st.sampled_from([0.5, 3.0]), st.integers(-5, 5))
def test_pearson_asks_for_a_line_and_spearman_for_order(pairs, slope, offset):
    predicted, truth = np.array(pairs, np.float64).T
    assume(varies(predicted) and varies(truth))
    found = regression(predicted, truth)
    assert regression(slope * predicted + offset, truth).pearson == pytest.approx(found.pearson)
    assert regression(-predicted, truth).pearson == pytest.approx(-found.pearson)
    assert regression(np.exp(predicted), truth).spearman == pytest.approx(found.spearman)
    assert regression(np.exp(truth), truth).spearman == pytest.approx(1)


def test_saying_the_mean_explains_nothing_and_the_truth_everything():
    truth = [1.0, 2.0, 6.0]
    assert regression([3.0] * 3, truth).r2 == 0
    assert regression([3.0] * 3, truth).pearson is None
    perfect = regression(truth, truth)
    assert (perfect.mse, perfect.r2) == (0, 1)
    assert (perfect.pearson, perfect.spearman) == pytest.approx((1, 1))


@pytest.mark.parametrize("scale", [1e-170, 1e-300])
def test_a_correlation_has_no_unit(scale):
    assert regression([scale, 2 * scale, 4 * scale], [3.0, 2.0, 0.0]).pearson == pytest.approx(-1)


def test_a_constant_truth_does_not_vary_whatever_its_mean_rounds_to():
    truth = np.full(3, 0.1)
    assert np.var(truth) > 0
    found = regression([0.1, 0.2, 0.3], truth)
    assert found.mean_baseline_mse == 0
    assert found.r2 is found.pearson is found.spearman is None


def test_one_example_and_none():
    one = regression([1.0], [3.0])
    assert (one.mse, one.rmse, one.mae, one.mean_baseline_mse) == (4, 2, 2, 0)
    assert one.r2 is one.pearson is one.spearman is None
    assert asdict(regression([], [])) == {**dict.fromkeys(asdict(one)), "num_examples": 0}


def test_float32_is_added_up_in_float64():
    predicted, truth = np.random.default_rng(0).normal(100, 1, (2, 500)).astype(np.float32)
    assert regression(predicted, truth) == regression(predicted.astype(np.float64), truth.astype(np.float64))


@given(PAIRS)
def test_figures_are_strict_json(pairs):
    figures = asdict(regression(*zip(*pairs, strict=True)))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"shape \(3, 1\), the truth \(3,\)"):
        regression(np.zeros((3, 1)), np.zeros(3))
