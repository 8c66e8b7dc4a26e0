"""The models written out with Python numbers, lists and `math`, one symbol at a time.

This is the oracle of the tests: it imports nothing from the package, follows the equations of the book and of
the design as they stand there, and makes no effort to be fast or to survive extreme numbers.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import product
from operator import mul
from typing import Any

Vector = list[float]
CellState = list[Vector]
Weights = dict[str, Any]
"""The parameters of one cell as nested lists."""


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def dot(a: Vector, b: Vector) -> float:
    if len(a) != len(b):
        raise ValueError(f"vectors of {len(a)} and {len(b)} numbers")
    return sum(map(mul, a, b))


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
        if options.get("reset_gate", "after") == "before":
            recurrent = sum(W[row][j] * r[j] * h[j] for j in range(H))
        else:
            recurrent = r[i] * (dot(W[row], h) + p["bias_hn"][i])
        candidate = math.tanh(b[row] + dot(U[row], x) + recurrent)
        new.append(u[i] * h[i] + (1.0 - u[i]) * candidate)
    return new, [new]


def leaky_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """h = α h + (1 − α) tanh(b + W h + U x); α learned, or with time constants at equal ratios."""
    (h,) = state
    H, low, high = len(h), 0.0, 0.5
    new, _ = tanh_step(p, x, state, options)
    for i in range(H):
        steps = 1.0 / (1.0 - low) * ((1.0 - low) / (1.0 - high)) ** (i / (H - 1))
        alpha = sigmoid(p["leak"][i]) if options.get("leak_alpha") == "learned" else 1.0 - 1.0 / steps
        new[i] = alpha * h[i] + (1.0 - alpha) * new[i]
    return new, [new]


def skip_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """h = tanh(b + W h(t − 1) + Σ W_d h(t − d) + U x); the state is h(t − 1), h(t − 2), ..."""
    H = len(state[0])
    delays = [] if options.get("remove_short") else [1]
    delays += [int(d) for d in options.get("skip_delay", "5").split(",")]
    past = [value for d in delays for value in state[d - 1]]
    new = [math.tanh(p["bias"][i] + dot(p["weight_hh"][i], past) + dot(p["weight_ih"][i], x)) for i in range(H)]
    return new, [new, *state[:-1]]


def preactivations(p: Weights, x: Vector, h: Vector, bias: Vector) -> list[Vector]:
    """The parts of b + W h + U x, H units each."""
    H = len(h)
    rows = range(len(p["weight_ih"]))
    sums = [bias[r] + dot(p["weight_ih"][r], x) + dot(p["weight_hh"][r], h) for r in rows]
    return [sums[k : k + H] for k in range(0, len(sums), H)]


def coupled_lstm_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """Greff et al. 2017, CIFG: the input gate is 1 − f."""
    h, s = state
    forget, candidate, output = preactivations(p, x, h, p["bias"])
    new_h, new_s = [], []
    for i in range(len(h)):
        f = sigmoid(forget[i])
        new_s.append(f * s[i] + (1.0 - f) * math.tanh(candidate[i]))
        new_h.append(sigmoid(output[i]) * math.tanh(new_s[i]))
    return new_h, [new_h, new_s]


def peephole_lstm_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """Gers and Schmidhuber 2000: input and forget gate see the old memory, the output gate the new one."""
    h, s = state
    H = len(h)
    admit, forget, candidate, output = preactivations(p, x, h, p["bias"])
    peep = p["peephole"]
    new_h, new_s = [], []
    for i in range(H):
        kept = sigmoid(forget[i] + peep[H + i] * s[i]) * s[i]
        new_s.append(kept + sigmoid(admit[i] + peep[i] * s[i]) * math.tanh(candidate[i]))
        new_h.append(sigmoid(output[i] + peep[2 * H + i] * new_s[i]) * math.tanh(new_s[i]))
    return new_h, [new_h, new_s]


def normalised(a: Vector) -> Vector:
    mean = sum(a) / len(a)
    variance = sum((value - mean) ** 2 for value in a) / len(a)
    return [(value - mean) / math.sqrt(variance + 1e-5) for value in a]


def layer_norm_lstm_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """Ba, Kiros and Hinton 2016: each gate's sum normalised over its units, and the memory before its tanh."""
    h, s = state
    H = len(h)
    parts = [normalised(part) for part in preactivations(p, x, h, [0.0] * 4 * H)]
    gates = [[p["gain"][k * H + i] * parts[k][i] + p["bias"][k * H + i] for i in range(H)] for k in range(4)]
    new_s = [sigmoid(gates[1][i]) * s[i] + sigmoid(gates[0][i]) * math.tanh(gates[2][i]) for i in range(H)]
    memory = normalised(new_s)
    new_h = [
        sigmoid(gates[3][i]) * math.tanh(p["gain"][4 * H + i] * memory[i] + p["bias"][4 * H + i]) for i in range(H)
    ]
    return new_h, [new_h, new_s]


