"""How fast an echo state network is fitted and runs freely, beside reservoirpy with the same weights.

    pytest tests/benchmarks/test_echo_state_speed.py --benchmark-only

The ratio within a group tells. One thread. In the second group each draws its own reservoir of the same size and
connectivity first: charrnn until the spectral radius is exact, reservoirpy by an iteration that can miss it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from charrnn.models.echo_state_network import EchoStateNetwork

pytest.importorskip("reservoirpy")

UNITS, STEPS, FREE, WASHOUT, RIDGE = 1000, 2000, 500, 100, 1e-6
ALPHA = 0.5
SIGNAL = np.sin(0.2 * np.arange(STEPS + 1.0))[:, None] * np.sin(0.0311 * np.arange(STEPS + 1.0))[:, None]


@pytest.fixture(scope="module")
def network() -> EchoStateNetwork:
    network = EchoStateNetwork(UNITS, spectral_radius=1.25, leak_alpha=ALPHA)
    network.states(SIGNAL[:1])
    return network


def by_charrnn(network: EchoStateNetwork) -> Callable[[], np.ndarray]:
    return lambda: network.fit(SIGNAL[:-1], SIGNAL[1:], WASHOUT, RIDGE).generate(FREE)


def by_reservoirpy(network: EchoStateNetwork) -> Callable[[], np.ndarray]:
    """Its sparse matrix; its readout reads the input too, as ours does."""
    from reservoirpy.nodes import Reservoir
    from scipy.sparse import csr_array

    params = network.params
    W = csr_array(params["weight_hh"])

    def run() -> np.ndarray:
        return run_reservoir(Reservoir(W=W, Win=params["weight_ih"], bias=params["bias"], lr=1.0 - ALPHA))

    return run


def run_reservoir(reservoir: Any) -> np.ndarray:
    from reservoirpy.nodes import Input, Ridge

    read = Input()
    model = [read, read >> reservoir] >> Ridge(ridge=RIDGE)
    model.fit(SIGNAL[:-1], SIGNAL[1:], warmup=WASHOUT)
    x, freely = SIGNAL[-1], []
    for _ in range(FREE):
        x = model.step(x)
        freely.append(x)
    return np.array(freely)


@pytest.mark.filterwarnings("ignore:Ill-conditioned matrix")
@pytest.mark.benchmark(group=f"fit {UNITS} units to {STEPS} steps, {FREE} steps of free run")
@pytest.mark.parametrize("by", [by_charrnn, by_reservoirpy])
def test_fit_and_free_run(benchmark, network, by):
    freely = benchmark.pedantic(by(network), rounds=10, warmup_rounds=1)
    assert freely.shape == (FREE, 1)
    np.testing.assert_allclose(freely[:20], by_charrnn(network)()[:20], atol=1e-3)


def drawn_by_charrnn() -> np.ndarray:
    return by_charrnn(EchoStateNetwork(UNITS, spectral_radius=1.25, leak_alpha=ALPHA))()


def drawn_by_reservoirpy() -> np.ndarray:
    from reservoirpy.nodes import Reservoir

    size = {"rc_connectivity": 10 / UNITS, "input_connectivity": 1.0}
    return run_reservoir(Reservoir(UNITS, sr=1.25, lr=1.0 - ALPHA, **size))


@pytest.mark.filterwarnings("ignore:Ill-conditioned matrix")
@pytest.mark.benchmark(group=f"draw {UNITS} units, fit them to {STEPS} steps, {FREE} steps of free run")
@pytest.mark.parametrize("by", [drawn_by_charrnn, drawn_by_reservoirpy])
def test_from_the_drawing_on(benchmark, by):
    freely = benchmark.pedantic(by, rounds=10, warmup_rounds=1)
    assert freely.shape == (FREE, 1)
    assert np.isfinite(freely).all()
