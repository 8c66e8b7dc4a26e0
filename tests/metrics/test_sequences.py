import json
import re
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.metrics.sequences import Tagging, Transduction, edit_distance, tagging, transduction

WORD = st.text("ab", max_size=4)


@given(st.lists(st.tuples(WORD, st.lists(WORD, min_size=1, max_size=3)), min_size=1, max_size=8))
def test_transduction_is_counted_input_by_input(data):
    predictions, references = zip(*data, strict=True)
    found = transduction(predictions, references)
    exact = errors = length = 0
    for prediction, variants in data:
        exact += prediction in variants
        distances = [edit_distance(prediction, variant) for variant in variants]
        errors += min(distances)
        length += len(variants[distances.index(min(distances))])
    assert found == Transduction(
        num_inputs=len(data),
        num_references=sum(len(variants) for variants in references),
        exact_match=pytest.approx(exact / len(data)),
        word_error_rate=pytest.approx(1 - exact / len(data)),
        symbol_error_rate=pytest.approx(errors / length) if length else None,
    )


def test_transduction_by_hand():
    predictions = [["T", "AH0", "M"], ["T", "UW1"], ["K", "AE1", "T"]]
    references = [
        [["T", "OW1", "M", "Z"], ["T", "AA1", "M"]],
        [["T", "AH0"], ["T", "UW1"]],
        [("K", "AE1", "T")],
    ]
    found = transduction(predictions, references)
    assert found == Transduction(
        num_inputs=3, num_references=5, exact_match=2 / 3, word_error_rate=1 / 3, symbol_error_rate=1 / 8
    )


def test_of_references_equally_near_the_first_counts():
    assert transduction(["ab"], [["a", "abc"]]).symbol_error_rate == 1
    assert transduction(["ab"], [["abc", "a"]]).symbol_error_rate == 1 / 3


def test_symbol_error_rate_has_no_upper_bound():
    assert transduction(["aaaa"], [["b"]]).symbol_error_rate == 4
    assert transduction(["a"], [[""]]).symbol_error_rate is None


@pytest.mark.parametrize(("predictions", "references"), [(["a"], [[]]), (["a"], []), ([], [["a"]])])
def test_every_input_needs_a_prediction_and_a_reference(predictions, references):
    with pytest.raises(ValueError):
        transduction(predictions, references)


PLACES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab"), st.sampled_from("xé7, \t\n\u00a0")))


@given(st.lists(PLACES, max_size=6))
def test_tagging_is_counted_place_by_place(data):
    columns = [["".join(place[c] for place in places) for places in data] for c in range(3)]
    found = tagging(*columns)
    symbols = [p == r for places in data for p, r, _ in places]
    words = [
        prediction[word.start() : word.end()] == reference[word.start() : word.end()]
        for prediction, reference, source in zip(*columns, strict=True)
        for word in re.finditer(r"\S*[xé]\S*", source)
    ]
    sequences = [prediction == reference for prediction, reference, _ in zip(*columns, strict=True)]

    def share(right):
        return pytest.approx(sum(right) / len(right)) if right else None

    assert found == Tagging(
        num_symbols=len(symbols),
        num_words=len(words),
        num_sequences=len(sequences),
        symbol_accuracy=share(symbols),
        word_accuracy=share(words),
        sequence_accuracy=share(sequences),
    )


def test_tagging_by_hand():
    inputs = ["go 2! it", "no"]
    references = [["V", "V", "_", "P", "P", "_", "N", "N"], "DD"]
    predictions = [["V", "V", "_", "N", "P", "_", "N", "V"], "DD"]
    assert tagging(predictions, references, inputs) == Tagging(
        num_symbols=10,
        num_words=3,
        num_sequences=2,
        symbol_accuracy=0.8,
        word_accuracy=pytest.approx(2 / 3),
        sequence_accuracy=0.5,
    )


def test_symbols_with_spaces_between_are_words():
    found = tagging([["X", "Y", "."]], [["X", "Z", ","]], [["ab", "c1", "."]], separator=" ")
    assert (found.num_words, found.word_accuracy) == (2, 0.5)
    assert tagging([["X", "Y"]], [["X", "Z"]], [["ab", "c"]], separator="-").num_words == 1


@pytest.mark.parametrize(
    ("predictions", "references", "inputs"),
    [(["a"], ["ab"], ["ab"]), (["ab"], ["ab"], ["a"]), (["a"], ["a", "b"], ["a", "b"]), ([], [], ["a"])],
)
def test_every_place_needs_a_tag(predictions, references, inputs):
    with pytest.raises(ValueError):
        tagging(predictions, references, inputs)


def test_nothing_to_count_is_strict_json():
    for figures in (asdict(transduction([], [])), asdict(tagging([], [], []))):
        assert set(json.loads(json.dumps(figures, allow_nan=False)).values()) == {0, None}
    assert tagging([""], [""], [""]).sequence_accuracy == 1
