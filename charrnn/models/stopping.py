"""The ways in which a text ends, each a part of a model: parameters, inputs, costs, and the end in sampling.

`eos` is a symbol of the softmax; `halt` is a Bernoulli output at every step; `length` draws τ first, from a
distribution with unbounded support, and counts down; `none` has no end. To add a way, add a class and its line in
STOPS. The code uses `charrnn.cells.arrays`, so NumPy and torch run the same lines.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import (
    Array,
    Params,
    asarray,
    concat,
    exp,
    floats,
    log,
    log1p,
    log_softmax,
    logsumexp,
    sigmoid,
    softplus,
    spread,
    where,
)
from charrnn.config import StopName
from charrnn.corpus.steps import STOP_INDEX, Kind, Steps

COUNT_CENTRES = np.arange(0.0, 12.5, 0.5)
"""The centres of the count's features, in octaves of r + 1: fine near the end, coarse far from it."""

COUNT_FEATURES = 1 + len(COUNT_CENTRES)

COMPONENTS = 8
"""Logistic components of the length distribution; three parameters each."""

LOG_SCALE_BOUND = 4.0
"""Soft bound on |ln s| of a component: no component degenerates, so F stays a proper distribution."""


def count_features(remaining: Array, like: Array) -> Array:
    """The count input: r_t = τ − t, the characters still to come, as bounded features (..., F).

    A present flag, then bumps max(0, 1 − 2 |log₂(r + 1) − c|) at c = 0, ½, 1, …, 12, where larger counts are
    clipped to the largest; all zero where `remaining` is negative (absent). The bumps sum to one and hardly
    overlap, so a unit can distinguish the last few counts by separate weights.
    """
    present = floats(remaining >= 0, like)[..., None]
    octaves = log(floats(where(remaining >= 0, remaining, 0), like) + 1.0)[..., None] * (1.0 / math.log(2.0))
    last = float(COUNT_CENTRES[-1])
    distance = where(octaves < last, octaves, last) - floats(asarray(COUNT_CENTRES, like), like)
    bumps = 1.0 - 2.0 * abs(distance)
    return concat([present, present * where(bumps > 0.0, bumps, 0.0 * bumps)], axis=-1)


