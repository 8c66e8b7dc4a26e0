"""The language model's numbers: shapes, likelihoods of batches, their parts, and gradients."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import (
    CELL_CASES,
    ENDINGS,
    all_texts,
    alphabet_of,
    as_torch,
    each_model,
    each_model_and_stop,
    each_of,
    each_stop,
    make_model,
    random_params,
    steps_to_torch,
    text_nll,
    whole_steps,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import ReferenceModel

from charrnn.cells.cell import state_arrays
from charrnn.config import StopName
from charrnn.corpus.steps import Kind, Steps
from charrnn.corpus.vocabulary import Vocabulary

TEXTS = ["ab", "", "aaaab", "b", "bbaba", "ba"]


def tolerance(nll: np.ndarray) -> np.ndarray:
    """What the design allows between any two ways to compute a likelihood."""
    return 1e-5 * np.maximum(1.0, nll)


# Shapes and starting values --------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize("stops", [("eos",), ("halt",), ("length",), ENDINGS, ("none",)])
@pytest.mark.parametrize("initial_state", ["zero", "learned"])
def test_shapes_are_those_of_init(cell, options, stops, initial_state):
    model = make_model(cell, options, stops=stops, num_layers=2, initial_state=initial_state)
    params = model.init(np.random.default_rng(0), np.array([3, 0, 5]))
    assert {name: value.shape for name, value in params.items()} == model.shapes
    assert all(value.dtype == np.float32 for value in params.values())
    learned = initial_state == "learned" and len(state_arrays(model.layers[0].zero_state(1, np.zeros(1)))) > 0
    assert any(name.startswith("initial_state") for name in params) == learned
    assert ("halt.weight" in params) == ("halt" in stops)
    assert ("length.weight" in params) == ("length" in stops)
    assert model.num_logits == 2 + ("eos" in stops)


@each_stop
def test_a_fresh_model_expects_about_the_mean_length(stops, stop):
    """Its sequences end after as many characters as those it will be trained on, within a factor of two."""
    lengths = np.array([18, 20, 22, 20])
    model = make_model(stops=stops, vocab_size=20, hidden_size=16, length_scale=20.0)
    params = model.init(np.random.default_rng(0), lengths)
    if stop == "length":
        hidden, _ = model.read(
            params, whole_steps([""], "length", alphabet_of(20)), model.initial_state(params, 1)
        )
        median = model.endings["length"].distribution(params, hidden[0]).inverse_survival(np.log([0.5]))
        assert 17 <= median[0] <= 23
    else:
        steps = whole_steps(["abcdefghijklmnopqrst"], stop, alphabet_of(20))
        hidden, _ = model.read(params, steps, model.initial_state(params, 1))
        stopping = -np.expm1(model.assess(params, hidden, steps).log_go_on)
        assert 1 / 42 < stopping.mean() < 2 / 21


@each_model
def test_a_learned_initial_state_is_part_of_the_parameters(cell, options):
    model = make_model(cell, options, num_layers=2, initial_state="learned")
    params = random_params(model.shapes)
    states = model.initial_state(params, 3)
    for layer, state in enumerate(states):
        for part, array in enumerate(state_arrays(state)):
            np.testing.assert_array_equal(array, np.tile(params[f"initial_state.{layer}.{part}"], (3, 1)))
    text_nll_of = lambda p: text_nll(model, p, ["ab" * 20], "eos")[0]  # noqa: E731
    for name in (name for name in params if name.startswith("initial_state")):
        assert text_nll_of(params) != text_nll_of({**params, name: params[name] + 0.5})


# Likelihoods -----------------------------------------------------------------------------------------------


@each_stop
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_a_shuffled_batch_and_a_row_alone_agree(stops, stop, num_layers, dtype):
    model = make_model(stops=stops, num_layers=num_layers, hidden_size=6)
    params = random_params(model.shapes, dtype=dtype)
    batch = text_nll(model, params, TEXTS, stop)
    order = [3, 1, 5, 0, 4, 2]
    shuffled = text_nll(model, params, [TEXTS[i] for i in order], stop)
    alone = np.array([text_nll(model, params, [text], stop)[0] for text in TEXTS])
    allowed = tolerance(batch) if dtype == np.float32 else 1e-12
    assert (np.abs(shuffled - batch[order]) <= (allowed[order] if dtype == np.float32 else allowed)).all()
    assert (np.abs(alone - batch) <= allowed).all()


@each_model_and_stop
def test_numpy_and_torch_agree(cell, options, stops, stop):
    """Through the fused kernels where there are some, in single precision, two layers, two scales of weights."""
    model = make_model(cell, options, stops=stops, num_layers=2, hidden_size=8)
    for scale in (0.3, 1.0):
        params = random_params(model.shapes, scale=scale, dtype=np.float32)
        by_numpy = text_nll(model, params, TEXTS, stop)
        by_torch = text_nll(model, as_torch(params), TEXTS, stop)
        exact = text_nll(model, {name: value.astype(np.float64) for name, value in params.items()}, TEXTS, stop)
        assert (np.abs(by_numpy - by_torch) <= tolerance(exact)).all()
        assert (np.abs(by_numpy - exact) <= tolerance(exact)).all()


def test_rows_of_several_mechanisms_share_a_batch():
    model = make_model(stops=ENDINGS)
    params = random_params(model.shapes)
    stops: list[StopName] = ["halt", "length", "eos", "eos", "halt", "length"]
    together = text_nll(model, params, TEXTS, stops)
    alone = [text_nll(model, params, [text], stop)[0] for text, stop in zip(TEXTS, stops, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-12)


def test_the_eos_logit_is_masked_outside_eos():
    model = make_model(stops=ENDINGS)
    params = random_params(model.shapes)
    moved = {**params, "readout.bias": params["readout.bias"] + np.array([0.0, 0.0, 5.0])}
    for stop in ENDINGS:
        a, b = text_nll(model, params, TEXTS, stop), text_nll(model, moved, TEXTS, stop)
        assert (a == b).all() == (stop != "eos")


def test_the_count_is_read_under_length_alone():
    """Its weights move no likelihood but that of `length`, and there nothing of p(τ)."""
    model = make_model(stops=ENDINGS)
    params = random_params(model.shapes)
    weight = params["layers.0.weight_ih"].copy()
    weight[:, model.num_input_symbols :] += 1.0
    moved = {**params, "layers.0.weight_ih": weight}
    for stop in ENDINGS:
        a, b = text_nll(model, params, TEXTS, stop), text_nll(model, moved, TEXTS, stop)
        assert np.allclose(a, b, atol=1e-12) == (stop != "length")
    empty = [text_nll(model, p, [""], "length")[0] for p in (params, moved)]
    assert empty[0] == empty[1]


@each_stop
def test_an_unseen_character_costs_epsilon_and_reads_as_zero(stops, stop):
    """ln(training characters + 1), in place of the softmax's share alone."""
    model = make_model(stops=stops, training_chars=500)
    params = random_params(model.shapes)
    reference = ReferenceModel(model.config, params)
    vocabulary = alphabet_of(2)
    for text in ("x", "axb", "?!", "abx"):
        ids = vocabulary.encode(text).tolist()
        nll = text_nll(model, params, [text], stop)[0]
        assert nll == pytest.approx(-reference.log_prob(ids, stop), abs=1e-9)
    steps = whole_steps(["axb"], stop, vocabulary)
    hidden, _ = model.read(params, steps, model.initial_state(params, 1))
    nll = model.nll(params, hidden, steps)[:, 0]
    unseen = (steps.targets[:, 0] == 3) & (steps.kinds[:, 0] == Kind.CHARACTER)
    assert unseen.sum() == 1
    extra = 0.0
    if stop == "halt":
        extra = float(np.logaddexp(0.0, hidden[unseen, 0] @ params["halt.weight"] + params["halt.bias"])[0])
    assert nll[unseen][0] == pytest.approx(math.log(501) + extra)


