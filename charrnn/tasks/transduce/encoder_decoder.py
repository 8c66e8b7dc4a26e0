"""An encoder-decoder: an encoder reads the input, and a language model conditioned on it writes the output."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, Params, asarray, concat
from charrnn.corpus.columns import Column
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.steps import PADDING, StepReader, Steps, first_positions
from charrnn.corpus.symbols import Symbols
from charrnn.models.attention import Memory
from charrnn.models.encoder import Encoded, Encoder, EncoderConfig
from charrnn.models.language_model import GeneratorConfig, LanguageModel
from charrnn.models.layers import Dropout, part_of, under
from charrnn.tasks.rows.pairs import PairConfig, Pairs


@dataclass(frozen=True, kw_only=True)
class TransducerConfig(PairConfig):
    """Maps a sequence to a sequence of any length."""

    task: Literal["transduce"] = "transduce"
    columns: tuple[Column, ...] = ()
    """Columns that the output is conditioned on besides the input."""
    decoder: GeneratorConfig


ENCODER, DECODER = "encoder.", "decoder."


class Transduced(NamedTuple):
    """B pairs; NumPy arrays, or torch's in training."""

    ids: Array
    """(S, B) symbols of the inputs, the vocabulary's size for an unknown symbol or padding."""
    lengths: Array
    """(B,)"""
    steps: Steps
    """The steps of the outputs, (T, B), with the columns (B, X) that they are conditioned on, if any."""


class Read(NamedTuple):
    """What the decoder receives from B inputs."""

    context: Array
    """(B, E + X)"""
    memory: Memory | None


def encoder_of(config: EncoderConfig) -> Encoder:
    """The encoder of inputs. It has no outputs of its own; a cell that feeds outputs back has as many as units."""
    return Encoder(config, num_outputs=config.hidden_size)


@dataclass(frozen=True)
class EncoderDecoder:
    """C = [the encoder's summary, the columns], and p(y | C) is a `charrnn.models.language_model`.

    C acts at every step, as the initial state, or both (`--context-mode`); with attention the decoder also looks
    at the encoder's output at every symbol of the input. Their parameters are under `encoder.` and `decoder.`.
    The decoder ends by the same three mechanisms as any language model.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.4, figure 10.12; Cho et al. 2014;
    Sutskever, Vinyals and Le 2014.
    """

    config: TransducerConfig

    @cached_property
    def encoder(self) -> Encoder:
        return encoder_of(self.config.encoder)

    @cached_property
    def decoder(self) -> LanguageModel:
        return LanguageModel(self.config.decoder)

    @property
    def frozen(self) -> frozenset[str]:
        encoder, decoder = self.encoder.frozen, self.decoder.frozen
        return frozenset({ENCODER + name for name in encoder} | {DECODER + name for name in decoder})

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter. Raises ValueError for a model that cannot be built."""
        E, X = self.encoder.output_size, sum(column.size for column in self.config.columns)
        decoder = self.config.decoder
        if decoder.context_size != E + X or decoder.memory_size != (E if decoder.attention else 0):
            raise ValueError(f"the decoder's context and memory do not have the encoder's sizes, {E + X} and {E}")
        encoder = under(ENCODER, self.encoder.shapes)
        return encoder | under(DECODER, self.decoder.shapes)

    @property
    def num_parameters(self) -> int:
        return sum(map(math.prod, self.shapes.values()))

    def init(self, rng: np.random.Generator, lengths: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float32]]:
        """Fresh parameters; the lengths (R,) of the training outputs initialise the heads that end them."""
        encoder = under(ENCODER, self.encoder.init(rng))
        return encoder | under(DECODER, self.decoder.init(rng, lengths))

    def encoder_params(self, params: Params) -> Params:
        return part_of(params, ENCODER, self.encoder.shapes)

    def decoder_params(self, params: Params) -> Params:
        return part_of(params, DECODER, self.decoder.shapes)

    def read(
        self, params: Params, ids: Array, lengths: Array, columns: Array | None, dropout: Dropout | None = None
    ) -> Read:
        """Reads inputs (S, B) of lengths (B,), and columns (B, X) if any."""
        encoded = self.encoder.read(self.encoder_params(params), ids, lengths, dropout)
        return self._offered(params, encoded, lengths, columns)

    def _offered(self, params: Params, encoded: Encoded, lengths: Array, columns: Array | None) -> Read:
        """What the decoder receives from inputs that are already encoded."""
        context = encoded.summary if columns is None else concat([encoded.summary, columns], axis=-1)
        if self.decoder.attention is None:
            return Read(context, None)
        real = asarray(np.arange(len(encoded.outputs)), lengths) < lengths[:, None]
        values = encoded.outputs.swapaxes(0, 1)
        return Read(context, self.decoder.attention.memory(self.decoder_params(params), values, real))

    def nll(self, params: Params, batch: Transduced, dropout: Dropout | None = None) -> Array:
        """−ln p(output | input), nats, (B,)."""
        encoded = self.encoder.read(self.encoder_params(params), batch.ids, batch.lengths, dropout)
        return self.nll_given(params, encoded, batch, dropout)

    def nll_given(
        self, params: Params, encoded: Encoded, batch: Transduced, dropout: Dropout | None = None
    ) -> Array:
        """`nll` of inputs that are already encoded."""
        found = self._offered(params, encoded, batch.lengths, batch.steps.context)
        steps, decoder = batch.steps._replace(context=found.context), self.decoder_params(params)
        state = self.decoder.initial_state(decoder, len(found.context), found.context)
        hidden, _ = self.decoder.read(decoder, steps, state, dropout, found.memory)
        return self.decoder.nll(decoder, hidden, steps).sum(0)


def batch_of(
    source: Symbols, target: Symbols, pairs: Pairs, rows: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
) -> Transduced:
    """A batch of some pairs; `stops` holds the index of each one's stopping mechanism."""
    outputs, tau, V = pairs.outputs, pairs.outputs.lengths[rows], target.size
    texts = Sequences(
        outputs.values,
        np.arange(V + 2, dtype=np.uint32),
        outputs.ends - outputs.lengths,
        outputs.ends,
        contexts=pairs.contexts,
    )
    first = first_positions(stops)
    position = first + np.arange(int(np.max(tau + 1 - first)))[:, None]
    reader = StepReader(texts, target, np.arange(V + 2, dtype=np.int32))
    steps = reader.steps(np.where(position <= tau, rows, PADDING), position, stops)
    ids = pairs.inputs.padded(rows, fill=source.size)
    return Transduced(ids, pairs.inputs.lengths[rows], steps)
