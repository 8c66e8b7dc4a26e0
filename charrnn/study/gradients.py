"""How far gradients reach: the Jacobian of an output with respect to the state of each step before.

By the chain rule ∂h(T)/∂s(t) = ∂h(T)/∂s(T−1) · ∂s(T−1)/∂s(T−2) ⋯ ∂s(t+1)/∂s(t): as a product it shrinks or grows
exponentially with the lag T − t, and with it all that a weight can learn from steps so far apart. What is
measured is this product itself, exactly, and not the gradient of a loss with respect to weights, which adds up
all lags and is ruled by the short ones.

Source: Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013, section 2; Goodfellow, Bengio and
Courville, *Deep Learning*, section 10.7.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.cells.arrays import Array, OneHot
from charrnn.cells.cell import Cell, State, map_state, state_arrays

Norm = Literal["frobenius", "spectral"]


def gradient_norms(
    cell: Cell,
    params: dict[str, NDArray[np.floating]],
    inputs: Array | OneHot,
    *,
    state: State | None = None,
    norm: Norm = "frobenius",
) -> NDArray[np.float64]:
    """‖∂h(T)/∂s(T−τ)‖ for the lags τ = 1 … T, (T,), the mean over the rows, in float64.

    inputs: (T, B, I), NumPy. state: s(0), NumPy; zero unless given. s(t) is the whole state after step t, all its
    arrays side by side: h and c of an LSTM, the whole history of a skip connection. A state that is empty, as
    under teacher forcing, hands nothing on: 0.
    """
    jacobians = output_jacobians(cell, params, inputs, state=state)
    order: Literal["fro", 2] = "fro" if norm == "frobenius" else 2
    return np.array([float(torch.linalg.matrix_norm(J, order).mean()) if J.numel() else 0.0 for J in jacobians])


def output_jacobians(
    cell: Cell, params: dict[str, NDArray[np.floating]], inputs: Array | OneHot, *, state: State | None = None
) -> Iterator[torch.Tensor]:
    """∂h(T)/∂s(T−τ) of each row, (B, H, S), for τ = 1, 2 … T: one product from the left with each step's Jacobian.

    All H rows of the Jacobian go back side by side, as so many rows of one batch; no step's own Jacobian (S, S)
    is ever formed.
    """
    weights = {name: np.asarray(value, np.float64) for name, value in params.items()}
    projected = torch.from_numpy(np.asarray(cell.project(weights, inputs), np.float64))
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    B = projected.shape[1]
    start = cell.zero_state(B, projected) if state is None else map_state(_double, state)
    states, output = [start], projected[0, :, :0]
    with torch.no_grad():
        for a in projected:
            output, after = cell.step(tensors, a, states[-1])
            states.append(after)
    H = output.shape[-1]
    back = [torch.eye(H, dtype=torch.float64).repeat_interleave(B, 0)]
    back += [array.new_zeros(H * B, *array.shape[1:]) for array in state_arrays(states.pop())]
    for a, before in zip(projected.flip(0), reversed(states), strict=True):
        before = map_state(lambda array: array.repeat(H, *(1,) * (array.ndim - 1)).requires_grad_(), before)
        leaves = state_arrays(before)
        if not leaves:
            yield projected.new_zeros(B, H, 0)
            continue
        output, after = cell.step(tensors, a.repeat(H, 1), before)
        pairs = zip([output, *state_arrays(after)], back, strict=True)
        product = torch.stack([(array * g).sum() for array, g in pairs]).sum()
        gradients = torch.autograd.grad(product, leaves, materialize_grads=True)
        yield torch.cat([g.reshape(H, B, -1) for g in gradients], -1).transpose(0, 1)
        back = [torch.zeros_like(output), *gradients]


def _double(array: Array) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64)
