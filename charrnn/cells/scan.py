"""A linear recurrence, for cells whose gates depend on the input alone: no matrix product waits for a state."""

from functools import cache
from typing import TYPE_CHECKING, Any

from charrnn.cells.arrays import Array

if TYPE_CHECKING:
    from torch.autograd import Function


def linear_scan(a: Array, b: Array, h: Array) -> Array:
    """All h(t) = a(t) h(t−1) + b(t), t = 1 … T, shape (T, B, H), for a, b (T, B, H) and h(0) = h (B, H).

    Each step is one element-wise operation, forwards and backwards. A parallel scan instead takes log₂ T passes
    over all steps, which costs ten times as much on a CPU, because memory access limits such a recurrence.
    """
    return _scan().apply(a, b, h)  # type: ignore[no-untyped-call]


@cache
def _scan() -> "type[Function]":
    """Created at first use, so that torch is not imported before."""
    import torch

    class Scan(torch.autograd.Function):
        """With g(t) = ∂L/∂h(t), a(t+1) g(t+1) included: ∂L/∂a(t) = g(t) h(t−1), ∂L/∂b(t) = g(t)."""

        @staticmethod
        def forward(ctx: Any, a: Array, b: Array, h: Array) -> Array:
            outputs, start = torch.empty_like(b), h
            for t in range(len(b)):
                h = torch.addcmul(b[t], a[t], h, out=outputs[t])
            ctx.save_for_backward(a, outputs, start)
            return outputs

        @staticmethod
        def backward(ctx: Any, *gradients: Array) -> tuple[Array, Array, Array]:
            a, outputs, start = ctx.saved_tensors
            g = gradients[0].clone()
            for t in range(len(g) - 1, 0, -1):
                g[t - 1].addcmul_(a[t], g[t])
            before = torch.cat([start[None], outputs[:-1]])
            return g * before, g, a[0] * g[0]

    return Scan
