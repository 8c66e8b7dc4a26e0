"""Outputs of an encoder-decoder for batches of inputs: the most probable by beam search, or random draws.

A hypothesis is a prefix of an output. Each step extends the K best hypotheses of every input by every symbol
and by the end, and keeps the best extensions. With one hypothesis, extended at random, this is ancestral sampling.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import log_softmax, logsumexp
from charrnn.corpus.symbols import Symbols
from charrnn.models.stopping import NEVER, Stop
from charrnn.sampling.prediction import Candidate, Prediction
from charrnn.sampling.randomness import RowStreams
from charrnn.sampling.stepper import Given, IntArray, Stepper, take_rows

ROWS = 256
"""Hypotheses that are extended in one batch."""


class Hypothesis(NamedTuple):
    symbols: IntArray
    log_prob: float
    """Nats: ln p(output | input), the ending included; for an output that was cut, that of the prefix."""
    score: float
    """Ranks the hypotheses: the log-probability divided by (length + 1)^A."""
    ended: bool
    """False if it was cut because it was too long."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """beam: K, hypotheses kept for each input; length_penalty: A, 0 ranks by log-probability, 1 by its mean per
    symbol; seed: if any, outputs are drawn at `temperature` instead of searched for."""

    beam: int = 1
    length_penalty: float = 1.0
    temperature: float = 1.0
    seed: int | None = None


GREEDY = Search()
BEAM = Search(beam=5)
"""The default search for outputs."""


def groups(num_inputs: int, how: Search, n: int) -> Iterator[IntArray]:
    """The inputs in groups whose hypotheses form one batch."""
    size = max(1, ROWS // (how.beam if how.seed is None else n))
    for first in range(0, num_inputs, size):
        yield np.arange(first, min(first + size, num_inputs))


def draws(number: int, num_inputs: int, seed: int, n: int) -> tuple[npt.NDArray[np.intp], RowStreams]:
    """n rows for each input from `number` on: the input that each row belongs to, and the rows' random streams."""
    streams = RowStreams(seed)
    streams.open(range(number * n, (number + num_inputs) * n))
    return np.repeat(np.arange(num_inputs), n), streams


def gathered(
    num_inputs: int, owners: npt.NDArray[np.intp], finished: list[list[Hypothesis]], how: Search, n: int
) -> Iterator[list[Hypothesis]]:
    """The hypotheses of each input: the n best, or all that were drawn."""
    found: list[list[Hypothesis]] = [[] for _ in range(num_inputs)]
    for owner, hypotheses in zip(owners, finished, strict=True):
        found[owner] += hypotheses
    for hypotheses in found:
        yield hypotheses if how.seed is not None else sorted(hypotheses, key=lambda h: -h.score)[:n]


def prediction_of(target: Symbols, text: str, found: list[Hypothesis]) -> Prediction:
    """The prediction for an input, from its hypotheses."""
    candidates = [Candidate(target.decode(h.symbols), math.exp(h.log_prob)) for h in found]
    return Prediction(text, candidates[0].value, candidates[0].probability, candidates)


