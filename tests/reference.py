"""The models written out with Python numbers, lists and `math`, one symbol at a time.

This is the oracle of the tests: it imports nothing from the package, follows the equations of the book and of
the design as they stand there, and makes no effort to be fast or to survive extreme numbers.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

Vector = list[float]
CellState = list[Vector]
Weights = dict[str, Any]
"""The parameters of one cell as nested lists."""


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def count_bumps(remaining: int) -> Vector:
    """How near log2(r + 1) is to 0, 1/2, 1, ..., 12: linear, nought from half an octave on."""
    octaves = min(math.log2(remaining + 1), 12.0)
    return [max(0.0, 1.0 - abs(octaves - i / 2) / 0.5) for i in range(25)]


def softmax_logs(logits: Vector) -> Vector:
    largest = max(logits)
    total = math.log(sum(math.exp(x - largest) for x in logits)) + largest
    return [x - total for x in logits]


# Cells -----------------------------------------------------------------------------------------------------


def tanh_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """a = b + W h + U x, h = tanh(a): equations 10.8 and 10.9."""
    (h,) = state
    U, W, b = p["weight_ih"], p["weight_hh"], p["bias"]
    new = [math.tanh(b[i] + dot(W[i], h) + dot(U[i], x)) for i in range(len(h))]
    return new, [new]


def lstm_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """Forget gate f, external input gate g, output gate q, memory s: equations 10.40 to 10.44."""
    h, s = state
    H = len(h)

    def unit(block: int, i: int) -> float:
        row = block * H + i
        return p["bias"][row] + dot(p["weight_ih"][row], x) + dot(p["weight_hh"][row], h)

    new_h, new_s = [], []
    for i in range(H):
        g, f = sigmoid(unit(0, i)), sigmoid(unit(1, i))
        candidate, q = math.tanh(unit(2, i)), sigmoid(unit(3, i))
        new_s.append(f * s[i] + g * candidate)
        new_h.append(math.tanh(new_s[i]) * q)
    return new_h, [new_h, new_s]


def gru_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """Reset gate r, update gate u: equations 10.45 to 10.47 for reset "before", torch's variant for "after"."""
    (h,) = state
    H = len(h)
    U, W, b = p["weight_ih"], p["weight_hh"], p["bias"]
    r = [sigmoid(b[i] + dot(U[i], x) + dot(W[i], h)) for i in range(H)]
    u = [sigmoid(b[H + i] + dot(U[H + i], x) + dot(W[H + i], h)) for i in range(H)]
    new = []
    for i in range(H):
        row = 2 * H + i
        if options.get("reset", "after") == "before":
            recurrent = sum(W[row][j] * r[j] * h[j] for j in range(H))
        else:
            recurrent = r[i] * (dot(W[row], h) + p["bias_hn"][i])
        candidate = math.tanh(b[row] + dot(U[row], x) + recurrent)
        new.append(u[i] * h[i] + (1.0 - u[i]) * candidate)
    return new, [new]


CellStep = Callable[[Weights, Vector, CellState, Weights], tuple[Vector, CellState]]

CELL_STEPS: dict[str, CellStep] = {"tanh": tanh_step, "lstm": lstm_step, "gru": gru_step}
"""The equations of every cell of the registry, by its name."""

STATE_PARTS = {"tanh": 1, "lstm": 2, "gru": 1}
"""Vectors in a cell's state."""


# Language models -------------------------------------------------------------------------------------------


def length_cdf(output: Vector, kappa: float, k: int) -> float:
    """F(k) = Σ w_i σ((ln(k + 1) + (k + 1)/κ − μ_i) / s_i), with ln s = 4 tanh(raw / 4)."""
    if k < 0:
        return 0.0
    K = len(output) // 3
    weights = [math.exp(x) for x in softmax_logs(output[:K])]
    g = math.log(k + 1) + (k + 1) / kappa
    scales = [math.exp(4.0 * math.tanh(raw / 4.0)) for raw in output[2 * K :]]
    return sum(w * sigmoid((g - mean) / s) for w, mean, s in zip(weights, output[K : 2 * K], scales, strict=True))


