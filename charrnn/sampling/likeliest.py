"""The likeliest texts of a model, in order, each once, by best-first search.

A text is at most as likely as each of its beginnings, because every further step multiplies by a probability. So
an ended text that is at least as likely as every beginning not yet continued is the likeliest of those not yet
found. Under `length` the first step is the choice of τ. Beginnings that were dropped, because memory is bounded,
leave their probability as a bound.
"""

import bisect
import heapq
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.cell import map_state, state_arrays
from charrnn.errors import FewerTextsError
from charrnn.models.stack import States
from charrnn.models.stopping import NEVER, Stop
from charrnn.sampling.prompt import length_distribution, read_prefix
from charrnn.sampling.stepper import FloatArray, IntArray, Stepper, take_rows
from charrnn.words import count, size

MEMORY = 500_000_000
"""Bytes for the beginnings that may still be continued."""

ROWS = 64
"""Beginnings that are continued in one batch."""

IMPOSSIBLE = NEVER / 2


class Likely(NamedTuple):
    symbols: IntArray
    """The whole text, the prompt included."""
    log_prob: float
    """Nats: ln P(text)."""


class _Path(NamedTuple):
    """The last symbol after the prompt, and those before it."""

    before: "_Path | None"
    symbol: int


class _Beginning(NamedTuple):
    """A beginning, and what may follow it."""

    path: _Path | None
    length: int
    state: States | None
    """One row; None if τ is what follows."""
    remaining: int
    """Characters to come, if τ was drawn first."""
    following: IntArray
    """(C,) symbols, or lengths τ, the likeliest first."""
    log_probs: npt.NDArray[np.float64]
    """(C,) ln of the probability of the beginning with each of them."""

    @property
    def num_bytes(self) -> int:
        state = [array for layer in self.state or () for array in state_arrays(layer)]
        arrays: int = sum(array.nbytes for array in (*state, self.following, self.log_probs))
        return 1000 + arrays


def likeliest(
    stepper: Stepper, ending: Stop, n: int, *, prompt: IntArray, max_chars: int, memory: int = MEMORY
) -> Iterator[Likely]:
    """The n likeliest texts of at most `max_chars` symbols that begin with the prompt (k,), the likeliest first.

    memory: bytes for beginnings. Raises FewerTextsError after the last text that is certain, if there are fewer
    than n or if the memory did not suffice for more.
    """
    return _Search(stepper, ending, n, prompt, max_chars, memory).run()


