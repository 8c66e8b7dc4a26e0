"""torch's fused recurrent kernels, one call for all steps, with the cells' own parameters.

A kernel has two biases and a cell one: the cell's becomes the first, and the second is zero by default.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Literal

from charrnn.cells.arrays import Array, OneHot, Params, dense, zeros_like

if TYPE_CHECKING:
    from torch import nn

KernelName = Literal["RNN", "LSTM", "GRU"]


def run_fused(
    name: KernelName, params: Params, x: Array | OneHot, state: tuple[Array, ...], bias_hh: Array | None = None
) -> tuple[Array, tuple[Array, ...]]:
    """Inputs (T, B, I) and state arrays (B, H) -> outputs (T, B, H) and the final state arrays."""
    from torch.func import functional_call

    weights = {
        "weight_ih_l0": params["weight_ih"],
        "weight_hh_l0": params["weight_hh"],
        "bias_ih_l0": params["bias"],
        "bias_hh_l0": zeros_like(params["bias"]) if bias_hh is None else bias_hh,
    }
    module = _module(name, params["weight_ih"].shape[1], params["weight_hh"].shape[1])
    before = tuple(array[None] for array in state)
    inputs = dense(x, state[0])
    outputs, after = functional_call(module, weights, (inputs, before if name == "LSTM" else before[0]))
    return outputs, tuple(array[0] for array in (after if name == "LSTM" else (after,)))


@cache
def _module(name: KernelName, input_size: int, hidden_size: int) -> "nn.RNNBase":
    """A module without storage: `functional_call` supplies the weights."""
    from torch import nn

    kinds: dict[KernelName, Callable[..., nn.RNNBase]] = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
    return kinds[name](input_size, hidden_size, device="meta")
