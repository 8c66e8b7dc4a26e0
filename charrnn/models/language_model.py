"""A generative model of characters: layers of a cell, a readout, and the heads that end a sequence.

The same methods serve NumPy arrays and torch tensors. The model is a frozen description; its parameters are a
flat dict that is passed to every method. It does not depend on files, optimisers or sampling.
"""

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from charrnn.cells.arrays import (
    Array,
    OneHot,
    Params,
    asarray,
    broadcast,
    concat,
    integers,
    log_softmax,
    take_last,
    tanh,
    where,
    zeros,
)
from charrnn.cells.cell import Cell, State, refilled, state_arrays, uniform_init
from charrnn.cells.perceptron import Perceptron
from charrnn.config import STOP_NAMES, AttentionName, ContextMode, StopName, VectorSize
from charrnn.corpus.steps import Kind, Steps
from charrnn.models.attention import MASKED, Attention, Look, Memory
from charrnn.models.layers import (
    EMBEDDING,
    Dropout,
    LayersConfig,
    build_layer,
    embedding_init,
    initial_shapes,
    layer_init,
    start,
)
from charrnn.models.stack import Stack, States
from charrnn.models.stopping import STOPS, Stop


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(LayersConfig):
    """A generator of symbol sequences, optionally given a context vector, optionally attending to a memory."""

    context_size: VectorSize = 0
    """The size of the context vector; 0 for none."""
    context_mode: ContextMode = "both"
    context_readout: bool = False
    """Whether the readout reads the context vector beside the last layer's output."""
    attention: AttentionName | None = None
    memory_size: VectorSize = 0
    """The size of each vector of the memory."""
    stop: Annotated[tuple[StopName, ...], Meta(min_length=1, max_length=len(STOP_NAMES))]
    length_scale: Annotated[float, Meta(ge=1, le=2**40)] = 1.0
    """Mean length of the training sequences, in characters: the scale of the length distribution's tail."""
    training_chars: Annotated[int, Meta(ge=1)]
    """Characters in the training split; an unseen character costs ln(training_chars + 1) nats."""


CONTEXT = "context.weight"
_STARTS = re.compile(r"context\.\d+\.\d+\.weight")


class Assessment(NamedTuple):
    """The model's evaluation of steps, each (T, B), zero where nothing is charged."""

    nll: Array
    """−log p of the event that the step is charged for, in nats."""
    stopping: Array
    """The part of `nll` for ending or not ending here."""
    correct: Array
    """1.0 where the most probable character is the one that follows."""
    log_go_on: Array
    """ln of the probability not to end at this step (eos, halt), on every charged step."""


