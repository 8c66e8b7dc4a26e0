"""The loop over time: what is read in pieces is what is read at once."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import each_cell, make_cell, random_params

from charrnn.cells.arrays import OneHot
from charrnn.cells.cell import map_state, state_arrays
from charrnn.cells.unroll import unroll

I, H, B, T = 2, 3, 4, 6  # noqa: E741


def setting(cell: str, options: dict[str, Any]) -> tuple[Any, Any, np.ndarray, Any]:
    """A cell, parameters, inputs (T, B, I) and a state, all float64 and away from zero."""
    built = make_cell(cell, I, H, options)
    rng = np.random.default_rng(5)
    state = map_state(lambda zero: rng.normal(size=zero.shape), built.zero_state(B, np.zeros(1)))
    return built, random_params(built.shapes), rng.normal(size=(T, B, I)), state


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
