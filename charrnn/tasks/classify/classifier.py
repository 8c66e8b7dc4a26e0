"""A classifier: predicts a label or a number for a sequence."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from charrnn.cells.arrays import Array, Params, asarray, floats, largest, where
from charrnn.checkpoint.checkpoint import CheckpointConfig
from charrnn.config import ClassWeights, Pooling
from charrnn.corpus.columns import Column
from charrnn.models.attention import MASKED
from charrnn.models.encoder import Encoded, Encoder, EncoderConfig
from charrnn.models.label_readout import LabelReadout
from charrnn.models.layers import Dropout


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(CheckpointConfig):
    """One output for an input: a label or a number. Inputs are read in Unicode form C."""

    task: Literal["classify"] = "classify"
    text_column: Annotated[str, Meta(max_length=1000)]
    source_sep: Annotated[str, Meta(max_length=8)] = ""
    """The separator of an input's symbols; empty if each character is a symbol."""
    label: Column
    """What is predicted: its categories, or a number's mean and standard deviation in training."""
    encoder: EncoderConfig
    pooling: Pooling = "last"
    class_weights: ClassWeights = "none"


class Labelled(NamedTuple):
    """B sequences with their outputs; NumPy arrays, or torch's in training."""

    ids: Array
    """(S, B) symbols, the vocabulary's size for an unknown symbol or padding."""
    lengths: Array
    """(B,)"""
    outputs: Array
    """(B,) the index of the label, or the number, standardised."""


@dataclass(frozen=True)
class Classifier:
    """Pools h over the sequence and predicts a label or a number from it (`charrnn.models.label_readout`).

    Pooling takes the final h of each direction (`last`), or each unit's mean or maximum over the sequence.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.2, figure 10.5.
    """

    config: ClassifierConfig

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder(self.config.encoder, self.config.label.size)

    @cached_property
    def readout(self) -> LabelReadout:
        return LabelReadout(self.config.label, self.encoder.output_size, self.config.class_weights)

    @property
    def frozen(self) -> frozenset[str]:
        return self.encoder.frozen | self.readout.frozen

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter. Raises ValueError for a cell that cannot be built."""
        return {**self.encoder.shapes, **self.readout.shapes}

    @property
    def num_parameters(self) -> int:
        return sum(map(math.prod, self.shapes.values()))

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        return {**self.encoder.init(rng), **self.readout.init(rng)}

    def encoder_params(self, params: Params) -> Params:
        return {name: params[name] for name in self.encoder.shapes}

    def logits(self, params: Params, ids: Array, lengths: Array, dropout: Dropout | None = None) -> Array:
        """o, (B, K), for symbols (S, B) and lengths (B,)."""
        return self._logits(params, self.encoder.read(params, ids, lengths, dropout), lengths)

    def _logits(self, params: Params, encoded: Encoded, lengths: Array) -> Array:
        h = encoded.summary
        if self.config.pooling != "last":
            h = self._pooled(encoded.outputs, lengths)
        return self.readout.logits(params, h)

    def _pooled(self, outputs: Array, lengths: Array) -> Array:
        """The mean or maximum of outputs (S, B, E) over the real steps, (B, E); 0 for an empty sequence."""
        real = (asarray(np.arange(len(outputs)), lengths)[:, None] < lengths)[..., None]
        if self.config.pooling == "mean":
            total = where(real, outputs, 0.0 * outputs).sum(0)
            return total / floats(where(lengths > 0, lengths, 1), outputs)[:, None]
        return largest(where(real, outputs, MASKED)) * floats(lengths > 0, outputs)[:, None]

    def nll(self, params: Params, batch: Labelled, dropout: Dropout | None = None) -> Array:
        """−ln p(output | x), weighted nats, (B,), before T; for a number p is the standardised one's density."""
        return self.nll_given(params, self.encoder.read(params, batch.ids, batch.lengths, dropout), batch)

    def nll_given(
        self, params: Params, encoded: Encoded, batch: Labelled, dropout: Dropout | None = None
    ) -> Array:
        """`nll` of inputs that are already encoded; there is no dropout after the encoder's output."""
        return self.readout.nll(params, self._logits(params, encoded, batch.lengths), batch.outputs)
