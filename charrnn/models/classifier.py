"""A sequence to one output: a label or a number."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, Params, asarray, exp, floats, largest, log_softmax, take_last, where
from charrnn.cells.cell import uniform_init
from charrnn.config import ClassifierConfig
from charrnn.models.attention import MASKED
from charrnn.models.encoder import Encoded, Encoder
from charrnn.models.language_model import Dropout

LOG_TEMPERATURE = "log_temperature"


class Labelled(NamedTuple):
    """B sequences with their outputs; NumPy arrays, or torch's in training."""

    ids: Array
    """(S, B) symbols, the vocabulary's size where one is unknown or padding."""
    lengths: Array
    """(B,)"""
    outputs: Array
    """(B,) the index of the label, or the number, standardised."""


@dataclass(frozen=True)
class Classifier:
    """h pooled over the sequence, then o = c + V h:

        p(label | x) = softmax(o / T),    or    y ~ N(o, σ²)

    V = `readout.weight` (K, E), c = `readout.bias` (K,). Pooled is what each direction ends with (`last`), the
    mean or the largest of each unit over the sequence. T = exp(`log_temperature`) is 1 in training and fitted to
    the validation part, so that probabilities mean what they say (Guo et al. 2017); σ = exp(`log_deviation`), of
    standardised numbers, is trained.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.2, figure 10.5.
    """

    config: ClassifierConfig

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder(self.config.encoder, self.num_logits)

    @property
    def is_regression(self) -> bool:
        return not self.config.label.values

    @property
    def num_logits(self) -> int:
        return len(self.config.label.values) or 1

    @property
    def frozen(self) -> frozenset[str]:
        return self.encoder.frozen if self.is_regression else self.encoder.frozen | {LOG_TEMPERATURE}

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter. Raises ValueError for a cell that cannot be built so."""
        K, E = self.num_logits, self.encoder.output_size
        last = {"log_deviation": (1,)} if self.is_regression else {LOG_TEMPERATURE: ()}
        return {**self.encoder.shapes, "readout.weight": (K, E), "readout.bias": (K,), **last}

    @property
    def num_parameters(self) -> int:
        return sum(map(math.prod, self.shapes.values()))

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        params = self.encoder.init(rng)
        params |= uniform_init(
            rng, {"readout.weight": self.shapes["readout.weight"]}, self.encoder.output_size**-0.5
        )
        zeros = {name: np.zeros(shape, np.float32) for name, shape in self.shapes.items() if name not in params}
        return {**params, **zeros}

    def encoder_params(self, params: Params) -> Params:
        return {name: params[name] for name in self.encoder.shapes}

    def logits(self, params: Params, ids: Array, lengths: Array, dropout: Dropout | None = None) -> Array:
        """o, (B, K), of symbols (S, B) and lengths (B,)."""
        return self._logits(params, self.encoder.read(params, ids, lengths, dropout), lengths)

    def _logits(self, params: Params, encoded: Encoded, lengths: Array) -> Array:
        h = encoded.summary
        if self.config.pooling != "last":
            h = self._pooled(encoded.outputs, lengths)
        return h @ params["readout.weight"].T + params["readout.bias"]

    def _pooled(self, outputs: Array, lengths: Array) -> Array:
        """The mean or the largest of outputs (S, B, E) over the real steps, (B, E); 0 of an empty sequence."""
        real = (asarray(np.arange(len(outputs)), lengths)[:, None] < lengths)[..., None]
        if self.config.pooling == "mean":
            total = where(real, outputs, 0.0 * outputs).sum(0)
            return total / floats(where(lengths > 0, lengths, 1), outputs)[:, None]
        return largest(where(real, outputs, MASKED)) * floats(lengths > 0, outputs)[:, None]

    def nll(self, params: Params, batch: Labelled, dropout: Dropout | None = None) -> Array:
        """−ln p(output | x), nats, (B,), before T; of a number, of its density in standard deviations."""
        return self.nll_given(params, self.encoder.read(params, batch.ids, batch.lengths, dropout), batch)

    def nll_given(
        self, params: Params, encoded: Encoded, batch: Labelled, dropout: Dropout | None = None
    ) -> Array:
        """The same of inputs that have been read; behind the encoder's output nothing is dropped."""
        return self.nll_of(params, self._logits(params, encoded, batch.lengths), batch.outputs)

    def nll_of(self, params: Params, logits: Array, outputs: Array) -> Array:
        if self.is_regression:
            s = params["log_deviation"]
            z = (outputs - logits[:, 0]) * exp(-s)
            return 0.5 * z * z + s + 0.5 * math.log(2.0 * math.pi)
        return -take_last(log_softmax(logits), outputs)

    def probabilities(self, params: Params, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """softmax(o / T) in float64, (B, K)."""
        T = math.exp(float(params[LOG_TEMPERATURE]))
        result: npt.NDArray[np.float64] = np.exp(log_softmax(logits.astype(np.float64) / T))
        return result

    def numbers(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """The expected outputs in their own unit, (B,)."""
        return np.asarray(logits[:, 0], np.float64) * self.config.label.scale + self.config.label.mean