class LengthDistribution(NamedTuple):
    """p(τ), τ = 0, 1, …: a mixture of logistics in g(k) = ln(k + 1) + (k + 1)/κ.

        F(k) = Σ_i w_i σ((g(k) − μ_i) / s_i),    p(τ) = F(τ) − F(τ − 1),    F(−1) = 0 as g(−1) = −∞

    The logarithm lets one family fit lengths that differ by orders of magnitude, the mixture fits their several
    modes; the linear term, with κ the mean training length, makes the tail fall geometrically, at least as fast
    as exp(−k / (κ s)), so that a sample is never absurdly long. F has a closed form in sigmoids and exponentials,
    p(τ) is computed without cancellation, and a quantile needs only a search. All parameters are computed from
    h_0, hence shapes (..., K).
    """

    log_weights: Array
    means: Array
    log_scales: Array
    kappa: float

    @classmethod
    def from_output(cls, output: Array, kappa: float) -> "LengthDistribution":
        """The distribution whose raw parameters (..., 3K) are the length head's output."""
        K = COMPONENTS
        scales = output[..., 2 * K :]
        bounded = LOG_SCALE_BOUND * (2.0 * sigmoid(scales * (2.0 / LOG_SCALE_BOUND)) - 1.0)
        return cls(log_softmax(output[..., :K]), output[..., K : 2 * K], bounded, kappa)

    def log_prob(self, tau: Array) -> Array:
        """ln p(τ), shape (...), for integers τ ≥ 0 (...).

        σ(a) − σ(b) = σ(a) σ(−b) (1 − exp(b − a)) for a > b, with a − b = (ln(1 + 1/τ) + 1/κ) / s; at τ = 0
        the second and the third factor are 1.
        """
        previous = where(tau > 0, tau - 1, 0)
        rise = log1p(1.0 / (floats(previous, self.means) + 1.0)) + 1.0 / self.kappa
        inner = _log1m_exp(rise[..., None] * exp(-self.log_scales)) - softplus(self._standardised(previous))
        log_parts = where(tau[..., None] > 0, inner, 0.0) - softplus(-self._standardised(tau))
        return logsumexp(self.log_weights + log_parts)

    def cdf(self, k: Array) -> Array:
        """F(k), shape (...), for integers k ≥ −1 (...)."""
        inside = floats(k >= 0, self.means)
        parts = sigmoid(self._standardised(where(k >= 0, k, 0)))
        return inside * (exp(self.log_weights) * parts).sum(-1)

    def log_survival(self, k: Array) -> Array:
        """ln(1 − F(k)), shape (...), for integers k ≥ −1 (...), accurate in the tail."""
        tail = logsumexp(self.log_weights - softplus(self._standardised(where(k >= 0, k, 0))))
        return where(k >= 0, tail, 0.0 * tail)

    def inverse_survival(self, log_survival: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The smallest k ≥ 0 with ln(1 − F(k)) ≤ `log_survival` (...); NumPy only.

        For ln(1 − u) with u uniform it draws exactly from p(τ); for ln(1 − u) + ln(1 − F(j)) from p(τ | τ > j).
        """

        def above(k: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
            return np.asarray(self.log_survival(k) > log_survival)

        high = np.zeros(np.shape(log_survival), np.int64)
        while np.any(short := above(high) & (high < 2**40)):
            high = np.where(short, 2 * high + 1, high)
        low = np.full_like(high, -1)
        while np.any(low + 1 < high):
            middle = (low + high) // 2
            up = above(middle)
            low = np.where(up, middle, low)
            high = np.where(up, high, np.maximum(middle, low + 1))
        return high

    def _standardised(self, k: Array) -> Array:
        """(g(k) − μ) / s, shape (..., K)."""
        following = floats(k, self.means)[..., None] + 1.0
        return (log(following) + following / self.kappa - self.means) * exp(-self.log_scales)


def initial_length_bias(lengths: npt.NDArray[np.int64], kappa: float) -> npt.NDArray[np.float32]:
    """The length head's bias (3K,) before training: components at the quantiles of the training lengths."""
    # F(τ) − F(τ − 1) is largest where a component is halfway between g(τ − 1) and g(τ).
    middle = lengths + 0.5
    g = np.log(middle) + middle / kappa
    means = np.quantile(g, (np.arange(COMPONENTS) + 0.5) / COMPONENTS)
    spacing = max(float(means[-1] - means[0]) / COMPONENTS, 0.02)
    log_scales = np.full(COMPONENTS, np.log(spacing))
    # The inverse of the soft bound that `from_output` puts on ln s.
    raw = LOG_SCALE_BOUND * np.arctanh(np.clip(log_scales / LOG_SCALE_BOUND, -0.99, 0.99))
    return np.concatenate([np.zeros(COMPONENTS), means, raw]).astype(np.float32)


def _log1m_exp(x: Array) -> Array:
    """ln(1 − e^(−x)) for x > 0, without cancellation for small x."""
    if isinstance(x, np.ndarray):
        return np.log(-np.expm1(-x))
    return (-(-x).expm1()).log()


# The parts -------------------------------------------------------------------------------------------------

NEVER = -1e30
"""ln of probability zero; −∞ would cause NaN in sums."""


class Chances(NamedTuple):
    """Log-probabilities that a text goes on or stops at a state, (...)."""

    log_go_on: Array
    log_stop: Array


class Turn(NamedTuple):
    """One sampling step of B rows, NumPy."""

    symbols: npt.NDArray[np.int64]
    """(B,) drawn from the softmax."""
    remaining: npt.NDArray[np.int64] | None
    """(B,) characters still to come, if τ was drawn first."""
    log_stop: npt.NDArray[np.float64]
    log_survival: npt.NDArray[np.float64]
    """(B,) ln of the probability of not having stopped yet, this step included; kept at temperature 0 alone."""
    temperature: float
    uniform: Callable[[], npt.NDArray[np.float64]]
    """Draws (B,) numbers in [0, 1)."""


@dataclass(frozen=True)
class Stop(ABC):
    """A way to end a text. The defaults here are for an output that may end the text at every state."""

    vocab_size: int
    """V"""
    length_scale: float
    """Mean length of the training texts."""

    name: ClassVar[StopName]
    words: ClassVar[str]
    """A phrase for what ends texts."""
    num_features: ClassVar[int] = 0
    """The number of features that it adds to each input."""
    announces: ClassVar[bool] = False
    """Whether τ is drawn before the text; BOS is then read twice, first without the count, then with it."""

    @property
    def index(self) -> int:
        """Its number in `Steps.stops`."""
        return STOP_INDEX[self.name]

    @property
    def symbol(self) -> int | None:
        """The symbol of the softmax that ends the text, if any; the other symbols then imply going on."""
        return None

    def shapes(self, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Its parameters, for states (..., H)."""
        return {}

    def init(
        self, hidden_size: int, lengths: npt.NDArray[np.int64], logit_bias: npt.NDArray[np.float32]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """New parameters, from the training texts' lengths (N,); may set its own logit's bias in `logit_bias`."""
        return {}

    def features(self, remaining: Array, like: Array) -> Array:
        """Features (..., num_features) added to the inputs of texts with `remaining` (...) characters to come."""
        raise NotImplementedError

    def distribution(self, params: Params, hidden: Array) -> LengthDistribution:
        """p(τ), if it announces τ, given the state (..., H) after BOS without the count."""
        raise NotImplementedError

    @abstractmethod
    def chances(self, params: Params, hidden: Array, log_p: Array, remaining: Array | None = None) -> Chances:
        """The chances at states (..., H), given the softmax's log-probabilities (..., S)."""

    def nll(self, params: Params, hidden: Array, steps: Steps, log_p: Array) -> Array:
        """The cost of steps beyond the softmax, in nats, (T, B)."""
        log_go_on, log_stop = self.chances(params, hidden, log_p)
        nothing = 0.0 * log_go_on
        ending = where(steps.kinds == Kind.ENDING, -log_stop, nothing)
        return where(steps.kinds == Kind.CHARACTER, -log_go_on, ending)

    def ends(self, turn: Turn) -> npt.NDArray[np.bool_]:
        """Which rows end here, (B,). At temperature 0 a row ends once it has ended with probability ≥ ½."""
        if turn.temperature == 0.0:
            return np.asarray(turn.log_survival <= -math.log(2.0))
        return np.asarray(np.log(np.maximum(turn.uniform(), 1e-300)) < turn.log_stop)


class Eos(Stop):
    """EOS, the last symbol of the softmax, follows the last character."""

    name = "eos"
    words = "EOS"

    @property
    def symbol(self) -> int:
        return self.vocab_size

    def init(
        self, hidden_size: int, lengths: npt.NDArray[np.int64], logit_bias: npt.NDArray[np.float32]
    ) -> dict[str, npt.NDArray[np.float32]]:
        logit_bias[self.symbol] = np.log(_rate(lengths) * self.vocab_size)
        return {}

    def chances(self, params: Params, hidden: Array, log_p: Array, remaining: Array | None = None) -> Chances:
        """ln(1 − p(EOS)) is exact where p(EOS) is nearly 0 and where it rounds to 1."""
        log_eos = log_p[..., self.symbol]
        likely = log_eos > -0.5
        others = logsumexp(log_p[..., : self.vocab_size])
        return Chances(where(likely, others, log1p(-exp(where(likely, -1.0, log_eos)))), log_eos)

    def nll(self, params: Params, hidden: Array, steps: Steps, log_p: Array) -> Array:
        return 0.0 * log_p[..., 0]

    def ends(self, turn: Turn) -> npt.NDArray[np.bool_]:
        return np.asarray(turn.symbols == self.symbol)


class Halt(Stop):
    """s_t = σ(v·h_t + d): v = `halt.weight` (H,), d = `halt.bias` (). The text ends at t with probability s_t."""

    name = "halt"
    words = "a halt output"

    def shapes(self, hidden_size: int) -> dict[str, tuple[int, ...]]:
        return {"halt.weight": (hidden_size,), "halt.bias": ()}

    def init(
        self, hidden_size: int, lengths: npt.NDArray[np.int64], logit_bias: npt.NDArray[np.float32]
    ) -> dict[str, npt.NDArray[np.float32]]:
        bias = np.array(np.log(_rate(lengths)), np.float32)
        return {"halt.weight": np.zeros(hidden_size, np.float32), "halt.bias": bias}

    def chances(self, params: Params, hidden: Array, log_p: Array, remaining: Array | None = None) -> Chances:
        logit = hidden @ params["halt.weight"] + params["halt.bias"]
        return Chances(-softplus(logit), -softplus(-logit))


class Length(Stop):
    """Draws τ from p(τ), whose parameters are W h_0 + b: W = `length.weight` (3K, H), b = `length.bias` (3K,).

    The later inputs contain r_t = τ − t, and the text ends at r_t = 0.
    """

    name = "length"
    words = "a length drawn first"
    num_features = COUNT_FEATURES
    announces = True

    def shapes(self, hidden_size: int) -> dict[str, tuple[int, ...]]:
        return {"length.weight": (3 * COMPONENTS, hidden_size), "length.bias": (3 * COMPONENTS,)}

    def init(
        self, hidden_size: int, lengths: npt.NDArray[np.int64], logit_bias: npt.NDArray[np.float32]
    ) -> dict[str, npt.NDArray[np.float32]]:
        weight = np.zeros((3 * COMPONENTS, hidden_size), np.float32)
        return {"length.weight": weight, "length.bias": initial_length_bias(lengths, self.length_scale)}

    def features(self, remaining: Array, like: Array) -> Array:
        return count_features(remaining, like)

    def chances(self, params: Params, hidden: Array, log_p: Array, remaining: Array | None = None) -> Chances:
        if remaining is None:
            raise ValueError("Length.chances: expected the characters still to come")
        return _counted(log_p, remaining)

    def distribution(self, params: Params, hidden: Array) -> LengthDistribution:
        output = hidden @ params["length.weight"].T + params["length.bias"]
        return LengthDistribution.from_output(output, self.length_scale)

    def nll(self, params: Params, hidden: Array, steps: Steps, log_p: Array) -> Array:
        announced = steps.kinds == Kind.ANNOUNCEMENT
        distribution = self.distribution(params, hidden[announced])
        return spread(announced, -distribution.log_prob(steps.targets[announced]))

    def ends(self, turn: Turn) -> npt.NDArray[np.bool_]:
        return np.asarray(turn.remaining == 0)


class Endless(Stop):
    """No length model: a stream, or a text whose length is known from elsewhere."""

    name = "none"
    words = "nothing"

    def chances(self, params: Params, hidden: Array, log_p: Array, remaining: Array | None = None) -> Chances:
        if remaining is not None:
            return _counted(log_p, remaining)
        nothing = 0.0 * log_p[..., 0]
        return Chances(nothing, nothing + NEVER)

    def nll(self, params: Params, hidden: Array, steps: Steps, log_p: Array) -> Array:
        return 0.0 * log_p[..., 0]

    def ends(self, turn: Turn) -> npt.NDArray[np.bool_]:
        return np.zeros(len(turn.symbols), bool)


STOPS: dict[StopName, type[Stop]] = {"eos": Eos, "halt": Halt, "length": Length, "none": Endless}


def _counted(log_p: Array, remaining: Array) -> Chances:
    """The chances of texts that certainly end where no characters are left, and nowhere else."""
    nothing, over = 0.0 * log_p[..., 0], remaining <= 0
    return Chances(where(over, NEVER, nothing), where(over, nothing, NEVER))


def _rate(lengths: npt.NDArray[np.int64]) -> float:
    """Endings per symbol of the training texts."""
    return 1.0 / (float(np.mean(lengths)) + 1.0)
