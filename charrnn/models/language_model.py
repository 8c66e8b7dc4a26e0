"""A generative model of characters: layers of a cell, a readout, and the heads that end a sequence.

The same methods serve NumPy arrays and torch tensors. The model is a frozen description; its parameters are
a flat dict that every method is handed. It knows nothing of files, optimisers or how text is drawn.
"""

import math
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
from charrnn.cells.cell import Cell, State, map_state, state_arrays, uniform_init
from charrnn.cells.deep_transition import DeepTransition
from charrnn.cells.perceptron import Perceptron
from charrnn.cells.unroll import unroll
from charrnn.config import ModelConfig, Option, StopName
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
    layer l's cell under `layers.l.`, its learned initial state under `initial_state.l.`. Layers before the
    first cell are under `input.`, those between the last one and the readout under `output.`, those between
    one step and the next in each cell under `layers.l.transition.` (section 10.5). A cell whose outputs are
    logits has no readout behind it.
    """

    config: ModelConfig

    @cached_property
    def layers(self) -> tuple[Cell, ...]:
        """Raises ValueError for a cell that cannot be built so."""
        c = self.config
        size = self.input_size if c.input_depth == 1 else c.hidden_size
        layers: list[Cell] = []
        for _ in range(c.num_layers):
            cell = build_cell(c.cell, size, c.hidden_size, c.cell_options, num_outputs=self.num_logits)
            if c.transition_depth > 1:
                cell = DeepTransition(cell, c.transition_depth)
            layers.append(cell)
            size = cell.output_size
        if c.output_depth > 1 and layers[-1].gives_logits:
            raise ValueError("its outputs are the logits, which no layer can follow")
        return tuple(layers)

    @cached_property
    def input_layers(self) -> Perceptron:
        """Between the characters and the first cell."""
        return Perceptron("input", self.input_size, self.config.hidden_size, self.config.input_depth - 1)

    @cached_property
    def output_layers(self) -> Perceptron:
        """Between the last cell and the readout."""
        H = self.layers[-1].output_size
        return Perceptron("output", H, H, self.config.output_depth - 1)

    @property
    def input_weight(self) -> str:
        """The parameter that has a column for each symbol read."""
        return "input.1.weight" if self.config.input_depth > 1 else "layers.0.weight_ih"

    @property
    def frozen(self) -> frozenset[str]:
        """Parameters that are never trained."""
        return frozenset(
            f"layers.{index}.{name}" for index, cell in enumerate(self.layers) for name in cell.frozen
        )

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
        shapes = dict(self.input_layers.shapes)
        for index, cell in enumerate(self.layers):
            shapes |= {f"layers.{index}.{name}": shape for name, shape in cell.shapes.items()}
            if self.config.initial_state == "learned":
                shapes |= dict(self._initial_shapes(index, cell))
        shapes |= self.output_layers.shapes
        if not self.layers[-1].gives_logits:
            shapes |= {"readout.weight": (self.num_logits, H), "readout.bias": (self.num_logits,)}
        if "halt" in self.stops:
            shapes |= {"halt.weight": (H,), "halt.bias": ()}
        if "length" in self.stops:
            shapes |= {"length.weight": (3 * COMPONENTS, H), "length.bias": (3 * COMPONENTS,)}
        return shapes

    @property
    def num_parameters(self) -> int:
        """Numbers in all parameters, those that are never trained included."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def init(self, rng: np.random.Generator, lengths: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float32]]:
        """Fresh parameters; the training sequences' lengths (S,) place the heads that end a sequence."""
        params = {**self.input_layers.init(rng)}
        for index, cell in enumerate(self.layers):
            params |= {f"layers.{index}.{name}": value for name, value in cell.init(rng).items()}
        params |= self.output_layers.init(rng)
        for name, shape in self.shapes.items():
            if name not in params:
                params[name] = np.zeros(shape, np.float32)
        logit_bias = f"layers.{len(self.layers) - 1}.bias_ho"
        if not self.layers[-1].gives_logits:
            logit_bias = "readout.bias"
            bound = self.layers[-1].output_size ** -0.5
            params |= uniform_init(rng, {"readout.weight": self.shapes["readout.weight"]}, bound)
        rate = 1.0 / (float(np.mean(lengths)) + 1.0)
        if "eos" in self.stops:
            params[logit_bias][-1] = np.log(rate * self.config.vocab_size)
        if "halt" in self.stops:
            params["halt.bias"] = np.array(np.log(rate), np.float32)
        if "length" in self.stops:
            params["length.bias"] = initial_length_bias(lengths, self.config.length_scale)
        return params

    def initial_state(self, params: Params, batch_size: int) -> States:
        """The state of B rows before anything was read."""
        like = next(iter(params.values()))
        states: list[State] = []
        for index, cell in enumerate(self.layers):
            state = cell.zero_state(batch_size, like)
            if self.config.initial_state == "learned":
                names = iter([name for name, _ in self._initial_shapes(index, cell)])
                state = map_state(lambda zero, names=names: zero + params[next(names)], state)
            states.append(state)
        return tuple(states)

    def inputs(self, params: Params, ids: Array, remaining: Array | None) -> Array | OneHot:
        """What the first cell reads: symbols (..., ), and what is still to come of each row under `length`.

        Absent counts, None, are a zero input.
        """
        features = None
        if "length" in self.stops and remaining is not None:
            features = count_features(remaining, next(iter(params.values())))
        return self.input_layers(params, OneHot(ids, self.num_input_symbols, features))

    def read(
        self, params: Params, steps: Steps, state: States, dropout: Dropout | None = None
    ) -> tuple[Array, States]:
        """Runs the layers over steps: what the readout and the heads read (T, B, H), and the states at the end."""
        x = self.inputs(params, steps.inputs, steps.remaining)
        final: list[State] = []
        for index, cell in enumerate(self.layers):
            x, end = unroll(cell, self.layer_params(params, index), x, state[index])
            x = x if dropout is None else dropout(x)
            final.append(end)
        return self.output_layers(params, x), tuple(final)

    def layer_params(self, params: Params, index: int) -> Params:
        return {name: params[f"layers.{index}.{name}"] for name in self.layers[index].shapes}

    def logits(self, params: Params, hidden: Array) -> Array:
        """o = c + V h, shape (..., S); h itself where the cell gives o."""
        if self.layers[-1].gives_logits:
            return hidden
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


def one_layer(
    cell: str, vocab_size: int, hidden_size: int, options: dict[str, Option] | None = None
) -> LanguageModel:
    """A model of one layer whose texts end by EOS, to look at: it belongs to no text."""
    return LanguageModel(
        ModelConfig(
            cell=cell,  # type: ignore[arg-type]
            cell_options=options or {},
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_layers=1,
            stop=("eos",),
            split="line",
            order="independent",
            training_chars=1,
        )
    )
