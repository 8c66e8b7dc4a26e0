"""Interpolated Witten-Bell n-grams over characters, in whole-array operations.

    p_n(w | c) = (count(c w) + N1+(c) p_{n-1}(w | c')) / (count(c) + N1+(c))

where N1+(c) is the number of different symbols seen after c, and c' is c without its first symbol. If c was
never seen, or reaches back beyond the beginning of the text, p_n is p_{n-1}. Order 0 is the uniform
distribution. So each order is a proper distribution after any context.

A text is one flat array of symbols: characters 0 .. V-1, a mark V between sequences, V+1 for a character
outside the vocabulary. This file knows nothing of corpora, files or code points.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.integer[Any]]

_NO_GRAM = np.iinfo(np.int64).max


@dataclass(frozen=True)
class _Counts:
    """The counts of one order. A gram is a pair: a context, which is a gram of the order below, and a symbol.
    Its number is its rank among the grams of its order, which is exact for any alphabet; packing all its symbols
    into one integer would not be. The number -1, so the last entry of each array, means any unseen gram.
    """

    keys: NDArray[np.int64]
    """(G+1,) the number of the context times V+1, plus the symbol; ascending."""
    gram_counts: NDArray[np.float64]
    """(G+1,) count(c w)."""
    context_counts: NDArray[np.float64]
    """(C+1,) count(c), for the C grams of the order below."""
    context_types: NDArray[np.float64]
    """(C+1,) N1+(c)."""

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,) numbers of the grams with these (N,) keys."""
        numbers = np.searchsorted(self.keys, keys)
        return np.where(self.keys[numbers] == keys, numbers, -1)


@dataclass(frozen=True)
class NGram:
    """Witten-Bell models of orders 0 .. `max_order`, nested in one another; only the uniform one until fitted.

    With `endings`, the mark is the ending of a sequence and an outcome like any character; without, the outcomes
    are the V characters and a mark costs nothing. With `independent`, a context reaches back to the mark before
    its sequence and no further; otherwise it may include marks.
    """

    vocab_size: int
    endings: bool
    independent: bool
    unknown_nll: float
    """The cost of a character outside the vocabulary, in nats. It is not part of the distribution."""
    orders: tuple[_Counts, ...] = ()

    @property
    def max_order(self) -> int:
        return len(self.orders)

    def fit(self, symbols: IntArray, max_order: int, *, open_start: bool = False) -> Self:
        """The same model with the counts of `symbols` (N,), which begin within a sequence if `open_start`.

        It takes about 60 bytes of memory per symbol.
        """
        symbols, lead = self._with_lead(symbols, open_start)
        charged = self._charged(symbols)
        charged[:lead] = False
        orders: list[_Counts] = []
        grams = np.zeros(len(symbols), np.int64)
        num_contexts = 1
        for n in range(1, max_order + 1):
            keys = self._keys(self._contexts(grams, symbols, n), symbols)
            distinct, grams = np.unique(keys, return_inverse=True)
            if len(distinct) and distinct[0] < 0:
                distinct, grams = distinct[1:], grams - 1
            counts = np.bincount(grams[charged & (grams >= 0)], minlength=len(distinct) + 1)
            owners = distinct // (self.vocab_size + 1)
            orders.append(
                _Counts(
                    keys=np.append(distinct, _NO_GRAM),
                    gram_counts=counts.astype(np.float64),
                    context_counts=_sum_by(owners, counts[:-1], num_contexts + 1),
                    context_types=_sum_by(owners, counts[:-1] > 0, num_contexts + 1),
                )
            )
            num_contexts = len(distinct)
        return replace(self, orders=tuple(orders))

    def nll(self, symbols: IntArray, *, open_start: bool = False) -> NDArray[np.float64]:
        """-ln p of each of `symbols` (N,) under each order: (1 + max_order, N) nats. Row 0 is the uniform one.

        With `open_start`, the symbols begin within a sequence, and what came before is unknown. This takes about
        200 bytes of memory per symbol: score a long text in pieces, each preceded by max_order - 1 symbols of
        context.
        """
        symbols, lead = self._with_lead(symbols, open_start)
        nats = np.stack([-np.log(p[lead:]) for p in self._probabilities(symbols)])
        symbols = symbols[lead:]
        nats[:, ~self._charged(symbols)] = 0.0
        nats[:, symbols > self.vocab_size] = self.unknown_nll
        return nats

    def _probabilities(self, symbols: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
        """p_0, p_1, p_2, … of each symbol (N,) given those before it."""
        grams = np.zeros(len(symbols), np.int64)
        p = np.full(len(symbols), 1.0 / (self.vocab_size + self.endings))
        yield p
        for n, seen in enumerate(self.orders, start=1):
            contexts = self._contexts(grams, symbols, n)
            grams = seen.find(self._keys(contexts, symbols))
            count = seen.gram_counts[grams]
            total, types = seen.context_counts[contexts], seen.context_types[contexts]
            p = np.divide(count + types * p, total + types, out=p.copy(), where=total > 0)
            yield p

    def _with_lead(self, symbols: IntArray, open_start: bool) -> tuple[NDArray[np.int64], int]:
        """The symbols, with a mark in front if they begin with a sequence, and how many marks were added."""
        lead = int(not open_start and (self.independent or self.endings))
        return np.append(np.full(lead, self.vocab_size, np.int64), symbols), lead

    def _charged(self, symbols: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(N,) True where the symbol is an outcome."""
        return symbols < self.vocab_size + self.endings

    def _contexts(self, grams: NDArray[np.int64], symbols: NDArray[np.int64], order: int) -> NDArray[np.int64]:
        """(N,) the gram before each symbol, from the grams of the order below that end at each symbol."""
        if order == 1:
            return grams
        contexts = np.roll(grams, 1)
        contexts[:1] = -1
        if self.independent and order > 2:
            contexts[1:][symbols[:-1] == self.vocab_size] = -1
        return contexts

    def _keys(self, contexts: NDArray[np.int64], symbols: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,) the key of each context and symbol, -1 where either is unknown."""
        known = (contexts >= 0) & (symbols <= self.vocab_size)
        return np.where(known, contexts * (self.vocab_size + 1) + symbols, -1)


def _sum_by(owners: NDArray[np.int64], values: NDArray[Any], size: int) -> NDArray[np.float64]:
    """(size,) the sum of `values` (N,) over each of `owners` (N,)."""
    return np.bincount(owners, weights=values, minlength=size).astype(np.float64, copy=False)