class _Search:
    def __init__(
        self, stepper: Stepper, ending: Stop, n: int, prompt: IntArray, max_chars: int, memory: int
    ) -> None:
        self._stepper, self._ending, self._prompt = stepper, ending, prompt
        self._wanted, self._max_chars, self._memory = n, max_chars, memory
        self._numbers = itertools.count()
        self._frontier: list[tuple[float, int, _Beginning, int]] = []
        """A heap: −ln p with the likeliest untried symbol, a number, the beginning, the symbol's place."""
        self._ended: list[tuple[float, int, _Path | None]] = []
        """The likeliest texts that are not yet certain, in order, at most those wanted: −ln p, a number, path."""
        self._lost = IMPOSSIBLE
        """ln p of the likeliest beginning that was dropped."""
        self._bytes = 0

    def run(self) -> Iterator[Likely]:
        k, n = len(self._prompt), self._wanted
        if self._ending.announces:
            taus = np.arange(k, self._max_chars + 1)
            log_p = length_distribution(self._stepper, self._ending).log_prob(taus)
            self._push(None, k, None, -1, taus, log_p)
        else:
            prefix = read_prefix(self._stepper, self._ending, self._prompt)
            self._read([None], [k], prefix.state, prefix.hidden, None, prefix.log_prob)
        while True:
            bound = max(self._lost, -self._frontier[0][0] if self._frontier else IMPOSSIBLE)
            while self._ended and -self._ended[0][0] >= bound:
                cost, _, path = self._ended.pop(0)
                self._wanted -= 1
                yield Likely(self._symbols(path), -cost)
                if not self._wanted:
                    return
            if bound == self._lost:
                raise FewerTextsError(f"only {n - self._wanted:,} of {count(n, 'text')} found: {self._reason()}")
            self._continue()
            if self._bytes > self._memory:
                self._drop_half()

    def _continue(self) -> None:
        """Continues the likeliest beginnings, each with its likeliest untried symbol."""
        opened, grown = list[tuple[int, float]](), list[tuple[_Beginning, int, float]]()
        while self._frontier and len(opened) + len(grown) < ROWS:
            cost, number, beginning, place = self._frontier[0]
            symbol = int(beginning.following[place])
            if beginning.state is None:
                opened.append((symbol, -cost))
            else:
                grown.append((beginning, symbol, -cost))
            rest = beginning.log_probs[place + 1 : place + 2]
            if len(rest) and rest[0] > self._floor:
                heapq.heapreplace(self._frontier, (-float(rest[0]), number, beginning, place + 1))
            else:
                heapq.heappop(self._frontier)
                self._bytes -= beginning.num_bytes
        k = len(self._prompt)
        if opened:
            taus = np.array([tau for tau, _ in opened])
            prefix = read_prefix(self._stepper, self._ending, self._prompt, taus)
            log_p = np.array([log_p for _, log_p in opened]) + prefix.log_prob
            self._read([None] * len(taus), [k] * len(taus), prefix.state, prefix.hidden, taus - k, log_p)
        if grown:
            layers = zip(*(beginning.state or () for beginning, _, _ in grown), strict=True)
            state = tuple(map_state(lambda *rows: np.concatenate(rows), *layer) for layer in layers)
            symbols = np.array([symbol for _, symbol, _ in grown])
            remaining = np.array([beginning.remaining - 1 for beginning, _, _ in grown])
            counted = remaining if self._ending.announces else None
            hidden, state = self._stepper.step(symbols, counted, state)
            paths: list[_Path | None] = [_Path(beginning.path, symbol) for beginning, symbol, _ in grown]
            lengths = [beginning.length + 1 for beginning, _, _ in grown]
            self._read(paths, lengths, state, hidden, counted, np.array([log_p for _, _, log_p in grown]))

    def _read(
        self,
        paths: list[_Path | None],
        lengths: list[int],
        state: States,
        hidden: FloatArray,
        remaining: IntArray | None,
        log_p: npt.NDArray[np.float64],
    ) -> None:
        """Takes in beginnings that were read: states and hidden (B, H), ln of their probabilities (B,)."""
        _, go, end = self._stepper.log_next(self._ending, hidden, remaining)
        for path, value in zip(paths, (log_p + end).tolist(), strict=True):
            if value > self._floor:
                bisect.insort(self._ended, (-value, next(self._numbers), path))
                del self._ended[self._wanted :]
        for row, (path, length) in enumerate(zip(paths, lengths, strict=True)):
            log_probs = log_p[row] + go[row]
            if length < self._max_chars and log_probs.max() > self._floor:
                left = -1 if remaining is None else int(remaining[row])
                own = take_rows(state, np.array([row]))
                self._push(path, length, own, left, np.arange(len(log_probs)), log_probs)

    def _push(
        self,
        path: _Path | None,
        length: int,
        state: States | None,
        remaining: int,
        following: IntArray,
        log_probs: npt.NDArray[np.float64],
    ) -> None:
        order = np.argsort(-log_probs, kind="stable")
        order = order[log_probs[order] > self._floor]
        if len(order):
            beginning = _Beginning(path, length, state, remaining, following[order], log_probs[order])
            heapq.heappush(self._frontier, (-float(log_probs[order[0]]), next(self._numbers), beginning, 0))
            self._bytes += beginning.num_bytes

    @property
    def _floor(self) -> float:
        """ln p of what is too unlikely to be wanted, or to be certain."""
        return max(self._lost, -self._ended[-1][0] if len(self._ended) == self._wanted else IMPOSSIBLE)

    def _drop_half(self) -> None:
        """Drops the less likely half of the beginnings."""
        self._frontier.sort()
        half = len(self._frontier) // 2
        self._lost = -self._frontier[half][0]
        del self._frontier[half:]
        self._bytes = sum(beginning.num_bytes for _, _, beginning, _ in self._frontier)

    def _symbols(self, path: _Path | None) -> IntArray:
        found: list[int] = []
        while path is not None:
            found.append(path.symbol)
            path = path.before
        return np.concatenate([self._prompt, np.array(found[::-1], np.int64)])

    def _reason(self) -> str:
        if self._lost == IMPOSSIBLE:
            return f"there are no more of at most {count(self._max_chars, 'character')}"
        return (
            f"the search has filled its memory ({size(self._memory)}), and every other text has ln p of at most "
            f"{self._lost:.2f}; a longer --prompt or a smaller --max-chars narrows the search"
        )
