"""The loop over time: pieces, padding and direction change nothing that they should not."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import as_torch, each_cell, make_cell, random_params

from charrnn.cells.arrays import OneHot
from charrnn.cells.cell import map_state, state_arrays
from charrnn.cells.unroll import unroll

I, H, B, T = 2, 3, 4, 6  # noqa: E741
LENGTHS = np.array([6, 3, 0, 1])


def setting(cell: str, options: dict[str, Any]) -> tuple[Any, Any, np.ndarray, Any]:
    """A cell, parameters, inputs (T, B, I) and a state, all float64 and away from zero."""
    built = make_cell(cell, I, H, options)
    rng = np.random.default_rng(5)
    state = map_state(lambda zero: rng.normal(size=zero.shape), built.zero_state(B, np.zeros(1)))
    return built, random_params(built.shapes), rng.normal(size=(T, B, I)), state


def one_row(state: Any, b: int) -> Any:
    return map_state(lambda array: array[b : b + 1], state)


def assert_states_close(a: Any, b: Any) -> None:
    for left, right in zip(state_arrays(a), state_arrays(b), strict=True):
        np.testing.assert_allclose(np.asarray(left), np.asarray(right), rtol=0, atol=1e-12)


@each_cell
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("pieces", [[6], [1, 1, 1, 1, 1, 1], [2, 4], [5, 1]])
def test_pieces_equal_the_whole(cell, options, library, pieces):
    built, params, x, state = setting(cell, options)
    whole, end = unroll(built, params, x, state)
    if library == "torch":
        params = {name: torch.from_numpy(value) for name, value in params.items()}
        x, state = torch.from_numpy(x), map_state(torch.from_numpy, state)
    outputs, at = [], 0
    for size in pieces:
        part, state = unroll(built, params, x[at : at + size], state)
        outputs.append(np.asarray(part))
        at += size
    np.testing.assert_allclose(np.concatenate(outputs), whole, rtol=0, atol=1e-12)
    assert_states_close(state, end)


@each_cell
def test_one_hot_symbols_are_their_vectors(cell, options):
    size = 3
    built = make_cell(cell, size, H, options)
    params = random_params(built.shapes)
    ids = np.random.default_rng(0).integers(size + 1, size=(T, B))
    state = built.zero_state(B, np.zeros(1))
    vectors = np.concatenate([np.eye(size), np.zeros((1, size))])[ids]
    outputs, _ = unroll(built, params, OneHot(ids, size), state)
    np.testing.assert_allclose(outputs, unroll(built, params, vectors, state)[0], atol=1e-13)


@each_cell
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_padded_rows_are_their_own_steps(cell, options, library, reverse):
    """Each row alone, cut at its length and turned round by hand, gives its outputs and final state."""
    built, params, x, state = setting(cell, options)
    expected = []
    for b, length in enumerate(LENGTHS):
        row = x[:length, b : b + 1]
        end = one_row(state, b)
        outputs = []
        for t in reversed(range(length)) if reverse else range(length):
            h, end = built.step(params, built.project(params, row[t]), end)
            outputs.append(h[0])
        expected.append((outputs[::-1] if reverse else outputs, end))
    x[np.arange(T)[:, None] >= LENGTHS] = 1e6
    lengths: Any = LENGTHS
    if library == "torch":
        params = {name: torch.from_numpy(value) for name, value in params.items()}
        x, state, lengths = torch.from_numpy(x), map_state(torch.from_numpy, state), torch.from_numpy(LENGTHS)
    outputs, final = unroll(built, params, x, state, lengths=lengths, reverse=reverse)
    assert tuple(outputs.shape) == (T, B, built.output_size)
    for b, (rows, end) in enumerate(expected):
        for t, h in enumerate(rows):
            np.testing.assert_allclose(np.asarray(outputs[t, b]), h, rtol=0, atol=1e-12)
        assert_states_close(one_row(final, b), end)


@each_cell
def test_reverse_is_forward_on_the_reversed_input(cell, options):
    built, params, x, state = setting(cell, options)
    outputs, final = unroll(built, params, x, state, reverse=True)
    turned, end = unroll(built, params, x[::-1], state)
    np.testing.assert_allclose(outputs, turned[::-1], rtol=0, atol=1e-13)
    assert_states_close(final, end)
    tensors = {name: torch.from_numpy(value) for name, value in params.items()}
    by_torch, _ = unroll(built, tensors, torch.from_numpy(x), map_state(torch.from_numpy, state), reverse=True)
    np.testing.assert_allclose(np.asarray(by_torch), outputs, rtol=0, atol=1e-12)


@each_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_adds_no_gradient(cell, options, reverse):
    """The gradients of a padded batch are the sums of those of its rows alone, and padding has none."""
    built, params, x, state = setting(cell, options)
    weights = torch.tensor(np.random.default_rng(9).normal(size=(T, B, built.output_size)))

    def loss(tensors: Any, inputs: Any, start: Any, rows: slice, lengths: Any) -> Any:
        outputs, final = unroll(built, tensors, inputs, start, lengths=lengths, reverse=reverse)
        real = torch.arange(len(inputs))[:, None] < torch.from_numpy(LENGTHS[rows])
        total = (outputs * weights[: len(inputs), rows] * real[..., None]).sum()
        return total + sum(((array**2).sum() for array in state_arrays(final)), start=torch.zeros(()))

    tensors, inputs = as_torch(params), torch.tensor(x, requires_grad=True)
    start = map_state(lambda array: torch.tensor(array, requires_grad=True), state)
    loss(tensors, inputs, start, slice(None), torch.from_numpy(LENGTHS)).backward()
    padded = torch.arange(T)[:, None] >= torch.from_numpy(LENGTHS)
    assert not inputs.grad[padded].any()
    assert inputs.grad[~padded].any(dim=-1).all()

    alone, starts = as_torch(params), map_state(lambda a: torch.tensor(a, requires_grad=True), state)
    for b, length in enumerate(LENGTHS):
        if length:
            loss(alone, torch.tensor(x[:length, b : b + 1]), one_row(starts, b), slice(b, b + 1), None).backward()
        elif state_arrays(starts):
            torch.stack([(array**2).sum() for array in state_arrays(one_row(starts, b))]).sum().backward()
    for name in tensors.keys() - built.frozen:
        tensor = tensors[name]
        torch.testing.assert_close(tensor.grad, alone[name].grad, rtol=1e-9, atol=1e-9)
    for a, b in zip(state_arrays(start), state_arrays(starts), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-9)
