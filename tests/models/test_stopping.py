"""The length distribution and the halt head against sums, brute force and decimal arithmetic."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import length_cdf, sigmoid

from charrnn.models.stopping import (
    COMPONENTS,
    COUNT_CENTRES,
    COUNT_FEATURES,
    Halt,
    LengthDistribution,
    count_features,
    initial_length_bias,
)

K = COMPONENTS


def head_output(seed: int, spread: float = 2.0) -> np.ndarray:
    """The raw output (3K,) of a length head."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=3 * K) * np.repeat([2.0, 3.0, spread], K)


KAPPAS = (0.05, 1.0, 7.3, 4000.0)
each_distribution = pytest.mark.parametrize(
    ("output", "kappa"), [(head_output(seed), kappa) for seed, kappa in enumerate(KAPPAS * 2)]
)


def of(output: np.ndarray, kappa: float) -> LengthDistribution:
    return LengthDistribution.from_output(output, kappa)


def at(method: Callable[[np.ndarray], np.ndarray], k: int) -> float:
    """The value at one integer."""
    (value,) = method(np.array([k]))
    return float(value)


# Probabilities ---------------------------------------------------------------------------------------------


@each_distribution
def test_probabilities_sum_to_the_distribution_function(output, kappa):
    d = of(output, kappa)
    k = np.arange(3000)
    np.testing.assert_allclose(np.cumsum(np.exp(d.log_prob(k))), d.cdf(k), rtol=0, atol=1e-12)


@each_distribution
def test_distribution_function_is_its_formula(output, kappa):
    d = of(output, kappa)
    k = np.array([-1, 0, 1, 2, 17, 400])
    np.testing.assert_allclose(d.cdf(k), [length_cdf(output.tolist(), kappa, int(i)) for i in k], atol=1e-14)


@each_distribution
def test_nothing_lies_below_zero_and_everything_somewhere_above(output, kappa):
    d = of(output, kappa)
    assert at(d.cdf, -1) == 0.0
    assert at(d.log_survival, -1) == 0.0
    assert at(d.cdf, 10**7) == pytest.approx(1.0, abs=1e-9)
    assert (np.diff(d.cdf(np.arange(-1, 500))) >= 0).all()


@each_distribution
def test_survival_is_what_the_distribution_function_leaves(output, kappa):
    d = of(output, kappa)
    k = np.arange(-1, 2000)
    np.testing.assert_allclose(np.exp(d.log_survival(k)), 1.0 - d.cdf(k), rtol=0, atol=1e-13)


def decimal_parts(output: np.ndarray, kappa: float) -> list[tuple[Decimal, Decimal, Decimal]]:
    """Weights, means and scales of the components."""
    weights = [Decimal(float(x)).exp() for x in output[:K]]
    scales = [(4 * Decimal(math.tanh(float(x) / 4))).exp() for x in output[2 * K :]]
    return [
        (w / sum(weights), Decimal(float(m)), s)
        for w, m, s in zip(weights, output[K : 2 * K], scales, strict=True)
    ]


def decimal_survival(parts: list[tuple[Decimal, Decimal, Decimal]], kappa: float, k: int) -> Decimal:
    g = Decimal(k + 1).ln() + Decimal(k + 1) / Decimal(kappa)
    return sum((w / (1 + ((g - mean) / s).exp()) for w, mean, s in parts), Decimal(0))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kappa", [1.0, 7.3, 4000.0, 1e6])
def test_tail_probabilities_have_no_cancellation(seed, kappa):
    """Far out p(τ) is a difference of numbers that agree in all of a double's digits; decimals show its worth."""
    output = head_output(seed, spread=0.7)
    d = of(output, kappa)
    with localcontext() as context:
        context.prec = 60
        parts = decimal_parts(output, kappa)
        for k in (1, 5, 60, 500, int(kappa) + 1, int(250 * kappa)):
            exact = decimal_survival(parts, kappa, k - 1) - decimal_survival(parts, kappa, k)
            assert at(d.log_prob, k) == pytest.approx(float(exact.ln()), rel=1e-12, abs=1e-12)
            survival = decimal_survival(parts, kappa, k).ln()
            assert at(d.log_survival, k) == pytest.approx(float(survival), rel=1e-12, abs=1e-12)


