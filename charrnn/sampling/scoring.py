"""The exact log-likelihood of given texts, in NumPy: float32 equations, sums in float64.

A text is scored from the initial state, in windows, so that memory does not grow with its length.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, Params
from charrnn.config import StopName
from charrnn.corpus.passes import independent_pass
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.steps import Kind, StepReader, Window
from charrnn.errors import UsageError
from charrnn.models.language_model import Assessment, LanguageModel
from charrnn.models.stack import States
from charrnn.models.store import SavedModel

BATCH = 64
WORST = 5


@dataclass(frozen=True)
class WorstCharacter:
    """A character that the model did not expect."""

    index: int
    character: str
    nats: float


@dataclass(frozen=True)
class Score:
    """A model's score for one text; the fields of a line of `charrnn score --json`."""

    text: str
    nll: float
    """Nats: −log P(text), the ending included."""
    bits_per_char: float | None
    """None for the empty text."""
    nll_length: float
    """The part of `nll` for ending here and not before."""
    num_chars: int
    num_oov: int
    worst: list[WorstCharacter]
    """The least expected characters, the worst first."""


def choose_stop(model: LanguageModel, stop: StopName | None) -> StopName:
    """The stop mechanism: the requested one, or the model's first of eos, halt, length.

    Raises UsageError when the model has no such mechanism.
    """
    if stop is None:
        return model.stops[0]
    if stop not in model.stops:
        raise UsageError(
            f"the model has no --stop {stop}; it has {', '.join(model.stops)}; "
            f"`charrnn train CORPUS --stop {stop}` trains one that has"
        )
    return stop


def assess_windows(
    model: LanguageModel, params: Params, windows: Iterable[Window]
) -> Iterator[tuple[Window, Array, Assessment]]:
    """Each window with its hidden states (T, B, H) and the model's assessment of it.

    The state is carried from one window to the next; a window that is fresh in all rows starts over.
    """
    state: States | None = None
    for window in windows:
        rows = len(window.fresh)
        if state is None or window.fresh.all():
            state = model.initial_state(params, rows, window.steps.context)
        hidden, state = model.read(params, window.steps, state)
        yield window, hidden, model.assess(params, hidden, window.steps)


def score(
    saved: SavedModel,
    texts: Iterable[str],
    stop: StopName | None = None,
    context: npt.NDArray[np.float32] | None = None,
) -> Iterator[Score]:
    """A score for every text, in order, given one context (X,); reads and keeps only a few texts ahead."""
    chosen = choose_stop(saved.model, stop)
    remaining = iter(texts)
    while batch := list(itertools.islice(remaining, BATCH)):
        contexts = None if context is None else np.tile(context, (len(batch), 1))
        yield from score_batch(saved, batch, chosen, contexts)


def score_batch(
    saved: SavedModel, texts: list[str], stop: StopName, contexts: npt.NDArray[np.float32] | None = None
) -> list[Score]:
    """The scores of a few texts given their contexts (R, X), read in one batch."""
    sequences = replace(Sequences.from_texts(texts), contexts=contexts)
    reader = StepReader.of(sequences, saved.vocabulary)
    nll, stopping = np.zeros(len(texts)), np.zeros(len(texts))
    oov = np.zeros(len(texts), np.int64)
    worst = [_Worst() for _ in texts]
    windows = independent_pass(reader, stop, batch_size=BATCH)
    offset = np.zeros(0, np.int64)
    for window, _, found in assess_windows(saved.model, saved.params, windows):
        rows = window.sequence.max(axis=0)
        if window.fresh.all():
            owners, offset = rows, np.zeros(len(rows), np.int64)
        live = rows >= 0
        np.add.at(nll, owners[live], found.nll.sum(axis=0, dtype=np.float64)[live])
        np.add.at(stopping, owners[live], found.stopping.sum(axis=0, dtype=np.float64)[live])
        character = window.steps.kinds == Kind.CHARACTER
        unseen = character & (window.steps.targets > saved.vocabulary.eos)
        np.add.at(oov, owners[live], unseen.sum(axis=0)[live])
        for column in np.flatnonzero(live):
            at = np.flatnonzero(character[:, column])
            worst[owners[column]].add(offset[column] + np.arange(len(at)), found.nll[at, column])
        offset = offset + character.sum(axis=0)
    return [
        Score(
            text=text,
            nll=float(nll[i]),
            bits_per_char=float(nll[i]) / math.log(2) / len(text) if text else None,
            nll_length=float(stopping[i]),
            num_chars=len(text),
            num_oov=int(oov[i]),
            worst=[WorstCharacter(k, text[k], nats) for k, nats in worst[i].best()],
        )
        for i, text in enumerate(texts)
    ]


class _Worst:
    """The WORST largest of a long series of numbers that arrives in pieces."""

    def __init__(self) -> None:
        self._index = np.zeros(0, np.int64)
        self._nats = np.zeros(0)

    def add(self, index: npt.NDArray[np.int64], nats: npt.NDArray[np.floating]) -> None:
        all_index, all_nats = np.concatenate([self._index, index]), np.concatenate([self._nats, nats])
        order = np.argsort(-all_nats, kind="stable")[:WORST]
        self._index, self._nats = all_index[order], all_nats[order]

    def best(self) -> list[tuple[int, float]]:
        return [(int(k), float(n)) for k, n in zip(self._index, self._nats, strict=True)]
