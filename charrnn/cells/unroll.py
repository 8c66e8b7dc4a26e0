"""The only loop over time."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from charrnn.cells.arrays import Array, OneHot, Params, is_numpy, stack, unstack
from charrnn.cells.cell import Cell, State


class Recurrence(Protocol):
    """What the loop needs: a step of a cell, or of layers of cells, with parameters in the form it expects."""

    def step(self, params: Any, projected: Array, state: State) -> tuple[Array, State]: ...


class Trace(NamedTuple):
    """A recurrence over T steps, with every intermediate state."""

    projected: Array
    """(T, B, G), the input's contribution to each step."""
    outputs: Array
    """h(1) … h(T), (T, B, H)"""
    states: list[State]
    """s(0) … s(T); s(t) is the state after step t."""


def steps(recurrence: Recurrence, params: Any, projected: Array, state: State) -> Iterator[tuple[Array, State]]:
    """Each step's output (B, H) and the state after it, for projected inputs (T, B, G)."""
    for a in unstack(projected):
        output, state = recurrence.step(params, a, state)
        yield output, state


def unroll(cell: Cell, params: Params, inputs: Array | OneHot, state: State) -> tuple[Array, State]:
    """Runs the cell over time and returns outputs (T, B, H) and the final state.

    inputs: (T, B, I), or one-hot symbols (T, B). Under torch the cell's fused kernel is used if it has one.
    """
    if not is_numpy(next(iter(params.values()))) and (kernel := cell.kernel()) is not None:
        return kernel(params, inputs, state)
    params = cell.compact(params)
    outputs: list[Array] = []
    end = state
    for output, end in steps(cell, params, cell.project(params, inputs), state):  # noqa: B007
        outputs.append(output)
    return stack(outputs), end


def trace(recurrence: Recurrence, params: Any, projected: Array, state: State) -> Trace:
    """Runs the recurrence step by step over projected inputs (T, B, G), T ≥ 1, and keeps every state."""
    outputs, states = zip(*steps(recurrence, params, projected, state), strict=True)
    return Trace(projected, stack(outputs), [state, *states])
