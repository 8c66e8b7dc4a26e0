"""Dropout of units, between layers and before the readout, and of hidden-to-hidden weights."""

from typing import TYPE_CHECKING

import numpy as np

from charrnn.cells.arrays import Params
from charrnn.models.layers import Dropout

if TYPE_CHECKING:
    import torch

PARTS = 2**16
"""A probability is rounded to a multiple of 1 / PARTS, so that two random bytes decide. NumPy draws these four to
eight times faster than torch draws Bernoulli variables; a mask of W took a fifth of a step's time."""

FALL = 0.1
"""The last share of a run, over which dropout of units falls to 0. A model that is trained with dropout to the
end, and used without it, predicts too many endings: after a minute, names were 2 % too short."""


def fallen(probability: float, share: float) -> float:
    """The dropout probability that remains after a share of the run."""
    return probability * min(1.0, (1.0 - share) / FALL)


def dropout(probability: float, rng: np.random.Generator) -> Dropout | None:
    """A function that zeroes each value with this probability and scales up the rest (Srivastava et al. 2014)."""
    kept = max(1, round((1.0 - probability) * PARTS))
    if kept == PARTS:
        return None

    def apply(x: "torch.Tensor") -> "torch.Tensor":
        import torch

        keep = rng.integers(0, PARTS, tuple(x.shape), dtype=np.uint16) < kept
        scaled = np.multiply(keep, np.float32(PARTS / kept), dtype=np.float32)
        return x * torch.from_numpy(scaled).to(x)

    return apply


def weight_dropout(params: Params, probability: float, rng: np.random.Generator) -> Params:
    """The parameters with a share of each W, `weight_hh`, zeroed and the rest scaled up, for one window.

    All steps of the window share one mask, so the fused kernels still work. It keeps a recurrence from memorising
    its training text, whereas dropout of units would keep it from remembering anything (Merity, Keskar and Socher
    2018; DropConnect of Wan et al. 2013).
    """
    drop = dropout(probability, rng)
    if drop is None:
        return params
    return {name: drop(value) if name.endswith(".weight_hh") else value for name, value in params.items()}
