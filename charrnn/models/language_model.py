"""A generative model of characters: layers of a cell, a readout, and the heads that end a sequence.

The same methods serve NumPy arrays and torch tensors. The model is a frozen description; its parameters are
a flat dict that every method is handed. It knows nothing of files, optimisers or how text is drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from charrnn.cells import build_cell
from charrnn.cells.arrays import (
    Array,
    OneHot,
    Params,
    asarray,
    exp,
    integers,
    log1p,
    log_softmax,
    logsumexp,
    spread,
    take_last,
    where,
    zeros,
)
from charrnn.cells.cell import Cell, State, map_state, state_arrays
from charrnn.cells.unroll import unroll
from charrnn.config import ModelConfig, StopName
from charrnn.corpus.steps import EOS, HALT, Kind, Steps
from charrnn.models.stopping import (
    COMPONENTS,
    COUNT_FEATURES,
    LengthDistribution,
    count_features,
    initial_length_bias,
    log_go_on,
    log_halt,
)

States: TypeAlias = tuple[State, ...]
"""One state a layer."""

Dropout: TypeAlias = Callable[[Array], Array]

MASKED = -1e30
"""A logit that stands for probability zero, without the NaN that −∞ brings to gradients."""


class Assessment(NamedTuple):
    """What the model makes of steps, each (T, B), zero where nothing is charged."""

    nll: Array
    """Nats: −log of the probability of what the step is charged for."""
    stopping: Array
    """The part of `nll` spent on ending or not ending here."""
    correct: Array
    """1.0 where the most probable character is the one that follows."""
    log_go_on: Array
    """ln of the probability not to end at this step (eos, halt), on every charged step."""


@dataclass(frozen=True)
class LanguageModel:
    """p(y) as section 10.2.3 of *Deep Learning* has it: hidden-to-hidden recurrence, o = c + V h, softmax.

    V = `readout.weight` (S, H), c = `readout.bias` (S,), S = vocabulary (+ 1 for EOS, the last);
    v = `halt.weight` (H,), d = `halt.bias` (); `length.weight` (3K, H), `length.bias` (3K,);
    layer l's cell under `layers.l.`, its learned initial state under `initial_state.l.`.
    """

    config: ModelConfig

    @cached_property
    def layers(self) -> tuple[Cell, ...]:
        c = self.config
        sizes = [self.input_size] + [c.hidden_size] * (c.num_layers - 1)
        return tuple(build_cell(c.cell, size, c.hidden_size, c.cell_options) for size in sizes)

    @property
    def stops(self) -> tuple[StopName, ...]:
        return self.config.stop

    @property
    def num_input_symbols(self) -> int:
        """Characters and BOS."""
        return self.config.vocab_size + 1

    @property
    def input_size(self) -> int:
        return self.num_input_symbols + (COUNT_FEATURES if "length" in self.stops else 0)

    @property
    def num_logits(self) -> int:
        return self.config.vocab_size + (1 if "eos" in self.stops else 0)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter."""
        H = self.layers[-1].output_size
        shapes: dict[str, tuple[int, ...]] = {}
        for index, cell in enumerate(self.layers):
            shapes |= {f"layers.{index}.{name}": shape for name, shape in cell.shapes.items()}
            if self.config.initial_state == "learned":
                shapes |= dict(self._initial_shapes(index, cell))
        shapes |= {"readout.weight": (self.num_logits, H), "readout.bias": (self.num_logits,)}
        if "halt" in self.stops:
            shapes |= {"halt.weight": (H,), "halt.bias": ()}
        if "length" in self.stops:
            shapes |= {"length.weight": (3 * COMPONENTS, H), "length.bias": (3 * COMPONENTS,)}
        return shapes

    def init(self, rng: np.random.Generator, lengths: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float32]]:
        """Fresh parameters; the training sequences' lengths (S,) place the heads that end a sequence."""
        params: dict[str, npt.NDArray[np.float32]] = {}
        for index, cell in enumerate(self.layers):
            params |= {f"layers.{index}.{name}": value for name, value in cell.init(rng).items()}
        for name, shape in self.shapes.items():
            if name not in params:
                params[name] = np.zeros(shape, np.float32)
        params["readout.weight"] = (
            rng.uniform(-1, 1, self.shapes["readout.weight"]) * self.layers[-1].output_size ** -0.5
        ).astype(np.float32)
        rate = 1.0 / (float(np.mean(lengths)) + 1.0)
        if "eos" in self.stops:
            params["readout.bias"][-1] = np.log(rate * self.config.vocab_size)
        if "halt" in self.stops:
            params["halt.bias"] = np.array(np.log(rate), np.float32)
        if "length" in self.stops:
            params["length.bias"] = initial_length_bias(lengths, self.config.length_scale)
        return params

    def initial_state(self, params: Params, batch_size: int) -> States:
        """The state of B rows before anything was read."""
        like = params["readout.bias"]
        states: list[State] = []
        for index, cell in enumerate(self.layers):
            state = cell.zero_state(batch_size, like)
            if self.config.initial_state == "learned":
                names = iter([name for name, _ in self._initial_shapes(index, cell)])
                state = map_state(lambda zero, names=names: zero + params[next(names)], state)
            states.append(state)
        return tuple(states)

    def inputs(self, steps: Steps, like: Array) -> OneHot:
        """What the first layer reads."""
        features = count_features(steps.remaining, like) if "length" in self.stops else None
        return OneHot(steps.inputs, self.num_input_symbols, features)

    def read(
        self, params: Params, steps: Steps, state: States, dropout: Dropout | None = None
    ) -> tuple[Array, States]:
        """Runs the layers over steps: hidden states (T, B, H) of the last one, and the states at the end."""
        x: Array | OneHot = self.inputs(steps, params["readout.bias"])
        final: list[State] = []
        for index, cell in enumerate(self.layers):
            x, end = unroll(cell, self.layer_params(params, index), x, state[index])
            x = x if dropout is None else dropout(x)
            final.append(end)
        return x, tuple(final)

    def layer_params(self, params: Params, index: int) -> Params:
        return {name: params[f"layers.{index}.{name}"] for name in self.layers[index].shapes}

    def logits(self, params: Params, hidden: Array) -> Array:
        """o = c + V h, shape (..., S)."""
        return hidden @ params["readout.weight"].T + params["readout.bias"]

    def halt_logit(self, params: Params, hidden: Array) -> Array:
        """v·h + d, shape (...)."""
        return hidden @ params["halt.weight"] + params["halt.bias"]

    def length_distribution(self, params: Params, hidden: Array) -> LengthDistribution:
        """p(τ) given the state after BOS without the count, (..., H)."""
        output = hidden @ params["length.weight"].T + params["length.bias"]
        return LengthDistribution.from_output(output, self.config.length_scale)

    def nll(self, params: Params, hidden: Array, steps: Steps) -> Array:
        """−log of the probability of what each step is charged for, nats, (T, B); zero where it is nothing."""
        log_p = self._log_softmax(params, hidden, steps)
        return self._nll(params, hidden, steps, log_p)

    def assess(self, params: Params, hidden: Array, steps: Steps) -> Assessment:
        """The nll with its parts and what a report needs beside it."""
        V = self.config.vocab_size
        log_p = self._log_softmax(params, hidden, steps)
        nll = self._nll(params, hidden, steps, log_p)
        character, ending = steps.kinds == Kind.CHARACTER, steps.kinds == Kind.ENDING
        log_go = zeros(tuple(nll.shape), nll)
        stopping = where(steps.kinds == Kind.ANNOUNCEMENT, nll, 0.0 * nll)
        if "eos" in self.stops:
            log_eos = log_p[..., V]
            # ln(1 − p(EOS)), exact where p(EOS) is nearly 0 and where it rounds to 1.
            likely = log_eos > -0.5
            go = where(likely, logsumexp(log_p[..., :V]), log1p(-exp(where(likely, -1.0, log_eos))))
            log_go = where(steps.stops == EOS, go, log_go)
            known = character & (steps.targets < V)
            stopping = where((steps.stops == EOS) & known, -go, stopping)
            stopping = where((steps.stops == EOS) & ending, -log_eos, stopping)
        if "halt" in self.stops:
            logit = self.halt_logit(params, hidden)
            log_go = where(steps.stops == HALT, log_go_on(logit), log_go)
            stopping = where((steps.stops == HALT) & character, -log_go_on(logit), stopping)
            stopping = where((steps.stops == HALT) & ending, -log_halt(logit), stopping)
        best = log_p[..., :V].argmax(-1)
        correct = where(character & (best == steps.targets), 1.0, 0.0)
        return Assessment(nll, stopping, correct, where(character | ending, log_go, 0.0 * log_go))

    def _log_softmax(self, params: Params, hidden: Array, steps: Steps) -> Array:
        """Log-probabilities (T, B, S); EOS has none in rows of another mechanism."""
        logits = self.logits(params, hidden)
        if "eos" in self.stops and len(self.stops) > 1:
            is_eos_logit = asarray(np.arange(self.num_logits) == self.config.vocab_size, like=logits)
            masked = (steps.stops != EOS)[:, None] & is_eos_logit
            logits = where(masked, MASKED, logits)
        return log_softmax(logits)

    def _nll(self, params: Params, hidden: Array, steps: Steps, log_p: Array) -> Array:
        V = self.config.vocab_size
        character, ending = steps.kinds == Kind.CHARACTER, steps.kinds == Kind.ENDING
        known = character & (steps.targets < V)
        eos = ending & (steps.stops == EOS)
        symbol = integers(where(eos, V, where(known, steps.targets, 0)))
        nothing = 0.0 * log_p[..., 0]
        nll = where(known | eos, -take_last(log_p, symbol), nothing)
        unseen = float(np.log(self.config.training_chars + 1.0))
        nll = where(character & (steps.targets > V), unseen, nll)
        if "halt" in self.stops:
            logit = self.halt_logit(params, hidden)
            cost = where(character, -log_go_on(logit), where(ending, -log_halt(logit), nothing))
            nll = nll + where(steps.stops == HALT, cost, nothing)
        if "length" in self.stops:
            announced = steps.kinds == Kind.ANNOUNCEMENT
            distribution = self.length_distribution(params, hidden[announced])
            nll = nll + spread(announced, -distribution.log_prob(steps.targets[announced]))
        return nll

    def _initial_shapes(self, index: int, cell: Cell) -> list[tuple[str, tuple[int, ...]]]:
        arrays = state_arrays(cell.zero_state(1, np.zeros((), np.float32)))
        return [(f"initial_state.{index}.{i}", tuple(a.shape[1:])) for i, a in enumerate(arrays)]
