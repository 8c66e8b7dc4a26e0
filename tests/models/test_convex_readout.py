"""Ridge and softmax readouts: two convex problems, held to their definitions and to their one answer."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.cells.arrays import OneHot, log_softmax
from charrnn.cells.echo_state import EchoState
from charrnn.cells.sparse import SparseArray
from charrnn.cells.unroll import unroll
from charrnn.models.convex_readout import SoftmaxReadout, fit_ridge, fit_softmax

T, F, O, K = 60, 5, 2, 3  # noqa: E741
L2 = 1e-2
TEXT = Path(charrnn.__file__).parents[1] / "data" / "tinyshakespeare.txt"


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# Ridge -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ridge", [1e-6, 0.5, 100.0])
@pytest.mark.parametrize("steps", [T, F - 2])
def test_ridge_is_least_squares_with_a_row_more_for_each_weight(ridge, steps):
    """Σ |y − V z|² + λ |V|² is a plain sum of squares once √λ · 1 stands below the features, against zeros."""
    z, y = numbers(0, steps, F), numbers(1, steps, O)
    augmented = np.concatenate([z, math.sqrt(ridge) * np.eye(F)])
    expected = np.linalg.lstsq(augmented, np.concatenate([y, np.zeros((F, O))]))[0].T
    found = fit_ridge(z, y, ridge)
    assert found.shape == (O, F)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_no_ridge_is_the_least_norm():
    """Two equal features share their weight, and what fits exactly is fitted exactly."""
    z, y = numbers(0, T, F), numbers(1, T, O)
    expected = np.linalg.lstsq(z, y)[0].T
    found = fit_ridge(np.concatenate([z, z[:, :1]], axis=1), y, 0.0)
    np.testing.assert_allclose(found[:, [0, -1]], expected[:, [0, 0]] / 2, rtol=1e-10)
    np.testing.assert_allclose(found[:, 1:-1], expected[:, 1:], rtol=1e-10)
    few = fit_ridge(z[: F - 2], y[: F - 2], 0.0)
    np.testing.assert_allclose(few, (np.linalg.pinv(z[: F - 2]) @ y[: F - 2]).T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(z[: F - 2] @ few.T, y[: F - 2], rtol=1e-10)


@pytest.mark.parametrize(
    ("z", "y", "ridge", "words"),
    [
        (numbers(0, T), numbers(1, T, O), 1.0, r"features \(T, F\).*got \(60,\) and \(60, 2\)"),
        (numbers(0, T, F), numbers(1, T), 1.0, r"targets \(T, O\)"),
        (numbers(0, T, F), numbers(1, T - 1, O), 1.0, r"got \(60, 5\) and \(59, 2\)"),
        (numbers(0, T, F), numbers(1, T, O), -1e-9, "ridge from 0 on, got -1e-09"),
        (numbers(0, T, F), numbers(1, T, O), math.inf, "got inf"),
        (numbers(0, T, F), numbers(1, T, O), math.nan, "got nan"),
    ],
)
def test_what_ridge_cannot_fit(z, y, ridge, words):
    with pytest.raises(ValueError, match=f"fit_ridge: .*{words}"):
        fit_ridge(z, y, ridge)


# Softmax ---------------------------------------------------------------------------------------------------


def objective(weights: np.ndarray, h: np.ndarray, k: np.ndarray, l2: float = L2) -> float:
    """f of [c, V] (K, 1 + H), as the docstring has it."""
    log_probs = log_softmax(h @ weights[:, 1:].T + weights[:, 0])
    return float(-log_probs[np.arange(len(k)), k].mean() + l2 / 2 * (weights**2).sum())


def joined(readout: SoftmaxReadout) -> np.ndarray:
    return np.concatenate([readout.bias[:, None], readout.weight], axis=1)


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray]:
    return numbers(2, T, F), np.random.default_rng(3).integers(K, size=T)


@pytest.fixture(scope="module")
def fitted(problem: Any) -> SoftmaxReadout:
    return fit_softmax(*problem, K, L2, tolerance=1e-10)


def central_differences(weights: np.ndarray, problem: Any, step: float = 1e-5) -> np.ndarray:
    gradient = np.empty_like(weights)
    for index in np.ndindex(weights.shape):
        moved = np.zeros_like(weights)
        moved[index] = step
        above, below = objective(weights + moved, *problem), objective(weights - moved, *problem)
        gradient[index] = (above - below) / (2 * step)
    return gradient


def test_at_the_optimum_differences_vanish(problem, fitted):
    assert (fitted.weight.shape, fitted.bias.shape) == ((K, F), (K,))
    assert np.abs(central_differences(joined(fitted), problem)).max() < 1e-8
    assert fitted.gradient_norm < 1e-8
    penalty = L2 / 2 * (joined(fitted) ** 2).sum()
    assert fitted.loss == pytest.approx(objective(joined(fitted), *problem) - penalty, rel=1e-12)


def test_the_gradient_norm_is_that_of_the_objective(problem):
    """Where the search was not allowed to arrive."""
    early = fit_softmax(*problem, K, L2, numbers(5, K, 1 + F), max_steps=1)
    differences = central_differences(joined(early), problem)
    assert early.gradient_norm == pytest.approx(float(np.linalg.norm(differences)), rel=1e-7)
    assert early.gradient_norm > 1e-3


@pytest.mark.parametrize("max_steps", [0, 1, 3])
def test_the_objective_lies_within_the_bound_of_strong_convexity(problem, fitted, max_steps):
    early = fit_softmax(*problem, K, L2, numbers(5, K, 1 + F), max_steps=max_steps)
    gap = objective(joined(early), *problem) - objective(joined(fitted), *problem)
    assert 0.0 < gap <= early.gradient_norm**2 / (2 * L2)


def test_every_start_leads_to_the_same_point(problem, fitted):
    for seed in range(3):
        other = fit_softmax(*problem, K, L2, numbers(seed, K, 1 + F) * 10.0, tolerance=1e-9)
        np.testing.assert_allclose(joined(other), joined(fitted), atol=1e-6)
        assert other.loss == pytest.approx(fitted.loss, abs=1e-9)


def test_states_that_say_nothing_leave_the_bias():
    """h = 0, two classes: c = (a, −a) and P(0) = σ(2a), with P(0) − share + λ a = 0 at the minimum."""
    share, l2 = 0.8, 0.05
    k = np.array([0] * 8 + [1] * 2)
    readout = fit_softmax(np.zeros((10, 2)), k, 2, l2, tolerance=1e-11)
    a = readout.bias[0]
    assert 1.0 / (1.0 + math.exp(-2.0 * a)) - share + l2 * a == pytest.approx(0.0, abs=1e-10)
    assert readout.bias[1] == pytest.approx(-a, abs=1e-10)
    assert not readout.weight.any()


def test_a_class_that_never_comes_is_only_made_rare(problem):
    h, k = problem
    readout = fit_softmax(h, k, K + 1, L2)
    log_probs = log_softmax(h @ readout.weight.T + readout.bias)
    assert np.isfinite(log_probs).all()
    assert np.exp(log_probs[:, K]).mean() < 0.1


def test_what_was_handed_over_is_left_as_it_was(problem):
    h, k = problem
    start = numbers(5, K, 1 + F)
    copies = h.copy(), k.copy(), start.copy()
    fit_softmax(h, k, K, L2, start)
    for array, copy in zip((h, k, start), copies, strict=True):
        assert (array == copy).all()


CLASSES = np.zeros(T, np.int64)


@pytest.mark.parametrize(
    ("h", "k", "options", "words"),
    [
        (numbers(0, T), CLASSES, {}, r"states \(T, H\) and targets \(T,\), got \(60,\) and \(60,\)"),
        (numbers(0, T, F), CLASSES[1:], {}, r"got \(60, 5\) and \(59,\)"),
        (numbers(0, T, F), CLASSES[:, None], {}, r"got \(60, 5\) and \(60, 1\)"),
        (np.zeros((0, F)), CLASSES[:0], {}, r"got \(0, 5\)"),
        (numbers(0, T, F), CLASSES + K, {}, "integers from 0 to 2, got 3 to 3"),
        (numbers(0, T, F), CLASSES - 1, {}, "integers from 0 to 2, got -1 to -1"),
        (numbers(0, T, F), CLASSES + 0.5, {}, "integers from 0 to 2, got 0.5"),
        (numbers(0, T, F), CLASSES, {"l2": 0.0}, "finite l2 above 0, got 0.0"),
        (numbers(0, T, F), CLASSES, {"l2": math.nan}, "got nan"),
        (np.full((T, F), math.inf), CLASSES, {}, "finite states"),
        (numbers(0, T, F), CLASSES, {"start": np.full((K, 1 + F), math.nan)}, "finite start"),
        (numbers(0, T, F), CLASSES, {"start": np.zeros((K, F))}, r"start \(3, 6\), got shape \(3, 5\)"),
    ],
)
def test_what_softmax_cannot_fit(h, k, options, words):
    with pytest.raises(ValueError, match=f"fit_softmax: .*{words}"):
        fit_softmax(h, k, K, **({"l2": L2} | options))


@pytest.mark.slow
def test_a_readout_of_fixed_states_of_a_text_has_one_answer():
    """20,000 characters of Shakespeare: from zero and from far away, the same loss, and nearly no gradient."""
    symbols, ids = np.unique(list(TEXT.read_text(encoding="utf-8")[:20_001]), return_inverse=True)
    cell = EchoState(len(symbols), 200)
    params: dict[str, Any] = {
        name: value.astype(np.float64) for name, value in cell.init(np.random.default_rng(0)).items()
    }
    params["weight_hh"] = SparseArray.of(params["weight_hh"])
    read = OneHot(ids[:-1, None], len(symbols))
    outputs, _ = unroll(cell, params, read, cell.zero_state(1, params["bias"]))
    far = numbers(1, len(symbols), 201)
    fits = [fit_softmax(outputs[:, 0], ids[1:], len(symbols), 1e-3, start) for start in (None, far)]
    assert max(fit.gradient_norm for fit in fits) < 1e-6
    assert fits[0].loss == pytest.approx(fits[1].loss, abs=1e-6)
    unigram = np.bincount(ids[1:]) / len(ids[1:])
    assert fits[0].loss < -(unigram * np.log(unigram)).sum() - 0.5
