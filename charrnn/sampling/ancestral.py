"""Ancestral sampling: symbols are drawn one after another, each given the previous ones, until the text ends.

Many samples are drawn as one batch: when a row ends, the next sample takes its place, and every sample has its
own random stream. At temperature 1 without filters a sample is an exact draw from the
model's distribution.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.config import StopName
from charrnn.models.stack import States
from charrnn.models.stopping import Turn
from charrnn.sampling.filters import Filters, draw
from charrnn.sampling.prompt import length_candidates, length_distribution, read_prefix
from charrnn.sampling.randomness import RowStreams
from charrnn.sampling.stepper import FloatArray, IntArray, Stepper, join_rows, take_rows

FinishReason = StopName | Literal["num_chars", "max_chars", "max_words", "until"]

BATCH = 512
"""Samples drawn in one batch."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to draw. num_chars: the exact length. Three ways to cut a text, which the sample reports:

    max_chars: its most characters; until: the symbols that it ends with; max_words: its most words, cut where
    another character would follow the last one, with (S,) `spaces`, the symbols that set off words. cut_log_prob:
    whether the log-probability of a cut text is wanted; under `length` it takes long.
    """

    stop: StopName
    prompt: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    filters: Filters = field(default_factory=Filters)
    num_chars: int | None = None
    max_chars: int | None = None
    until: IntArray | None = None
    max_words: int | None = None
    spaces: npt.NDArray[np.bool_] | None = None
    cut_log_prob: bool = True
    seed: int = 0


class Drawn(NamedTuple):
    """A finished sample as symbol ids, prompt included."""

    number: int
    symbols: IntArray
    finish_reason: FinishReason
    log_prob: float
    """Nats: the model's own ln P(text) at temperature 1 without filters; for a cut text, that of the prefix, or
    NaN if it was not wanted."""


class _Start(NamedTuple):
    """Rows about to draw their first character."""

    state: States
    hidden: FloatArray
    remaining: IntArray | None
    log_prob: npt.NDArray[np.float64]


_PER_ROW = ("numbers", "hidden", "log_prob", "log_survival", "lengths", "symbols")


class _Rows:
    """The unfinished samples, as parallel (B, …) arrays."""

    def __init__(self, first: int, start: _Start, prompt: IntArray) -> None:
        n = len(start.log_prob)
        self.numbers = np.arange(first, first + n)
        self.state, self.hidden, self.remaining = start.state, start.hidden, start.remaining
        self.log_prob = start.log_prob.copy()
        self.log_survival = np.zeros(n)
        self.lengths = np.full(n, len(prompt))
        self.symbols = np.zeros((n, len(prompt) + 64), np.int64)
        self.symbols[:, : len(prompt)] = prompt
        self._renumber()

    def __len__(self) -> int:
        return len(self.numbers)

    def append(self, symbols: IntArray) -> None:
        if self.longest == self.symbols.shape[1]:
            self.symbols = np.concatenate([self.symbols, np.zeros_like(self.symbols)], axis=1)
        self.symbols[self.index, self.lengths] = symbols
        self.lengths = self.lengths + 1
        self.longest += 1

    def keep(self, rows: npt.NDArray[np.intp]) -> None:
        self.state = take_rows(self.state, rows)
        self.remaining = None if self.remaining is None else self.remaining[rows]
        for name in _PER_ROW:
            setattr(self, name, getattr(self, name)[rows])
        self._renumber()

    def join(self, other: "_Rows") -> None:
        self.state = join_rows(self.state, other.state)
        if self.remaining is not None and other.remaining is not None:
            self.remaining = np.concatenate([self.remaining, other.remaining])
        width = max(self.symbols.shape[1], other.symbols.shape[1])
        for rows in (self, other):
            rows.symbols = np.pad(rows.symbols, ((0, 0), (0, width - rows.symbols.shape[1])))
        for name in _PER_ROW:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))
        self._renumber()

    def _renumber(self) -> None:
        self.index = np.arange(len(self))
        self.longest = int(self.lengths.max(initial=0))


class Sampler:
    """Draws samples 0, 1, … of a request. `draw` yields them as they end; `stream` yields one by its symbols."""

    def __init__(self, stepper: Stepper, request: Request) -> None:
        self._stepper, self._request = stepper, request
        self._ending = stepper.model.endings[request.stop]
        self._vocab_size = stepper.model.config.vocab_size
        if self._ending.announces:
            if request.num_chars is None and len(request.prompt):
                self._candidates = length_candidates(stepper, self._ending, request.prompt)
            self._lengths = length_distribution(stepper, self._ending)
        else:
            self._prefix = read_prefix(stepper, self._ending, request.prompt)

    def draw(self, samples: range) -> Iterator[Drawn]:
        """Finished samples, in the order in which they end."""
        self._streams = RowStreams(self._request.seed)
        pending = samples
        rows: _Rows | None = None
        while True:
            room = BATCH - (0 if rows is None else len(rows))
            if pending and room:
                rows = self._admit(rows, pending[:room])
                pending = pending[room:]
            if rows is None or not len(rows):
                return
            yield from self._advance(rows)

    def stream(self, sample: int) -> Iterator[int | Drawn]:
        """Each symbol of one sample after the prompt, as it is drawn, and finally the whole sample."""
        self._streams = RowStreams(self._request.seed)
        rows = self._admit(None, range(sample, sample + 1))
        while len(rows):
            before = int(rows.lengths[0])
            finished = list(self._advance(rows))
            if len(rows) and rows.lengths[0] > before:
                yield int(rows.symbols[0, before])
            yield from finished

    def _admit(self, rows: _Rows | None, samples: range) -> _Rows:
        """Opens the samples' random streams and appends their rows to the unfinished ones."""
        self._streams.open(samples)
        new = _Rows(samples.start, self._start(len(samples)), self._request.prompt)
        if rows is None:
            return new
        rows.join(new)
        return rows

    def _start(self, n: int) -> _Start:
        """The state of n new rows; draws τ under `length`."""
        request = self._request
        if not self._ending.announces:
            p = self._prefix
            first = np.zeros(n, np.intp)
            return _Start(take_rows(p.state, first), p.hidden[first], None, p.log_prob[first])
        k = len(request.prompt)
        if request.num_chars is None and k:
            c = self._candidates
            u = self._median_or_uniform(n)
            chosen = draw(np.broadcast_to(c.weights, (n, len(c.weights))), u)
            state = take_rows(c.prefix.state, chosen)
            return _Start(state, c.prefix.hidden[chosen], c.taus[chosen] - k, c.log_prob[chosen])
        if request.num_chars is not None:
            taus = np.full(n, request.num_chars)
        else:
            taus = self._lengths.inverse_survival(np.log1p(-self._median_or_uniform(n)))
        prefix = read_prefix(self._stepper, self._ending, request.prompt, taus)
        log_prob = self._lengths.log_prob(taus) + prefix.log_prob
        return _Start(prefix.state, prefix.hidden, taus - k, log_prob)

    def _median_or_uniform(self, n: int) -> npt.NDArray[np.float64]:
        """The quantiles that select lengths, (n,): the median at temperature 0, otherwise uniform draws."""
        if self._request.filters.temperature == 0.0:
            return np.full(n, 0.5 - 1e-12)
        return self._streams.uniform_of_last(n)

    def _advance(self, rows: _Rows) -> Iterator[Drawn]:
        """One step for every row: it either ends, and is yielded and removed, or grows by one character."""
        request, stepper, V = self._request, self._stepper, self._vocab_size
        log_p, log_follows, log_stop = stepper.log_next(self._ending, rows.hidden, rows.remaining)
        drawable = log_p[..., :V] if request.num_chars is not None else log_p
        symbols = draw(request.filters.probabilities(drawable, V), self._streams.uniform())

        ended = self._ends(rows, symbols, log_stop)
        leaving, cuts = ended, dict[int, FinishReason]()
        for reason, cut in self._cuts(rows, symbols):
            if reason == "until":  # The text was complete before it could end in another way.
                leaving = ended = ended & ~cut
            cuts.update(dict.fromkeys(np.flatnonzero(cut & ~leaving).tolist(), reason))
            leaving = leaving | cut
        rows.log_prob[ended] += log_stop[ended]
        if leaving.any():
            for row in np.flatnonzero(leaving).tolist():
                yield self._finished(rows, row, cuts.get(row))
            going_on = np.flatnonzero(~leaving)
            rows.keep(going_on)
            self._streams.keep(going_on)
            if not len(rows):
                return
            symbols, log_follows = symbols[going_on], log_follows[going_on]
        rows.log_prob += log_follows[rows.index, symbols]
        if rows.remaining is not None:
            rows.remaining = rows.remaining - 1
        rows.append(symbols)
        rows.hidden, rows.state = stepper.step(symbols, rows.remaining, rows.state)

    def _ends(self, rows: _Rows, symbols: IntArray, log_stop: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which rows end here, (B,); a text with a requested length ends only at that length."""
        if self._request.num_chars is not None and not self._ending.announces:
            return np.zeros(len(rows), bool)
        temperature = self._request.filters.temperature
        if temperature == 0.0:
            rows.log_survival = rows.log_survival + np.log1p(-np.exp(np.minimum(log_stop, -1e-15)))
        turn = Turn(symbols, rows.remaining, log_stop, rows.log_survival, temperature, self._streams.uniform)
        return self._ending.ends(turn)

    def _cuts(self, rows: _Rows, symbols: IntArray) -> Iterator[tuple[FinishReason, npt.NDArray[np.bool_]]]:
        """Why texts end here, whatever the model says, and which of them, (B,), before `symbols` are appended."""
        request = self._request
        if request.until is not None:
            back = np.arange(len(request.until), 0, -1)
            last = rows.symbols[rows.index[:, None], np.maximum(rows.lengths[:, None] - back, 0)]
            drawn = rows.lengths >= max(len(request.prompt) + 1, len(request.until))
            yield "until", drawn & (last == request.until).all(axis=1)
        if request.num_chars is not None and rows.longest >= request.num_chars:
            yield "num_chars", rows.lengths >= request.num_chars
        if request.max_words is not None and request.spaces is not None:
            cut = request.spaces[symbols] | request.spaces[rows.symbols[rows.index, rows.lengths - 1]]
            for row in np.flatnonzero(cut):
                space = request.spaces[rows.symbols[row, : rows.lengths[row]]]
                cut[row] = np.count_nonzero(np.diff(space, prepend=True) & ~space) >= request.max_words
            yield "max_words", cut
        if request.max_chars is not None and rows.longest >= request.max_chars:
            yield "max_chars", rows.lengths >= request.max_chars

    def _finished(self, rows: _Rows, row: int, cut: FinishReason | None) -> Drawn:
        request = self._request
        symbols = rows.symbols[row, : int(rows.lengths[row])].copy()
        log_prob = float(rows.log_prob[row])
        reason: FinishReason = cut or (request.stop if request.num_chars is None else "num_chars")
        if cut not in (None, "num_chars") and self._ending.announces:
            # The row's τ was longer than the cut; the prefix could have come from any τ.
            wanted = request.cut_log_prob
            log_prob = length_candidates(self._stepper, self._ending, symbols).log_evidence if wanted else math.nan
        return Drawn(int(rows.numbers[row]), symbols, reason, log_prob)
