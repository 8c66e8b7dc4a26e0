"""Remedies for vanishing and exploding gradients besides the choice of a cell, to use alone or together.

Clipping (section 10.11.1 of *Deep Learning*), the initialisation of recurrent weights, a penalty on gradients
that change their length on the way back (section 10.11.2), and, as a contrast, the variance that a chain of
independent weights needs (section 10.7).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.cells.arrays import Array, Params
from charrnn.cells.cell import Cell, State, map_state, refilled, state_arrays
from charrnn.cells.unroll import trace

Clip = Literal["norm", "value", "none"]
Start = Literal["default", "orthogonal", "identity"]

INPUT_DEVIATION = 1e-3
"""Standard deviation of U if W starts as the identity (Le, Jaitly and Hinton 2015, section 4)."""


@dataclass(frozen=True, kw_only=True)
class Remedies:
    """The remedies of an attempt; none of them changes an equation of its cell."""

    clip: Clip = "norm"
    """norm: a gradient longer than `grad_clip` is scaled to it, all parameters together. value: each entry is cut
    to ± `grad_clip`. none: gradients stay unchanged."""
    grad_clip: float = 1.0
    init: Start = "default"
    flow_penalty: float = 0.0
    """λ in L + λ Ω."""


USUAL = Remedies()


# Clipping --------------------------------------------------------------------------------------------------


def clip_gradients(trained: Sequence[torch.Tensor], remedies: Remedies) -> None:
    """g ← g min(1, X / ‖g‖) or g ← min(max(g, −X), X), X = `grad_clip`, in the gradients themselves.

    Source: Pascanu, Mikolov and Bengio 2013, section 3.2; Mikolov 2012 (by value).
    """
    if remedies.clip == "norm":
        torch.nn.utils.clip_grad_norm_(trained, remedies.grad_clip)
    elif remedies.clip == "value":
        torch.nn.utils.clip_grad_value_(trained, remedies.grad_clip)


# Initialisation of recurrent weights -----------------------------------------------------------------------


def start(
    init: Start, cell: Cell, params: dict[str, NDArray[np.float32]], rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """The cell's own initial parameters with W = `weight_hh` initialised according to `init`.

    orthogonal: each H x H block of W is a uniform random orthogonal matrix, so that h W keeps the length of h.
    The blocks of a gated cell lie one below the other, those of a skip cell side by side.
    identity: W = 1, b = 0, U normal with standard deviation INPUT_DEVIATION, so that the inputs add up. Le, Jaitly
    and Hinton 2015 use it for rectified linear units, for which h W is then h as long as h ≥ 0; no cell here has
    those. With tanh this holds only near h = 0: each step multiplies a gradient by 1 − h².

    Raises ValueError for a cell that has no such W or never trains it.
    """
    if init == "default":
        return params
    shape = cell.shapes.get("weight_hh", ())
    H = cell.output_size
    square = len(shape) == 2 and not cell.gives_logits and all(size % H == 0 for size in shape)
    if not square or "weight_hh" in cell.frozen:
        raise ValueError(f"init {init!r}: the cell has no trained hidden-to-hidden matrix to start so")
    if init == "orthogonal":
        blocks = [[_orthogonal(rng, H) for _ in range(shape[1] // H)] for _ in range(shape[0] // H)]
        return params | {"weight_hh": np.block(blocks).astype(np.float32)}
    if shape != (H, H):
        raise ValueError(
            f"init 'identity': W of the cell is {' x '.join(map(str, shape))}, not one {H} x {H} matrix, which "
            "alone could be the identity"
        )
    U = rng.normal(scale=INPUT_DEVIATION, size=params["weight_ih"].shape).astype(np.float32)
    return params | {"weight_ih": U, "weight_hh": np.eye(H, dtype=np.float32), "bias": np.zeros(H, np.float32)}


def _orthogonal(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """A uniform random orthogonal matrix: Q of a normal matrix, with column signs that make diag R positive."""
    Q, R = np.linalg.qr(rng.normal(size=(size, size)))
    return Q * np.sign(np.diag(R))


# The flow of gradients -------------------------------------------------------------------------------------


def traced(cell: Cell, params: Params, inputs: Array, state: State) -> tuple[Array, list[State]]:
    """Outputs (T, B, H) and the states s(0) … s(T), computed one step at a time.

    Each state array is its own node of the autograd graph, and an output that is a state array is the same node.
    So the gradient of a loss with respect to s(t) covers everything that depends on s(t) and nothing else.

    Raises ValueError for a cell without a state.
    """
    if not state_arrays(state):
        raise ValueError("flow_penalty: the cell has no state that a gradient could flow through")
    first = map_state(lambda array: array.detach().requires_grad_(), state)
    _, outputs, states = trace(_Nodes(cell), params, cell.project(params, inputs), first)
    return outputs, states


@dataclass(frozen=True)
class _Nodes:
    """A cell whose state arrays are each their own node of the autograd graph."""

    cell: Cell

    def step(self, params: Params, projected: Array, state: State) -> tuple[Array, State]:
        output, after = self.cell.step(params, projected, state)
        nodes = [array.view_as(array) for array in state_arrays(after)]
        same = zip(state_arrays(after), nodes, strict=True)
        return next((node for array, node in same if array is output), output), refilled(after, nodes)


def state_gradients(loss: Array, states: Sequence[State]) -> list[list[Array]]:
    """∂L/∂s(t) for each of these states, one gradient for each of its arrays; the graph is kept."""
    arrays = [state_arrays(state) for state in states]
    flat = [array for parts in arrays for array in parts]
    found = iter(torch.autograd.grad(loss, flat, retain_graph=True, materialize_grads=True))
    return [[next(found) for _ in parts] for parts in arrays]


def flow_penalty(
    cell: Cell, params: Params, inputs: Array, states: Sequence[State], gradients: Sequence[Sequence[Array]]
) -> Array:
    """Ω = Σ_t (‖∂L/∂s(t+1) · ∂s(t+1)/∂s(t)‖ / ‖∂L/∂s(t+1)‖ − 1)², (), the mean over the rows, for t = 1 … T − 1.

    inputs: (T, B, I). states: s(0) … s(T). gradients: ∂L/∂s(t) for the same t. A ratio is 1 if a step keeps the
    length of a gradient; a gradient that is 0 has no direction and is left out.

    States and gradients are constants here, so Ω acts on the parameters only through single steps: nothing is
    back-propagated through the states, and all steps are one batch. In the original Ω acts on W alone and the
    slopes of tanh are constants too; here it also acts on U and b, which determine the slopes. If a cell has
    several state arrays, they form one vector.

    Source: Pascanu, Mikolov and Bengio 2013, section 3.3; Goodfellow, Bengio and Courville, *Deep Learning*,
    section 10.11.2, equation 10.52.
    """
    if len(states) < 3:
        return inputs.new_zeros(())
    before = _side_by_side([state_arrays(state) for state in states[1:-1]])
    back = _side_by_side(gradients[2:])
    largest = torch.stack([g.abs().flatten(1).amax(1) for g in back]).amax(0)
    live = largest > 0.0
    scale = torch.where(live, largest, torch.ones_like(largest))
    back = [g / scale.reshape(-1, *(1,) * (g.ndim - 1)) for g in back]  # Unscaled, their squares would underflow.
    leaves = [array.requires_grad_() for array in before]
    given = iter(leaves)
    state = map_state(lambda _: next(given), states[1])
    projected = cell.project(params, inputs[1:]).flatten(0, 1)
    _, after = cell.step(params, projected, state)
    product = torch.stack([(array * g).sum() for array, g in zip(state_arrays(after), back, strict=True)]).sum()
    handed = torch.autograd.grad(product, leaves, create_graph=True, materialize_grads=True)
    ratio = _lengths(handed) / torch.where(live, _lengths(back), torch.ones_like(scale))
    rows = inputs.shape[1]
    return torch.where(live, (ratio - 1.0) ** 2, torch.zeros_like(ratio)).sum() / rows


def _side_by_side(steps: Sequence[Sequence[Array]]) -> list[Array]:
    """Each state array of all steps, concatenated to (T B, …), as a constant."""
    return [torch.cat([array.detach() for array in same]) for same in zip(*steps, strict=True)]


def _lengths(arrays: Sequence[Array]) -> Array:
    """The norm of each row over all arrays, kept slightly above 0, where the square root has no derivative."""
    squares = torch.stack([(array * array).flatten(1).sum(1) for array in arrays]).sum(0)
    return (squares + 1e-30).sqrt()


# A chain of independent weights ----------------------------------------------------------------------------


def chain_variance(wanted: float, weights: int) -> float:
    """v = v*^(1/n): the variance of each of n independent weights of mean 0 whose product has the variance v*.

    E[(w_1 ⋯ w_n)²] = E[w_1²] ⋯ E[w_n²] = vⁿ. A feed-forward network has such a chain and can start with this
    variance at any depth. A recurrent network uses a single weight n times.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.7; Sussillo 2014.
    """
    return math.pow(wanted, 1.0 / weights)


def log10_repeated_variance(variance: float, times: int) -> float:
    """log₁₀ of the variance of wⁿ, for one normal weight w of mean 0 and variance v.

    E[w²ⁿ] = vⁿ (2n − 1)!!, and E[wⁿ]² = vⁿ ((n − 1)!!)² for even n, 0 for odd n.
    """
    square, mean = _log_odd_product(2 * times), _log_odd_product(times)
    less = 0.0 if times % 2 else math.exp(2.0 * mean - square)
    return (times * math.log(variance) + square + math.log1p(-less)) / math.log(10.0)


def _log_odd_product(n: int) -> float:
    """ln (n − 1)!! for even n: 1 · 3 ⋯ (n − 1) = 2^(n/2) Γ((n + 1)/2) / √π."""
    return 0.5 * n * math.log(2.0) + math.lgamma(0.5 * (n + 1)) - 0.5 * math.log(math.pi)
