"""The prediction of any model for an input: the fields of a line of `charrnn predict --json`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Params
from charrnn.config import Prior
from charrnn.corpus.symbols import LONGEST, Ragged, Symbols, normalised
from charrnn.errors import CorpusError
from charrnn.models.label_readout import LabelReadout
from charrnn.models.stopping import Stop
from charrnn.sampling.prompt import length_candidates, read_prefix
from charrnn.sampling.stepper import IntArray, Stepper

END = "end of text"
"""What may follow a beginning beside the characters."""


@dataclass(frozen=True)
class Candidate:
    value: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """A label, or a number, which has no probability and no other candidates."""

    input: str
    prediction: str | float
    probability: float | None
    candidates: list[Candidate]
    """The most probable ones, the best first."""


def most_probable(text: str, values: Sequence[str], probabilities: npt.NDArray[np.float64], n: int) -> Prediction:
    """The n most probable of K values, given their probabilities (K,)."""
    best = np.argsort(-probabilities, kind="stable")[:n].tolist()
    candidates = [Candidate(values[k], float(probabilities[k])) for k in best]
    return Prediction(text, candidates[0].value, candidates[0].probability, candidates)


def predictions(
    readout: LabelReadout,
    params: Params,
    texts: Sequence[str],
    logits: npt.NDArray[np.floating],
    n: int,
    prior: Prior | None = None,
) -> Iterator[Prediction]:
    """For each text, from its logits (R, K), the n most probable labels or its number.

    prior: how frequent the labels are taken to be; as the model was trained by default. Raises UsageError for a
    prior of a number.
    """
    readout.check_prior(prior)
    if readout.is_regression:
        for text, number in zip(texts, readout.numbers(logits).tolist(), strict=True):
            yield Prediction(text, number, None, [])
    else:
        for text, p in zip(texts, readout.probabilities(params, logits, prior), strict=True):
            yield most_probable(text, readout.label.values, p, n)


def next_probabilities(stepper: Stepper, ending: Stop, beginning: IntArray) -> npt.NDArray[np.float64]:
    """(V + 1,) how probable each character, and the end, is after a beginning (k,) that the model reads first.

    If the length τ is drawn first, these are means over τ, weighted by p(τ | τ ≥ k, beginning); of a distribution
    that is wider than `prompt.SUPPORT` lengths, over its quantiles.
    """
    if ending.announces:
        found = length_candidates(stepper, ending, beginning)
        hidden, weights, remaining = found.prefix.hidden, found.weights, found.taus - len(beginning)
    else:
        hidden, weights, remaining = read_prefix(stepper, ending, beginning).hidden, np.ones(1), None
    _, log_follows, log_stop = stepper.log_next(ending, hidden, remaining)
    result: npt.NDArray[np.float64] = weights @ np.exp(np.concatenate([log_follows, log_stop[:, None]], axis=1))
    return result


def read_inputs(symbols: Symbols, texts: Sequence[str]) -> Ragged:
    """The numbers of the texts' symbols, in Unicode form C; unknown symbols get the number after the last.

    Raises CorpusError for a text that is too long.
    """
    rows = [symbols.encode(normalised(text), unknown=symbols.size) for text in texts]
    for row, text in zip(rows, texts, strict=True):
        if len(row) > LONGEST:
            raise CorpusError(f"input {text[:20]!a}...: {len(row):,} symbols; at most {LONGEST:,} can be read")
    return Ragged.of(rows)
