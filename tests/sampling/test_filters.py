"""Temperature and filters against plain Python loops."""

import math

import numpy as np
import pytest
from helpers_models import assert_follows
from hypothesis import assume, given
from hypothesis import strategies as st

from charrnn.sampling.filters import Filters, draw

LOGITS = st.lists(st.integers(-60, 60).map(lambda i: i / 8), min_size=1, max_size=8)
"""Multiples of one eighth, so that ties are frequent and every comparison is far from rounding."""


def apply(filters: Filters, logits: list[float], num_chars: int) -> list[float]:
    (p,) = filters.probabilities(np.array([logits]), num_chars)
    return p.tolist()


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    weights = [math.exp((x - max(logits)) / temperature) for x in logits]
    return [w / sum(weights) for w in weights]


def ranking(p: list[float]) -> list[int]:
    """The most probable first; of equals the one with the smaller number."""
    return sorted(range(len(p)), key=lambda i: (-p[i], i))


def kept_by_top_k(p: list[float], k: int) -> set[int]:
    return set(ranking(p)[:k])


def kept_by_top_p(p: list[float], share: float) -> set[int]:
    kept, held = set(), 0.0
    for i in ranking(p):
        if held >= share * sum(p):
            break
        kept.add(i)
        held += p[i]
    return kept


def kept_by_min_p(p: list[float], share: float) -> set[int]:
    return {i for i in range(len(p)) if p[i] >= share * max(p)}


def naive(filters: Filters, logits: list[float], num_chars: int) -> list[float]:
    """The filters one after another on the tempered characters, each on what it was given; EOS stays."""
    p = softmax(logits, filters.temperature)
    characters = p[:num_chars]
    kept = set(range(num_chars))
    if filters.top_k is not None:
        kept &= kept_by_top_k(characters, filters.top_k)
    if filters.top_p is not None:
        kept &= kept_by_top_p(characters, filters.top_p)
    if filters.min_p is not None:
        kept &= kept_by_min_p(characters, filters.min_p)
    left = [x if i in kept or i >= num_chars else 0.0 for i, x in enumerate(p)]
    return [x / sum(left) for x in left]


def no_close_call(filters: Filters, logits: list[float], num_chars: int) -> bool:
    """No cumulative share or ratio lies within rounding of a bound."""
    p = softmax(logits, filters.temperature)[:num_chars]
    ranked = [p[i] for i in ranking(p)]
    sums = [sum(ranked[:i]) / sum(ranked) for i in range(len(ranked))]
    return all(abs(s - (filters.top_p or 2.0)) > 1e-9 for s in sums) and all(
        abs(x / ranked[0] - (filters.min_p or 2.0)) > 1e-9 for x in ranked[1:]
    )


@given(
    logits=LOGITS,
    eos=st.booleans(),
    temperature=st.sampled_from([0.25, 0.7, 1.0, 3.0]),
    top_k=st.none() | st.integers(1, 9),
    top_p=st.none() | st.floats(0.01, 1.0),
    min_p=st.none() | st.floats(0.001, 1.0),
)
def test_filters_are_their_plain_loops(logits, eos, temperature, top_k, top_p, min_p):
    num_chars = len(logits) - 1 if eos else len(logits)
    assume(num_chars >= 1)
    filters = Filters(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    assume(no_close_call(filters, logits, num_chars))
    found, expected = apply(filters, logits, num_chars), naive(filters, logits, num_chars)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-300)
    assert [x > 0 for x in found] == [x > 0 for x in expected]
    assert sum(found) == pytest.approx(1.0, abs=1e-12)
    if eos:
        assert found[-1] > 0


