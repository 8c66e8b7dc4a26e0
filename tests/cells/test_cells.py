"""Every cell of the registry, one step and many, against its equations, torch's modules and differences."""

from typing import Any

import numpy as np
import pytest
import reference
import torch
from helpers_models import (
    CELL_CASES,
    alphabet_of,
    as_torch,
    each_cell,
    make_cell,
    make_model,
    output_bound,
    random_params,
    whole_steps,
)
from torch import nn

from charrnn.cells import CELLS
from charrnn.cells.arrays import OneHot
from charrnn.cells.cell import map_state, state_arrays
from charrnn.cells.unroll import unroll
from charrnn.config import CELL_NAMES

I, H, B, T = 2, 3, 4, 5  # noqa: E741

each_fused_cell = pytest.mark.parametrize(
    ("cell", "options"),
    [(name, options) for name, options in CELL_CASES if make_cell(name, I, H, options).kernel() is not None],
)


def numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def random_state(cell: Any, rows: int, seed: int = 7) -> Any:
    """A state away from zero."""
    rng = np.random.default_rng(seed)
    return map_state(lambda zero: rng.normal(size=zero.shape), cell.zero_state(rows, np.zeros(1)))


def torch_state(state: Any) -> Any:
    return map_state(lambda array: torch.tensor(array, requires_grad=True), state)


def step_loop(cell: Any, params: Any, x: Any, state: Any) -> tuple[Any, Any]:
    """The definition of an unrolled cell."""
    outputs = []
    for t in range(len(x)):
        output, state = cell.step(params, cell.project(params, x[t]), state)
        outputs.append(output)
    return (torch.stack if isinstance(x, torch.Tensor) else np.stack)(outputs), state


def test_every_cell_has_a_name_in_the_configuration_and_reference_equations():
    assert set(CELLS) == set(CELL_NAMES) == set(reference.CELLS)


@each_cell
def test_shapes_are_those_of_init(cell, options):
    built = make_cell(cell, I, H, options)
    params = built.init(np.random.default_rng(0))
    assert {name: value.shape for name, value in params.items()} == built.shapes
    assert all(value.dtype == np.float32 for value in params.values())
    assert all(np.isfinite(value).all() and value.std() > 0 for value in params.values())
    assert (built.input_size, built.output_size) == (I, 2 if built.gives_logits else H)
    assert built.frozen <= built.shapes.keys()