def min_gru_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """Feng et al. 2024: gate and candidate of the input alone."""
    (h,) = state
    H = len(h)
    sums = [p["bias"][r] + dot(p["weight_ih"][r], x) for r in range(2 * H)]
    new = [sigmoid(sums[i]) * h[i] + (1.0 - sigmoid(sums[i])) * sums[H + i] for i in range(H)]
    return new, [new]


def min_lstm_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """Feng et al. 2024: input and forget gate share what is kept and taken."""
    (h,) = state
    H = len(h)
    sums = [p["bias"][r] + dot(p["weight_ih"][r], x) for r in range(3 * H)]
    new = []
    for i in range(H):
        admit, forget = sigmoid(sums[i]), sigmoid(sums[H + i])
        new.append((forget * h[i] + admit * sums[2 * H + i]) / (forget + admit))
    return new, [new]


def output_recurrent_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """h = tanh(b + W y + U x), o = c + V h: y the true output, first in x, or the softmax of the last o."""
    outputs = len(p["bias_ho"])
    fed = state[0] if options.get("feedback") == "output" else x[:outputs]
    units = range(len(p["bias"]))
    h = [math.tanh(p["bias"][i] + dot(p["weight_hh"][i], fed) + dot(p["weight_ih"][i], x)) for i in units]
    o = [p["bias_ho"][k] + dot(p["weight_ho"][k], h) for k in range(outputs)]
    return o, [[math.exp(log) for log in softmax_logs(o)]] if state else []


def time_delay_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """Level k adds what the level below gives now and 2^(k − 1) steps ago; the state: all of it, latest first."""
    H = len(p["bias"])
    levels = options.get("delay_levels", 5)
    pasts, rest = [], list(state)
    for k in range(1, levels + 1):
        pasts.append(rest[: 2 ** (k - 1)])
        rest = rest[2 ** (k - 1) :]
    now = [dot(row, x) for row in p["weight_ih"]]
    h = [math.tanh(p["bias"][i] + now[i] + pasts[0][-1][i]) for i in range(H)]
    new = [now[H:], *pasts[0][:-1]]
    for k in range(2, levels + 1):
        new += [h, *pasts[k - 1][:-1]]
        A, delayed, b = p[f"{k}.weight"], p[f"{k}.weight_delayed"], p[f"{k}.bias"]
        past = pasts[k - 1][-1]
        h = [h[i] + math.tanh(b[i] + dot(A[i], h) + dot(delayed[i], past)) for i in range(H)]
    return h, new


def echo_state_step(p: Weights, x: Vector, state: CellState, options: Weights) -> tuple[Vector, CellState]:
    """h = α h + (1 − α) tanh(b + W h + U x)."""
    (h,) = state
    alpha = float(options.get("leak_alpha", "0"))
    new, _ = tanh_step(p, x, state, options)
    new = [alpha * h[i] + (1.0 - alpha) * new[i] for i in range(len(h))]
    return new, [new]


def skip_parts(options: Weights) -> int:
    return max(int(d) for d in options.get("skip_delay", "5").split(","))


CellStep = Callable[[Weights, Vector, CellState, Weights], tuple[Vector, CellState]]

