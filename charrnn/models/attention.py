"""Attention: a decoder looks back at a sequence of vectors, and learns where to look at each step."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, Params, asarray, concat, exp, log_softmax, rows, tanh, where
from charrnn.cells.cell import uniform_init
from charrnn.config import AttentionName

MASKED = -1e30
"""The logit of probability zero; −∞ would cause NaN in gradients."""


FARTHEST = 20
"""The largest offset between output and input positions that is distinguished."""


class Memory(NamedTuple):
    """What attention reads: B rows with up to S vectors each."""

    values: Array
    """(B, S, E)"""
    keys: Array
    """(B, S, A), compared with the queries; computed once for all steps."""
    real: Array
    """(B, S) booleans; false marks padding, which is never attended to."""


@dataclass(frozen=True)
class Attention:
    """The attention weights α of a query q on vectors m_s, and the resulting context c:

        e_s = v · tanh(A q + K m_s + b) + r(s − t)     (`additive`; Bahdanau, Cho and Bengio 2015, A.1.2)
        e_s = (A q) · m_s / √E + r(s − t)              (`dot`; Luong, Pham and Manning 2015, "general", scaled)
        α = softmax(e),  c = Σ_s α_s m_s,  h = tanh(C [top, c] + d)

    A = `attention.query.weight` (A, Q), K = `attention.key.weight` (A, E), b = `attention.key.bias` (A,),
    v = `attention.energy.weight` (A,); for `dot` A is (E, Q) and K, b and v do not exist.
    C = `attention.output.weight` (H, H + E) and d = `attention.output.bias` (H,) compute the readout's input from
    the last layer's output and c. r = `attention.offset` (2 FARTHEST + 1,) is a bias for the offset s − t between
    position s and step t, clipped to ± FARTHEST (Raffel et al. 2020): outputs mostly follow their inputs in
    order, and with this bias a model learns where to look from fewer examples. The query is an output of the
    first layer, so training attends for all steps of a sequence at once; higher layers also read c, and thus
    remember what was attended to.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, sections 10.4 and 12.4.5.1.
    """

    kind: AttentionName
    query_size: int
    memory_size: int
    output_size: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        E, H = self.memory_size, self.output_size
        A = E if self.kind == "dot" else self.query_size
        shapes: dict[str, tuple[int, ...]] = {"attention.query.weight": (A, self.query_size)}
        if self.kind == "additive":
            shapes |= {"attention.key.weight": (A, E), "attention.key.bias": (A,), "attention.energy.weight": (A,)}
        shapes["attention.offset"] = (2 * FARTHEST + 1,)
        return {**shapes, "attention.output.weight": (H, H + E), "attention.output.bias": (H,)}

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        """Every parameter uniform within ± (number of inputs)^(−1/2); r is 0 and prefers no position."""
        params: dict[str, npt.NDArray[np.float32]] = {}
        for name, shape in self.shapes.items():
            params |= uniform_init(rng, {name: shape}, shape[-1] ** -0.5)
        return {**params, "attention.offset": np.zeros(2 * FARTHEST + 1, np.float32)}

    def memory(self, params: Params, values: Array, real: Array) -> Memory:
        """Prepares vectors (B, S, E) for attention; `real` (B, S) is false for padding."""
        if self.kind == "dot":
            return Memory(values, values, real)
        return Memory(values, values @ params["attention.key.weight"].T + params["attention.key.bias"], real)

    def attend(self, params: Params, query: Array, memory: Memory, first: int = 0) -> tuple[Array, Array]:
        """Queries (T, B, Q) -> contexts c (T, B, E) and weights α (T, B, S), all zero for an empty memory.

        first: t of the first query.
        """
        q = (query @ params["attention.query.weight"].T).swapaxes(0, 1)
        if self.kind == "dot":
            energy = (q @ memory.keys.swapaxes(1, 2)) * self.memory_size**-0.5
        else:
            energy = tanh(q[:, :, None] + memory.keys[:, None]) @ params["attention.energy.weight"]
        T, S = energy.shape[1:]
        offsets = np.arange(S) - (first + np.arange(T))[:, None]
        places = asarray(np.clip(offsets, -FARTHEST, FARTHEST) + FARTHEST, memory.real)
        energy = energy + rows(params["attention.offset"][:, None], places)[..., 0]
        real = memory.real[:, None]
        weights = exp(log_softmax(where(real, energy, MASKED)))
        weights = where(real, weights, 0.0 * weights)
        return (weights @ memory.values).swapaxes(0, 1), weights.swapaxes(0, 1)

    def combine(self, params: Params, top: Array, attended: Array) -> Array:
        """h = tanh(C [top, c] + d), (..., H)."""
        both = concat([top, attended], axis=-1)
        return tanh(both @ params["attention.output.weight"].T + params["attention.output.bias"])


class Look:
    """Attends to a memory: `at` takes queries and keeps the result for everything that reads it."""

    seen: Array
    """(…, E), the contexts c."""
    weights: Array
    """(…, S), the weights α."""

    def __init__(self, attention: Attention, params: Params, memory: Memory, first: int = 0) -> None:
        """first: the step of the first query."""
        self._attention, self._params, self._memory, self._first = attention, params, memory, first

    def at(self, query: Array) -> None:
        """Takes the queries of all steps (T, B, Q), or of one step (B, Q)."""
        queries = query if query.ndim == 3 else query[None]
        found = self._attention.attend(self._params, queries, self._memory, self._first)
        self.seen, self.weights = found if query.ndim == 3 else (array[0] for array in found)