class Beam:
    """B inputs with K hypotheses each, in (B K) rows; one hypothesis each if they are drawn."""

    def __init__(
        self, decoder: Stepper, ending: Stop, how: Search, longest: IntArray, streams: RowStreams | None
    ) -> None:
        self._decoder, self._ending, self._how, self._streams = decoder, ending, how, streams
        self.K = how.beam if streams is None else 1
        self._inputs, self._longest = len(longest), longest
        self._V = decoder.model.config.vocab_size

    def run(
        self, given: Callable[[int], Given], taus: IntArray | None, log_p: npt.NDArray[np.float64]
    ) -> list[list[Hypothesis]]:
        """Finished hypotheses of each input.

        given: what the (B K) rows are conditioned on at step t; taus: (B,) each output's length, if it is known;
        log_p: (B,) the log-probability of that length.
        """
        B, K, V = self._inputs, self.K, self._V
        decoder, rows = self._decoder, B * K
        state = decoder.initial_state(rows, given(0))
        log_p = np.where(np.arange(rows) % K == 0, np.repeat(log_p, K), NEVER)
        remaining = None if taus is None else np.repeat(taus, K)
        first = 0
        if self._ending.announces:
            _, state = decoder.step(np.full(rows, V), None, state, given(0))
            first = 1
        hidden, state = decoder.step(np.full(rows, V), remaining, state, given(first))
        symbols = np.zeros((rows, 0), np.int64)
        finished: list[list[Hypothesis]] = [[] for _ in range(B)]
        open_inputs = np.ones(B, bool)
        while open_inputs.any():
            length = symbols.shape[1]
            _, go, end = decoder.log_next(self._ending, hidden, remaining)
            # The end is the column after the symbols, as EOS is.
            total = np.concatenate([log_p[:, None] + go, (log_p + end)[:, None]], axis=1).reshape(B, K * (V + 1))
            ranked = self._ranked(total) if self._streams is None else self._drawn(go, end, self._streams)
            parents, chosen = np.zeros(rows, np.int64), np.full(rows, V)
            new_log_p = np.full(rows, NEVER)
            for b in np.flatnonzero(open_inputs):
                kept = 0
                for rank, at in enumerate(ranked[b]):
                    row, symbol, value = b * K + at // (V + 1), at % (V + 1), total[b, at]
                    if value <= NEVER / 2:
                        continue
                    if symbol == V:
                        if rank < K:
                            finished[b].append(self._hypothesis(symbols[row], value, ended=True))
                    elif kept < K:
                        place = b * K + kept
                        parents[place], chosen[place], new_log_p[place] = row, symbol, value
                        kept += 1
                if len(finished[b]) >= K or not kept:
                    open_inputs[b] = False
                elif length + 1 >= self._longest[b]:
                    open_inputs[b] = False
                    if not finished[b]:
                        cut = np.append(symbols[parents[b * K]], chosen[b * K])
                        finished[b].append(self._hypothesis(cut, new_log_p[b * K], ended=False))
            symbols = np.concatenate([symbols[parents], chosen[:, None]], axis=1)
            state, log_p = take_rows(state, parents), new_log_p
            remaining = None if remaining is None else remaining[parents] - 1
            hidden, state = decoder.step(chosen, remaining, state, given(first + symbols.shape[1]))
        return finished

    def _ranked(self, total: npt.NDArray[np.float64]) -> IntArray:
        """The best 2 K extensions of each input, (B, 2 K), the best first."""
        most = min(2 * self.K, total.shape[1])
        best = np.argpartition(-total, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(total, best, axis=1), axis=1, kind="stable")
        ranked: IntArray = np.take_along_axis(best, order, axis=1)
        return ranked

    def _drawn(self, go: npt.NDArray[np.float64], end: npt.NDArray[np.float64], streams: RowStreams) -> IntArray:
        """Draws an extension of each row, (B, 1). The temperature applies to EOS, but not to other ends."""
        T = self._how.temperature
        if self._ending.symbol is not None:
            go, end = go / T, end / T
        else:
            go = logsumexp(go)[:, None] + log_softmax(go / T)
        return drawn(np.concatenate([go, end[:, None]], axis=1), streams.uniform())[:, None]

    def _hypothesis(self, symbols: IntArray, log_prob: float, *, ended: bool) -> Hypothesis:
        score = float(log_prob) / (len(symbols) + 1) ** self._how.length_penalty
        return Hypothesis(symbols.copy(), float(log_prob), score, ended)


def drawn(log_weights: npt.NDArray[np.float64], u: npt.NDArray[np.float64]) -> IntArray:
    """(B,) a column drawn from each row of (B, N) in proportion to its weight; u (B,) uniform in [0, 1)."""
    weights = np.exp(log_weights - log_weights.max(axis=-1, keepdims=True))
    below = np.cumsum(weights, axis=-1)
    found: IntArray = (below <= u[:, None] * below[:, -1:]).sum(axis=-1)
    return found
