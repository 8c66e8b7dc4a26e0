"""A tagger: maps a sequence to one of the same length, a symbol for each symbol that is read."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from charrnn.cells.arrays import Array, Params, asarray, log_softmax, take_last, where
from charrnn.cells.cell import uniform_init
from charrnn.config import VocabSize
from charrnn.corpus.steps import ABSENT, NONE, Kind, Steps
from charrnn.models.encoder import Encoded, Encoder
from charrnn.models.language_model import GeneratorConfig, LanguageModel
from charrnn.models.layers import Dropout, part_of, under
from charrnn.tasks.rows.pairs import PairConfig, Pairs


@dataclass(frozen=True, kw_only=True)
class TaggerConfig(PairConfig):
    """A symbol for each symbol of an input."""

    task: Literal["tag"] = "tag"
    num_tags: VocabSize
    """Symbols that are written."""
    training_chars: Annotated[int, Meta(ge=1)]
    """Symbols in the training split; an unseen target symbol costs ln(training_chars + 1) nats."""
    decoder: GeneratorConfig | None = None
    """Writes the output if symbols depend on those before them; None if they are independent given the input."""


ENCODER, DECODER = "encoder.", "decoder."


class Tagged(NamedTuple):
    """B sequences in S steps; NumPy arrays, or torch's in training."""

    ids: Array
    """(S, B) symbols of the inputs, the vocabulary's size for an unknown symbol or padding."""
    lengths: Array
    """(B,)"""
    tags: Array
    """(S, B) symbols 0 … K − 1 of the outputs, K + 1 for an unknown symbol or padding."""
    before: Array
    """(S, B) what output edges feed to a step: the previous output symbol, K at the first step, K + 1 for none."""


@dataclass(frozen=True)
class Tagger:
    """An encoder reads x(1) … x(τ) into h(1) … h(τ); every t has a distribution over K symbols y(t).

    Without output edges the y(t) are independent given x:

        o(t) = c + V h(t),  p(y | x) = Π_t softmax(o(t))[y(t)]

    with V = `readout.weight` (K, E), c = `readout.bias` (K,). With edges from y(t) to the units of the next step
    (`--feedback`) a `charrnn.models.language_model` writes y, with a different context vector at each step:

        g(t) = f(W g(t−1), U y(t−1), R h(t)),  o(t) = c + V [g(t), h(t)],
        p(y | x) = Π_t softmax(o(t))[y(t)]

    V also reads h(t) itself, because g(t) keeps too little of it after a recurrent step and learns that late; with
    g = 0 it is the model without edges. Its parameters are under `decoder.`, the encoder's under `encoder.`.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.2.4, figure 10.10, and section 10.3,
    figure 10.11.
    """

    config: TaggerConfig

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder(self.config.encoder, num_outputs=self.config.num_tags)

    @cached_property
    def decoder(self) -> LanguageModel | None:
        return None if self.config.decoder is None else LanguageModel(self.config.decoder)

    @property
    def num_tags(self) -> int:
        """K"""
        return self.config.num_tags

    @property
    def frozen(self) -> frozenset[str]:
        encoder = {ENCODER + name for name in self.encoder.frozen}
        return frozenset(encoder | {DECODER + name for name in self.decoder.frozen} if self.decoder else encoder)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter. Raises ValueError for a model that cannot be built."""
        K, E, c = self.num_tags, self.encoder.output_size, self.config.decoder
        shapes = under(ENCODER, self.encoder.shapes)
        if self.decoder is None or c is None:
            return {**shapes, "readout.weight": (K, E), "readout.bias": (K,)}
        if (c.vocab_size, c.context_size, c.stop) != (K, E, ("none",)):
            raise ValueError(f"the decoder must write {K} symbols, given {E} numbers at each step, without an end")
        if c.context_mode != "add" or not c.context_readout:
            raise ValueError("h(t) must be added at each step, and the readout must see it")
        return shapes | under(DECODER, self.decoder.shapes)

    @property
    def num_parameters(self) -> int:
        return sum(map(math.prod, self.shapes.values()))

    def init(self, rng: np.random.Generator, lengths: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float32]]:
        """Fresh parameters; `lengths` (R,) of the training sequences."""
        params = under(ENCODER, self.encoder.init(rng))
        if self.decoder is not None:
            return params | under(DECODER, self.decoder.init(rng, lengths))
        weight = {"readout.weight": self.shapes["readout.weight"]}
        params |= uniform_init(rng, weight, self.encoder.output_size**-0.5)
        return {**params, "readout.bias": np.zeros(self.num_tags, np.float32)}

    def encoder_params(self, params: Params) -> Params:
        return part_of(params, ENCODER, self.encoder.shapes)

    def decoder_params(self, params: Params) -> Params:
        return {} if self.decoder is None else part_of(params, DECODER, self.decoder.shapes)

    def read(self, params: Params, ids: Array, lengths: Array, dropout: Dropout | None = None) -> Array:
        """h, (S, B, E), for symbols (S, B) and lengths (B,); it is meaningless after a sequence's end."""
        return self.encoder.read(self.encoder_params(params), ids, lengths, dropout).outputs

    def log_probs(self, params: Params, h: Array) -> Array:
        """ln p(y(t) | x) for independent y(t): (S, B, K) from h (S, B, E)."""
        return log_softmax(h @ params["readout.weight"].T + params["readout.bias"])

    def nll(self, params: Params, batch: Tagged, dropout: Dropout | None = None) -> Array:
        """−ln p(output | input), nats, (B,)."""
        encoded = self.encoder.read(self.encoder_params(params), batch.ids, batch.lengths, dropout)
        return self.nll_given(params, encoded, batch, dropout)

    def nll_given(self, params: Params, encoded: Encoded, batch: Tagged, dropout: Dropout | None = None) -> Array:
        """`nll` of inputs that are already encoded."""
        K, tags, h = self.num_tags, batch.tags, encoded.outputs
        real = asarray(np.arange(len(tags)), tags)[:, None] < batch.lengths
        if self.decoder is None:
            log_p = take_last(self.log_probs(params, h), where(tags < K, tags, 0))
            unseen = math.log(self.config.training_chars + 1.0)
            return where(real, where(tags < K, -log_p, unseen), 0.0 * log_p).sum(0)
        steps = Steps(
            inputs=batch.before,
            remaining=0 * tags + ABSENT,
            targets=tags,
            kinds=where(real, int(Kind.CHARACTER), int(Kind.NOTHING) * tags),
            stops=0 * batch.lengths + NONE,
            context=h,
        )
        own = self.decoder_params(params)
        hidden, _ = self.decoder.read(own, steps, self.decoder.initial_state(own, len(batch.lengths)), dropout)
        return self.decoder.nll(own, hidden, steps).sum(0)


def batch_of(model: Tagger, pairs: Pairs, rows: npt.NDArray[np.int64]) -> Tagged:
    """A batch of some pairs, each output as long as its input."""
    K = model.num_tags
    ids = pairs.inputs.padded(rows, fill=model.config.encoder.vocab_size)
    tags = pairs.outputs.padded(rows, fill=K + 1)
    before = np.concatenate([np.full_like(tags[:1], K), tags[:-1]])
    return Tagged(ids, pairs.inputs.lengths[rows], tags, before)
