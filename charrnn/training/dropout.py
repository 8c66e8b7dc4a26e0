"""Dropout of units, between layers and before the readout, and of hidden-to-hidden weights."""

from typing import TYPE_CHECKING

from charrnn.cells.arrays import Params
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


def weight_dropout(params: Params, probability: float, generator: "torch.Generator") -> Params:
    """The parameters with a share of each W, `weight_hh`, zeroed and the rest scaled up, for one window.

    One mask serves all steps of the window, so the fused kernels serve too. It keeps a recurrence from
    remembering its training text where dropout of units would keep it from remembering anything (Merity,
    Keskar and Socher 2018; DropConnect of Wan et al. 2013).
    """
    drop = dropout(probability, generator)
    if drop is None:
        return params
    return {name: drop(value) if name.endswith(".weight_hh") else value for name, value in params.items()}