@given(logits=LOGITS, temperature=st.sampled_from([1e-300, 1e-6, 1e-3, 1.0, 1e6, 1e300]), eos=st.booleans())
def test_extreme_temperatures_are_finite(logits, temperature, eos):
    num_chars = max(1, len(logits) - eos)
    for filters in (
        Filters(temperature=temperature),
        Filters(temperature=temperature, top_k=2, top_p=0.9, min_p=0.1),
    ):
        found = np.array(apply(filters, logits, num_chars))
        assert np.isfinite(found).all()
        assert found.sum() == pytest.approx(1.0)
        if temperature <= 1e-3:
            best = np.array(logits) == max(logits)
            kept = found > 1e-12
            assert not (kept & ~best).any()
        if temperature >= 1e6 and filters.top_k is None:
            np.testing.assert_allclose(found, 1 / len(logits), rtol=1e-4)


def test_extreme_logits_are_finite():
    for filters in (Filters(), Filters(temperature=1e-6), Filters(temperature=1e6, min_p=0.1)):
        found = apply(filters, [0.0, -2e30, -1e30], 2)
        assert found == [1.0, 0.0, 0.0]


def test_characters_that_have_all_but_vanished_leave_the_ending():
    assert apply(Filters(temperature=1e-3, top_k=1), [0.0, -1.0, 50.0], 2) == [0.0, 0.0, 1.0]
    assert apply(Filters(temperature=1e-3, top_p=0.5, min_p=0.5), [0.0, -1.0, 50.0], 2) == [0.0, 0.0, 1.0]


@given(logits=LOGITS)
def test_temperature_zero_is_the_first_of_the_most_probable(logits):
    found = apply(Filters(temperature=0.0, top_k=1), logits, max(1, len(logits) - 1))
    expected = [0.0] * len(logits)
    expected[logits.index(max(logits))] = 1.0
    assert found == expected


@given(logits=LOGITS)
def test_filters_that_keep_everything_change_nothing(logits):
    plain = apply(Filters(), logits, len(logits))
    np.testing.assert_allclose(plain, softmax(logits), rtol=1e-12)
    np.testing.assert_allclose(apply(Filters(top_k=99, min_p=0.0), logits, len(logits)), plain, rtol=1e-12)
    np.testing.assert_allclose(apply(Filters(top_p=1.0), logits, len(logits)), plain, rtol=1e-12, atol=1e-15)


def test_a_share_that_is_just_reached_is_enough():
    half = [0.0, -math.log(2.0), -math.log(2.0)]
    assert apply(Filters(top_p=0.5), half, 3) == [1.0, 0.0, 0.0]
    np.testing.assert_allclose(apply(Filters(min_p=0.5), half, 3), [0.5, 0.25, 0.25])


def test_rows_are_filtered_apart():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 5))
    filters = Filters(temperature=0.8, top_k=3, top_p=0.9)
    together = filters.probabilities(logits, 4)
    for row in range(6):
        np.testing.assert_allclose(together[row], naive(filters, logits[row].tolist(), 4), rtol=1e-9)


def test_the_logits_are_left_as_they_were():
    logits = np.array([[1.0, 2.0, 3.0]])
    Filters(temperature=0.5, top_k=1).probabilities(logits, 2)
    assert logits.tolist() == [[1.0, 2.0, 3.0]]


# Drawing ---------------------------------------------------------------------------------------------------


@given(
    weights=st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any),
    u=st.floats(0, 1, exclude_max=True) | st.sampled_from([0.0, 1 - 2**-53]),
)
def test_draw_inverts_the_distribution_function(weights, u):
    p = np.array(weights) / sum(weights)
    (symbol,) = draw(p[None], np.array([u]))
    assert weights[symbol] > 0
    assert p[:symbol].sum() <= u + 1e-12
    assert u <= p[: symbol + 1].sum() + 1e-12


def test_draws_of_uniform_numbers_have_the_probabilities():
    p = np.array([0.0, 0.2, 0.05, 0.0, 0.45, 0.3, 0.0])
    n = 5000
    symbols = draw(np.tile(p, (n, 1)), np.random.default_rng(0).random(n))
    assert_follows(np.bincount(symbols, minlength=7), p)
