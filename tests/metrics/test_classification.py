import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.metrics.labels import ClassFigures, ReliabilityBin, classification


def one_hot(predicted, num_classes):
    return np.eye(num_classes)[predicted]


@st.composite
def examples(draw, min_size=0):
    """Probabilities in small fractions, so that ties, zeros and ones are common; truth from -1."""
    num_classes = draw(st.integers(1, 4))
    weights = st.lists(st.integers(0, 5), min_size=num_classes, max_size=num_classes).filter(any)
    rows = draw(st.lists(st.tuples(weights, st.integers(-1, num_classes - 1)), min_size=min_size, max_size=12))
    probabilities = np.array([[w / sum(row) for w in row] for row, _ in rows]).reshape(-1, num_classes)
    return probabilities, [truth for _, truth in rows], [f"c{k}" for k in range(num_classes)]


@given(examples())
def test_confusion_and_class_figures_are_counted_example_by_example(data):
    probabilities, truth, labels = data
    found = classification(*data)
    predicted = [row.index(max(row)) for row in probabilities.tolist()]
    pairs = list(zip(truth, predicted, strict=True))
    classes = range(len(labels))
    assert found.num_examples == len(truth)
    assert found.num_unknown_labels == truth.count(-1)
    assert found.confusion == tuple(tuple(pairs.count((t, p)) for p in classes) for t in classes)
    for k, figures in enumerate(found.per_class):
        hits = pairs.count((k, k))
        assert (figures.label, figures.support, figures.predicted) == (
            labels[k],
            truth.count(k),
            predicted.count(k),
        )
        assert figures.precision == pytest.approx(hits / predicted.count(k) if k in predicted else 0)
        assert figures.recall == pytest.approx(hits / truth.count(k) if k in truth else 0)
        both = figures.precision + figures.recall
        assert figures.f1 == pytest.approx(2 * figures.precision * figures.recall / both if both else 0)


@given(examples(min_size=1))
def test_averages_are_those_of_a_hand_loop(data):
    probabilities, truth, _ = data
    found = classification(*data)
    predicted = [row.index(max(row)) for row in probabilities.tolist()]
    assert found.accuracy == pytest.approx(sum(t == p for t, p in zip(truth, predicted, strict=True)) / len(truth))
    known = set(truth) - {-1}
    assert found.majority_accuracy == pytest.approx(
        max((truth.count(k) for k in known), default=0) / len(truth), abs=0
    )
    occurring = [found.per_class[k] for k in known | set(predicted)]
    for name in ("precision", "recall", "f1"):
        mean = sum(getattr(figures, name) for figures in occurring) / len(occurring)
        assert getattr(found, f"macro_{name}") == pytest.approx(mean)


@given(examples(min_size=1))
def test_proper_scores_are_those_of_a_hand_loop(data):
    probabilities, truth, _ = data
    found = classification(*data)
    nll = brier = 0.0
    for row, label in zip(probabilities.tolist(), truth, strict=True):
        if label >= 0:
            nll -= math.log(max(row[label], 2.0**-1022))
        # An unknown label is one class more, of probability zero.
        brier += sum((p - (k == label)) ** 2 for k, p in enumerate([*row, 0.0] if label >= 0 else row))
        brier += label < 0
    known = len(truth) - truth.count(-1)
    assert found.nll == pytest.approx(nll)
    assert found.loss == (pytest.approx(nll / known) if known else None)
    assert found.brier == pytest.approx(brier / len(truth))
    assert 0 <= found.brier <= 2 + 1e-12


@given(examples(min_size=1))
def test_reliability_puts_each_example_into_the_bin_that_ends_at_or_above_its_confidence(data):
    probabilities, truth, _ = data
    found = classification(*data)
    bins = {}
    for row, label in zip(probabilities.tolist(), truth, strict=True):
        top = max(row)
        bin = next(edge for edge in range(1, 16) if top <= edge / 15)
        bins.setdefault(bin, []).append((top, row.index(top) == label))
    assert len(found.reliability) == len(bins)
    error = 0.0
    for (_, members), seen in zip(sorted(bins.items()), found.reliability, strict=True):
        confidence = sum(top for top, _ in members) / len(members)
        accuracy = sum(right for _, right in members) / len(members)
        assert seen.count == len(members)
        assert (seen.confidence, seen.accuracy) == pytest.approx((confidence, accuracy))
        error += len(members) / len(truth) * abs(confidence - accuracy)
    assert found.expected_calibration_error == pytest.approx(error)


