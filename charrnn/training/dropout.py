"""Dropout between layers and before the readout, with a generator of its own."""

from typing import TYPE_CHECKING

from charrnn.models.language_model import Dropout

if TYPE_CHECKING:
    import torch


def dropout(probability: float, generator: "torch.Generator") -> Dropout | None:
    """Zeroes each value with the probability and scales up the rest (Srivastava et al. 2014)."""
    if probability == 0.0:
        return None
    keep = 1.0 - probability

    def apply(x: "torch.Tensor") -> "torch.Tensor":
        mask = x.new_empty(x.shape).bernoulli_(keep, generator=generator)
        return x * mask.div_(keep)

    return apply