@each_cell
def test_init_depends_on_the_generator_alone(cell, options):
    built = make_cell(cell, I, H, options)
    one, same, other = (built.init(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not any(np.array_equal(one[name], other[name]) for name in one if name not in ("bias", "leak"))


@pytest.mark.parametrize("bias", [1.0, -2.5])
def test_lstm_starts_with_the_forget_bias(bias):
    params = CELLS["lstm"](I, H, forget_bias=bias).init(np.random.default_rng(0))
    assert (params["bias"][H : 2 * H] == bias).all()
    assert (np.abs(params["bias"][[*range(H), *range(2 * H, 4 * H)]]) <= H**-0.5).all()


def test_lstm_memories_span_the_orders_of_magnitude():
    """Half-lives: a unit whose forget gate is σ(b) keeps e^(−1) after about 1 + e^b steps; log-uniform to T."""
    H = 4000
    bias = CELLS["lstm"](I, H, memory_span=200).init(np.random.default_rng(0))["bias"]
    steps = np.sort(-1.0 / np.log(1.0 / (1.0 + np.exp(-bias[H : 2 * H].astype(float)))))
    np.testing.assert_allclose(np.quantile(steps, [0.01, 0.99]), [1.5, 190.0], rtol=0.05)
    assert float(np.median(steps)) == pytest.approx(200**0.5, rel=0.15)
    assert (bias[:H] == -bias[H : 2 * H]).all(), "what is kept for long is written slowly"
    assert np.abs(bias[2 * H :]).max() <= H**-0.5


def test_lstm_forgets_little_at_first():
    assert CELLS["lstm"](I, H) == CELLS["lstm"](I, H, forget_bias=1.0)


@pytest.mark.parametrize(
    ("cell", "options"),
    [("tanh", {"forget_bias": 1.0}), ("gru", {"reset_gate": "never"}), ("lstm", {"forget_bias": "x"})],
)
def test_options_that_a_cell_lacks_or_cannot_take_are_refused(cell, options):
    with pytest.raises(ValueError):
        make_cell(cell, I, H, options)


@each_cell
def test_zero_state_is_zero_in_the_library_and_type_asked_for(cell, options):
    built = make_cell(cell, I, H, options)
    for like in (np.zeros(1, np.float32), np.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.float64)):
        for array in state_arrays(built.zero_state(B, like)):
            assert (type(array), array.dtype, len(array)) == (type(like), like.dtype, B)
            assert not np.asarray(array).any()


@each_cell
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_steps_are_the_equations_in_plain_python(cell, options, scale):
    built = make_cell(cell, I, H, options)
    params = random_params(built.shapes, scale=scale)
    x, state = numbers(1, T, B, I), random_state(built, B)
    outputs, final = step_loop(built, params, x, state)
    weights = {name: value.tolist() for name, value in params.items()}
    for b in range(B):
        parts = [array[b].tolist() for array in state_arrays(state)]
        for t in range(T):
            h, parts = reference.CELLS[cell][0](weights, x[t, b].tolist(), parts, options)
            np.testing.assert_allclose(outputs[t, b], h, rtol=1e-12, atol=1e-13)
        for array, part in zip(state_arrays(final), parts, strict=True):
            np.testing.assert_allclose(array[b], part, rtol=1e-12, atol=1e-13)


def test_the_two_resets_of_the_gru_differ():
    before, after = CELLS["gru"](I, H, reset_gate="before"), CELLS["gru"](I, H)
    params = random_params(after.shapes)
    x, state = numbers(1, T, B, I), random_state(after, B)
    assert not np.allclose(step_loop(before, params, x, state)[0], step_loop(after, params, x, state)[0])


@each_cell
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_and_torch_take_the_same_step(cell, options, dtype):
    built = make_cell(cell, I, H, options)
    params = random_params(built.shapes, dtype=dtype)
    x = numbers(1, B, I).astype(dtype)
    state = map_state(lambda array: array.astype(dtype), random_state(built, B))
    h, after = built.step(params, built.project(params, x), state)
    tensors = as_torch(params)
    h_torch, after_torch = built.step(
        tensors, built.project(tensors, torch.tensor(x)), map_state(torch.tensor, state)
    )
    assert h.dtype == dtype
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(h, h_torch.detach().numpy(), atol=tolerance)
    for array, tensor in zip(state_arrays(after), state_arrays(after_torch), strict=True):
        np.testing.assert_allclose(array, tensor.detach().numpy(), atol=tolerance)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_leaky_unit_without_memory_is_the_plain_unit_bit_for_bit(library):
    plain, leaky = CELLS["tanh"](I, H), CELLS["leaky"](I, H, leak_alpha="0")
    params: Any = random_params(plain.shapes, dtype=np.float32)
    x: Any = numbers(1, T, B, I).astype(np.float32)
    state: Any = map_state(lambda array: array.astype(np.float32), random_state(plain, B))
    if library == "torch":
        params, x, state = as_torch(params), torch.tensor(x), torch_state(state)
    for ours, theirs in zip(*(step_loop(cell, params, x, state) for cell in (leaky, plain)), strict=True):
        for a, b in zip(state_arrays(ours), state_arrays(theirs), strict=True):
            assert (a == b).all()


@pytest.mark.parametrize("alpha", ["1", "-0.1", "0.5:0.2", "x", "", "0.5:", ":", "nan", "0:1"])
def test_shares_of_memory_that_are_none_are_refused(alpha):
    with pytest.raises(ValueError, match="leak_alpha"):
        CELLS["leaky"](I, H, leak_alpha=alpha)


def test_a_range_of_shares_has_its_time_constants_at_equal_ratios():
    alpha = CELLS["leaky"](I, 4, leak_alpha="0:0.999").alpha({"bias": np.zeros(4)})
    np.testing.assert_allclose(1.0 / (1.0 - alpha), [1.0, 10.0, 100.0, 1000.0], rtol=1e-9)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_a_time_delay_network_sees_its_last_inputs_and_nothing_before(levels):
    """Moving one input moves the output for 2^K steps from then on, and no step before or after."""
    built = CELLS["time_delay"](I, H, delay_levels=levels)
    params, steps = random_params(built.shapes, scale=0.3), 40
    x, state = numbers(1, steps, B, I), built.zero_state(B, np.zeros(1))
    outputs, _ = step_loop(built, params, x, state)
    at = 3
    moved = x.copy()
    moved[at] += 0.5
    changed = (step_loop(built, params, moved, state)[0] != outputs).any(axis=(1, 2))
    assert changed.tolist() == [at <= t < at + 2**levels for t in range(steps)]


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("skip", {"skip_delay": "1"}),
        ("skip", {"skip_delay": "5,5"}),
        ("skip", {"skip_delay": "a"}),
        ("skip", {"skip_delay": ""}),
        ("skip", {"skip_delay": "99999"}),
        ("time_delay", {"delay_levels": 0}),
        ("time_delay", {"delay_levels": 60}),
        ("echo_state", {"leak_alpha": "learned"}),
        ("echo_state", {"spectral_radius": -1.0}),
        ("echo_state", {"input_scaling": float("nan")}),
        ("output_recurrent", {"feedback": "none"}),
    ],
)
def test_settings_that_make_no_sense_are_refused(cell, options):
    with pytest.raises(ValueError):
        make_cell(cell, I, H, options)