@pytest.mark.parametrize(
    ("truth", "predicted", "macro"),
    [
        # The examples in scikit-learn's documentation of its macro averages and of classification_report.
        ([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1], (2 / 9, 1 / 3, 4 / 15)),
        ([0, 1, 2, 2, 0], [0, 0, 2, 1, 0], (5 / 9, 1 / 2, 22 / 45)),
    ],
)
def test_macro_averages_are_scikit_learns(truth, predicted, macro):
    found = classification(one_hot(predicted, 3), truth, "abc")
    assert (found.macro_precision, found.macro_recall, found.macro_f1) == pytest.approx(macro)
    # A class that occurs nowhere changes none of them.
    found = classification(one_hot(predicted, 5), truth, "abcde")
    assert (found.macro_precision, found.macro_recall, found.macro_f1) == pytest.approx(macro)


def test_an_example_by_hand():
    found = classification([[0.5, 0.5], [0.25, 0.75], [0.1, 0.9], [0.2, 0.8]], [0, 0, 1, -1], ["no", "yes"])
    assert found.confusion == ((1, 1), (0, 1))
    assert found.per_class == (
        ClassFigures("no", support=2, predicted=1, precision=1.0, recall=0.5, f1=2 / 3),
        ClassFigures("yes", support=1, predicted=3, precision=1 / 3, recall=1.0, f1=0.5),
    )
    assert found.accuracy == found.majority_accuracy == 0.5
    assert found.nll == pytest.approx(math.log(2 * 4 / 0.9))
    assert found.loss == pytest.approx(math.log(2 * 4 / 0.9) / 3)
    assert found.brier == pytest.approx((0.5 + 2 * 0.75**2 + 2 * 0.1**2 + 0.2**2 + 0.8**2 + 1) / 4)
    # 0.8 = 12/15 is the upper edge of the bin in which 0.75 lies.
    assert found.reliability == (
        ReliabilityBin(1, 0.5, 1.0),
        ReliabilityBin(2, pytest.approx(0.775), 0.0),
        ReliabilityBin(1, 0.9, 1.0),
    )
    assert found.expected_calibration_error == pytest.approx((0.5 + 2 * 0.775 + 0.1) / 4)


def test_certainty_is_free_where_right_and_finite_where_wrong():
    right = classification(one_hot([0, 1], 2), [0, 1], "ab")
    assert str(right.nll) == "0.0"
    assert (right.accuracy, right.loss, right.brier, right.expected_calibration_error) == (1, 0, 0, 0)
    wrong = classification(one_hot([0, 1], 2), [1, 0], "ab")
    assert wrong.loss == pytest.approx(1022 * math.log(2))
    assert (wrong.accuracy, wrong.brier, wrong.expected_calibration_error) == (0, 2, 1)


def test_a_calibrated_model_has_no_calibration_error():
    found = classification([[0.75, 0.25]] * 4 + [[0.4, 0.6]] * 5, [0, 0, 0, 1, 1, 1, 1, 0, 0], "ab")
    assert found.expected_calibration_error == pytest.approx(0, abs=1e-12)


def test_labels_that_are_all_unknown():
    found = classification([[0.5, 0.5], [0.0, 1.0]], [-1, -1], "ab")
    assert found.num_unknown_labels == 2
    assert found.accuracy == found.majority_accuracy == found.macro_f1 == 0
    assert (found.nll, found.loss) == (0, None)
    assert found.confusion == ((0, 0), (0, 0))


def test_nothing_to_classify():
    found = classification(np.empty((0, 2)), [], ["no", "yes"])
    nothing = {name for name, value in asdict(found).items() if value is None}
    assert nothing == {
        "accuracy",
        "majority_accuracy",
        "macro_precision",
        "macro_recall",
        "macro_f1",
        "loss",
        "brier",
        "expected_calibration_error",
    }
    assert (found.num_examples, str(found.nll), found.reliability) == (0, "0.0", ())
    assert [figures.support for figures in found.per_class] == [0, 0]


@given(examples())
def test_figures_are_strict_json(data):
    figures = asdict(classification(*data))
    assert json.loads(json.dumps(figures, allow_nan=False))["nll"] == figures["nll"]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"shape \(2, 2\), not \(2, 3\)"):
        classification(np.full((2, 2), 0.5), [0, 1], "abc")
    with pytest.raises(ValueError, match="shape"):
        classification(np.full((2, 2), 0.5), [0], "ab")
