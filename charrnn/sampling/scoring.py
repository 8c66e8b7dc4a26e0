"""The exact log-likelihood of given texts, in NumPy: float32 equations, sums in float64.

A text is scored from the initial state, or given a prompt that is read before it, in windows, so that the model's
states do not grow with its length.
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
from charrnn.sampling.fix_context import fix_context
from charrnn.sampling.prompt import length_candidates
from charrnn.sampling.stepper import Stepper

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
    """A model's score for one text, without the prompt; the fields of a line of `charrnn score --json`."""

    text: str
    nll: float
    """Nats: −log P(text), the ending included; given a prompt, −log P(text | it begins with the prompt)."""
    bits_per_char: float | None
    """None for the empty text."""
    nll_length: float
    """The part of `nll` for ending here and not before."""
    num_chars: int
    num_oov: int
    worst: list[WorstCharacter]
    """The least expected characters, the worst first."""
    nats: list[float]
    """What each character costs and, as the last, the ending (under `length` the choice of τ); their sum is `nll`.
    In JSON with --chars alone."""


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
    prompt: str = "",
) -> Iterator[Score]:
    """A score for every text, in order, given one context (X,) and that the text follows the prompt.

    Reads and keeps only a few texts ahead. Raises UsageError, and CorpusError for a prompt of unknown characters.
    """
    chosen = choose_stop(saved.model, stop)
    saved.vocabulary.require(prompt)
    log_evidence = None
    if prompt and saved.model.endings[chosen].announces:
        # The prompt tells something of τ, so the ending costs −ln p(τ | prompt), not −ln p(τ).
        plain = (saved.model, saved.params)
        model, params = plain if context is None else fix_context(*plain, context)
        symbols = saved.vocabulary.encode(prompt).astype(np.int64)
        log_evidence = length_candidates(Stepper(model, params), model.endings[chosen], symbols).log_evidence
    remaining = iter(texts)
    while batch := list(itertools.islice(remaining, BATCH)):
        contexts = None if context is None else np.tile(context, (len(batch), 1))
        yield from score_batch(saved, batch, chosen, contexts, prompt, log_evidence)


def score_batch(
    saved: SavedModel,
    texts: list[str],
    stop: StopName,
    contexts: npt.NDArray[np.float32] | None = None,
    prompt: str = "",
    log_evidence: float | None = None,
) -> list[Score]:
    """The scores of a few texts given their contexts (R, X) and a prompt, read in one batch.

    log_evidence: ln of the probability that a text begins with the prompt, if τ is drawn before the text.
    """
    sequences = replace(Sequences.from_texts(prompt + text for text in texts), contexts=contexts)
    reader = StepReader.of(sequences, saved.vocabulary)
    # Of each character and, as the last, of the ending: its nats, and the part of them for ending or not.
    costs = [np.zeros((2, len(prompt) + len(text) + 1)) for text in texts]
    windows = independent_pass(reader, stop, batch_size=BATCH)
    offset = np.zeros(0, np.int64)
    for window, _, found in assess_windows(saved.model, saved.params, windows):
        rows = window.sequence.max(axis=0)
        if window.fresh.all():
            owners, offset = rows, np.zeros(len(rows), np.int64)
        character = window.steps.kinds == Kind.CHARACTER
        charged = np.stack([found.nll, found.stopping])
        following = offset + character.sum(axis=0)
        for column in np.flatnonzero(rows >= 0):
            cost, inside = costs[owners[column]], character[:, column]
            cost[:, offset[column] : following[column]] = charged[:, inside, column]
            cost[:, -1] += charged[:, ~inside, column].sum(axis=1)
        offset = following
    if log_evidence is not None:
        for cost in costs:
            cost[:, -1] += log_evidence + cost[0, : len(prompt)].sum()
    return [_score(saved, text, cost[:, len(prompt) :]) for text, cost in zip(texts, costs, strict=True)]


def _score(saved: SavedModel, text: str, costs: npt.NDArray[np.float64]) -> Score:
    """The score of a text of n characters from its costs (2, n + 1): nats, and the part for ending or not."""
    nats = costs[0].tolist()
    nll, nll_length = costs.sum(axis=1).tolist()
    worst = np.argsort(-costs[0, :-1], kind="stable")[:WORST].tolist()
    return Score(
        text=text,
        nll=nll,
        bits_per_char=nll / math.log(2) / len(text) if text else None,
        nll_length=nll_length,
        num_chars=len(text),
        num_oov=int(np.count_nonzero(saved.vocabulary.encode(text) == saved.vocabulary.unknown)),
        worst=[WorstCharacter(k, text[k], nats[k]) for k in worst],
        nats=nats,
    )