@dataclass(frozen=True)
class LanguageModel:
    """p(y) as in section 10.2.3 of *Deep Learning*: hidden-to-hidden recurrence, o = c + V h, softmax.

    V = `readout.weight` (S, H), c = `readout.bias` (S,), S = vocabulary (+ 1 for EOS, the last). A symbol is read
    as a row of `embedding.weight` (symbols, E), or as a one-hot vector if E = 0. The ways to end a text have
    their own parameters (`charrnn.models.stopping`). Layer l's cell is under `layers.l.`, its learned initial
    state under `initial_state.l.`. Layers before the first cell are under `input.`, those between the last cell
    and the readout under `output.`, those between one step and the next in each cell under `layers.l.transition.`
    (section 10.5). A cell whose outputs are logits has no readout after it.

    Given a context vector x (X,), the model is p(y | x). `--context-mode add` adds R x to the first layer's
    projection of every input, with R = `context.weight` (G, X); `init` starts layer l's states at tanh(q + Q x),
    with Q under `context.l.` and q under `initial_state.l.`; `both` does both. Source: section 10.2.4, figure
    10.9. With `context_readout` the readout and the heads read [h, x] (Cho et al. 2014). Given a memory, the
    first layer's outputs are the queries, and the layers above and the readout also read the result
    (`charrnn.models.attention`).
    """

    config: GeneratorConfig

    @cached_property
    def layers(self) -> tuple[Cell, ...]:
        """Raises ValueError if a cell cannot be built this way."""
        c = self.config
        if (c.attention is None) != (c.memory_size == 0):
            raise ValueError("attention and the memory that it looks at go together")
        size = self.input_size if c.input_depth == 1 else c.hidden_size
        layers: list[Cell] = []
        for _ in range(c.num_layers):
            layers.append(build_layer(c, size, self.num_logits))
            size = layers[-1].output_size + c.memory_size
        if layers[-1].gives_logits and (c.output_depth > 1 or c.attention or c.context_readout):
            raise ValueError(
                "its outputs are the logits, which nothing follows: give --output-depth 1 and --attention none"
            )
        if c.context_readout and not c.context_size:
            raise ValueError("there is no context that the readout could see")
        if self.starts_from_context and not any(initial_shapes(cell) for cell in layers):
            raise ValueError("it has no state that a context could begin; give --context-mode add")
        return tuple(layers)

    @cached_property
    def stack(self) -> Stack:
        return Stack(self.layers)

    @cached_property
    def attention(self) -> Attention | None:
        c = self.config
        if c.attention is None:
            return None
        return Attention(c.attention, self.layers[0].output_size, c.memory_size, self.layers[-1].output_size)

    @property
    def adds_context(self) -> bool:
        return self.config.context_size > 0 and self.config.context_mode != "init"

    @property
    def starts_from_context(self) -> bool:
        return self.config.context_size > 0 and self.config.context_mode != "add"

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
        names = {f"layers.{index}.{name}" for index, cell in enumerate(self.layers) for name in cell.frozen}
        # R and the embedding belong to U: if U is not trained, they are not trained either.
        return frozenset(
            names | self.shapes.keys() & {CONTEXT, EMBEDDING} if self.input_weight in names else names
        )

    @property
    def stops(self) -> tuple[StopName, ...]:
        return self.config.stop

    @cached_property
    def endings(self) -> dict[StopName, Stop]:
        """The parts that end its texts, in the order of their names in `stops`."""
        c = self.config
        return {name: STOPS[name](c.vocab_size, c.length_scale) for name in c.stop}

    @property
    def num_input_symbols(self) -> int:
        """Characters and BOS."""
        return self.config.vocab_size + 1

    @property
    def symbol_size(self) -> int:
        """The size of the vector that a symbol is read as."""
        return self.config.embedding_size or self.num_input_symbols

    @property
    def input_size(self) -> int:
        """The total size of a symbol, the count and the added context."""
        count = sum(ending.num_features for ending in self.endings.values())
        return self.symbol_size + count + (self.config.context_size if self.adds_context else 0)

    @property
    def readout_size(self) -> int:
        """H, plus the context's size if the readout reads the context."""
        return self.layers[-1].output_size + (self.config.context_size if self.config.context_readout else 0)

    @property
    def num_logits(self) -> int:
        return self.config.vocab_size + sum(ending.symbol is not None for ending in self.endings.values())

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter."""
        H, X = self.readout_size, self.config.context_size
        shapes: dict[str, tuple[int, ...]] = {}
        if self.config.embedding_size:
            shapes[EMBEDDING] = (self.num_input_symbols, self.config.embedding_size)
        shapes |= self.input_layers.shapes
        for index, cell in enumerate(self.layers):
            shapes |= {f"layers.{index}.{name}": shape for name, shape in cell.shapes.items()}
            for i, shape in enumerate(initial_shapes(cell)):
                if self.config.initial_state == "learned" or self.starts_from_context:
                    shapes[f"initial_state.{index}.{i}"] = shape
                if self.starts_from_context:
                    shapes[f"context.{index}.{i}.weight"] = (*shape, X)
        if self.adds_context:
            outputs, inputs = shapes[self.input_weight]
            shapes |= {self.input_weight: (outputs, inputs - X), CONTEXT: (outputs, X)}
        if self.attention is not None:
            shapes |= self.attention.shapes
        shapes |= self.output_layers.shapes
        if not self.layers[-1].gives_logits:
            shapes |= {"readout.weight": (self.num_logits, H), "readout.bias": (self.num_logits,)}
        for ending in self.endings.values():
            shapes |= ending.shapes(H)
        return shapes

    @property
    def num_parameters(self) -> int:
        """The number of entries of all parameters, including those that are never trained."""
        return sum(map(math.prod, self.shapes.values()))

    def init(self, rng: np.random.Generator, lengths: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float32]]:
        """New parameters; the training sequences' lengths (S,) initialise the heads that end a sequence."""
        params = {**embedding_init(rng, self.shapes), **self.input_layers.init(rng)}
        for index, cell in enumerate(self.layers):
            params |= {f"layers.{index}.{name}": value for name, value in layer_init(cell, rng).items()}
        params |= self.output_layers.init(rng)
        if self.adds_context:
            known = self.shapes[self.input_weight][1]
            whole = params[self.input_weight]
            params |= {self.input_weight: whole[:, :known].copy(), CONTEXT: whole[:, known:].copy()}
        if self.starts_from_context:
            from_context = {name: shape for name, shape in self.shapes.items() if _STARTS.fullmatch(name)}
            params |= uniform_init(rng, from_context, self.config.context_size**-0.5)
        if self.attention is not None:
            params |= self.attention.init(rng)
        for name, shape in self.shapes.items():
            if name not in params:
                params[name] = np.zeros(shape, np.float32)
        logit_bias = f"layers.{len(self.layers) - 1}.bias_ho"
        if not self.layers[-1].gives_logits:
            logit_bias = "readout.bias"
            bound = self.readout_size**-0.5
            params |= uniform_init(rng, {"readout.weight": self.shapes["readout.weight"]}, bound)
        for ending in self.endings.values():
            params |= ending.init(self.readout_size, lengths, params[logit_bias])
        return params

    def initial_state(self, params: Params, batch_size: int, context: Array | None = None) -> States:
        """The state of B rows before the first input, given their contexts (B, X) if the model has any."""
        states: list[State] = []
        for index, cell in enumerate(self.layers):
            state = start(cell, params, f"initial_state.{index}.", batch_size)
            if self.starts_from_context:
                Qs = [params[f"context.{index}.{i}.weight"] for i in range(len(initial_shapes(cell)))]
                state = refilled(
                    state, [tanh(q + context @ Q.T) for q, Q in zip(state_arrays(state), Qs, strict=True)]
                )
            states.append(state)
        return tuple(states)

    def inputs(
        self, params: Params, ids: Array, remaining: Array | None, context: Array | None = None
    ) -> Array | OneHot:
        """The first cell's inputs: symbols (...,), the characters still to come (under `length`) and contexts.

        Missing counts or contexts (None) are a zero input. The cell must read this with the `joined` parameters.
        """
        like = next(iter(params.values()))
        features = []
        for ending in self.endings.values():
            if ending.num_features and remaining is not None:
                features.append(ending.features(remaining, like))
            elif ending.num_features and self.adds_context:
                features.append(zeros((*ids.shape, ending.num_features), like))
        if self.adds_context:
            X = self.config.context_size
            features.append(broadcast(zeros((1, X), like) if context is None else context, (*ids.shape, X)))
        joined = concat(features, axis=-1) if features else None
        return self.input_layers(params, OneHot(ids, self.num_input_symbols, joined, params.get(EMBEDDING)))

    def joined(self, params: Params) -> Params:
        """The parameters with R appended to U, as `inputs` and the layers need them."""
        if not self.adds_context:
            return params
        return {**params, self.input_weight: concat([params[self.input_weight], params[CONTEXT]], axis=1)}

    def read(
        self,
        params: Params,
        steps: Steps,
        state: States,
        dropout: Dropout | None = None,
        memory: Memory | None = None,
    ) -> tuple[Array, States]:
        """Runs the layers over steps; returns what readout and heads read (T, B, H), and the final states."""
        params = self.joined(params)
        x = self.inputs(params, steps.inputs, steps.remaining, steps.context)
        look = self.look(params, memory)
        top, final = self.stack.read(self.stack.params(params), x, state, look, dropout)
        return self.output(params, top, look, steps.context), final

    def look(self, params: Params, memory: Memory | None, first: int = 0) -> Look | None:
        """The look at a memory for the steps from `first` on; None without attention."""
        if self.attention is None:
            return None
        if memory is None:
            raise ValueError("LanguageModel: expected a memory to attend to")
        return Look(self.attention, params, memory, first)

    def output(self, params: Params, top: Array, look: Look | None, context: Array | None) -> Array:
        """What the readout and the heads read, (..., H), from the last layer's outputs, the look at a memory
        and the context."""
        if self.attention is not None and look is not None:
            top = self.attention.combine(params, top, look.seen)
        top = self.output_layers(params, top)
        if not self.config.context_readout:
            return top
        return concat([top, broadcast(context, (*top.shape[:-1], self.config.context_size))], axis=-1)

    def logits(self, params: Params, hidden: Array) -> Array:
        """o = c + V h, shape (..., S); h itself if the cell's output is o."""
        if self.layers[-1].gives_logits:
            return hidden
        return hidden @ params["readout.weight"].T + params["readout.bias"]

    def nll(self, params: Params, hidden: Array, steps: Steps, logits: Array | None = None) -> Array:
        """−log p of the event that each step is charged for, in nats, (T, B); zero if there is none.

        logits: those of `hidden`, if they have already been computed.
        """
        logits = self.logits(params, hidden) if logits is None else logits
        return self._nll(params, hidden, steps, self._log_softmax(logits, steps))

    def assess(self, params: Params, hidden: Array, steps: Steps) -> Assessment:
        """The nll with its parts, and the other values that a report needs."""
        V = self.config.vocab_size
        log_p = self._log_softmax(self.logits(params, hidden), steps)
        nll = self._nll(params, hidden, steps, log_p)
        character, ending = steps.kinds == Kind.CHARACTER, steps.kinds == Kind.ENDING
        log_go = zeros(tuple(nll.shape), nll)
        stopping = where(steps.kinds == Kind.ANNOUNCEMENT, nll, 0.0 * nll)
        for part in self.endings.values():
            if part.announces:
                continue
            go_on, stop = part.chances(params, hidden, log_p)
            mine = steps.stops == part.index
            # An unseen character's cost is not from the softmax, so no part of it is for the ending symbol.
            charged = character if part.symbol is None else character & (steps.targets < V)
            log_go = where(mine, go_on, log_go)
            stopping = where(mine & charged, -go_on, stopping)
            stopping = where(mine & ending, -stop, stopping)
        best = log_p[..., :V].argmax(-1)
        correct = where(character & (best == steps.targets), 1.0, 0.0)
        return Assessment(nll, stopping, correct, where(character | ending, log_go, 0.0 * log_go))

    def _log_softmax(self, logits: Array, steps: Steps) -> Array:
        """Log-probabilities (T, B, S); a symbol that ends texts is masked in rows that end in another way."""
        for part in self.endings.values():
            if part.symbol is not None and len(self.endings) > 1:
                is_ending = asarray(np.arange(self.num_logits) == part.symbol, like=logits)
                logits = where((steps.stops != part.index)[:, None] & is_ending, MASKED, logits)
        return log_softmax(logits)

    def _nll(self, params: Params, hidden: Array, steps: Steps, log_p: Array) -> Array:
        V = self.config.vocab_size
        character, ending = steps.kinds == Kind.CHARACTER, steps.kinds == Kind.ENDING
        priced = character & (steps.targets < V)
        symbol = where(priced, steps.targets, 0)
        for part in self.endings.values():
            if part.symbol is not None:
                ends = ending & (steps.stops == part.index)
                priced, symbol = priced | ends, where(ends, part.symbol, symbol)
        nothing = 0.0 * log_p[..., 0]
        nll = where(priced, -take_last(log_p, integers(symbol)), nothing)
        unseen = float(np.log(self.config.training_chars + 1.0))
        nll = where(character & (steps.targets > V), unseen, nll)
        for part in self.endings.values():
            nll = nll + where(steps.stops == part.index, part.nll(params, hidden, steps, log_p), nothing)
        return nll
