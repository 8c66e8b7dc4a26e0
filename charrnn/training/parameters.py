"""A model's parameters as torch trains them."""

from typing import Any, Protocol

import torch


class _Model(Protocol):
    @property
    def shapes(self) -> dict[str, tuple[int, ...]]: ...

    @property
    def frozen(self) -> frozenset[str]: ...


def trainable(model: _Model, params: dict[str, Any], device: torch.device) -> dict[str, torch.Tensor]:
    """In the model's own order: rounding of sums over parameters, such as a gradient's norm, depends on it."""
    return {
        name: torch.tensor(params[name], device=device, requires_grad=name not in model.frozen)
        for name in model.shapes
    }
