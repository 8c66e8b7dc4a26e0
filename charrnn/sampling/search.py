"""The outputs of an encoder-decoder: the likeliest one by beam search, or draws, many inputs side by side.

A hypothesis is a prefix of an output. Each step extends the K best of every input by every symbol and by the
end; of all of these the best go on. With one hypothesis and noise it is ancestral sampling.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.config import StopName
from charrnn.corpus.symbols import Ragged
from charrnn.models.saved import SavedTransducer
from charrnn.models.stopping import log_go_on, log_halt
from charrnn.sampling.prompt import character_log_probs
from charrnn.sampling.stepper import FloatArray, Given, IntArray, Stepper, take_rows

ROWS = 256
"""Hypotheses that are extended side by side."""

NEVER = -1e30


class Hypothesis(NamedTuple):
    symbols: IntArray
    log_prob: float
    """Nats: ln p(output | input), the ending included; of an output that was cut, of the prefix."""
    score: float
    """What hypotheses are ranked by: the log-probability over (length + 1)^A."""
    ended: bool
    """False where it was cut because it went on for too long."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """beam: K, hypotheses kept of each input; length_penalty: A, 0 ranks by probability, 1 by its mean a symbol;
    temperature: with `seed`, hypotheses are drawn at this temperature and not searched for."""

    beam: int = 1
    length_penalty: float = 1.0
    temperature: float = 1.0
    seed: int | None = None


GREEDY = Search()


def search(
    saved: SavedTransducer,
    inputs: Ragged,
    contexts: npt.NDArray[np.float32] | None,
    *,
    stop: StopName | None = None,
    how: Search = GREEDY,
    n: int = 1,
) -> Iterator[list[Hypothesis]]:
    """For each of R inputs, in order, its n best outputs, the best first.

    contexts: (R, X) the columns that outputs are conditioned on, where there are any.
    """
    chosen = stop or saved.model.decoder.stops[0]
    rng = None if how.seed is None else np.random.default_rng(how.seed)
    decoder = Stepper(saved.model.decoder, saved.model.decoder_params(saved.params))
    size = max(1, ROWS // how.beam)
    for first in range(0, len(inputs), size):
        rows = np.arange(first, min(first + size, len(inputs)))
        lengths = inputs.lengths[rows]
        ids = inputs.padded(rows, fill=saved.source.size)
        read = saved.model.read(saved.params, ids, lengths, None if contexts is None else contexts[rows])
        given = decoder.given(read.context, read.memory)
        longest = np.maximum(20, 10 + 5 * np.maximum(lengths, int(saved.config.decoder.length_scale)))
        owners, taus, log_p = rows - first, None, np.zeros(len(rows))
        if chosen == "length":
            owners, taus, log_p = _announced(decoder, given, how, longest, rng)
        found: list[list[Hypothesis]] = [[] for _ in rows]
        beam = _Beam(decoder, given.take(owners), chosen, how, longest[owners], rng)
        for owner, finished in zip(owners, beam.run(taus, log_p), strict=True):
            found[owner] += finished
        yield from (sorted(hypotheses, key=lambda h: -h.score)[:n] for hypotheses in found)


def _announced(
    decoder: Stepper, given: Given, how: Search, longest: IntArray, rng: np.random.Generator | None
) -> tuple[npt.NDArray[np.intp], IntArray, npt.NDArray[np.float64]]:
    """Lengths τ, each to be searched by itself: whose they are, τ and ln p(τ), (C,).

    The K likeliest ones of each input, or one that is drawn.
    """
    B = len(longest)
    hidden, _ = decoder.step(
        np.full(B, decoder.model.config.vocab_size), None, decoder.initial_state(B, given), given
    )
    p = decoder.model.length_distribution(decoder.params, hidden.astype(np.float64))
    if rng is not None:
        drawn = p.inverse_survival(np.log1p(-rng.random(B)))
        return np.arange(B), drawn, p.log_prob(drawn)
    log_p = np.stack([p.log_prob(np.full(B, tau)) for tau in range(int(longest.max()))], axis=1)
    taus = np.argsort(-log_p, axis=1, kind="stable")[:, : how.beam]
    owners = np.repeat(np.arange(B), taus.shape[1])
    return owners, taus.reshape(-1), np.take_along_axis(log_p, taus, axis=1).reshape(-1)


class _Beam:
    """B inputs with K hypotheses each, in (B K) rows."""

    def __init__(
        self,
        decoder: Stepper,
        given: Given,
        stop: StopName,
        how: Search,
        longest: IntArray,
        rng: np.random.Generator | None,
    ) -> None:
        self._decoder, self._stop, self._how, self._rng = decoder, stop, how, rng
        self._inputs, self._K = len(longest), how.beam
        self._V = decoder.model.config.vocab_size
        self._given = given.take(np.repeat(np.arange(self._inputs), self._K))
        self._longest = longest

    def run(self, taus: IntArray | None, log_p: npt.NDArray[np.float64]) -> list[list[Hypothesis]]:
        """Finished hypotheses of each input; (B,) its τ where it was announced, and what that cost."""
        B, K, V = self._inputs, self._K, self._V
        decoder, rows = self._decoder, B * self._K
        state = decoder.initial_state(rows, self._given)
        log_p = np.where(np.arange(rows) % K == 0, np.repeat(log_p, K), NEVER)
        remaining = None if taus is None else np.repeat(taus, K)
        if remaining is not None:
            _, state = decoder.step(np.full(rows, V), None, state, self._given)
        hidden, state = decoder.step(np.full(rows, V), remaining, state, self._given)
        symbols = np.zeros((rows, 0), np.int64)
        finished: list[list[Hypothesis]] = [[] for _ in range(B)]
        open_inputs = np.ones(B, bool)
        while open_inputs.any():
            length = symbols.shape[1]
            go, end = self._extensions(hidden, remaining)
            # The end stands behind the symbols, as EOS does.
            total = np.concatenate([log_p[:, None] + go, (log_p + end)[:, None]], axis=1).reshape(B, K * (V + 1))
            ranked = self._ranked(total)
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
            hidden, state = decoder.step(chosen, remaining, state, self._given)
        return finished

    def _extensions(
        self, hidden: FloatArray, remaining: IntArray | None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """ln of the probability of each next symbol, (B K, V), and of the end, (B K,)."""
        V, model = self._V, self._decoder.model
        log_probs = character_log_probs(self._decoder, self._stop, hidden)
        if self._stop == "eos":
            return log_probs[:, :V], log_probs[:, V]
        if self._stop == "halt":
            logit = model.halt_logit(self._decoder.params, hidden).astype(np.float64)
            return log_probs + log_go_on(logit)[:, None], log_halt(logit)
        assert remaining is not None
        over = remaining <= 0
        return np.where(over[:, None], NEVER, log_probs), np.where(over, 0.0, NEVER)

    def _ranked(self, total: npt.NDArray[np.float64]) -> IntArray:
        """The best 2 K extensions of each input, (B, 2 K), the best first; with noise, one that is drawn."""
        if self._rng is not None:
            live = total > NEVER / 2
            noisy = total / self._how.temperature + self._rng.gumbel(size=total.shape)
            drawn: IntArray = np.where(live, noisy, -np.inf).argmax(axis=1)[:, None]
            return drawn
        most = min(2 * self._K, total.shape[1])
        best = np.argpartition(-total, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(total, best, axis=1), axis=1, kind="stable")
        ranked: IntArray = np.take_along_axis(best, order, axis=1)
        return ranked

    def _hypothesis(self, symbols: IntArray, log_prob: float, *, ended: bool) -> Hypothesis:
        score = float(log_prob) / (len(symbols) + 1) ** self._how.length_penalty
        return Hypothesis(symbols.copy(), float(log_prob), score, ended)


def alignment(
    saved: SavedTransducer, source: IntArray, context: npt.NDArray[np.float32] | None, output: IntArray
) -> FloatArray | None:
    """(T, S) where the decoder looks when it writes each symbol of an output; None without attention.

    source: (S,) and output: (T,) as numbers; context: (X,).
    """
    columns = None if context is None else context[None]
    read = saved.model.read(saved.params, source[:, None].astype(np.int64), np.array([len(source)]), columns)
    decoder = Stepper(saved.model.decoder, saved.model.decoder_params(saved.params))
    given = decoder.given(read.context, read.memory)
    state = decoder.initial_state(1, given)
    V, tau = saved.target.size, len(output)
    counted = saved.model.decoder.stops == ("length",)
    if counted:
        _, state = decoder.step(np.array([V]), None, state, given)
    weights = []
    for t in range(tau):
        symbol = V if t == 0 else int(output[t - 1])
        left = np.array([tau - t]) if counted else None
        _, state, looked = decoder.attentive_step(np.array([symbol]), left, state, given)
        if looked is None:
            return None
        weights.append(looked[0])
    return np.stack(weights) if weights else np.zeros((0, len(source)))
