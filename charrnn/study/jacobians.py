"""The Jacobian ∂s(t)/∂s(t−1) of a step, from its products with vectors: its norm and its growth over many steps.

Source: Pascanu, Mikolov and Bengio 2013, section 2; Vogt et al. 2022, *On Lyapunov exponents for RNNs*.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.cells.cell import map_state, state_arrays
from charrnn.cells.unroll import Recurrence
from charrnn.study.trajectory import Trajectory, flat, unflattener

Product = Callable[[torch.Tensor], torch.Tensor]
"""Vectors (N, S) -> the products of N matrices with one vector each, (N, S)."""

LANCZOS_STEPS = 60
TOLERANCE = 1e-5
"""The residual, relative to the largest eigenvalue of JᵀJ, at which the iteration stops."""
CHECK_EVERY = 2

GROWTH_TOLERANCE = 1e-4
"""The same for the product of all steps: an error of at most 0.00005 nats, later divided by their number."""

MOST_KEPT = 1 << 20
"""The most numbers in a trajectory's states for which all steps' graphs, about forty times as large, are kept."""

MOST_NUMBERS = 1 << 24
"""The most numbers in Lanczos vectors held at a time; this sets how many steps are measured together."""


class StepJacobians:
    """J = ∂s(t)/∂s(t−1) of N steps at once, never formed.

    v ↦ Jv is the derivative of u ↦ Jᵀu, which is linear, so back-propagation can compute both products.
    """

    def __init__(self, cell: Recurrence, params: Any, projected: torch.Tensor, state: object):
        """projected: (N, G). state: of N rows, the state that each step begins with."""
        self._unflatten = unflattener(state)
        before = map_state(lambda array: array.detach().requires_grad_(), state)
        _, after = cell.step(params, projected, before)
        self._leaves, self._ends = state_arrays(before), state_arrays(after)
        self._u = [torch.zeros_like(end, requires_grad=True) for end in self._ends]
        self._pulled = self._gradients(self._ends, self._leaves, self._u, create_graph=True)

    def push(self, v: torch.Tensor) -> torch.Tensor:
        """Jv, (N, S)."""
        return flat(self._gradients(self._pulled, self._u, state_arrays(self._unflatten(v))))

    def pull(self, u: torch.Tensor) -> torch.Tensor:
        """Jᵀu, (N, S)."""
        return flat(self._gradients(self._ends, self._leaves, state_arrays(self._unflatten(u))))

    @staticmethod
    def _gradients(
        ends: list[torch.Tensor],
        leaves: list[torch.Tensor],
        weights: list[torch.Tensor],
        *,
        create_graph: bool = False,
    ) -> list[torch.Tensor]:
        moved = [(end, weight) for end, weight in zip(ends, weights, strict=True) if end.requires_grad]
        if not moved:
            return [torch.zeros_like(leaf) for leaf in leaves]
        found = torch.autograd.grad(
            [end for end, _ in moved],
            leaves,
            [weight for _, weight in moved],
            retain_graph=True,
            create_graph=create_graph,
            materialize_grads=True,
        )
        return list(found)


def step_norms(
    trajectory: Trajectory, notify: Callable[[float], object] = lambda _share: None
) -> NDArray[np.float64]:
    """The largest singular value of ∂s(t)/∂s(t−1) of each step and row, (T, B): the most that a step stretches."""
    T, B, S = trajectory.lags, trajectory.num_rows, trajectory.state_size
    some = max(1, MOST_NUMBERS // (B * S * min(S, LANCZOS_STEPS)))
    found = []
    for at in range(0, T, some):
        states = trajectory.states[at : min(at + some, T)]
        together = map_state(lambda *arrays: torch.cat(arrays), *states)
        a = trajectory.projected[at : at + some].flatten(0, 1)
        jacobians = StepJacobians(trajectory.cell, trajectory.params, a, together)
        start = _random(len(a), S, a)
        found.append(largest_singular_values(jacobians.push, jacobians.pull, start).reshape(-1, B))
        notify(min(at + some, T) / T)
    return torch.cat(found).double().numpy()


def largest_singular_values(
    push: Product, pull: Product, start: torch.Tensor, tolerance: float = TOLERANCE
) -> torch.Tensor:
    """The largest singular value of N matrices, (N,), from their products with vectors; start: generic, (N, S).

    Lanczos iteration on JᵀJ: θ is the largest eigenvalue of its projection on the Krylov space of the start, which
    all vectors of the power iteration span, not only the last. It stops when the residual ‖JᵀJ q − θ q‖ is at most
    `tolerance` θ; then θ differs from an eigenvalue by no more than that. All vectors are kept and orthogonalised
    again, because rounding destroys their orthogonality.

    Source: Golub and Kahan 1965; Saad 2011, *Numerical Methods for Large Eigenvalue Problems*, section 6.3.
    """
    S = start.shape[1]
    basis = [_unit(start)[0]]
    diagonal: list[torch.Tensor] = []
    beside: list[torch.Tensor] = []
    while True:
        w = pull(push(basis[-1]))
        diagonal.append((basis[-1] * w).sum(-1))
        known = torch.stack(basis, 1)
        for _ in range(2):  # The second pass removes what rounding left of the known directions.
            w = w - ((known @ w[..., None]).transpose(1, 2) @ known)[:, 0]
        k = len(basis)
        after, length = _unit(w)
        # Once the Krylov space is exhausted, what is left is rounding and no direction.
        used_up = length <= 10.0 * torch.finfo(w.dtype).eps * _largest_of(diagonal, beside)
        length, after = length.masked_fill(used_up, 0.0), after.masked_fill(used_up[:, None], 0.0)
        last = k == min(S, LANCZOS_STEPS) or not length.any()
        if last or k % CHECK_EVERY == 0:
            projection = torch.diag_embed(torch.stack(diagonal, -1))
            if beside:
                off = torch.diag_embed(torch.stack(beside, -1), 1)
                projection = projection + off + off.transpose(1, 2)
            values, vectors = torch.linalg.eigh(projection)
            left_over = length * vectors[:, -1, -1].abs()
            if last or bool((left_over <= tolerance * values[:, -1]).all()):
                largest: torch.Tensor = values[:, -1].clamp(min=0.0).sqrt()
                return largest
        beside.append(length)
        basis.append(after)


def _largest_of(diagonal: list[torch.Tensor], beside: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([*diagonal, *beside]).abs().amax(0)


def growth(trajectory: Trajectory, notify: Callable[[float], object] = lambda _share: None) -> NDArray[np.float64]:
    """ln of the largest singular value of ∂s(T)/∂s(0) of each row, (B,); −∞ if that Jacobian is 0.

    Divided by T it is the largest finite-time Lyapunov exponent, in nats per step: the rate at which a small
    change of the state grows or shrinks, in the direction that grows most. Each step is divided by its growth of a
    random vector, so that the product is neither 0 nor ∞ for any T.

    Source: Bengio, Simard and Frasconi 1994; Eckmann and Ruelle 1985, *Ergodic theory of chaos*, section III.
    """
    start = _unit(_random(trajectory.num_rows, trajectory.state_size, trajectory.projected))[0]
    steps = _Steps(trajectory)
    v, scales = start, []
    for jacobians in steps:
        v, length = _unit(jacobians.push(v))
        scales.append(torch.where(length > 0, length, torch.ones_like(length))[:, None])
    passes = 0

    def push(v: torch.Tensor) -> torch.Tensor:
        for jacobians, scale in zip(steps, scales, strict=True):
            v = jacobians.push(v) / scale
        return v

    def pull(u: torch.Tensor) -> torch.Tensor:
        nonlocal passes
        for jacobians, scale in zip(reversed(steps), reversed(scales), strict=True):
            u = jacobians.pull(u) / scale
        passes += 1
        notify(passes / (passes + 1.0))
        return u

    with np.errstate(divide="ignore"):
        largest = np.log(largest_singular_values(push, pull, start, GROWTH_TOLERANCE).double().numpy())
    found: NDArray[np.float64] = largest + torch.stack(scales).double().log().sum(0)[:, 0].numpy()
    return found


class _Steps(Sequence[StepJacobians]):
    """The step Jacobians of a trajectory, kept if they are small and otherwise made again at each access."""

    def __init__(self, trajectory: Trajectory) -> None:
        t = self._trajectory = trajectory
        small = t.lags * t.num_rows * t.state_size <= MOST_KEPT
        self._kept = [self._made(number) for number in range(t.lags)] if small else None

    def __len__(self) -> int:
        return self._trajectory.lags

    def __getitem__(self, number: Any) -> Any:
        return self._made(number) if self._kept is None else self._kept[number]

    def _made(self, number: int) -> StepJacobians:
        t = self._trajectory
        return StepJacobians(t.cell, t.params, t.projected[number], t.states[number])


def _unit(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors (N, S) scaled to length 1, with zero vectors left 0, and their lengths before, (N,)."""
    length = torch.linalg.vector_norm(v, dim=-1)
    return v / torch.where(length > 0, length, torch.ones_like(length))[:, None], length


def _random(rows: int, size: int, like: torch.Tensor) -> torch.Tensor:
    """Standard normal numbers, the same at each call."""
    return torch.from_numpy(np.random.default_rng(0).normal(size=(rows, size))).to(like.dtype)
