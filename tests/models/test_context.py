"""Language models given a vector, and given a memory that they attend to, against loops by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_context import MODES, TEXTS, X, conditioned, nll, stateless
from helpers_models import alphabet_of, as_torch, corpus, each_model, random_params, whole_steps

from charrnn.corpus.steps import Steps, map_arrays
from charrnn.models.attention import FARTHEST, Attention
from charrnn.models.language_model import LanguageModel
from charrnn.sampling.stepper import Stepper


def given_steps(seed: int = 3) -> Steps:
    contexts = np.random.default_rng(seed).normal(size=(len(TEXTS), X))
    return whole_steps(TEXTS, ["eos", "length", "eos"], alphabet_of(2))._replace(context=contexts)


@pytest.mark.parametrize("mode", MODES)
@each_model
def test_numpy_and_torch_and_a_row_alone_agree(cell, options, mode):
    model = conditioned(cell, options, mode, num_layers=1)
    if stateless(cell, options, mode):
        with pytest.raises(ValueError, match="no state that a context could begin"):
            _ = model.shapes
        return
    params, steps = random_params(model.shapes, seed=1, scale=0.5), given_steps()
    expected = nll(model, params, steps)
    with torch.no_grad():
        found = nll(model, as_torch(params), map_arrays(torch.from_numpy, steps))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    for row in range(len(TEXTS)):
        alone = Steps(*(a[:, row : row + 1] for a in steps[:4]), steps.stops[[row]], steps.context[[row]])
        np.testing.assert_allclose(nll(model, params, alone), expected[[row]], rtol=1e-9)


@pytest.mark.parametrize("mode", MODES)
@each_model
def test_every_way_of_a_context_matters(cell, options, mode):
    """The gradient with respect to the vector and to each of its matrices is not zero."""
    if stateless(cell, options, mode):
        return
    model = conditioned(cell, options, mode, num_layers=1)
    params = as_torch(random_params(model.shapes, seed=1, scale=0.5))
    steps = map_arrays(torch.from_numpy, given_steps())
    context = steps.context.requires_grad_()
    nll(model, params, steps).sum().backward()
    assert (context.grad.abs().sum(dim=1) > 1e-9).all()
    names = [name for name in params if name.startswith("context.")]
    assert ("context.weight" in names) == (mode != "init")
    assert any(name != "context.weight" for name in names) == (mode != "add")
    grads = [params[name].grad for name in names]
    assert all(grad is not None for grad in grads)
    assert any(float(grad.abs().max()) > 1e-9 for grad in grads)


@pytest.mark.parametrize("settings", [{}, {"input_depth": 2}, {"context_readout": True}], ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [None, "additive", "dot"])
def test_steps_one_by_one_are_the_whole(mode, kind, settings):
    """The stepper that draws text reads what `read` reads, contexts, counts and memory included."""
    attentive = {"attention": kind, "memory_size": 4} if kind else {}
    model = conditioned("lstm", {}, mode, **settings, **attentive)
    params, steps = random_params(model.shapes, seed=1, scale=0.5), given_steps()
    memory = a_memory(model, params)
    hidden, _ = model.read(params, steps, model.initial_state(params, 3, steps.context), memory=memory)
    stepper = Stepper(model, params)
    given = stepper.given(steps.context, memory)
    state = stepper.initial_state(3, given)
    for t, expected in enumerate(hidden):
        found, state = stepper.step(steps.inputs[t], steps.remaining[t], state, given._replace(step=t))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def a_memory(model: LanguageModel, params: Any) -> Any:
    if model.attention is None:
        return None
    values = np.random.default_rng(8).normal(size=(3, 5, 4))
    real = np.arange(5) < np.array([5, 0, 2])[:, None]
    return model.attention.memory(params, values, real)


@pytest.mark.parametrize("kind", ["additive", "dot"])
def test_attention_is_what_its_equations_say(kind):
    """A loop over steps, rows and places by hand; what is behind a row's end is never looked at."""
    attention = Attention(kind, 3, 4, 2)
    params = random_params(attention.shapes, seed=2)
    rng = np.random.default_rng(5)
    query, values = rng.normal(size=(2, 3, 3)), rng.normal(size=(3, 5, 4))
    lengths = np.array([5, 0, 2])
    memory = attention.memory(params, values, np.arange(5) < lengths[:, None])
    seen, weights = attention.attend(params, query, memory, first=19)
    r = params["attention.offset"]
    A = params["attention.query.weight"]
    for t in range(2):
        for b, length in enumerate(lengths):
            energies = []
            for s, m in enumerate(values[b, :length]):
                nearness = r[FARTHEST + max(s - (19 + t), -FARTHEST)]
                if kind == "dot":
                    energies.append((A @ query[t, b]) @ m / 4**0.5 + nearness)
                else:
                    inner = A @ query[t, b] + params["attention.key.weight"] @ m + params["attention.key.bias"]
                    energies.append(params["attention.energy.weight"] @ np.tanh(inner) + nearness)
            alpha = np.exp(energies) / max(np.exp(energies).sum(), 1e-300)
            np.testing.assert_allclose(weights[t, b], np.append(alpha, np.zeros(5 - length)), atol=1e-12)
            np.testing.assert_allclose(seen[t, b], alpha @ values[b, :length] if length else 0.0, atol=1e-12)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_memory_is_looked_at(num_layers):
    """The gradient through it is not zero, but where there is padding, and its values change nothing there."""
    model = conditioned("gru", {}, "both", num_layers=num_layers, attention="additive", memory_size=4)
    params = random_params(model.shapes, seed=1, scale=0.5)
    weights, steps = as_torch(params), map_arrays(torch.from_numpy, given_steps())
    values = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values.requires_grad_()
    real = torch.arange(5) < torch.tensor([5, 0, 2])[:, None]
    assert model.attention is not None
    nll(model, weights, steps, model.attention.memory(weights, values, real)).sum().backward()
    moved = values.grad.abs().sum(-1) > 1e-12
    assert (moved == real).all()


def test_parts_of_a_corpus_keep_their_contexts():
    from charrnn.corpus.partition import partition

    texts = [f"{number:03d}" for number in range(60)]
    sequences = replace(corpus(texts), contexts=np.arange(60.0, dtype=np.float32)[:, None])
    parts = partition(sequences, order="independent", valid_fraction=0.2, test_fraction=0.2)
    for part in (parts.train, parts.valid, parts.test):
        assert len(part)
        assert [float(part.get(s)) for s in range(len(part))] == part.contexts[:, 0].tolist()