class ReferenceModel:
    """A language model from its sizes and a flat dict of NumPy parameters; symbols are integers."""

    def __init__(self, config: Any, params: Any) -> None:
        self.V = config.vocab_size
        self.stops = config.stop
        self.kappa = config.length_scale
        self.training_chars = config.training_chars
        self.num_layers, self.cell, self.options = config.num_layers, config.cell, config.cell_options
        self.hidden_size = config.hidden_size
        self.p = {name: value.tolist() for name, value in params.items()}

    def start(self) -> list[CellState]:
        """The state before anything was read, one a layer."""
        zero = [0.0] * self.hidden_size
        return [
            [self.p.get(f"initial_state.{layer}.{part}", zero) for part in range(STATE_PARTS[self.cell])]
            for layer in range(self.num_layers)
        ]

    def read(self, symbol: int, remaining: int | None, state: list[CellState]) -> tuple[Vector, list[CellState]]:
        """Reads a character, BOS = V or the unknown V + 1, with the count of characters to come if told."""
        x = [1.0 if symbol == i else 0.0 for i in range(self.V + 1)]
        if "length" in self.stops:
            x += [0.0] * 26 if remaining is None else [1.0, *count_bumps(remaining)]
        new = []
        for layer in range(self.num_layers):
            prefix = f"layers.{layer}."
            weights = {n.removeprefix(prefix): v for n, v in self.p.items() if n.startswith(prefix)}
            x, after = CELL_STEPS[self.cell](weights, x, state[layer], self.options)
            new.append(after)
        return x, new

    def logits(self, h: Vector, stop: str) -> Vector:
        """Of the characters, and of EOS behind them under `eos`."""
        weight, bias = self.p["readout.weight"], self.p["readout.bias"]
        count = self.V + 1 if stop == "eos" else self.V
        return [bias[i] + dot(weight[i], h) for i in range(count)]

    def log_probs(self, h: Vector, stop: str) -> Vector:
        return softmax_logs(self.logits(h, stop))

    def halt(self, h: Vector) -> float:
        """s = σ(v·h + d)."""
        return sigmoid(dot(self.p["halt.weight"], h) + self.p["halt.bias"])

    def stopping(self, h: Vector, stop: str) -> float:
        """The probability of ending at a state."""
        return math.exp(self.log_probs(h, stop)[self.V]) if stop == "eos" else self.halt(h)

    def length_output(self) -> Vector:
        """What the length head says of the state after BOS without the count."""
        h, _ = self.read(self.V, None, self.start())
        return [b + dot(row, h) for row, b in zip(self.p["length.weight"], self.p["length.bias"], strict=True)]

    def cdf(self, k: int) -> float:
        return length_cdf(self.length_output(), self.kappa, k)

    def p_length(self, tau: int) -> float:
        output = self.length_output()
        return length_cdf(output, self.kappa, tau) - length_cdf(output, self.kappa, tau - 1)

    def path(self, text: Sequence[int], stop: str, tau: int | None = None) -> Iterator[Vector]:
        """h_0 … h_k of a text of k characters; under `length` as one of τ characters."""
        state = self.start()
        if stop == "length":
            _, state = self.read(self.V, None, state)
        for t, symbol in enumerate([self.V, *text]):
            remaining = None if tau is None else tau - t
            h, state = self.read(symbol, remaining, state)
            yield h

    def log_given(self, text: Sequence[int], stop: str, tau: int | None = None) -> float:
        """ln of the probability to reach the text: its characters, and no ending before any of them."""
        total = 0.0
        for symbol, h in zip(text, self.path(text, stop, tau), strict=False):
            if symbol > self.V:
                total -= math.log(self.training_chars + 1)
            else:
                total += self.log_probs(h, stop)[symbol]
            if stop == "halt":
                total += math.log(1.0 - self.halt(h))
        return total

    def log_prob(self, text: Sequence[int], stop: str) -> float:
        """ln P(text), its ending included."""
        if stop == "length":
            return math.log(self.p_length(len(text))) + self.log_given(text, stop, len(text))
        total = self.log_given(text, stop)
        if stop == "none":
            return total
        *_, last = self.path(text, stop)
        return total + math.log(self.stopping(last, stop))

    def prefix_log_prob(self, text: Sequence[int], stop: str, longest: int = 0) -> float:
        """ln of the probability that a text begins so; `length` sums over every τ up to `longest`."""
        if stop != "length":
            return self.log_given(text, stop)
        return math.log(
            sum(
                self.p_length(tau) * math.exp(self.log_given(text, stop, tau))
                for tau in range(len(text), longest + 1)
            )
        )

    def alive(self, L: int, stop: str) -> float:
        """A_L: the probability of more than L characters."""
        if stop == "length":
            return 1.0 - self.cdf(L)
        total = 0.0
        for text in product(range(self.V), repeat=L):
            *_, last = self.path(text, stop)
            total += math.exp(self.log_given(text, stop)) * (1.0 - self.stopping(last, stop))
        return total