def test_the_unknown_input_has_no_weight():
    """It is read as the bias alone, the recurrence aside."""
    model = make_model("tanh")
    params = random_params(model.shapes)
    steps = whole_steps(["x"], "none", alphabet_of(2))
    zeroed = {**params, "layers.0.weight_hh": np.zeros((3, 3))}
    hidden, _ = model.read(zeroed, steps, model.initial_state(zeroed, 1))
    np.testing.assert_allclose(hidden[1, 0], np.tanh(params["layers.0.bias"]), atol=1e-15)


def test_the_alphabet_of_the_corpus_need_not_be_the_models():
    model = make_model()
    params = random_params(model.shapes)
    plain = text_nll(model, params, ["ab"], "eos")
    assert (text_nll(model, params, ["ab", "éβ漢"], "eos")[:1] == plain).all()
    renamed = text_nll(model, params, ["éβ"], "eos", Vocabulary(("é", "β")))
    np.testing.assert_array_equal(renamed, plain)


# The parts of a likelihood ---------------------------------------------------------------------------------


@each_stop
def test_assessment_has_the_parts_of_the_nll(stops, stop):
    model = make_model(stops=stops, vocab_size=3)
    params = random_params(model.shapes)
    reference = ReferenceModel(model.config, params)
    texts = [text for text in all_texts(3, 3) if len(text) != 2]
    steps = whole_steps(texts, stop, alphabet_of(3))
    hidden, _ = model.read(params, steps, model.initial_state(params, len(texts)))
    found = model.assess(params, hidden, steps)
    np.testing.assert_array_equal(found.nll, model.nll(params, hidden, steps))
    for row, text in enumerate(texts):
        ids = alphabet_of(3).encode(text).tolist()
        if stop == "length":
            spent = -math.log(reference.p_length(len(ids)))
            path = list(reference.path(ids, stop, len(ids)))
            log_go_on = []
        else:
            path = list(reference.path(ids, stop))
            log_go_on = [math.log(1.0 - reference.stopping(h, stop)) for h in path]
            spent = -math.log(reference.stopping(path[-1], stop)) - sum(log_go_on[:-1])
        assert found.stopping[:, row].sum() == pytest.approx(spent, abs=1e-9)
        right = [max(range(3), key=reference.logits(h, stop).__getitem__) for h in path[:-1]]
        assert found.correct[:, row].sum() == sum(a == b for a, b in zip(right, ids, strict=True))
        np.testing.assert_allclose(found.log_go_on[: len(log_go_on), row], log_go_on, atol=1e-9)
        assert not found.log_go_on[len(log_go_on) :, row].any()


