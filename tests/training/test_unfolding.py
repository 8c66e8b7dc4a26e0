"""Unfolding in time: gradients of shared parameters, and truncation."""

from typing import Any

import pytest
import torch
from helpers_models import (
    CELL_CASES,
    alphabet_of,
    as_torch,
    each_cell,
    make_model,
    random_params,
    reader_of,
    steps_to_torch,
    whole_steps,
)

from charrnn.cells.cell import map_state
from charrnn.corpus.batching import batch_source
from charrnn.corpus.steps import Steps
from charrnn.tasks.generate.learner import GenerateLearner

TEXT = "abbabaa"
STEPS = len(TEXT) + 1
VOCABULARY = alphabet_of(2)


def text_steps() -> Steps:
    return steps_to_torch(whole_steps([TEXT], "eos", VOCABULARY))


def some_steps(steps: Steps, begin: int, end: int) -> Steps:
    return Steps(*(array[begin:end] for array in steps[:4]), steps.stops)


def shared_gradients(model: Any, params: Any) -> dict[str, torch.Tensor]:
    """Of the whole text's nll, by the path that training takes."""
    tensors, steps = as_torch(params), text_steps()
    hidden, _ = model.read(tensors, steps, model.initial_state(tensors, 1))
    model.nll(tensors, hidden, steps).sum().backward()
    return {name: tensors[name].grad for name in params if name not in model.frozen}


@each_cell
def test_gradients_of_a_copy_for_each_step_add_up_to_those_of_the_shared_parameters(cell, options):
    """The feed-forward graph: step t has parameters of its own, used once."""
    model = make_model(cell, options)
    params, steps = random_params(model.shapes, scale=0.5), text_steps()
    copies = [as_torch(params) for _ in range(STEPS)]
    (state,) = model.initial_state(copies[0], 1)
    nll = torch.zeros((), dtype=torch.float64)
    for t, copy in enumerate(copies):
        x = model.inputs(copy, steps.inputs[t], None, None)
        layer = model.stack.params(copy)[0]
        output, state = model.layers[0].step(layer, model.layers[0].project(layer, x), state)
        nll = nll + model.nll(copy, output[None], some_steps(steps, t, t + 1)).sum()
    nll.backward()
    for name, expected in shared_gradients(model, params).items():
        alone = [torch.zeros_like(expected) if copy[name].grad is None else copy[name].grad for copy in copies]
        torch.testing.assert_close(sum(alone), expected, rtol=1e-10, atol=1e-12)
        if expected.abs().max() > 0:
            assert not all(torch.allclose(part, alone[0]) for part in alone[1:]), name


def truncated_gradients(model: Any, params: Any, window: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients over the text as it is trained on, in windows between which the state is detached."""
    source = batch_source(
        reader_of([TEXT], VOCABULARY), "independent", ("eos",), batch_size=1, window=window, seed=0
    )
    learner = GenerateLearner(
        model, params, source, None, order="ordered", dropout=0.0, seed=0, device=torch.device("cpu")
    )
    total = 0.0
    for step in range(STEPS // window):
        nats, _, _ = learner.next_loss(step, 0.0)
        nats.backward()
        total += nats.item()
    return total, {name: value.grad for name, value in learner.parameters.items() if name not in model.frozen}


RECURRENT = [
    case
    for case in CELL_CASES
    if case[0] not in ("echo_state", "time_delay") and case not in [("output_recurrent", {}), ("skip", {})]
]
"""Those whose trained parameters act through states of up to four steps before."""


@pytest.mark.parametrize(("cell", "options"), CELL_CASES)
def test_a_window_that_holds_the_sequence_truncates_nothing(cell, options):
    model = make_model(cell, options)
    params = random_params(model.shapes, scale=0.5)
    _, found = truncated_gradients(model, params, STEPS)
    for name, expected in shared_gradients(model, params).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("cell", "options"), RECURRENT)
def test_a_shorter_window_cuts_the_gradient_and_not_the_state(cell, options):
    model = make_model(cell, options)
    params = random_params(model.shapes, scale=0.5)
    whole, full = truncated_gradients(model, params, STEPS)
    for window in (4, 2):
        total, cut = truncated_gradients(model, params, window)
        assert total == pytest.approx(whole, rel=1e-12)
        assert not torch.allclose(cut["layers.0.weight_ih"], full["layers.0.weight_ih"], rtol=1e-6)
        pieces, steps = as_torch(params), text_steps()
        state = model.initial_state(pieces, 1)
        for begin in range(0, STEPS, window):
            part = some_steps(steps, begin, begin + window)
            hidden, state = model.read(pieces, part, state)
            model.nll(pieces, hidden, part).sum().backward()
            state = tuple(map_state(lambda array: array.detach(), layer) for layer in state)
        for name, gradient in cut.items():
            torch.testing.assert_close(gradient, pieces[name].grad, rtol=1e-10, atol=1e-12)
