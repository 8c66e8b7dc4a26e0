"""A model's parameters as torch trains them."""

from typing import Any, Protocol

import torch


class _Model(Protocol):
    @property
    def shapes(self) -> dict[str, tuple[int, ...]]: ...

    @property
    def frozen(self) -> frozenset[str]: ...


def trainable(model: _Model, params: dict[str, Any], device: torch.device) -> dict[str, torch.Tensor]:
    """In an order of the model's own: sums over parameters, such as a gradient's norm, round as they go."""
    return {
        name: torch.tensor(params[name], device=device, requires_grad=name not in model.frozen)
        for name in model.shapes
    }
