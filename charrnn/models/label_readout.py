"""The readout of the final state: a label or a number."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, Params, exp, log_softmax, take_last
from charrnn.cells.cell import uniform_init
from charrnn.corpus.columns import Column

LOG_TEMPERATURE = "log_temperature"


@dataclass(frozen=True)
class LabelReadout:
    """o = c + V h, and

        p(label | h) = softmax(o / T),    or    y ~ N(o, σ²)

    V = `readout.weight` (K, E), c = `readout.bias` (K,). T = exp(`log_temperature`) is 1 in training and then
    fitted to the validation part, so that probabilities are calibrated (Guo et al. 2017); σ =
    exp(`log_deviation`), for standardised numbers, is trained.
    """

    label: Column
    """Its categories are the labels; without categories the output is a number."""
    input_size: int
    """E"""

    @property
    def is_regression(self) -> bool:
        return not self.label.values

    @property
    def num_logits(self) -> int:
        """K"""
        return self.label.size

    @property
    def frozen(self) -> frozenset[str]:
        return frozenset() if self.is_regression else frozenset({LOG_TEMPERATURE})

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        K, E = self.num_logits, self.input_size
        last: dict[str, tuple[int, ...]] = {"log_deviation": (1,)} if self.is_regression else {LOG_TEMPERATURE: ()}
        return {"readout.weight": (K, E), "readout.bias": (K,), **last}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        zeros = {name: np.zeros(shape, np.float32) for name, shape in self.shapes.items()}
        weight = {"readout.weight": self.shapes["readout.weight"]}
        return zeros | uniform_init(rng, weight, self.input_size**-0.5)

    def logits(self, params: Params, h: Array) -> Array:
        """o, (..., K), for h (..., E)."""
        return h @ params["readout.weight"].T + params["readout.bias"]

    def nll(self, params: Params, logits: Array, outputs: Array) -> Array:
        """−ln p(output), in nats, without T, for logits (..., K) and outputs (...,): indices of labels, or
        standardised numbers, for which p is the density."""
        if self.is_regression:
            s = params["log_deviation"]
            z = (outputs - logits[..., 0]) * exp(-s)
            return 0.5 * z * z + s + 0.5 * math.log(2.0 * math.pi)
        return -take_last(log_softmax(logits), outputs)

    def temperature(self, params: Params) -> float:
        """T, for labels only."""
        return math.exp(float(params[LOG_TEMPERATURE]))

    def probabilities(self, params: Params, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """softmax(o / T) in float64, (..., K)."""
        T = self.temperature(params)
        result: npt.NDArray[np.float64] = np.exp(log_softmax(logits.astype(np.float64) / T))
        return result

    def describe(self, logits: npt.NDArray[np.floating]) -> str:
        """The most probable label, or the number, for logits (K,)."""
        if self.is_regression:
            return f"{self.numbers(logits):.4g}"
        return self.label.values[int(logits.argmax())]

    def numbers(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """The expected outputs in their original unit, (...,)."""
        return np.asarray(logits[..., 0], np.float64) * self.label.scale + self.label.mean
