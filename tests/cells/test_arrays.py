"""The shared array operations: NumPy and torch against Python's `math`, at ordinary and extreme values."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from charrnn.cells import arrays

ORDINARY = [-3.0, -1.0, -0.25, 0.0, 1e-9, 0.5, 1.0, 4.0]
EXTREME = [-1000.0, -700.0, -40.0, 40.0, 700.0, 1000.0]


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


@pytest.fixture(params=["numpy", "torch"])
def make(request: pytest.FixtureRequest) -> Callable[..., arrays.Array]:
    """Makes an array of one of the two libraries."""
    return np.array if request.param == "numpy" else torch.tensor


@pytest.mark.parametrize(
    ("name", "oracle", "values"),
    [
        ("tanh", math.tanh, ORDINARY + EXTREME),
        ("sigmoid", sigmoid, ORDINARY + EXTREME),
        ("exp", math.exp, [*ORDINARY, -1000.0, -700.0, 700.0]),
        ("log", math.log, [1e-300, 1e-9, 0.5, 1.0, 1e300]),
        ("log1p", math.log1p, [-0.5, -1e-12, 0.0, 1e-12, 1e300]),
        ("softplus", softplus, ORDINARY + EXTREME),
    ],
)
def test_elementwise_operations(make, name, oracle, values):
    result = getattr(arrays, name)(make(values, dtype=make([0.0]).dtype if make is np.array else torch.float64))
    expected = [oracle(value) for value in values]
    np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-12, atol=1e-15)


def test_softplus_is_finite_and_keeps_the_type(make):
    single = np.float32 if make is np.array else torch.float32
    result = arrays.softplus(make([-1000.0, 0.0, 1000.0], dtype=single))
    assert result.dtype == single
    np.testing.assert_allclose(np.asarray(result), [0.0, math.log(2.0), 1000.0], rtol=1e-6)


def test_softplus_has_the_gradient_of_its_formula_at_extremes():
    x = torch.tensor([-1000.0, 0.0, 1000.0], requires_grad=True)
    arrays.softplus(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.0, 0.5, 1.0])


ROWS = [[0.0, 1.0, -2.0], [1000.0, 999.0, -1000.0], [-1000.0, -1000.0, -1000.0], [5.0, -1e30, 4.0]]


def row_logsumexp(row: list[float]) -> float:
    return max(row) + math.log(sum(math.exp(x - max(row)) for x in row))


def test_logsumexp(make):
    result = arrays.logsumexp(make(ROWS, dtype=np.float64 if make is np.array else torch.float64))
    np.testing.assert_allclose(np.asarray(result), [row_logsumexp(row) for row in ROWS], rtol=1e-12)


def test_log_softmax(make):
    result = arrays.log_softmax(make(ROWS, dtype=np.float64 if make is np.array else torch.float64))
    expected = [[x - row_logsumexp(row) for x in row] for row in ROWS]
    np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 2, 2)])
def test_take_last_takes_one_entry_a_row(make, shape):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(*shape, 5))
    ids = rng.integers(5, size=shape)
    expected = [x[index][ids[index]] for index in np.ndindex(shape)]
    result = arrays.take_last(make(x), make(ids))
    assert tuple(result.shape) == shape
    np.testing.assert_array_equal(np.asarray(result).ravel(), expected)


def test_rows_are_rows_of_the_table(make):
    table = [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    result = arrays.rows(make(table), make([[2, 0], [1, 1]]))
    np.testing.assert_array_equal(np.asarray(result), [[[4, 5], [0, 1]], [[2, 3], [2, 3]]])


@pytest.mark.parametrize("features", [0, 2])
def test_one_hot_input_equals_the_dense_product(make, features):
    """The id `size` is the zero vector; features stand behind the symbols."""
    rng = np.random.default_rng(1)
    size, weight = 4, rng.normal(size=(3, 4 + features))
    ids = np.array([[0, 3, 4], [4, 1, 2]])
    extra = rng.normal(size=(2, 3, features))
    vectors = np.zeros((2, 3, size + features))
    for index in np.ndindex(2, 3):
        if ids[index] < size:
            vectors[index][ids[index]] = 1.0
        vectors[index][size:] = extra[index]
    expected = [[[sum(x * w) for w in weight] for x in row] for row in vectors]
    symbols = arrays.OneHot(make(ids), size, make(extra) if features else None)
    np.testing.assert_allclose(np.asarray(arrays.linear(symbols, make(weight))), expected, atol=1e-14)
    np.testing.assert_allclose(np.asarray(arrays.linear(make(vectors), make(weight))), expected, atol=1e-14)
    if make is torch.tensor:
        np.testing.assert_array_equal(arrays.dense(symbols, make(weight)), vectors)


def test_spread_puts_values_where_the_mask_is_true(make):
    mask = make([[False, True, False], [True, False, True]])
    result = arrays.spread(mask, make([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(np.asarray(result), [[0, 1, 0], [2, 0, 3]])
    np.testing.assert_array_equal(np.asarray(arrays.spread(mask & ~mask, make([1.0])[:0])), np.zeros((2, 3)))


def test_structural_operations(make):
    a, b = make([[1.0, 2.0]]), make([[3.0, 4.0]])
    np.testing.assert_array_equal(np.asarray(arrays.concat([a, b], axis=0)), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(np.asarray(arrays.concat([a, b], axis=-1)), [[1, 2, 3, 4]])
    assert tuple(arrays.stack([a, b]).shape) == (2, 1, 2)
    np.testing.assert_array_equal(np.asarray(arrays.where(a > 1.5, a, 0.0)), [[0, 2]])
    zeros = arrays.zeros((2, 1), a)
    assert (type(zeros), zeros.dtype, tuple(zeros.shape)) == (type(a), a.dtype, (2, 1))
    assert not np.asarray(zeros).any()
    assert tuple(arrays.zeros_like(a).shape) == (1, 2)
    assert arrays.floats(make([1, 2]), a).dtype == a.dtype
    assert str(arrays.integers(make([1.0, 2.0])).dtype).endswith("int64")
    like = arrays.asarray([1, 2], like=a)
    assert type(like) is type(a)
    assert arrays.is_numpy(a) == (make is np.array)
