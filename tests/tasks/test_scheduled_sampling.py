"""Scheduled sampling: which characters are replaced, by what, and that nothing else changes."""

import numpy as np
import pytest
import torch
from helpers_models import (
    alphabet_of,
    as_torch,
    each_model,
    make_model,
    random_params,
    steps_to_torch,
    whole_steps,
)

from charrnn.corpus.steps import Kind
from charrnn.tasks.generate.scheduled_sampling import read_own_draws

TEXTS = ["abba", "b", "", "abaab"]
V = 2


@each_model
@pytest.mark.parametrize("stop", ["eos", "length"])
def test_without_draws_it_reads_what_the_model_reads(cell, options, stop):
    model = make_model(cell, options, stops=(stop,), num_layers=2, initial_state="learned")
    params = as_torch(random_params(model.shapes))
    steps = steps_to_torch(whole_steps(TEXTS, stop, alphabet_of(V)))
    start = model.initial_state(params, len(TEXTS))
    expected, end = model.read(params, steps, start)
    found, after = read_own_draws(model, params, steps, start, None, 0.0, np.random.default_rng(0))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(after, end, rtol=0, atol=1e-9)


@pytest.mark.parametrize("stop", ["eos", "halt", "length"])
def test_a_model_that_is_sure_reads_its_own_character(stop):
    """All but certain of b: what was predicted is read as b; BOS and the first step are as given."""
    model = make_model("gru", stops=(stop,))
    params = random_params(model.shapes)
    params["readout.weight"] *= 0.0
    params["readout.bias"] = np.where(np.arange(len(params["readout.bias"])) == 1, 1e4, 0.0)
    tensors = as_torch(params)
    steps = steps_to_torch(whole_steps(TEXTS, stop, alphabet_of(V)))
    inputs = steps.inputs.clone()
    for t in range(1, len(inputs)):
        for row, text in enumerate(TEXTS):
            predicted = steps.kinds[t - 1, row] == Kind.CHARACTER
            assert bool(predicted) == (steps.inputs[t, row] < V), (t, text)
            inputs[t, row] = 1 if predicted else inputs[t, row]
    start = model.initial_state(tensors, len(TEXTS))
    expected, _ = model.read(tensors, steps._replace(inputs=inputs), start)
    found, _ = read_own_draws(model, tensors, steps, start, None, 1.0, np.random.default_rng(0))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    as_given, _ = model.read(tensors, steps, start)
    assert not torch.allclose(found, as_given)


def test_draws_are_the_model_s_and_as_many_as_asked_for():
    """A bigram's second character, drawn or true: read back from the state, which holds nothing else."""
    model = make_model("tanh", stops=("none",), hidden_size=3)
    params = {name: np.zeros(shape) for name, shape in model.shapes.items()}
    params["layers.0.weight_ih"][:, :2] = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    params["readout.bias"] = np.log([0.25, 0.75])
    rows = 20_000
    steps = steps_to_torch(whole_steps(["aa"], "none", alphabet_of(V)))
    steps = type(steps)(*(a.expand(-1, rows) if a.dim() == 2 else a.expand(rows) for a in steps[:5]))
    tensors = as_torch(params)
    start = model.initial_state(tensors, rows)
    hidden, _ = read_own_draws(model, tensors, steps, start, None, 0.4, np.random.default_rng(5))
    read_b = (hidden[1, :, 1] > 0).double().mean().item()
    assert read_b == pytest.approx(0.4 * 0.75, abs=4 * (0.3 * 0.7 / rows) ** 0.5)


def test_gradients_pass_through_the_states_but_not_the_draws():
    model = make_model("lstm", stops=("eos",))
    tensors = as_torch(random_params(model.shapes))
    steps = steps_to_torch(whole_steps(TEXTS, "eos", alphabet_of(V)))
    start = model.initial_state(tensors, len(TEXTS))
    hidden, _ = read_own_draws(model, tensors, steps, start, None, 0.5, np.random.default_rng(0))
    hidden[-1].sum().backward()
    assert tensors["layers.0.weight_hh"].grad.abs().sum() > 0
    assert tensors["readout.weight"].grad is None
