"""How far gradients reach: the Jacobian of an output with respect to the state of each earlier step.

By the chain rule ∂h(T)/∂s(t) = ∂h(T)/∂s(T−1) · ∂s(T−1)/∂s(T−2) ⋯ ∂s(t+1)/∂s(t): such a product shrinks or grows
exponentially with the lag T − t, and so does all that a weight can learn from steps that far apart. This file
measures the product itself, exactly, and not the gradient of a loss with respect to weights, which sums over all
lags and is dominated by the short ones.

Source: Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013, section 2; Goodfellow, Bengio and
Courville, *Deep Learning*, section 10.7.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.cells.arrays import Array, OneHot
from charrnn.cells.cell import Cell, State, map_state, state_arrays
from charrnn.cells.unroll import trace
from charrnn.study.trajectory import Trajectory

Norm = Literal["frobenius", "spectral"]

MOST_NUMBERS = 1 << 23
"""The most numbers of a Jacobian held at a time; this sets how many of its rows go back together."""


class Pulled(NamedTuple):
    """Rows of ∂h(T)/∂s(T−τ), up to a factor."""

    arrays: list[torch.Tensor]
    """(D, B, …) for each array of the state: D directions of h(T), B rows of the batch."""
    log_scale: torch.Tensor
    """(B,), the logarithm of the factor by which to multiply them."""


def pull_back(trajectory: Trajectory, directions: torch.Tensor) -> Iterator[Pulled]:
    """uᵀ ∂h(T)/∂s(T−τ) for the directions u (D, H), for τ = 1, 2 … T: one vector-Jacobian product per step.

    All directions go back side by side through one graph per step; the Jacobian (S, S) of a step is never formed.
    At each step they are scaled to a largest entry of 1, so that they do not vanish to 0 or grow to ∞; only
    `log_scale` changes without limit.
    """
    B, D = trajectory.num_rows, len(directions)
    log_scale = torch.zeros(B, dtype=torch.float64)
    back: list[torch.Tensor] = []
    for a, before in zip(trajectory.projected.flip(0), reversed(trajectory.states[:-1]), strict=True):
        before = map_state(lambda array: array.detach().requires_grad_(), before)
        output, after = trajectory.cell.step(trajectory.params, a, before)
        ends = [output, *state_arrays(after)] if not back else state_arrays(after)
        if not back:
            back = [directions[:, None].expand(D, B, -1)]
            back += [array.new_zeros(D, *array.shape) for array in state_arrays(after)]
        back = _gradients(ends, state_arrays(before), back)
        if not back:  # Nothing is carried from step to step.
            yield Pulled([], log_scale)
            continue
        largest = torch.stack([array.abs().transpose(0, 1).flatten(1).amax(1) for array in back]).amax(0)
        scale = torch.where((largest > 0) & largest.isfinite(), largest, torch.ones_like(largest))
        back = [array / scale.reshape(-1, *(1,) * (array.ndim - 2)) for array in back]
        log_scale = log_scale + scale.double().log()
        yield Pulled(back, log_scale)


def _gradients(
    ends: list[torch.Tensor], leaves: list[torch.Tensor], back: list[torch.Tensor]
) -> list[torch.Tensor]:
    """The gradients of Σ ends · back with respect to each leaf, for all directions at once, (D, B, …)."""
    moved = [(end, g) for end, g in zip(ends, back, strict=True) if end.requires_grad]
    if not leaves or not moved:
        return [leaf.new_zeros(len(back[0]), *leaf.shape) for leaf in leaves]
    found = torch.autograd.grad(
        [end for end, _ in moved], leaves, [g for _, g in moved], is_grads_batched=True, allow_unused=True
    )
    return [
        leaf.new_zeros(len(back[0]), *leaf.shape) if g is None else g
        for g, leaf in zip(found, leaves, strict=True)
    ]


def log_gradient_norms(
    trajectory: Trajectory, output_size: int, notify: Callable[[float], object] = lambda _share: None
) -> NDArray[np.float64]:
    """ln ‖∂h(T)/∂a(T−τ)‖ (Frobenius) for the lags τ = 1 … T, each row and each array a of the state, (T, B, A).

    It is −∞ where the Jacobian is 0. output_size: H of the output h. notify: called with the share that is done.
    The memory needed is that of one row and of MOST_NUMBERS numbers of its Jacobian.
    """
    T, B, A = trajectory.lags, trajectory.num_rows, len(state_arrays(trajectory.states[0]))
    found = np.full((T, B, A), -np.inf)
    some = max(1, MOST_NUMBERS // max(1, trajectory.state_size))
    every = torch.eye(output_size, dtype=trajectory.projected.dtype)
    parts = [every[at : at + some] for at in range(0, output_size, some)]
    done, total = 0, B * len(parts) * T
    for b in range(B):
        alone = trajectory.row(b)
        for directions in parts:
            for lag, (arrays, log_scale) in enumerate(pull_back(alone, directions)):
                squares = np.array([float(array.double().square().sum()) for array in arrays])
                with np.errstate(divide="ignore"):
                    logs = 0.5 * np.log(squares) + float(log_scale[0])
                found[lag, b] = 0.5 * np.logaddexp(2.0 * found[lag, b], 2.0 * logs)
                done += 1
                notify(done / total)
    return found


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
    arrays side by side: h and c of an LSTM, the whole history of a skip connection. An empty state, as under
    teacher forcing, carries nothing: its norms are 0.
    """
    jacobians = output_jacobians(cell, params, inputs, state=state)
    order: Literal["fro", 2] = "fro" if norm == "frobenius" else 2
    return np.array([float(torch.linalg.matrix_norm(J, order).mean()) if J.numel() else 0.0 for J in jacobians])


def output_jacobians(
    cell: Cell, params: dict[str, NDArray[np.floating]], inputs: Array | OneHot, *, state: State | None = None
) -> Iterator[torch.Tensor]:
    """∂h(T)/∂s(T−τ) of each row, (B, H, S), for τ = 1, 2 … T, in float64."""
    weights = {name: np.asarray(value, np.float64) for name, value in params.items()}
    projected = torch.from_numpy(np.asarray(cell.project(weights, inputs), np.float64))
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    B = projected.shape[1]
    start = cell.zero_state(B, projected) if state is None else map_state(_double, state)
    with torch.no_grad():
        _, outputs, states = trace(cell, tensors, projected, start)
    H, trajectory = outputs.shape[-1], Trajectory(cell, tensors, projected, states)
    for arrays, log_scale in pull_back(trajectory, torch.eye(H, dtype=torch.float64)):
        scale = log_scale.exp()[:, None, None]
        yield scale * torch.cat(
            [projected.new_zeros(B, H, 0), *(a.reshape(H, B, -1).transpose(0, 1) for a in arrays)], -1
        )


def _double(array: Array) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64)
