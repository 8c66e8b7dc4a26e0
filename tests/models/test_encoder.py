"""Encoders in each direction against a loop over the steps of each row, and torch's own."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import CELL_CASES, as_torch, random_params

from charrnn.cells.arrays import OneHot
from charrnn.cells.cell import Cell, map_state
from charrnn.models.encoder import Encoder, EncoderConfig
from charrnn.models.layers import start

V, H = 4, 3
LENGTHS = np.array([5, 0, 2, 1])
IDS = np.random.default_rng(0).integers(0, V + 1, (5, 4))
"""Symbols, some of them unknown, also where there is padding."""

CASES = [(cell, options) for cell, options in CELL_CASES if cell != "output_recurrent" or options]
each_encoder = pytest.mark.parametrize(("cell", "options"), CASES, ids=str)
each_direction = pytest.mark.parametrize("direction", ["forward", "backward", "both"])


def make(cell: str, options: dict[str, Any], direction: str, **settings: Any) -> Encoder:
    config = EncoderConfig(
        cell=cell,  # type: ignore[arg-type]
        cell_options=options,
        direction=direction,  # type: ignore[arg-type]
        **{"vocab_size": V, "hidden_size": H, "num_layers": 2, **settings},
    )
    return Encoder(config, num_outputs=2)


def each_row_alone(cell: Cell, params: Any, x: Any, state: Any, *, reverse: bool) -> np.ndarray:
    """(T, B, H): every row from its own end where it is reversed; zero in the padding."""
    projected = cell.project(params, x)
    outputs = np.zeros((*projected.shape[:2], cell.output_size))
    for b, length in enumerate(LENGTHS):
        end = map_state(lambda array, b=b: array[b : b + 1], state)
        for t in reversed(range(length)) if reverse else range(length):
            h, end = cell.step(params, projected[t, b : b + 1], end)
            outputs[t, b] = h[0]
    return outputs


@each_direction
@each_encoder
def test_a_direction_is_the_step_loop_over_each_row(cell, options, direction):
    encoder = make(cell, options, direction, initial_state="learned")
    params = random_params(encoder.shapes, seed=1, scale=0.5)
    found = encoder.read(params, IDS, LENGTHS)
    x: Any = OneHot(IDS, V)
    for index, layer in enumerate(encoder.layers):
        outputs = []
        for name in encoder.directions:
            prefix = f"layers.{index}.{name}."
            own = {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix)}
            state = start(layer, params, f"initial_state.{index}.{name}.", 4)
            outputs.append(each_row_alone(layer, own, x, state, reverse=name == "backward"))
        x = np.concatenate(outputs, axis=-1)
    for b, length in enumerate(LENGTHS):
        np.testing.assert_allclose(found.outputs[:length, b], x[:length, b], rtol=1e-9, atol=1e-12)
        ends = [
            o[0 if n == "backward" else length - 1, b] for o, n in zip(outputs, encoder.directions, strict=True)
        ]
        expected = np.concatenate(ends) if length else np.zeros(encoder.output_size)
        np.testing.assert_allclose(found.summary[b], expected, rtol=1e-9, atol=1e-12)


@each_encoder
def test_torch_agrees_and_padding_reaches_nothing(cell, options):
    """With the fused kernels; other padding changes no bit, and no gradient."""
    encoder = make(cell, options, "both")
    params = random_params(encoder.shapes, seed=1, scale=0.5)
    expected = encoder.read(params, IDS, LENGTHS)
    gradients = []
    for fill in (V, 0):
        ids = np.where(np.arange(5)[:, None] < LENGTHS, IDS, fill)
        weights = as_torch(params)
        found = encoder.read(weights, torch.from_numpy(ids), torch.from_numpy(LENGTHS))
        np.testing.assert_allclose(found.summary.detach().numpy(), expected.summary, rtol=1e-9, atol=1e-12)
        for b, length in enumerate(LENGTHS):
            real = found.outputs[:length, b].detach().numpy()
            np.testing.assert_allclose(real, expected.outputs[:length, b], rtol=1e-9, atol=1e-12)
        real = torch.arange(5)[:, None] < torch.from_numpy(LENGTHS)
        (found.summary.sum() + (found.outputs * real[..., None]).sum()).backward()
        gradients.append({name: w.grad for name, w in weights.items() if w.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, grad in gradients[0].items():
        np.testing.assert_allclose(grad.numpy(), gradients[1][name].numpy(), rtol=1e-12, atol=1e-14, err_msg=name)


@each_encoder
def test_batch_mates_change_nothing(cell, options):
    encoder = make(cell, options, "both")
    params = random_params(encoder.shapes, seed=1, scale=0.5)
    together = encoder.read(params, IDS, LENGTHS)
    for b, length in enumerate(LENGTHS):
        alone = encoder.read(params, IDS[: max(length, 1), b : b + 1], LENGTHS[b : b + 1])
        np.testing.assert_allclose(alone.summary[0], together.summary[b], rtol=1e-9, atol=1e-12)


def test_torch_s_bidirectional_lstm():
    encoder = make("lstm", {}, "both")
    params = random_params(encoder.shapes, seed=1, scale=0.5)
    theirs = torch.nn.LSTM(V, H, num_layers=2, bidirectional=True, dtype=torch.float64)
    with torch.no_grad():
        for index in range(2):
            for name, suffix in (("forward", ""), ("backward", "_reverse")):
                for ours, there in (("weight_ih", "weight_ih"), ("weight_hh", "weight_hh"), ("bias", "bias_ih")):
                    value = torch.from_numpy(params[f"layers.{index}.{name}.{ours}"])
                    getattr(theirs, f"{there}_l{index}{suffix}").copy_(value)
                getattr(theirs, f"bias_hh_l{index}{suffix}").zero_()
        ids, lengths = IDS[:, [0, 2, 3]], LENGTHS[[0, 2, 3]]
        x = torch.nn.functional.one_hot(torch.from_numpy(ids), V + 1)[..., :V].double()
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.from_numpy(lengths))
        expected, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0])
    found = encoder.read(params, ids, lengths).outputs
    for b, length in enumerate(lengths):
        np.testing.assert_allclose(found[:length, b], expected[:length, b].numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("depth", ["input_depth", "transition_depth", "output_depth"])
def test_depth_matters_in_each_place(depth):
    shallow, deep = make("gru", {}, "both"), make("gru", {}, "both", **{depth: 2})
    params = random_params(deep.shapes, seed=1, scale=0.5)
    found = deep.read(params, IDS, LENGTHS)
    assert deep.shapes.keys() > shallow.shapes.keys() or depth == "input_depth"
    weights = as_torch(params)
    deep.read(weights, torch.from_numpy(IDS), torch.from_numpy(LENGTHS)).summary.square().sum().backward()
    assert all(w.grad is not None and bool(w.grad.abs().sum() > 0) for w in weights.values())
    assert np.isfinite(found.summary).all()


def test_the_true_text_cannot_be_fed_back_into_what_reads_an_input():
    with pytest.raises(ValueError, match="--feedback output"):
        _ = make("output_recurrent", {}, "forward").shapes


@each_direction
@pytest.mark.parametrize("cell", ["lstm", "gru", "leaky"])
def test_its_own_language_model_is_a_loop_by_hand(cell, direction):
    """Each direction predicts what it reads next, and its end; the first symbol and unknown ones cost nothing."""
    encoder = make(cell, {}, direction, language_model=True)
    params = random_params(encoder.shapes, seed=1, scale=0.5)
    mask_symbols = np.where(np.random.default_rng(5).random(IDS.shape) < 0.3, V, IDS)
    found = encoder.language_nll(params, encoder.read(params, mask_symbols, LENGTHS), LENGTHS, IDS)
    for b, length in enumerate(LENGTHS):
        expected = 0.0
        for name in encoder.directions:
            step = 1 if name == "forward" else -1
            read, truth = mask_symbols[:length, b][::step], [*IDS[:length, b][::step], V]
            prefix = f"layers.0.{name}."
            own = {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix)}
            state = start(encoder.layers[0], params, f"initial_state.0.{name}.", 1)
            for t in range(length):
                h, state = encoder.layers[0].step(
                    own, encoder.layers[0].project(own, OneHot(read[t : t + 1], V)), state
                )
                head = f"language_model.{name}."
                o = h[0] @ params[head + "weight"].T + params[head + "bias"]
                if t + 1 == length or truth[t + 1] < V:
                    expected -= o[truth[t + 1]] - np.log(np.exp(o).sum())
        assert found[b] == pytest.approx(expected, rel=1e-9)
    weights, ids, lengths, targets = as_torch(params), *map(torch.from_numpy, (mask_symbols, LENGTHS, IDS))
    tensors = encoder.language_nll(weights, encoder.read(weights, ids, lengths), lengths, targets)
    np.testing.assert_allclose(tensors.detach().numpy(), found, rtol=1e-9)


@each_direction
def test_dropout_reaches_the_outputs_and_the_summary_of_every_layer(direction):
    """A model of the summary alone, such as a classifier, has no other place where units are dropped."""
    encoder = make("lstm", {}, direction, num_layers=2)
    seen: list[tuple[int, ...]] = []

    def halved(x):
        seen.append(x.shape)
        return 0.5 * x

    params = random_params(encoder.shapes, seed=1, scale=0.5)
    whole, dropped = encoder.read(params, IDS, LENGTHS), encoder.read(params, IDS, LENGTHS, halved)
    S, B = IDS.shape
    assert seen == [(S, B, encoder.output_size)] * 2 + [(B, encoder.output_size)]
    np.testing.assert_array_equal(
        dropped.first["forward" if direction == "both" else direction],
        whole.first["forward" if direction == "both" else direction],
    )
    assert not np.allclose(dropped.summary, 0.5 * whole.summary)  # The layer below was halved as well.
