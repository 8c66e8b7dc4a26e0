"""Echo state networks on signals: their equations, what they remember, and how far they continue one."""

from typing import Any

import numpy as np
import pytest
import torch

import charrnn
from charrnn.cells import CELLS
from charrnn.cells.echo_state import largest_eigenvalue
from charrnn.cells.leaky import LeakyState
from charrnn.cells.sparse import SparseArray, SparseTensor
from charrnn.cells.unroll import unroll
from charrnn.models.convex_readout import fit_ridge
from charrnn.models.echo_state_network import EchoStateNetwork, FittedNetwork, signal

STEPS, UNITS = 120, 15


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def mackey_glass(steps: int, discarded: int = 1000, substeps: int = 10) -> np.ndarray:
    """tanh(x − 1) (steps, 1) at whole times, for x' = 0.2 x(t − 17) / (1 + x(t − 17)¹⁰) − 0.1 x, by Runge-Kutta.

    Half-way between two substeps the delayed value is their mean.
    """

    def slope(x: float, delayed: float) -> float:
        return 0.2 * delayed / (1.0 + delayed**10) - 0.1 * x

    delay, size = 17 * substeps, 1.0 / substeps
    x = [1.2] * (delay + 1)
    for _ in range((discarded + steps) * substeps):
        now, (begin, end) = x[-1], x[-1 - delay : len(x) - delay + 1]
        middle = (begin + end) / 2
        k1 = slope(now, begin)
        k2 = slope(now + size / 2 * k1, middle)
        k3 = slope(now + size / 2 * k2, middle)
        k4 = slope(now + size * k3, end)
        x.append(now + size / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.tanh(np.array(x[-steps * substeps :: substeps]) - 1.0)[:, None]


# The sparse product ----------------------------------------------------------------------------------------

UNEVEN = np.array([[0.0, 2.0, -1.0, 0.5], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0], [1.0, 1.0, 1.0, 1.0]])
SPARSE = np.where(numbers(0, 30, 30) > 1.0, numbers(1, 30, 30), 0.0)


@pytest.mark.parametrize(
    "W", [UNEVEN, SPARSE, np.array([[-0.7]]), np.zeros((1, 1)), np.zeros((3, 3)), numbers(2, 5, 5)]
)
@pytest.mark.parametrize("rows", [1, 4])
def test_the_sparse_product_is_the_dense_one(W, rows):
    h = numbers(3, rows, len(W))
    heard = h @ SparseArray.of(W).T
    assert heard.shape == h.shape
    np.testing.assert_allclose(heard, h @ W.T, rtol=1e-13, atol=1e-14)
    by_torch = torch.from_numpy(h) @ SparseTensor(torch.from_numpy(W)).T
    np.testing.assert_allclose(by_torch, h @ W.T, rtol=1e-13, atol=1e-14)


def test_gradients_go_through_the_sparse_product():
    h, W = torch.from_numpy(numbers(3, 4, 30)).requires_grad_(), torch.from_numpy(SPARSE)
    weights = torch.from_numpy(numbers(4, 4, 30))
    ((h @ SparseTensor(W).T) * weights).sum().backward()
    torch.testing.assert_close(h.grad, weights @ W)


# Equations -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> EchoStateNetwork:
    return EchoStateNetwork(UNITS, 2, spectral_radius=0.8, input_scaling=0.5, leak_alpha="0:0.9", seed=3)


@pytest.fixture(scope="module")
def fitted(network: EchoStateNetwork) -> FittedNetwork:
    return network.fit(numbers(0, STEPS, 2), numbers(1, STEPS, 2), washout=20, ridge=0.1)