def test_nothing_is_spent_on_stopping_in_a_stream():
    model = make_model(stops=("none",))
    params = random_params(model.shapes)
    steps = whole_steps(TEXTS, "none", alphabet_of(2))
    hidden, _ = model.read(params, steps, model.initial_state(params, len(TEXTS)))
    found = model.assess(params, hidden, steps)
    assert not found.stopping.any()
    assert not found.log_go_on.any()


def test_certainty_of_the_ending_stays_finite():
    """A model that gives EOS or halt nearly all of the probability still has finite numbers and gradients."""
    for stop, name in (("eos", "readout.bias"), ("halt", "halt.bias")):
        model = make_model(stops=(stop,))
        for bias in (-200.0, 200.0):
            params = random_params(model.shapes, dtype=np.float32)
            params[name] = params[name] + np.array([0, 0, bias] if stop == "eos" else bias, dtype=np.float32)
            tensors = as_torch(params)
            steps = steps_to_torch(whole_steps(TEXTS, stop, alphabet_of(2)))
            hidden, _ = model.read(tensors, steps, model.initial_state(tensors, len(TEXTS)))
            found = model.assess(tensors, hidden, steps)
            found.nll.sum().backward()
            assert all(torch.isfinite(part).all() for part in found)
            assert all(torch.isfinite(t.grad).all() for t in tensors.values())
            go_on = found.log_go_on.detach().numpy()[steps.kinds == Kind.CHARACTER]
            assert (go_on < -190 if bias > 0 else np.abs(go_on) < 1e-30).all(), (stop, bias)


# Gradients -------------------------------------------------------------------------------------------------


