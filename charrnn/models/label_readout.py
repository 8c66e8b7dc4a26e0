"""The readout of the final state: a label or a number."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, Params, asarray, exp, floats, log_softmax, take_last
from charrnn.cells.cell import uniform_init
from charrnn.config import ClassWeights, Prior
from charrnn.corpus.columns import Column, log_prior
from charrnn.errors import UsageError

LOG_TEMPERATURE = "log_temperature"

TEMPERATURE_BOUND = math.log(20.0)
"""ln T is within ± this."""

LARGEST_WEIGHT = 100.0
"""Of a label in the loss. With a larger one, a single rare label would outweigh the whole batch it is in."""


@dataclass(frozen=True)
class LabelReadout:
    """o = c + V h, and

        p(label | h) = softmax(o / T),    or    y ~ N(o, σ²)

    V = `readout.weight` (K, E), c = `readout.bias` (K,). T = exp(`log_temperature`) is 1 in training and then
    fitted to the validation part, so that probabilities are calibrated (`charrnn.training.temperature`); σ =
    exp(`log_deviation`), for standardised numbers, is trained.

    The prior in p is the frequencies π of the labels in training (`charrnn.corpus.columns.log_prior`). With
    balanced class weights the loss of a label counts w = 1 / (K π_label) times, so that the prior in p, which is
    w π, is uniform (if no w is above LARGEST_WEIGHT). For another prior π′, Bayes' rule has

        p′(label | x) ∝ p(label | x) π′_label / (w_label π_label)
    """

    label: Column
    """Its categories are the labels; without categories the output is a number."""
    input_size: int
    """E"""
    class_weights: ClassWeights = "none"

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
        """−ln p(output), in nats, without T, for logits (..., K) and outputs (...,): indices of labels, weighted,
        or standardised numbers, for which p is the density."""
        if self.is_regression:
            s = params["log_deviation"]
            z = (outputs - logits[..., 0]) * exp(-s)
            return 0.5 * z * z + s + 0.5 * math.log(2.0 * math.pi)
        return -take_last(log_softmax(logits), outputs) * self.weights(outputs, logits)

    def weights(self, outputs: Array, like: Array) -> Array | float:
        """How much labels (...,) count in the loss, (...,), in the library and number type of `like`.

        Their mean over the training labels is 1, but for the 1/2 that `log_prior` adds to each count.
        """
        if self.class_weights == "none":
            return 1.0
        return floats(asarray(np.exp(self._log_weights), like), like)[outputs]

    @property
    def log_prior(self) -> npt.NDArray[np.float64]:
        """ln of the prior in p, (K,), but for a constant."""
        return log_prior(self.label) + self._log_weights

    @cached_property
    def _log_weights(self) -> npt.NDArray[np.float64]:
        """ln w, (K,)"""
        if self.class_weights == "none":
            return np.zeros(self.num_logits)
        return np.minimum(-log_prior(self.label) - math.log(self.num_logits), math.log(LARGEST_WEIGHT))

    def temperature(self, params: Params) -> float:
        """T, for labels only."""
        return math.exp(float(params[LOG_TEMPERATURE]))

    def probabilities(
        self, params: Params, logits: npt.NDArray[np.floating], prior: Prior | None = None
    ) -> npt.NDArray[np.float64]:
        """softmax(o / T) in float64, (..., K), for another prior of the labels if one is given."""
        log_p = logits.astype(np.float64) / self.temperature(params)
        if prior is not None:
            log_p = log_p + (log_prior(self.label) if prior == "training" else 0.0) - self.log_prior
        result: npt.NDArray[np.float64] = np.exp(log_softmax(log_p))
        return result

    def check_prior(self, prior: Prior | None) -> None:
        """Raises UsageError for a prior of a number."""
        if prior is not None and self.is_regression:
            raise UsageError(f"--prior {prior}: the model predicts the number {self.label.name}; leave it out")

    def describe(self, logits: npt.NDArray[np.floating]) -> str:
        """The most probable label, or the number, for logits (K,)."""
        if self.is_regression:
            return f"{self.numbers(logits):.4g}"
        return self.label.values[int(logits.argmax())]

    def numbers(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """The expected outputs in their original unit, (...,)."""
        return np.asarray(logits[..., 0], np.float64) * self.label.scale + self.label.mean