def by_hand(network: EchoStateNetwork, x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """h(t) = α h(t−1) + (1 − α) tanh(b + W h(t−1) + U x(t))."""
    U, W, b = (network.params[name] for name in ("weight_ih", "weight_hh", "bias"))
    alpha, states = network.cell.alpha(network.params), []
    for x_t in x:
        h = alpha * h + (1.0 - alpha) * np.tanh(b + W @ h + U @ x_t)
        states.append(h)
    return np.array(states)


def test_states_are_the_equation_step_by_step(network):
    x, h = numbers(5, STEPS, 2), numbers(6, UNITS)
    np.testing.assert_allclose(network.states(x), by_hand(network, x, np.zeros(UNITS)), rtol=0, atol=1e-13)
    np.testing.assert_allclose(network.states(x, h), by_hand(network, x, h), rtol=0, atol=1e-13)


def test_states_go_on_where_they_ended(network):
    x = numbers(5, STEPS, 2)
    whole, first = network.states(x), network.states(x[:50])
    np.testing.assert_allclose(network.states(x[50:], first[-1]), whole[50:], rtol=0, atol=1e-14)


def test_without_memory_it_is_the_leaky_cell_and_alpha_may_be_a_range():
    x = numbers(5, STEPS, 1)
    for alpha in ("0", "0.5", "0:0.9"):
        network = EchoStateNetwork(UNITS, leak_alpha=alpha)
        leaky = CELLS["leaky"](1, UNITS, leak_alpha=alpha)
        expected, _ = unroll(leaky, network.params, x[:, None], LeakyState(np.zeros((1, UNITS))))
        np.testing.assert_allclose(network.states(x), expected[:, 0], rtol=0, atol=1e-13)
    plain, same = EchoStateNetwork(UNITS, leak_alpha=0.0), EchoStateNetwork(UNITS, leak_alpha="0")
    assert (plain.states(x) == same.states(x)).all()


def test_the_reservoir_is_drawn_as_it_was_asked_for():
    params = EchoStateNetwork(200, 3, spectral_radius=1.1, input_scaling=0.3, seed=1).params
    assert params["weight_ih"].shape == (200, 3)
    assert np.abs(np.linalg.eigvals(params["weight_hh"])).max() == pytest.approx(1.1, rel=1e-6)
    assert ((params["weight_hh"] != 0.0).sum(axis=1) == 10).all()
    for name in ("weight_ih", "bias"):
        assert 0.25 < np.abs(params[name]).max() <= np.float32(0.3)
    assert not EchoStateNetwork(5, spectral_radius=0.0).params["weight_hh"].any()


def test_the_seed_decides(fitted):
    x, y = numbers(0, STEPS, 2), numbers(1, STEPS, 2)
    options: dict[str, Any] = {"spectral_radius": 0.8, "input_scaling": 0.5, "leak_alpha": "0:0.9"}
    again, other = (EchoStateNetwork(UNITS, 2, seed=seed, **options).fit(x, y, 20, 0.1) for seed in (3, 4))
    assert (again.readout == fitted.readout).all()
    assert (again.generate(9) == fitted.generate(9)).all()
    assert not np.allclose(other.readout, fitted.readout)


# Readout ---------------------------------------------------------------------------------------------------


def z(x: np.ndarray, h: np.ndarray) -> np.ndarray:
    return np.array([[1.0, *x_t, *h_t] for x_t, h_t in zip(x, h, strict=True)])


def test_the_readout_is_ridge_on_what_follows_the_washout(network, fitted):
    x, y = numbers(0, STEPS, 2), numbers(1, STEPS, 2)
    h = by_hand(network, x, np.zeros(UNITS))
    expected = fit_ridge(z(x, h)[20:], y[20:], 0.1)
    assert fitted.readout.shape == (2, 1 + 2 + UNITS)
    np.testing.assert_allclose(fitted.readout, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(fitted.state, h[-1], atol=1e-13)
    assert (fitted.target == y[-1]).all()


def test_targets_of_the_washout_do_not_count(network, fitted):
    x, y = numbers(0, STEPS, 2), numbers(1, STEPS, 2)
    y[:20] = 1e6
    assert (network.fit(x, y, washout=20, ridge=0.1).readout == fitted.readout).all()
    y[20] += 1.0
    assert not np.allclose(network.fit(x, y, washout=20, ridge=0.1).readout, fitted.readout)


def test_predictions_are_the_readout_of_the_states(network, fitted):
    x = numbers(7, 10, 2)
    for state in (None, np.zeros(UNITS)):
        h = by_hand(network, x, fitted.state if state is None else state)
        np.testing.assert_allclose(fitted.predict(x, state), z(x, h) @ fitted.readout.T, atol=1e-12)


def test_outputs_may_be_other_than_inputs(network):
    fitted = network.fit(numbers(0, STEPS, 2), numbers(1, STEPS, 3), washout=0)
    assert fitted.predict(numbers(7, 10, 2)).shape == (10, 3)
    with pytest.raises(ValueError, match="generate: expected as many outputs as inputs, 2, got 3"):
        fitted.generate(5)


@pytest.mark.parametrize("after", [None, 1, 30])
def test_a_free_run_reads_what_it_wrote(network, fitted, after):
    driven = None if after is None else numbers(8, after, 2)
    h, x = (fitted.state, fitted.target) if driven is None else (np.zeros(UNITS), driven[-1])
    if after is not None and after > 1:
        h = by_hand(network, driven[:-1], h)[-1]
    expected = []
    for _ in range(8):
        h = by_hand(network, x[None], h)[-1]
        x = fitted.readout @ np.concatenate([[1.0], x, h])
        expected.append(x)
    np.testing.assert_allclose(fitted.generate(8, driven), expected, rtol=1e-9, atol=1e-11)


def test_a_free_run_of_no_steps_is_empty(fitted):
    assert fitted.generate(0).shape == (0, 2)


def test_a_wave_goes_on():
    """The example of the docstring, through the library's front door."""
    wave = np.sin(0.2 * np.arange(1050.0))[:, None]
    fitted = charrnn.EchoStateNetwork(units=100).fit(wave[:999], wave[1:1000])
    np.testing.assert_allclose(fitted.generate(50), wave[1000:], atol=1e-3)


# What cannot be meant --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "width", "words"),
    [
        (np.zeros(3), 1, r"\(T, 1\) reals, got shape \(3,\)"),
        (np.zeros((3, 2)), 1, r"\(T, 1\) reals, got shape \(3, 2\)"),
        (np.zeros((0, 1)), 1, r"got shape \(0, 1\)"),
        (np.zeros((3, 1, 1)), None, r"\(T, O\) reals, got shape \(3, 1, 1\)"),
        ([[0.0], [np.inf]], 1, "finite reals, got inf"),
        ([[0.0], [np.nan]], None, "finite reals, got nan"),
    ],
)
def test_what_is_no_signal(values, width, words):
    with pytest.raises(ValueError, match=f"^here: expected .*{words}"):
        signal("here", values, width)


def test_numbers_of_any_kind_are_a_signal():
    found = signal("here", [[1], [2]], 1)
    assert found.dtype == np.float64
    assert found.tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    "options",
    [
        {"units": 0},
        {"inputs": 0},
        {"seed": -1},
        {"spectral_radius": -1.0},
        {"input_scaling": np.inf},
        {"leak_alpha": 1.0},
        {"leak_alpha": "learned"},
    ],
)
def test_settings_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError):
        EchoStateNetwork(**({"units": 3} | options))


