"""What designs can carry through time, as chapter 10 of *Deep Learning* claims, and gradients that show why."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import make_cell

from charrnn.cells.leaky import Leaky
from charrnn.cells.unroll import unroll
from charrnn.study.gradients import gradient_norms
from charrnn.study.problems import ADDING, COPYING
from charrnn.study.span import Network, train_on

each_seed = pytest.mark.parametrize("seed", [0, 1, 2])


@pytest.mark.slow
@each_seed
@pytest.mark.parametrize("lag", [5, 8])
@pytest.mark.parametrize("feedback", ["target", "output"])
def test_an_output_carries_no_more_than_itself(seed, lag, feedback):
    """Section 10.2.1: without hidden-to-hidden connections what is not in the output is gone; 3 of 4 are wrong."""
    options: dict[str, Any] = {"feedback": feedback}
    failed = train_on(COPYING, "output_recurrent", lag, seed, 300, options=options, learning_rate=1e-2)
    solved = train_on(COPYING, "tanh", lag, seed, 300, learning_rate=1e-2)
    assert failed.errors.min() > 0.7
    assert solved.solved


@pytest.mark.slow
@each_seed
@pytest.mark.parametrize("planted", [(3.0, 30.0), (8.0,)])
def test_learned_shares_find_the_time_constants_that_made_the_signal(seed, planted):
    """y = Σ_i v_i h_i of units that leak at planted rates; learned from noise and y alone, W = 0 on both sides."""
    units, steps = len(planted), 600
    rng = np.random.default_rng(seed)
    cell = Leaky(1, units, leak_alpha="learned")
    alpha = 1.0 - 1.0 / np.array(planted)
    teacher = {
        "weight_ih": torch.ones(units, 1).double(),
        "weight_hh": torch.zeros(units, units).double(),
        "bias": torch.zeros(units).double(),
        "leak": torch.from_numpy(np.log(alpha / (1.0 - alpha))),
    }
    v = torch.tensor([1.0, -2.0][:units]).double()
    fresh = {name: torch.from_numpy(value.astype(np.float64)) for name, value in cell.init(rng).items()}
    params = fresh | {"weight_hh": teacher["weight_hh"]}
    readout = torch.from_numpy(rng.normal(size=units))
    trained = [readout, *(params[name] for name in ("weight_ih", "bias", "leak"))]
    optimizer = torch.optim.Adam([tensor.requires_grad_() for tensor in trained], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x = torch.from_numpy(rng.normal(size=(100, 16, 1)))
        theirs, ours = (unroll(cell, p, x, cell.zero_state(16, x))[0] for p in (teacher, params))
        loss = ((theirs @ v - ours @ readout) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    found = np.sort(1.0 / (1.0 - cell.alpha(params).detach().numpy()))
    np.testing.assert_allclose(found, planted, rtol=0.1)


SPAN = 85
REMEMBERING: list[tuple[str, dict[str, Any], float]] = [
    ("leaky", {"leak_alpha": "0:0.99"}, 1e-2),
    ("skip", {"skip_delay": "9"}, 2e-3),
]
"""Cells that solve the adding problem over SPAN steps, and the rate at which they learn it.

Within 7,000 steps they did with every seed and a plain network with none, whose nearest error was 0.018; the tests
leave each some room, as rounding differs between machines.
"""


def first_gradients(cell: str, options: dict[str, Any], seed: int = 0) -> np.ndarray:
    """‖∂h(T)/∂s(T−τ)‖ of a fresh network on the adding problem, τ = 1 … T."""
    network = Network.of(ADDING, cell, 32, options)
    params = network.cell.init(np.random.default_rng(seed))
    batch = network.draw(np.random.default_rng(seed + 1), 4, SPAN)
    return gradient_norms(network.cell, params, batch.inputs)


@pytest.mark.parametrize(("cell", "options", "_rate"), REMEMBERING)
def test_leaks_and_skips_let_gradients_reach_back(cell, options, _rate):
    """Sections 10.9.1 and 10.9.2: in a plain network they have vanished long before."""
    plain, remembering = first_gradients("tanh", {}), first_gradients(cell, options)
    assert plain[SPAN - 1] < 1e-12
    assert remembering[SPAN - 1] > 1e9 * plain[SPAN - 1]
    assert remembering[SPAN // 2] > 1e4 * plain[SPAN // 2]


@pytest.mark.slow
@each_seed
@pytest.mark.parametrize(("cell", "options", "rate"), REMEMBERING)
def test_leaks_and_skips_add_over_a_span(cell, options, rate, seed):
    assert train_on(ADDING, cell, SPAN, seed, 9000, options=options, learning_rate=rate, batch_size=128).solved


@pytest.mark.slow
@each_seed
@pytest.mark.parametrize("rate", sorted({rate for _, _, rate in REMEMBERING}))
def test_over_which_a_plain_network_does_not_add(rate, seed):
    """At either rate, on the same rows; a constant has an error of 0.167."""
    plain = train_on(ADDING, "tanh", SPAN, seed, 5500, learning_rate=rate, batch_size=128)
    assert plain.errors.min() > 2 * ADDING.solved_below


def test_a_skip_of_d_steps_makes_gradients_take_a_d_th_of_the_way():
    """Alone, its gradient over τ steps is that of a plain network of the same weights over τ / d."""
    units, delay = 8, 10
    plain = make_cell("tanh", 1, units)
    skip = make_cell("skip", 1, units, {"skip_delay": str(delay), "remove_short": True})
    params = plain.init(np.random.default_rng(0)) | {"bias": np.zeros(units, np.float32)}
    zero = np.zeros((SPAN, 1, 1))
    one_step, many = gradient_norms(plain, params, zero), gradient_norms(skip, params, zero)
    for lag in range(delay, SPAN + 1, delay):
        np.testing.assert_allclose(many[lag - 1], one_step[lag // delay - 1], rtol=1e-9)