CELLS: dict[str, tuple[CellStep, Callable[[Weights], int]]] = {
    "tanh": (tanh_step, lambda _: 1),
    "leaky": (leaky_step, lambda _: 1),
    "skip": (skip_step, skip_parts),
    "lstm": (lstm_step, lambda _: 2),
    "coupled_lstm": (coupled_lstm_step, lambda _: 2),
    "peephole_lstm": (peephole_lstm_step, lambda _: 2),
    "layer_norm_lstm": (layer_norm_lstm_step, lambda _: 2),
    "gru": (gru_step, lambda _: 1),
    "min_gru": (min_gru_step, lambda _: 1),
    "min_lstm": (min_lstm_step, lambda _: 1),
    "output_recurrent": (output_recurrent_step, lambda options: int(options.get("feedback") == "output")),
    "time_delay": (time_delay_step, lambda options: 2 ** options.get("delay_levels", 5) - 1),
    "echo_state": (echo_state_step, lambda _: 1),
}
"""The equations of every cell of the registry, by its name, and how many vectors its state has."""


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
        _, parts = CELLS[self.cell]
        width = self.hidden_size
        if self.cell == "output_recurrent":
            width = len(self.p["layers.0.bias_ho"])
        return [
            [self.p.get(f"initial_state.{layer}.{part}", [0.0] * width) for part in range(parts(self.options))]
            for layer in range(self.num_layers)
        ]

    def layers(self, p: Weights, name: str, x: Vector) -> Vector:
        """x_k = tanh(b_k + A_k x_(k − 1)), for as many k as there are."""
        k = 1
        while f"{name}.{k}.weight" in p:
            rows = zip(p[f"{name}.{k}.weight"], p[f"{name}.{k}.bias"], strict=True)
            x = [math.tanh(b + dot(row, x)) for row, b in rows]
            k += 1
        return x

    def read(self, symbol: int, remaining: int | None, state: list[CellState]) -> tuple[Vector, list[CellState]]:
        """Reads a character, BOS = V or the unknown V + 1, with the count of characters to come if told."""
        x = [1.0 if symbol == i else 0.0 for i in range(self.V + 1)]
        if "length" in self.stops:
            x += [0.0] * 26 if remaining is None else [1.0, *count_bumps(remaining)]
        x = self.layers(self.p, "input", x)
        new = []
        for layer in range(self.num_layers):
            prefix = f"layers.{layer}."
            weights = {n.removeprefix(prefix): v for n, v in self.p.items() if n.startswith(prefix)}
            if "transition.weight" in weights:
                m = self.layers(weights, "transition", state[layer][0])
                deep = [dot(row, m) for row in weights["transition.weight"]]
                weights["bias"] = [b + d for b, d in zip(weights["bias"], deep, strict=True)]
            x, after = CELLS[self.cell][0](weights, x, state[layer], self.options)
            new.append(after)
        return self.layers(self.p, "output", x), new

    def logits(self, h: Vector, stop: str) -> Vector:
        """Of the characters, and of EOS behind them under `eos`."""
        count = self.V + 1 if stop == "eos" else self.V
        if "readout.weight" not in self.p:
            return h[:count]
        weight, bias = self.p["readout.weight"], self.p["readout.bias"]
        return [bias[i] + dot(weight[i], h) for i in range(count)]

    def log_probs(self, h: Vector, stop: str) -> Vector:
        return softmax_logs(self.logits(h, stop))

    def halt(self, h: Vector) -> float:
        """s = σ(v·h + d)."""
        return sigmoid(dot(self.p["halt.weight"], h) + self.p["halt.bias"])

    def stopping(self, h: Vector, stop: str) -> float:
        """The probability of ending at a state."""
        return math.exp(self.log_probs(h, stop)[self.V]) if stop == "eos" else self.halt(h)

    @cached_property
    def length_output(self) -> Vector:
        """What the length head says of the state after BOS without the count."""
        h, _ = self.read(self.V, None, self.start())
        return [b + dot(row, h) for row, b in zip(self.p["length.weight"], self.p["length.bias"], strict=True)]

    def cdf(self, k: int) -> float:
        return length_cdf(self.length_output, self.kappa, k)

    def p_length(self, tau: int) -> float:
        output = self.length_output
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
