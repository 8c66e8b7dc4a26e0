"""An encoder-decoder's predictions for lines of text: the fields of `charrnn predict --json`."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from charrnn.checkpoint import Checkpoint
from charrnn.config import StopName
from charrnn.corpus.columns import encode_columns, parse_given
from charrnn.corpus.symbols import Ragged, normalised
from charrnn.errors import CorpusError, UsageError
from charrnn.models.stopping import Stop
from charrnn.models.store import SavedPair, load_pair
from charrnn.sampling.beam import BEAM, GREEDY, Beam, Hypothesis, Search, draws, gathered, groups, prediction_of
from charrnn.sampling.prediction import Prediction, read_inputs
from charrnn.sampling.randomness import RowStreams
from charrnn.sampling.scoring import choose_stop
from charrnn.sampling.stepper import FloatArray, Given, IntArray, Stepper
from charrnn.tasks.transduce.encoder_decoder import EncoderDecoder, TransducerConfig

BATCH = 64

Line: TypeAlias = str | tuple[str, ...]
"""An input, perhaps with the values of the columns behind it: separated by tabs, or in a tuple."""

SavedTransducer: TypeAlias = SavedPair[TransducerConfig, EncoderDecoder]


def load(checkpoint: Checkpoint) -> SavedTransducer:
    """Raises CheckpointError for parts that do not fit together, before memory is allocated."""
    config = checkpoint.config(TransducerConfig)
    sizes = (config.encoder.vocab_size, config.decoder.vocab_size)
    return load_pair(checkpoint, config, EncoderDecoder(config), sizes, (config.source_sep, config.target_sep))


def open_model(checkpoint: Checkpoint) -> "TransduceModel":
    """Raises CheckpointError."""
    return TransduceModel(load(checkpoint), checkpoint.path)


class TransduceModel:
    """A trained model that maps sequences to sequences. It needs no torch."""

    def __init__(self, saved: SavedTransducer, path: Path) -> None:
        self.saved, self.path = saved, path

    @property
    def has_attention(self) -> bool:
        return self.saved.config.decoder.attention is not None

    def predict(
        self,
        texts: Iterable[Line],
        *,
        given: Sequence[str] = (),
        stop: StopName | None = None,
        how: Search = BEAM,
        n: int = 1,
        number: int = 0,
    ) -> Iterator[Prediction]:
        """The n best outputs for each input, or n samples. Raises UsageError, CorpusError for unreadable input.

        Columns are given for all inputs, or stand behind each input, separated by tabs or in a tuple.
        number: the first text's number, which determines its samples.
        """
        chosen = choose_stop(self.saved.model.decoder, stop)
        return transduce(self.saved, texts, given=given, stop=chosen, how=how, n=n, number=number)

    def alignment(
        self, line: Line, output: str, given: Sequence[str] = (), *, stop: StopName | None = None
    ) -> "Alignment":
        """The attention on an input while its output was written. Raises UsageError without attention."""
        chosen = choose_stop(self.saved.model.decoder, stop)
        return aligned(self.saved, line, output, given, stop=chosen)


def transduce(
    saved: SavedTransducer,
    lines: Iterable[Line],
    *,
    given: Sequence[str] = (),
    stop: StopName | None = None,
    how: Search,
    n: int = 1,
    number: int = 0,
) -> Iterator[Prediction]:
    """For every line, in order, the n best outputs, or n samples; reads a batch ahead.

    For a model with columns, `given` sets them for all lines, or each line is the input and the columns. An
    unknown symbol is read as a zero input. number: the first line's number, which determines its samples.
    Raises UsageError, CorpusError.
    """
    fixed, remaining = _fixed(saved, given), iter(lines)
    while batch := list(itertools.islice(remaining, BATCH)):
        texts, contexts = _read(saved, batch, fixed)
        found = search(saved, read_inputs(saved.source, texts), contexts, stop=stop, how=how, n=n, number=number)
        for line, best in zip(batch, found, strict=True):
            yield prediction_of(saved.target, line if isinstance(line, str) else line[0], best)
        number += len(batch)


class Alignment(NamedTuple):
    source: list[str]
    """Symbols of an input."""
    target: list[str]
    """Symbols of its output."""
    weights: npt.NDArray[np.floating]
    """(T, S) the attention on the input for each output symbol."""


def aligned(
    saved: SavedTransducer, line: Line, output: str, given: Sequence[str] = (), *, stop: StopName
) -> Alignment:
    """The attention on an input while the decoder writes an output. Raises UsageError without attention."""
    (text,), contexts = _read(saved, [line], _fixed(saved, given))
    ids = read_inputs(saved.source, [text]).values.astype(np.int64)
    written = saved.target.encode(output, unknown=saved.target.size + 1).astype(np.int64)
    weights = alignment(saved, ids, None if contexts is None else contexts[0], written, stop)
    return Alignment(saved.source.split(normalised(text)), saved.target.split(output), weights)


def _fixed(saved: SavedTransducer, given: Sequence[str]) -> npt.NDArray[np.float32] | None:
    """(1, X) the columns for all lines; None if each line has its own. Raises UsageError, CorpusError."""
    columns = saved.config.columns
    values = parse_given(columns, given) if given or not columns else ()
    return encode_columns(columns, [[value] for value in values], lambda _: "--given") if values else None


def _read(
    saved: SavedTransducer, lines: Sequence[Line], fixed: npt.NDArray[np.float32] | None
) -> tuple[list[str], npt.NDArray[np.float32] | None]:
    """The inputs of R lines and the columns (R, X) that they are conditioned on, if any. Raises CorpusError."""
    names = [column.name for column in saved.config.columns]
    if not names or fixed is not None:
        texts = [line if isinstance(line, str) else line[0] for line in lines]
        return texts, None if fixed is None else np.repeat(fixed, len(lines), axis=0)
    parts = [line.split("\t") if isinstance(line, str) else line for line in lines]
    for line, fields in zip(lines, parts, strict=True):
        if len(fields) != 1 + len(names):
            raise CorpusError(
                f"input {line[:40]!a}: expected the input and {', '.join(names)} between tabs, or --given for all"
            )
    texts, *values = ([fields[k] for fields in parts] for k in range(1 + len(names)))
    return texts, encode_columns(saved.config.columns, values, lambda row: f"input {texts[row][:40]!a}")


def search(
    saved: SavedTransducer,
    inputs: Ragged,
    contexts: npt.NDArray[np.float32] | None,
    *,
    stop: StopName | None = None,
    how: Search = GREEDY,
    n: int = 1,
    number: int = 0,
) -> Iterator[list[Hypothesis]]:
    """For each of R inputs, in order, its n best outputs, the best first, or n samples.

    contexts: (R, X) the columns that outputs are conditioned on, if any; number: the first input's number,
    which determines its samples.
    """
    ending = saved.model.decoder.endings[stop or saved.model.decoder.stops[0]]
    decoder = Stepper(saved.model.decoder, saved.model.decoder_params(saved.params))
    for rows in groups(len(inputs), how, n):
        lengths = inputs.lengths[rows]
        ids = inputs.padded(rows, fill=saved.source.size)
        read = saved.model.read(saved.params, ids, lengths, None if contexts is None else contexts[rows])
        given = decoder.given(read.context, read.memory)
        longest = np.maximum(20, 10 + 5 * np.maximum(lengths, int(saved.config.decoder.length_scale)))
        owners, streams = np.arange(len(rows)), None
        if how.seed is not None:
            owners, streams = draws(number + int(rows[0]), len(rows), how.seed, n)
        taus, log_p = None, np.zeros(len(owners))
        if ending.announces:
            some, taus, log_p = _announced(decoder, ending, given.take(owners), how, longest[owners], streams)
            owners = owners[some]
        beam = Beam(decoder, ending, how, longest[owners], streams)
        found = beam.run(_at(given.take(np.repeat(owners, beam.K))), taus, log_p)
        yield from gathered(len(rows), owners, found, how, n)


def _at(given: Given) -> Callable[[int], Given]:
    return lambda step: given._replace(step=step)


def _announced(
    decoder: Stepper, ending: Stop, given: Given, how: Search, longest: IntArray, streams: RowStreams | None
) -> tuple[npt.NDArray[np.intp], IntArray, npt.NDArray[np.float64]]:
    """Lengths to be searched separately: the row of each, its τ and ln p(τ), (C,).

    They are the K likeliest ones of each row, or one that is sampled.
    """
    B = len(longest)
    hidden, _ = decoder.step(
        np.full(B, decoder.model.config.vocab_size), None, decoder.initial_state(B, given), given
    )
    p = ending.distribution(decoder.params, hidden.astype(np.float64))
    if streams is not None:
        drawn = p.inverse_survival(np.log1p(-streams.uniform()))
        return np.arange(B), drawn, p.log_prob(drawn)
    log_p = np.stack([p.log_prob(np.full(B, tau)) for tau in range(int(longest.max()))], axis=1)
    taus = np.argsort(-log_p, axis=1, kind="stable")[:, : how.beam]
    owners = np.repeat(np.arange(B), taus.shape[1])
    return owners, taus.reshape(-1), np.take_along_axis(log_p, taus, axis=1).reshape(-1)


def alignment(
    saved: SavedTransducer,
    source: IntArray,
    context: npt.NDArray[np.float32] | None,
    output: IntArray,
    stop: StopName,
) -> FloatArray:
    """(T, S) the attention on the input for each symbol of an output that ends by `stop`.

    source: (S,) and output: (T,) symbol ids; context: (X,). Raises UsageError for a model without attention.
    """
    if saved.model.decoder.attention is None:
        raise UsageError("the model has no attention to show")
    columns = None if context is None else context[None]
    read = saved.model.read(saved.params, source[:, None].astype(np.int64), np.array([len(source)]), columns)
    decoder = Stepper(saved.model.decoder, saved.model.decoder_params(saved.params))
    given = decoder.given(read.context, read.memory)
    state = decoder.initial_state(1, given)
    V, tau = saved.target.size, len(output)
    first = 0
    announces = saved.model.decoder.endings[stop].announces
    if announces:
        _, state = decoder.step(np.array([V]), None, state, given)
        first = 1
    weights = np.zeros((tau, len(source)))
    for t in range(tau):
        symbol = V if t == 0 else int(output[t - 1])
        left = np.array([tau - t]) if announces else None
        at = given._replace(step=first + t)
        _, state, looked = decoder.attentive_step(np.array([symbol]), left, state, at)
        assert looked is not None
        weights[t] = looked[0]
    return weights
