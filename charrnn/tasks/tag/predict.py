"""A tagger's predictions for lines of text: the fields of `charrnn predict --json`."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from charrnn.checkpoint import Checkpoint
from charrnn.corpus.symbols import Ragged
from charrnn.models.store import SavedPair, load_pair
from charrnn.sampling.beam import (
    BEAM,
    GREEDY,
    Beam,
    Hypothesis,
    Search,
    drawn,
    draws,
    gathered,
    groups,
    prediction_of,
)
from charrnn.sampling.prediction import Prediction, read_inputs
from charrnn.sampling.randomness import RowStreams
from charrnn.sampling.stepper import FloatArray, Given, IntArray, Stepper
from charrnn.tasks.tag.tagger import Tagger, TaggerConfig

BATCH = 64

SavedTagger: TypeAlias = SavedPair[TaggerConfig, Tagger]


def load(checkpoint: Checkpoint) -> SavedTagger:
    """Raises CheckpointError for parts that do not fit together, before memory is allocated."""
    config = checkpoint.config(TaggerConfig)
    sizes, separators = (config.encoder.vocab_size, config.num_tags), (config.source_sep, config.target_sep)
    return load_pair(checkpoint, config, Tagger(config), sizes, separators)


def open_model(checkpoint: Checkpoint) -> "TagModel":
    """Raises CheckpointError."""
    return TagModel(load(checkpoint), checkpoint.path)


class TagModel:
    """A trained model that predicts a symbol for each symbol. It needs no torch."""

    def __init__(self, saved: SavedTagger, path: Path) -> None:
        self.saved, self.path = saved, path

    def predict(
        self, texts: Iterable[str], *, how: Search = BEAM, n: int = 1, number: int = 0
    ) -> Iterator[Prediction]:
        """The n likeliest outputs for each input, or n samples. Raises CorpusError for too long a text.

        number: the first text's number, which determines its samples.
        """
        return tag(self.saved, texts, how=how, n=n, number=number)


def tag(
    saved: SavedTagger, lines: Iterable[str], *, how: Search, n: int = 1, number: int = 0
) -> Iterator[Prediction]:
    """For every line, in order, the n likeliest outputs of its length, or n samples; reads a batch ahead.

    An unknown symbol is read as a zero input. Raises CorpusError for too long a line. number: the first
    line's number, which determines its samples.
    """
    remaining = iter(lines)
    while batch := list(itertools.islice(remaining, BATCH)):
        inputs = read_inputs(saved.source, batch)
        for text, found in zip(batch, search_tags(saved, inputs, how=how, n=n, number=number), strict=True):
            yield prediction_of(saved.target, text, found)
        number += len(batch)


def search_tags(
    saved: SavedTagger, inputs: Ragged, *, how: Search = GREEDY, n: int = 1, number: int = 0
) -> Iterator[list[Hypothesis]]:
    """For each of R inputs, in order, its n likeliest outputs, the best first, or n samples.

    Without output edges the search is exact for any beam; with them it is that of `charrnn.sampling.beam`, and
    each output ends with its input. number: the first input's number, which determines its samples.
    """
    model = saved.model
    decoder = None if model.decoder is None else Stepper(model.decoder, model.decoder_params(saved.params))
    for rows in groups(len(inputs), how, n):
        tau = inputs.lengths[rows]
        h = model.read(saved.params, inputs.padded(rows, fill=saved.source.size), tau)
        owners, streams = np.arange(len(rows)), None
        if how.seed is not None:
            owners, streams = draws(number + int(rows[0]), len(rows), how.seed, n)
        if decoder is None:
            log_p = model.log_probs(saved.params, h).astype(np.float64)
            if streams is None:
                yield from (likeliest(log_p[: tau[b], b], n) for b in range(len(rows)))
            else:
                every = _drawn(log_p[:, owners], tau[owners], how, streams)
                yield from gathered(len(rows), owners, every, how, n)
            continue
        beam = Beam(decoder, decoder.model.endings["none"], how, tau[owners] + 2, streams)
        given = _at_each_step(decoder, h[:, np.repeat(owners, beam.K)])
        yield from gathered(len(rows), owners, beam.run(given, tau[owners], np.zeros(len(owners))), how, n)


def likeliest(log_p: npt.NDArray[np.float64], n: int) -> list[Hypothesis]:
    """The n likeliest sequences of independent symbols, whose log-probabilities are (T, K), the best first.

    The n likeliest with t symbols are among the extensions of the n likeliest with t − 1, so none is missed.
    """
    symbols, total = np.zeros((1, 0), np.int64), np.zeros(1)
    for row in log_p:
        every = total[:, None] + row
        best = np.argsort(-every, axis=None, kind="stable")[:n]
        parents, chosen = np.unravel_index(best, every.shape)
        symbols = np.concatenate([symbols[parents], chosen[:, None]], axis=1)
        total = every.reshape(-1)[best]
    return [Hypothesis(s, float(x), float(x), True) for s, x in zip(symbols, total, strict=True)]


def _drawn(
    log_p: npt.NDArray[np.float64], tau: IntArray, how: Search, streams: RowStreams
) -> list[list[Hypothesis]]:
    """One sample of independent symbols for each of B rows of `log_p` (S, B, K), of length `tau` (B,)."""
    S, B, _ = log_p.shape
    symbols = np.stack([drawn(log_p[t] / how.temperature, streams.uniform()) for t in range(S)])
    total = np.take_along_axis(log_p, symbols[..., None], axis=-1)[..., 0]
    log_probs = np.where(np.arange(S)[:, None] < tau, total, 0.0).sum(axis=0)
    return [[Hypothesis(symbols[: tau[b], b], float(log_probs[b]), float(log_probs[b]), True)] for b in range(B)]


def _at_each_step(decoder: Stepper, h: FloatArray) -> Callable[[int], Given]:
    """The context of rows at step t: h[t] of h (S, B, E); after the last step it is not used."""
    return lambda t: decoder.given(h[min(t, len(h) - 1)])