def test_calls_that_make_no_sense_are_refused(network, fitted):
    x, y = numbers(0, STEPS, 2), numbers(1, STEPS, 2)
    with pytest.raises(ValueError, match="one target an input, got 119 for 120"):
        network.fit(x, y[1:])
    for washout in (-1, STEPS):
        with pytest.raises(ValueError, match=f"washout from 0 to 119, got {washout}"):
            network.fit(x, y, washout=washout)
    with pytest.raises(ValueError, match=r"state \(15,\), got \(14,\)"):
        network.states(x, np.zeros(14))
    with pytest.raises(ValueError, match=r"predict: expected \(T, 2\) reals"):
        fitted.predict(numbers(0, STEPS, 1))
    with pytest.raises(ValueError, match="0 or more steps, got -1"):
        fitted.generate(-1)
    with pytest.raises(ValueError, match=r"generate: expected \(T, 2\) reals"):
        fitted.generate(1, np.zeros((0, 2)))


# What it can do --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_memory_capacity_is_nearly_the_number_of_units(seed):
    """Σ_k r²(y_k(t), x(t−k)), measured on steps that were not fitted; no network of H units has more than H.

    Jaeger 2001, *Short term memory in echo state networks*. Inputs and biases are within ± 10⁻⁴, so that the
    units stay linear; what is remembered for long is small beside what is recent, and a ridge would drown it.
    """
    units, delays, washout, steps = 20, 40, 200, 4200
    x = np.random.default_rng(100 + seed).uniform(-1.0, 1.0, (steps, 1))
    past = np.concatenate([np.roll(x, delay, axis=0) for delay in range(1, delays + 1)], axis=1)
    half = (steps + washout) // 2
    network = EchoStateNetwork(units, input_scaling=1e-4, seed=seed)
    recalled = network.fit(x[:half], past[:half], washout, ridge=0.0).predict(x[half:])
    pairs = zip(recalled.T, past[half:].T, strict=True)
    capacity = sum(np.corrcoef(ours, true)[0, 1] ** 2 for ours, true in pairs)
    assert 0.9 * units < capacity < 1.02 * units


@pytest.fixture(scope="module")
def chaos() -> np.ndarray:
    return mackey_glass(2501)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_mackey_glass_is_continued_for_500_steps(chaos, seed):
    network = EchoStateNetwork(1000, spectral_radius=1.25, leak_alpha=0.5, seed=seed)
    freely = network.fit(chaos[:2000], chaos[1:2001], ridge=1e-10).generate(500)
    error = ((freely - chaos[2001:]) ** 2).mean()
    assert error < 1e-5 < 1e-3 * chaos.var()


@pytest.mark.parametrize("units", [1, 40, 300])
def test_the_largest_eigenvalue_is_numpy_s(units):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        W = np.where(rng.random((units, units)) < 10 / units, rng.uniform(-1.0, 1.0, (units, units)), 0.0)
        expected = np.abs(np.linalg.eigvals(W)).max()
        assert largest_eigenvalue(W) == pytest.approx(expected, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize(
    "W", [np.zeros((300, 300)), np.eye(300), np.roll(np.eye(300), 1, axis=1), np.eye(300, k=1)]
)
def test_matrices_on_which_the_iteration_stops_early_or_never(W):
    """None, all alike, all as large, and none but W is not zero."""
    assert largest_eigenvalue(W) == pytest.approx(np.abs(np.linalg.eigvals(W)).max(), abs=1e-7)
