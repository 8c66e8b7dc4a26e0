"""Which rows are held out: by text and copy alone, in exact shares, and nothing that repeats goes untrained."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config import HoldOut
from charrnn.corpus import sides as module
from charrnn.corpus.hashing import hash_text
from charrnn.corpus.sides import LEFT_OUT, MANY_REPEATED, TEST, TRAIN, VALID, Kept, Labels, Sides, divide

few_texts = st.lists(st.text("ab", max_size=3), max_size=40)
shares = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.45])
ways = st.sampled_from(["auto", "values", "rows"])


def hashes_of(texts: list[str]) -> np.ndarray:
    return np.array([hash_text(text) for text in texts], np.uint64)


def divided(texts: list[str], valid: float = 0.1, test: float = 0.1, hold_out: HoldOut = "auto") -> Sides:
    return divide(hashes_of(texts), valid, test, hold_out)


def numbered(texts: list[str]) -> Iterator[tuple[str, int]]:
    """Each text and the number of its copy."""
    seen: Counter[str] = Counter()
    for text in texts:
        yield text, seen[text]
        seen[text] += 1


def by_text(texts: list[str], sides: Sides) -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for text, side in zip(texts, sides.of_row.tolist(), strict=True):
        found[text][side] += 1
    return found


def went_by_rows(sides: Sides) -> bool:
    (note,) = sides.notes
    return "one by one" in note


# Row by row ------------------------------------------------------------------------------------------------


@given(few_texts, shares, shares)
def test_rows_are_held_out_in_exact_shares(texts, valid, test):
    counts = Counter(divided(texts, valid, test, "rows").of_row.tolist())
    first_copies = sum(times > 1 for times in Counter(texts).values())
    n = len(texts)
    num_valid = max(round(valid * n), 1) if valid and n >= 2 else 0
    num_test = max(round(test * n), 1) if test and n >= 3 else 0
    num_test = min(num_test, max(n - num_valid - 1, 0))
    held_out = min(num_valid + num_test, max(n - 1, 0), n - first_copies)
    assert counts[VALID] + counts[TEST] == held_out
    if held_out == num_valid + num_test:
        assert (counts[VALID], counts[TEST]) == (num_valid, num_test)


@given(few_texts, shares, shares)
def test_what_repeats_is_trained_on(texts, valid, test):
    found = by_text(texts, divided(texts, valid, test, "rows"))
    for text, times in Counter(texts).items():
        assert times == 1 or found[text][TRAIN] >= 1


@pytest.mark.parametrize("weights", [[1], [1, 1], [70, 20, 9, 1], [1 / (k + 1) for k in range(200)]])
def test_each_text_is_held_out_in_its_own_share(weights):
    texts = random.Random(3).choices([f"t{k}" for k in range(len(weights))], weights, k=20_000)
    sides = divided(texts, 0.05, 0.1)
    assert went_by_rows(sides)
    counts = Counter(sides.of_row.tolist())
    assert (counts[TRAIN], counts[VALID], counts[TEST]) == (17_000, 1000, 2000)
    for text, times in Counter(texts).items():
        here = by_text(texts, sides)[text] if len(weights) < 10 else None
        if here is not None:
            assert abs(here[VALID] - 0.05 * times) < 4
            assert abs(here[TEST] - 0.1 * times) < 4


def test_texts_that_stand_once_are_held_out_as_often_as_others():
    texts = [f"once {k}" for k in range(4000)] + [f"twice {k % 3000}" for k in range(6000)]
    sides = divided(texts, 0.1, 0.1, "rows")
    once = sides.of_row[:4000] != TRAIN
    assert abs(once.mean() - 0.2) < 0.025  # four standard deviations
    pairs = sides.of_row[4000:].reshape(2, 3000) != TRAIN
    assert not pairs.all(axis=0).any()


def test_a_row_s_side_is_its_text_s_and_its_copy_s_alone():
    """However the rows of different texts are mixed."""
    rng = random.Random(5)
    texts = [f"t{rng.randrange(50)}" for _ in range(1000)]
    first = dict(zip(numbered(texts), divided(texts).of_row.tolist(), strict=True))
    rng.shuffle(texts)
    assert dict(zip(numbered(texts), divided(texts).of_row.tolist(), strict=True)) == first


@pytest.mark.parametrize("fraction", [0.4, 0.45, 0.49])
def test_large_shares_leave_a_copy_of_each(fraction):
    texts = [f"t{k % 500}" for k in range(1500)]
    sides = divided(texts, fraction, fraction)
    assert all(counts[TRAIN] >= 1 for counts in by_text(texts, sides).values())
    assert np.count_nonzero(sides.of_row != TRAIN) == min(round(fraction * 1500) * 2, 1000)


# By value --------------------------------------------------------------------------------------------------


def test_values_are_held_out_by_text_alone():
    texts = [str(number) for number in range(1000)]
    held_out = {text for text, side in zip(texts, divided(texts).of_row, strict=True) if side == VALID}
    assert len(held_out) == 100
    again = texts[::-1] + texts[:100]
    sides = divided(again)
    assert not went_by_rows(sides)
    assert {text for text, side in zip(again, sides.of_row, strict=True) if side == VALID} == held_out


def test_more_to_validate_holds_out_the_same_and_others():
    texts = [str(number) for number in range(1000)]
    few, many = (divided(texts, valid, 0.05).of_row for valid in (0.05, 0.2))
    assert set(np.flatnonzero(few == TEST)) == set(np.flatnonzero(many == TEST))
    assert set(np.flatnonzero(few == VALID)) < set(np.flatnonzero(many == VALID))


@given(few_texts, shares, shares)
def test_by_value_copies_are_together_and_the_empty_text_is_trained_on(texts, valid, test):
    found = by_text(texts, divided(texts, valid, test, "values"))
    assert all(len(counts) == 1 for counts in found.values())
    assert "" not in found or TRAIN in found[""]


# Which of the two ------------------------------------------------------------------------------------------


@given(few_texts)
def test_the_choice_is_by_the_share_of_repeated_rows(texts):
    filled = [text for text in texts if text]
    repeated = sum(filled.count(text) > 1 for text in filled)
    sides = divided(texts)
    if not repeated:
        assert sides.notes == ()
        expected = "values"
    else:
        (note,) = sides.notes
        assert f"{repeated / len(filled):.1%}" in note
        assert "--hold-out" in note
        expected = "rows" if repeated / len(filled) >= MANY_REPEATED else "values"
        assert went_by_rows(sides) == (expected == "rows")
    assert sides.of_row.tolist() == divided(texts, hold_out=expected).of_row.tolist()


def test_empty_lines_do_not_make_a_list_repeat_itself():
    texts = [str(number) for number in range(100)] + [""] * 900
    assert divided(texts).notes == ()
    assert np.count_nonzero(divided(texts).of_row) == 20


def test_nothing_is_said_where_a_way_is_asked_for_or_nothing_held_out():
    texts = ["a", "b"] * 20
    assert divided(texts, hold_out="rows").notes == divided(texts, hold_out="values").notes == ()
    assert divided(texts, 0.0, 0.0).notes == ()


@given(few_texts, st.integers(1, 5))
def test_occurrences_are_counted_in_blocks_and_shares(texts, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_EXACT_VALUES", most)
        patch.setattr(module, "row_slices", lambda n, rows=3: (slice(i, min(i + 3, n)) for i in range(0, n, 3)))
        found = module._occurrences(hashes_of(texts), None)
    counts = Counter(texts)
    assert found.number.tolist() == [number for _, number in numbered(texts)]
    assert found.times.tolist() == [counts[text] for text in texts]


# Variants, labels, and what must not be trained on ---------------------------------------------------------


def test_variants_are_not_copies():
    """Rows of one text that differ in more stay together, and do not count as repeats."""
    texts = [f"t{k // 3}" for k in range(300)]
    whole = hashes_of([f"{text} {k}" for k, text in enumerate(texts)])
    sides = divide(hashes_of(texts), 0.1, 0.1, copies_of=whole)
    assert sides.notes == ()
    assert all(len(counts) == 1 for counts in by_text(texts, sides).values())
    assert np.count_nonzero(sides.of_row == VALID) == 30


@given(st.lists(st.tuples(st.text("ab", max_size=2), st.sampled_from("xyz")), max_size=30), ways, shares)
def test_each_label_is_trained_on(rows, hold_out, share):
    texts, strings = [text for text, _ in rows], [label for _, label in rows]
    labels = [Labels(strings, np.arange(len(rows)))]
    sides = divide(hashes_of(texts), share, share, hold_out, labels=labels)
    trained = {label for label, side in zip(strings, sides.of_row, strict=True) if side == TRAIN}
    assert trained == set(strings)
    texts_of = defaultdict(set)
    for text, label in rows:
        texts_of[label].add(text)
    lone = set().union(*(found for found in texts_of.values() if len(found) == 1))
    if hold_out == "values":
        assert all(len(counts) == 1 for text, counts in by_text(texts, sides).items() if text not in lone)


def test_the_rows_of_a_label_with_one_text_are_held_out_one_by_one():
    texts = [f"t{k}" for k in range(1000)] + ["only"] * 200
    labels = [Labels(["many"] * 1000 + ["one"] * 200, np.arange(1200))]
    found = by_text(texts, divide(hashes_of(texts), 0.1, 0.1, labels=labels))
    assert abs(found["only"][VALID] - 20) < 8
    assert abs(found["only"][TEST] - 20) < 8


@pytest.mark.parametrize("side", [VALID, LEFT_OUT])
def test_what_is_kept_out_is_moved_from_training_alone(side):
    texts = [str(number) for number in range(1000)]
    hidden = texts[::3]
    plain = divided(texts).of_row
    found = divide(hashes_of(texts), 0.1, 0.1, kept=Kept(np.sort(hashes_of(hidden)), side))
    expected = [side if old == TRAIN and k % 3 == 0 else old for k, old in enumerate(plain.tolist())]
    assert found.of_row.tolist() == expected
    assert found.num_moved == sum(old == TRAIN and k % 3 == 0 for k, old in enumerate(plain.tolist()))


def test_nothing_is_moved_where_nothing_would_be_left():
    texts = ["a", "b", "c", ""]
    found = divide(hashes_of(texts), 0.0, 0.0, kept=Kept(np.sort(hashes_of(["a", "b", "c"])), VALID))
    assert (found.of_row.tolist(), found.num_moved) == ([TRAIN] * 4, 0)
