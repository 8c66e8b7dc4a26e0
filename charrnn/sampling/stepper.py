"""Runs a model step by step, for drawing text: the cells' own equations, with the first product as a table."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Params, log_softmax
from charrnn.cells.cell import map_state
from charrnn.models.attention import Memory
from charrnn.models.language_model import CONTEXT, LanguageModel
from charrnn.models.stack import States
from charrnn.models.stopping import Stop

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]


class Given(NamedTuple):
    """What B rows are conditioned on, in the form that steps need."""

    context: FloatArray | None
    """(B, X)"""
    effect: FloatArray | None
    """(B, G) what the context adds to the first layer's projection; None if it adds nothing."""
    memory: Memory | None
    step: int = 0
    """Number of earlier steps."""

    def take(self, rows: npt.NDArray[np.intp]) -> "Given":
        """The selected rows, in any order, with repetitions."""
        return Given(
            None if self.context is None else self.context[rows],
            None if self.effect is None else self.effect[rows],
            None if self.memory is None else Memory(*(array[rows] for array in self.memory)),
            self.step,
        )


NOTHING = Given(None, None, None)


class Stepper:
    """Holds a model's NumPy parameters in the form that steps need. Every method takes and returns B rows."""

    def __init__(self, model: LanguageModel, params: Params) -> None:
        self.model, self.params = model, params
        self._joined = model.joined(params)
        self._layers = model.stack.compact(model.stack.params(self._joined))
        self._zero = model.num_input_symbols
        # Row i of this table is symbol i's product; row `_zero`, for a zero input, is the constant term alone.
        self._table = self._project(np.arange(self._zero + 1), None, None)
        self._counts = any(ending.num_features for ending in model.endings.values())
        self._affine = model.config.input_depth == 1

    def initial_state(self, rows: int, given: Given = NOTHING) -> States:
        return self.model.initial_state(self.params, rows, given.context)

    def given(self, context: FloatArray | None, memory: Memory | None = None) -> Given:
        """Prepares contexts (B, X) and a memory of B rows."""
        effect = None
        if context is not None and self.model.adds_context and self._affine:
            effect = context @ self.params[CONTEXT].T
        return Given(context, effect, memory)

    def step(
        self, inputs: IntArray, remaining: IntArray | None, state: States, given: Given = NOTHING
    ) -> tuple[FloatArray, States]:
        """Reads one symbol per row: inputs (B,), remaining (B,) or None for absent -> hidden (B, H), state."""
        hidden, state, _ = self.attentive_step(inputs, remaining, state, given)
        return hidden, state

    def attentive_step(
        self, inputs: IntArray, remaining: IntArray | None, state: States, given: Given
    ) -> tuple[FloatArray, States, FloatArray | None]:
        """Like `step`, and also returns each row's attention weights, (B, S), if there is a memory."""
        look = self.model.look(self.params, given.memory, given.step)
        projected = self._first(inputs, remaining, given)
        top, after = self.model.stack.step(self._layers, projected, state, look)
        hidden: FloatArray = self.model.output(self.params, top, look, given.context)
        return hidden, after, None if look is None else look.weights

    def log_next(
        self, ending: Stop, hidden: FloatArray, remaining: IntArray | None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Log-probabilities at `hidden` (B, H), float64: softmax (B, S), each next character (B, V), end (B,).

        The first two differ if the softmax has no symbol for the end.
        """
        V = self.model.config.vocab_size
        logits: FloatArray = self.model.logits(self.params, hidden)
        log_p = log_softmax((logits if ending.symbol is not None else logits[:, :V]).astype(np.float64))
        if ending.symbol is not None:
            return log_p, log_p[:, :V], log_p[:, ending.symbol]
        go_on, stop = ending.chances(self.params, hidden.astype(np.float64), log_p, remaining)
        return log_p, log_p + go_on[:, None], stop

    def _first(self, inputs: IntArray, remaining: IntArray | None, given: Given) -> FloatArray:
        """The first layer's projection of symbols, counts and contexts, (B, G)."""
        if not self._affine and (given.context is not None or (self._counts and remaining is not None)):
            return self._project(inputs, remaining, given.context)
        x: FloatArray = self._table[inputs]
        if self._counts and remaining is not None:
            x = x + self._count_effect(remaining)
        return x if given.effect is None else x + given.effect

    def _project(self, inputs: IntArray, remaining: IntArray | None, context: FloatArray | None) -> FloatArray:
        x = self.model.inputs(self._joined, inputs, remaining, context)
        projected: FloatArray = self.model.stack.project(self._layers, x)
        return projected

    def _count_effect(self, remaining: IntArray) -> FloatArray:
        """What the count input adds to the first projection, (B, G): an affine map less its constant."""
        with_counts = self._project(np.full(len(remaining), self._zero), remaining, None)
        effect: FloatArray = with_counts - self._table[self._zero]
        return effect


def take_rows(state: States, rows: npt.NDArray[np.intp]) -> States:
    return tuple(map_state(lambda array: array[rows], layer) for layer in state)


def join_rows(first: States, second: States) -> States:
    return tuple(
        map_state(lambda a, b: np.concatenate([a, b]), *layers) for layers in zip(first, second, strict=True)
    )