@each_of(("stops",), CELL_CASES, {"all": (ENDINGS,), "eos": (("eos",),)}, lambda _number: [])
def test_gradients_of_the_whole_model_are_central_differences(cell, options, stops):
    """Of every parameter: two layers, a learned start, rows of all mechanisms, padding and an unseen character."""
    model = make_model(
        cell, options, stops=stops, num_layers=2, hidden_size=2, initial_state="learned", length_scale=2.0
    )
    params = random_params(model.shapes, scale=0.7)
    texts = ["aba", "", "bx"]
    rows: list[StopName] = list(ENDINGS) if len(stops) > 1 else ["eos"] * 3
    tensors = as_torch(params)
    steps = whole_steps(texts, rows, alphabet_of(2))

    def nll(of: dict[str, Any], read: Steps) -> Any:
        hidden, _ = model.read(of, read, model.initial_state(of, len(texts)))
        return model.nll(of, hidden, read).sum()

    nll(tensors, steps_to_torch(steps)).backward()
    for name in params.keys() - model.frozen:
        value = params[name]
        for index in np.ndindex(value.shape):
            total = {}
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * 1e-5
                total[sign] = nll({**params, name: moved}, steps)
            difference = (total[1] - total[-1]) / 2e-5
            assert abs(difference - float(tensors[name].grad[index])) < 1e-5, (name, index)


@each_stop
def test_padding_adds_no_gradient(stops, stop):
    """The gradients of a padded batch are the sums of its rows' own."""
    model = make_model(stops=stops, num_layers=2)
    params = random_params(model.shapes)
    together, alone = as_torch(params), as_torch(params)
    for texts in (TEXTS, *([text] for text in TEXTS)):
        tensors = together if len(texts) > 1 else alone
        steps = steps_to_torch(whole_steps(texts, stop, alphabet_of(2)))
        hidden, _ = model.read(tensors, steps, model.initial_state(tensors, len(texts)))
        model.nll(tensors, hidden, steps).sum().backward()
    for name, tensor in together.items():
        torch.testing.assert_close(tensor.grad, alone[name].grad, rtol=1e-9, atol=1e-9)


def test_dropout_acts_behind_every_layer_and_nowhere_else():
    model = make_model(num_layers=3)
    params = random_params(model.shapes)
    steps = whole_steps(TEXTS, "eos", alphabet_of(2))
    seen = []

    def keep(x: np.ndarray) -> np.ndarray:
        seen.append(x.shape)
        return x

    state = model.initial_state(params, len(TEXTS))
    plain, end = model.read(params, steps, state)
    kept, end_kept = model.read(params, steps, state, keep)
    np.testing.assert_array_equal(plain, kept)
    assert seen == [plain.shape] * 3
    dropped, end_dropped = model.read(params, steps, state, lambda x: 0.0 * x)
    assert not dropped.any()
    np.testing.assert_array_equal(end_dropped[0].h, end[0].h)
    assert not np.array_equal(end_dropped[1].h, end_kept[1].h)


@given(st.lists(st.text("ab", max_size=8), min_size=1, max_size=6), st.sampled_from(ENDINGS), st.integers(1, 5))
def test_the_state_carries_from_window_to_window(texts, stop, window):
    """A batch read in windows costs what it costs in one piece."""
    model = make_model(stops=ENDINGS)
    params = random_params(model.shapes)
    steps = whole_steps(texts, stop, alphabet_of(2))
    state = model.initial_state(params, len(texts))
    total = np.zeros(len(texts))
    for start in range(0, len(steps.inputs), window):
        part = steps._replace(
            inputs=steps.inputs[start : start + window],
            remaining=steps.remaining[start : start + window],
            targets=steps.targets[start : start + window],
            kinds=steps.kinds[start : start + window],
        )
        hidden, state = model.read(params, part, state)
        total += model.nll(params, hidden, part).sum(axis=0)
    np.testing.assert_allclose(total, text_nll(model, params, texts, stop), atol=1e-11)
    assert (steps.kinds != Kind.NOTHING).any(axis=0).all()