def test_the_tail_that_is_tested_is_beyond_a_naive_difference():
    output = head_output(0, spread=0.7)
    assert 1.0 - length_cdf(output.tolist(), 1.0, 500) == 0.0
    assert np.isfinite(at(of(output, 1.0).log_prob, 500))


@each_distribution
def test_tail_falls_geometrically(output, kappa):
    """Once every component is past its mean each survives one more character with at most 2/(1 + e^(1/κs))."""
    d = of(output, kappa)
    scales = np.exp(d.log_scales)
    assert scales.max() <= math.exp(4.0)
    g = lambda k: math.log(k + 1) + (k + 1) / kappa  # noqa: E731
    first = next(k for k in (2**i for i in range(40)) if g(k) > d.means.max())
    bound = math.log(2.0) - np.log1p(np.exp(1.0 / (kappa * scales.max())))
    assert bound < 0
    k = first + np.unique(np.geomspace(1, 10**6, 300).astype(np.int64))
    log_survival = d.log_survival(k)
    falls = np.diff(log_survival) / np.diff(k)
    assert (falls <= bound * (1 - 1e-6) + 1e-12).all()


# Quantiles -------------------------------------------------------------------------------------------------


@each_distribution
def test_inverse_survival_is_a_search(output, kappa):
    """The smallest k with ln(1 − F(k)) at most the value."""
    d = of(output, kappa)
    u = np.concatenate([[0.0, 0.5, 0.999, 1 - 1e-12], np.random.default_rng(0).random(60)])
    found = d.inverse_survival(np.log1p(-u))
    for value, k in zip(np.log1p(-u), found, strict=True):
        near = np.arange(max(-1, k - 1000), k + 1)
        above = d.log_survival(near) > value
        assert above[:-1].all() or k == 0
        assert not above[-1]


def test_inverse_survival_keeps_shapes_and_finds_single_values():
    d = of(head_output(1), 7.3)
    assert d.inverse_survival(np.zeros((2, 3))).tolist() == [[0, 0, 0], [0, 0, 0]]
    one = at(d.log_survival, 9)
    assert d.inverse_survival(np.array([one])).tolist() == [9]
    assert d.inverse_survival(np.array([np.nextafter(one, -1e9)])).tolist() == [10]


def test_a_distribution_a_row():
    outputs = np.stack([head_output(seed) for seed in range(3)])
    tau = np.array([0, 4, 50])
    together = of(outputs, 7.3)
    for row in range(3):
        alone = of(outputs[row], 7.3)
        assert together.log_prob(tau)[row] == pytest.approx(at(alone.log_prob, tau[row]), abs=1e-13)
        assert together.cdf(tau)[row] == pytest.approx(at(alone.cdf, tau[row]), abs=1e-13)