def gradients_of(run: Any, built: Any, params: Any, x: Any, state: Any) -> tuple[Any, Any, list[Any]]:
    """Outputs, final state and the gradients of a sum of both, under fixed random weights."""
    tensors, inputs, start = as_torch(params), torch.tensor(x, requires_grad=True), torch_state(state)
    outputs, final = run(built, tensors, inputs, start)
    loss = (outputs * torch.tensor(numbers(11, *outputs.shape))).sum()
    for index, array in enumerate(state_arrays(final)):
        loss = loss + (array * torch.tensor(numbers(12 + index, *array.shape))).sum()
    trained = [value for name, value in tensors.items() if name not in built.frozen]
    leaves = [*trained, inputs, *state_arrays(start)]
    return outputs, final, list(torch.autograd.grad(loss, leaves))


def fused(built: Any, params: Any, x: Any, state: Any) -> Any:
    return built.kernel()(params, x, state)


def test_the_standard_cells_are_fused():
    assert {name for name in CELLS if make_cell(name, I, H).kernel() is not None} >= {"tanh", "lstm", "gru"}
    assert CELLS["gru"](I, H, reset_gate="before").kernel() is None


@each_fused_cell
def test_the_fused_kernel_is_the_step_loop(cell, options):
    built = make_cell(cell, I, H, options)
    params, x, state = random_params(built.shapes), numbers(1, T, B, I), random_state(built, B)
    outputs, final, gradients = gradients_of(fused, built, params, x, state)
    outputs_loop, final_loop, gradients_loop = gradients_of(step_loop, built, params, x, state)
    torch.testing.assert_close(outputs, outputs_loop, rtol=0, atol=1e-9)
    for a, b in zip(state_arrays(final), state_arrays(final_loop), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    for a, b in zip(gradients, gradients_loop, strict=True):
        assert b.abs().max() > 1e-3, "a gradient that vanishes shows nothing"
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@each_fused_cell
def test_the_fused_kernel_reads_one_hot_symbols_with_features(cell, options):
    size, extra = 3, 2
    built = make_cell(cell, size + extra, H, options)
    params = as_torch(random_params(built.shapes))
    state = torch_state(random_state(built, B))
    ids = torch.from_numpy(np.random.default_rng(3).integers(size + 1, size=(T, B)))
    features = torch.tensor(numbers(4, T, B, extra))
    outputs, _ = built.kernel()(params, OneHot(ids, size, features), state)
    rows = []
    for t in range(T):
        h, state = built.step(params, built.project(params, OneHot(ids[t], size, features[t])), state)
        rows.append(h)
    torch.testing.assert_close(outputs, torch.stack(rows), rtol=0, atol=1e-9)


TORCH_MODULES = {"tanh": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


@pytest.mark.parametrize("cell", TORCH_MODULES)
@pytest.mark.parametrize("path", [fused, step_loop])
def test_torch_modules_with_the_same_parameters_agree(cell, path):
    """A module of torch's own with its own storage; its second bias is zero but for the candidate's."""
    built = make_cell(cell, I, H, {})
    params, x, state = random_params(built.shapes), numbers(1, T, B, I), random_state(built, B)
    module = TORCH_MODULES[cell](I, H).double()
    with torch.no_grad():
        module.weight_ih_l0.copy_(torch.tensor(params["weight_ih"]))
        module.weight_hh_l0.copy_(torch.tensor(params["weight_hh"]))
        module.bias_ih_l0.copy_(torch.tensor(params["bias"]))
        module.bias_hh_l0.zero_()
        if cell == "gru":
            module.bias_hh_l0[2 * H :] = torch.tensor(params["bias_hn"])
    start = tuple(torch.tensor(array)[None] for array in state_arrays(state))
    expected, end = module(torch.tensor(x), start if cell == "lstm" else start[0])
    weights = torch.tensor(numbers(11, T, B, H))
    (expected * weights).sum().backward()

    tensors = as_torch(params)
    outputs, final = path(built, tensors, torch.tensor(x), torch_state(state))
    (outputs * weights).sum().backward()
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-9)
    for array, part in zip(state_arrays(final), end if cell == "lstm" else (end,), strict=True):
        torch.testing.assert_close(array, part[0], rtol=0, atol=1e-9)
    for name, theirs in (("weight_ih", "weight_ih_l0"), ("weight_hh", "weight_hh_l0"), ("bias", "bias_ih_l0")):
        torch.testing.assert_close(tensors[name].grad, getattr(module, theirs).grad, rtol=1e-9, atol=1e-9)


@each_cell
@pytest.mark.parametrize("path", [unroll, step_loop], ids=["unroll", "loop"])
def test_gradients_are_central_differences(cell, options, path):
    """Of every parameter, input and initial state, through the path that training takes and the step loop."""
    built = make_cell(cell, I, H, options)
    params, x, state = random_params(built.shapes), numbers(1, 3, 2, I), random_state(built, 2)
    _, _, gradients = gradients_of(path, built, params, x, state)

    def loss() -> float:
        outputs, final = step_loop(built, params, x, state)
        total = (outputs * numbers(11, *outputs.shape)).sum()
        for index, array in enumerate(state_arrays(final)):
            total += (array * numbers(12 + index, *array.shape)).sum()
        return float(total)

    step = 1e-5
    trained = [value for name, value in params.items() if name not in built.frozen]
    for array, gradient in zip([*trained, x, *state_arrays(state)], gradients, strict=True):
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + step
            above = loss()
            array[index] = value - step
            below = loss()
            array[index] = value
            assert abs((above - below) / (2 * step) - float(gradient[index])) < 1e-5


@each_cell
def test_outputs_stay_within_what_the_weights_allow(cell, options):
    """What properness rests on, from a zero state, however large the finite weights; for most cells |h| ≤ 1."""
    model = make_model(cell, options, stops=("eos",))
    steps = whole_steps(["ab" * 20, "a" * 40, "b" * 40], "eos", alphabet_of(2))
    largest = 0.0
    for seed in range(10):
        params = random_params(model.shapes, seed, scale=10.0)
        hidden, _ = model.read(params, steps, model.initial_state(params, 3))
        largest = max(largest, float((np.abs(hidden) / output_bound(model, params)).max()))
    assert 0.6 < largest <= 1.0 + 1e-12


@each_cell
def test_projection_is_affine_in_its_input(cell, options):
    """The sampler adds the count's effect to a table's row, which rests on it."""
    built = make_cell(cell, I, H, options)
    params = random_params(built.shapes)
    a, b = numbers(1, B, I), numbers(2, B, I)
    project = built.project
    zero = project(params, np.zeros((B, I)))
    np.testing.assert_allclose(
        project(params, a + 2 * b) - zero,
        (project(params, a) - zero) + 2 * (project(params, b) - zero),
        atol=1e-12,
    )
