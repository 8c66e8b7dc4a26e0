"""A network whose only recurrence runs from its output to its hidden units."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from charrnn.cells.arrays import Array, OneHot, Params, exp, linear, log_softmax, tanh, where, zeros
from charrnn.cells.cell import HiddenUnits, Kernel


class OutputState(NamedTuple):
    """fed: softmax(o(t−1)), (B, S); empty under teacher forcing, where the input contains what is fed back."""

    fed: tuple[Array, ...]


@dataclass(frozen=True)
class OutputRecurrent(HiddenUnits):
    """h(t) = tanh(b + W y(t−1) + U x(t)),  o(t) = c + V h(t).

    U = `weight_ih` (H, I), W = `weight_hh` (H, S), b = `bias` (H,), V = `weight_ho` (S, H), c = `bias_ho` (S,).
    The cell's output is o, S logits. Only o is carried from step to step, and unless it is large and rich it
    cannot hold what is needed from the past.

    `feedback` = "target": teacher forcing. y is the true output, the first S entries of the next step's input
    (the input is the previous symbol; BOS, which shares its index with EOS, if any, is fed as an ending). No step
    depends on the one before, so all train in parallel (`kernel`). In sampling, the sampled symbol is fed. A
    model of text then sees one character: it is a bigram model.

    `feedback` = "output": y = softmax(o), the model's own output, in training and in use, trained by
    back-propagation through time. y is 0 before the first step.

    |o| is bounded by |c| + Σ|V|, so with finite weights every logit is bounded and the probability of stopping
    stays above a positive constant.

    Unfolded in time, under teacher forcing:

          y(1)╶W─┐          y(2)╶W─┐          y(3)
           ↓     │           ↓     │           ↓
          L(1)   │          L(2)   │          L(3)
           ↑     │           ↑     │           ↑
          o(1)   │          o(2)   │          o(3)
         V ↑     │         V ↑     │         V ↑
           │     └───────────┼┐    └───────────┼┐
           │                 │↓                │↓
          h(1)              h(2)              h(3)
         U ↑               U ↑               U ↑
          x(1)              x(2)              x(3)

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.2.1, figures 10.4 and 10.6.
    """

    num_outputs: int
    feedback: Literal["target", "output"] = "target"

    gives_logits: ClassVar[bool] = True

    @property
    def output_size(self) -> int:
        return self.num_outputs

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        H, I, S = self.hidden_size, self.input_size, self.num_outputs  # noqa: E741
        return {"weight_ih": (H, I), "weight_hh": (H, S), "bias": (H,), "weight_ho": (S, H), "bias_ho": (S,)}

    def zero_state(self, batch_size: int, like: Array) -> OutputState:
        teacher = self.feedback == "target"
        return OutputState(() if teacher else (zeros((batch_size, self.num_outputs), like),))

    def project(self, params: Params, x: Array | OneHot) -> Array:
        a = super().project(params, x)
        return a + linear(self._target(x), params["weight_hh"]) if self.feedback == "target" else a

    def step(self, params: Params, projected: Array, state: OutputState) -> tuple[Array, OutputState]:
        if self.feedback == "target":
            return self._output(params, tanh(projected)), state
        (y,) = state.fed
        o = self._output(params, tanh(projected + y @ params["weight_hh"].T))
        return o, OutputState((exp(log_softmax(o)),))

    def kernel(self) -> Kernel | None:
        return self._parallel if self.feedback == "target" else None

    def _parallel(self, params: Params, x: Array | OneHot, state: OutputState) -> tuple[Array, OutputState]:
        return self._output(params, tanh(self.project(params, x))), state

    def _output(self, params: Params, h: Array) -> Array:
        return h @ params["weight_ho"].T + params["bias_ho"]

    def _target(self, x: Array | OneHot) -> Array | OneHot:
        """y(t−1), taken from x(t)."""
        S = self.num_outputs
        if isinstance(x, OneHot):
            return OneHot(where(x.ids < S, x.ids, S), S)
        return x[..., :S]


CELL = OutputRecurrent