# Types and gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kappa", KAPPAS)
@pytest.mark.parametrize("method", ["log_prob", "cdf", "log_survival"])
def test_numpy_and_torch_agree(kappa, method):
    for seed in range(3):
        output, tau = head_output(seed), np.array([0, 1, 7, 300, 10**6])
        outputs = np.tile(output, (len(tau), 1))
        by_numpy = getattr(of(outputs, kappa), method)(tau)
        by_torch = getattr(LengthDistribution.from_output(torch.tensor(outputs), kappa), method)
        np.testing.assert_allclose(by_numpy, by_torch(torch.tensor(tau)).numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tau", [0, 1, 7, 10**6])
@pytest.mark.parametrize("kappa", [0.1, 6.0, 10.0**6])
@pytest.mark.parametrize("size", [0.0, 1.0, 30.0])
def test_single_precision_gradients_are_finite(tau, kappa, size):
    for seed in range(3):
        raw = size * np.random.default_rng(seed).normal(size=(1, 3 * K))
        output = torch.tensor(raw, dtype=torch.float32, requires_grad=True)
        log_prob = LengthDistribution.from_output(output, kappa).log_prob(torch.tensor([tau]))
        log_prob.sum().backward()
        assert torch.isfinite(log_prob).all()
        assert log_prob.item() <= 1e-6
        assert torch.isfinite(output.grad).all()
        assert output.grad.any()


def test_gradients_are_central_differences():
    output = head_output(3)
    for tau in (0, 1, 9):
        tensor = torch.tensor(output, requires_grad=True)
        LengthDistribution.from_output(tensor, 5.0).log_prob(torch.tensor([tau])).sum().backward()
        for i in range(3 * K):
            moved = [output + sign * 1e-6 * (np.arange(3 * K) == i) for sign in (1, -1)]
            above, below = (at(of(o, 5.0).log_prob, tau) for o in moved)
            assert abs((above - below) / 2e-6 - float(tensor.grad[i])) < 1e-7


# Starting values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [[5] * 10, [3, 4, 5, 6, 7, 8], [10] * 9 + [1000] * 9])
def test_the_initial_bias_places_the_distribution_on_the_lengths(lengths):
    """Better than a geometric of the same mean, and half of it lies about the median."""
    lengths = np.array(lengths)
    kappa = float(lengths.mean()) or 1.0
    d = of(initial_length_bias(lengths, kappa).astype(np.float64), kappa)
    stop = 1.0 / (lengths.mean() + 1.0)
    geometric = np.mean(np.log(stop) + lengths * np.log1p(-stop))
    assert float(np.mean(d.log_prob(lengths))) > geometric
    low, high = np.quantile(lengths, [0.25, 0.75])
    assert at(d.cdf, int(high) + 1) > 0.6
    assert at(d.cdf, int(low) - 2) < 0.4


# The other heads and the count -----------------------------------------------------------------------------


@given(st.floats(-1000, 1000))
def test_halt_and_going_on_are_complementary(x):
    part, params = Halt(2, 1.0), {"halt.weight": np.ones(1), "halt.bias": np.zeros(())}
    (go_on, _), (halt, turned) = part.chances(params, np.array([[x], [-x]]), np.zeros((2, 2)))
    assert math.exp(halt) == pytest.approx(sigmoid(x), rel=1e-12)
    assert math.exp(halt) + math.exp(go_on) == pytest.approx(1.0, abs=1e-12)
    assert math.isfinite(halt)
    assert go_on == turned


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_count_features_are_bounded_and_absent_ones_zero(library):
    remaining = np.array([[-1, 0, 1], [7, 2048, 10**9]])
    like = np.zeros(0, np.float32)
    if library == "torch":
        features = np.asarray(count_features(torch.tensor(remaining), torch.tensor(like)))
    else:
        features = count_features(remaining, like)
    assert features.shape == (2, 3, COUNT_FEATURES)
    assert features.dtype == np.float32
    assert not features[0, 0].any()
    assert ((features >= 0) & (features <= 1)).all()
    assert (features[remaining >= 0][:, 0] == 1).all()
    assert COUNT_CENTRES.tolist() == [i / 2 for i in range(25)]
    for index in np.argwhere(remaining >= 0):
        r = float(remaining[tuple(index)])
        octaves = min(math.log2(r + 1), 12.0)
        expected = [max(0.0, 1 - 2 * abs(octaves - c)) for c in COUNT_CENTRES]
        np.testing.assert_allclose(features[tuple(index)][1:], expected, rtol=1e-5, atol=1e-5)
        assert sum(expected) == pytest.approx(1.0)


def test_counts_up_to_thousands_have_features_of_their_own():
    features = count_features(np.arange(3000), np.zeros(0, np.float32))
    assert (np.abs(np.diff(features, axis=0)).max(axis=1) > 1e-5).all()
