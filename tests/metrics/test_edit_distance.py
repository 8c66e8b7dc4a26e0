import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.metrics.sequences import align, edit_distance

SHORT = st.text("ab", max_size=5)
LONGER = st.lists(st.integers(0, 3), max_size=25)


def brute_force(a, b):
    """Every way to spend the first symbols of both."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        brute_force(a[1:], b[1:]) + (a[0] != b[0]),
        brute_force(a[1:], b) + 1,
        brute_force(a, b[1:]) + 1,
    )


def all_alignments(a, b):
    """The number of edits of every alignment of sequences of these lengths, as lists of pairs."""

    def extend(i, j):
        if i == len(a) and j == len(b):
            yield []
        if i < len(a) and j < len(b):
            yield from ([(i, j), *rest] for rest in extend(i + 1, j + 1))
        if i < len(a):
            yield from ([(i, None), *rest] for rest in extend(i + 1, j))
        if j < len(b):
            yield from ([(None, j), *rest] for rest in extend(i, j + 1))

    return extend(0, 0)


def edits(a, b, pairs):
    return sum(i is None or j is None or a[i] != b[j] for i, j in pairs)


@given(SHORT, SHORT)
def test_distance_is_that_of_brute_force(a, b):
    assert edit_distance(a, b) == brute_force(a, b)


@given(LONGER, LONGER, LONGER)
def test_distance_is_a_metric(a, b, c):
    ab = edit_distance(a, b)
    assert (ab == 0) == (a == b)
    assert ab == edit_distance(b, a)
    assert ab <= edit_distance(a, c) + edit_distance(c, b)
    assert abs(len(a) - len(b)) <= ab <= max(len(a), len(b))


@given(LONGER, LONGER, LONGER, LONGER)
def test_distance_leaves_out_what_both_begin_and_end_with(a, b, start, end):
    assert edit_distance(start + a + end, start + b + end) == edit_distance(a, b)
    assert edit_distance(a[::-1], b[::-1]) == edit_distance(a, b)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("kitten", "sitting", 3),
        ("intention", "execution", 5),
        ("saturday", "sunday", 3),
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("ab", "ba", 2),
        (["K", "AE1", "T"], ["K", "AH0", "T", "S"], 2),
        ((1, 2, 3), [2, 3], 1),
        ("a😀", "a", 1),
    ],
)
def test_known_distances(a, b, distance):
    assert edit_distance(a, b) == distance


def test_long_sequences():
    random = np.random.default_rng(0)
    a = random.permutation(1500).tolist()
    b = [-1, *a[:700], *a[703:1200], -2, *a[1200:]]
    assert edit_distance(a, b) == 5
    # A rotation by one place is a deletion and an insertion, not 1500 substitutions.
    assert edit_distance(a, a[1:] + a[:1]) == 2


@given(LONGER, LONGER)
def test_an_alignment_uses_every_symbol_once_and_in_order_and_costs_the_distance(a, b):
    pairs = align(a, b)
    assert [i for i, _ in pairs if i is not None] == list(range(len(a)))
    assert [j for _, j in pairs if j is not None] == list(range(len(b)))
    assert (None, None) not in pairs
    assert edits(a, b, pairs) == edit_distance(a, b)


@given(st.text("ab", max_size=4), st.text("ab", max_size=4))
def test_of_the_best_alignments_pairs_come_first_from_the_end(a, b):
    def preference(pairs):
        return [0 if None not in pair else 1 if pair[1] is None else 2 for pair in reversed(pairs)]

    best = min(edits(a, b, pairs) for pairs in all_alignments(a, b))
    candidates = [pairs for pairs in all_alignments(a, b) if edits(a, b, pairs) == best]
    assert align(a, b) == min(candidates, key=preference)


def test_alignments_by_hand():
    assert align("abc", "abc") == [(0, 0), (1, 1), (2, 2)]
    assert align("abc", "axc") == [(0, 0), (1, 1), (2, 2)]
    assert align("ac", "abc") == [(0, 0), (None, 1), (1, 2)]
    assert align("abc", "c") == [(0, None), (1, None), (2, 0)]
    assert align("", "ab") == [(None, 0), (None, 1)]
    assert align("", "") == []
