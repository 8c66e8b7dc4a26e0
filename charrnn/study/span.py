"""Trains a small network on a synthetic problem of a given span until it is solved or the steps are spent.

One layer and Adam at a constant learning rate: two attempts differ in the cell and in the remedies
(`charrnn.study.remedies`). As the span of the dependencies grows, gradient-based training becomes harder:
Goodfellow, Bengio and Courville, *Deep Learning*, section 10.7.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.cells import build_cell
from charrnn.cells.arrays import Array, Params, linear
from charrnn.cells.cell import Cell, State, uniform_init
from charrnn.cells.unroll import unroll
from charrnn.config import Option
from charrnn.study.problems import Batch, Problem, one_hot
from charrnn.study.remedies import USUAL, Remedies, clip_gradients, flow_penalty, start, state_gradients, traced

TEST_ROWS = 1000
"""Fresh rows on which the error is measured."""


@dataclass(frozen=True)
class Network:
    """One layer of a cell and o(t) = c + V h(t), V = `readout.weight` (O, H), c = `readout.bias` (O,).

    A cell whose outputs are logits has no other readout. A cell under teacher forcing reads y(t−1), the true
    output of the previous step, in front of x(t): one-hot, and 0 if that step has no target. It reads true outputs
    in tests too, so that its errors show what it cannot carry, not the effect of its own wrong outputs.
    """

    problem: Problem
    cell: Cell
    forced: bool

    @classmethod
    def of(
        cls, problem: Problem, cell: str, hidden_size: int, options: dict[str, Option] | None = None
    ) -> "Network":
        """Raises ValueError for an option that the cell does not have or cannot take."""

        def build(input_size: int) -> Cell:
            return build_cell(cell, input_size, hidden_size, options or {}, num_outputs=problem.output_size)

        built = build(problem.input_size)
        forced = getattr(built, "feedback", None) == "target"
        return cls(problem, build(problem.input_size + problem.output_size) if forced else built, forced)

    def init(self, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """The cell's own initial parameters; V and c uniform within ± H^(−1/2)."""
        params = self.cell.init(rng)
        if not self.cell.gives_logits:
            O, H = self.problem.output_size, self.cell.output_size  # noqa: E741
            params |= uniform_init(rng, {"readout.weight": (O, H), "readout.bias": (O,)}, H**-0.5)
        return params

    def draw(self, rng: np.random.Generator, rows: int, span: int) -> Batch:
        """A fresh batch as the cell reads it."""
        batch = self.problem.draw(rng, rows, span)
        return (
            Batch(np.concatenate([_before(batch, self.problem.output_size), batch.inputs], -1), batch.targets)
            if self.forced
            else batch
        )

    def answer(self, params: Params, batch: Batch) -> Array:
        """The outputs that have targets, the last N, (N, B, O), from tensors."""
        outputs, _ = unroll(
            self.cell, params, batch.inputs, self.cell.zero_state(batch.inputs.shape[1], batch.inputs)
        )
        return self._asked(params, outputs, batch)

    def answer_traced(self, params: Params, batch: Batch) -> tuple[Array, list[State]]:
        """The same outputs, computed a step at a time, and the states s(0) … s(T)."""
        state = self.cell.zero_state(batch.inputs.shape[1], batch.inputs)
        outputs, states = traced(self.cell, params, batch.inputs, state)
        return self._asked(params, outputs, batch), states

    def _asked(self, params: Params, outputs: Array, batch: Batch) -> Array:
        asked = outputs[-len(batch.targets) :]
        return (
            asked if self.cell.gives_logits else linear(asked, params["readout.weight"]) + params["readout.bias"]
        )


def _before(batch: Batch, output_size: int) -> NDArray[np.float32]:
    """The previous targets y(t−1), (T, B, O)."""
    steps, rows, _ = batch.inputs.shape
    classes = np.issubdtype(batch.targets.dtype, np.integer)
    targets = one_hot(batch.targets, output_size) if classes else batch.targets
    fed = np.zeros((steps + 1, rows, output_size), np.float32)
    fed[steps + 1 - len(targets) :] = targets
    return fed[:-1]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How training went."""

    losses: NDArray[np.float64]
    """(n,), the loss of each step on its own fresh batch."""
    errors: NDArray[np.float64]
    """The problem's error on fresh rows, every `check_every` steps and at the end."""
    fresh_loss: float
    """The problem's loss on the last of those rows, comparable with `Problem.baseline`."""
    solved: bool
    params: dict[str, NDArray[Any]] = field(repr=False)


def train_on(
    problem: Problem,
    cell: str,
    span: int,
    seed: int,
    steps: int,
    *,
    options: dict[str, Option] | None = None,
    hidden_size: int = 32,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    remedies: Remedies = USUAL,
    check_every: int = 100,
    notify: Callable[[int], object] = lambda _steps: None,
) -> Attempt:
    """Trains for at most `steps` steps; fewer if the problem is solved or the loss is no longer finite.

    Weights, training rows and test rows come from three streams of the seed, so two cells with inputs of the same
    size read the same rows. Each check calls `notify` with the number of steps taken. Raises ValueError for
    options that the cell cannot have or a span that the problem cannot have.
    """
    network = Network.of(problem, cell, hidden_size, options)
    init_rng, train_rng, test_rng = np.random.default_rng(seed).spawn(3)
    fresh = start(remedies.init, network.cell, network.init(init_rng), init_rng)
    params = {name: torch.from_numpy(value) for name, value in fresh.items()}
    trained = [value.requires_grad_() for name, value in params.items() if name not in network.cell.frozen]
    optimizer = torch.optim.Adam(trained, lr=learning_rate, fused=True)
    losses: list[float] = []
    errors: list[float] = []
    fresh_loss = math.nan
    while len(losses) < steps:
        batch = _tensors(network.draw(train_rng, batch_size, span))
        loss, objective = _objective(network, params, batch, remedies)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            errors.append(math.inf)
            fresh_loss = losses[-1]
            break
        optimizer.zero_grad(set_to_none=True)
        objective.backward()
        clip_gradients(trained, remedies)
        optimizer.step()
        if len(losses) % check_every == 0 or len(losses) == steps:
            with torch.no_grad():
                test = _tensors(network.draw(test_rng, TEST_ROWS, span))
                answers = network.answer(params, test)
                errors.append(float(problem.error(answers, test.targets)))
                fresh_loss = float(problem.loss(answers, test.targets))
            notify(len(losses))
            if errors[-1] < problem.solved_below:
                break
    return Attempt(
        losses=np.array(losses),
        errors=np.array(errors),
        fresh_loss=fresh_loss,
        solved=bool(errors) and errors[-1] < problem.solved_below,
        params={name: value.detach().numpy() for name, value in params.items()},
    )


def _objective(network: Network, params: Params, batch: Batch, remedies: Remedies) -> tuple[Array, Array]:
    """The problem's loss L and the minimised objective: L, or L + λ Ω."""
    if remedies.flow_penalty == 0.0:
        loss = network.problem.loss(network.answer(params, batch), batch.targets)
        return loss, loss
    answers, states = network.answer_traced(params, batch)
    loss = network.problem.loss(answers, batch.targets)
    gradients = state_gradients(loss, states)
    penalty = flow_penalty(network.cell, params, batch.inputs, states, gradients)
    return loss, loss + remedies.flow_penalty * penalty


def _tensors(batch: Batch) -> Any:
    return Batch(*(torch.from_numpy(array) for array in batch))  # type: ignore[arg-type]
