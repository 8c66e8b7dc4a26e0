"""Stacked layers: read over time to train and score, stepped to sample text, traced to study them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from charrnn.cells.arrays import Array, OneHot, Params, concat
from charrnn.cells.cell import Cell, State
from charrnn.cells.unroll import Trace, trace, unroll
from charrnn.models.attention import Look
from charrnn.models.layers import Dropout, part_of

States: TypeAlias = tuple[State, ...]
"""One state per layer."""

LayerParams: TypeAlias = Sequence[Params]
"""The parameters of each layer, under their names in the cell."""


@dataclass(frozen=True)
class Stack:
    """h_l(t), s_l(t) = step_l(b_l + U_l h_{l−1}(t), s_l(t−1)) for each layer l = 1 … L, with h_0(t) = x(t).

    Layer l's parameters are under `layers.l.` in the model's, l from 0 on. With attention to a memory,
    layer l + 1 reads h_l and the context that h_1 attends to.

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.5, figure 10.13a.
    """

    cells: tuple[Cell, ...]

    def params(self, whole: Params) -> list[Params]:
        """Each layer's parameters, from the model's."""
        return [part_of(whole, f"layers.{number}.", cell.shapes) for number, cell in enumerate(self.cells)]

    def compact(self, params: LayerParams) -> list[Params]:
        """The parameters in the form that makes many steps fastest."""
        return [cell.compact(own) for cell, own in zip(self.cells, params, strict=True)]

    def project(self, params: LayerParams, x: Array | OneHot) -> Array:
        """The first layer's projection of inputs (…, I): (…, G)."""
        return self.cells[0].project(params[0], x)

    def step(
        self, params: LayerParams, projected: Array, states: States, look: Look | None = None
    ) -> tuple[Array, States]:
        """One step of every layer: projected (B, G) -> h_L (B, H) and the states after it."""
        h, after = projected, []
        for number, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            if number:
                h = cell.project(params[number], _beside(h, look))
            h, new = cell.step(params[number], h, state)
            after.append(new)
            if look is not None and number == 0:
                look.at(h)
        return h, tuple(after)

    def read(
        self,
        params: LayerParams,
        x: Array | OneHot,
        states: States,
        look: Look | None = None,
        dropout: Dropout | None = None,
    ) -> tuple[Array, States]:
        """All steps of every layer: inputs (T, B, I) -> h_L (T, B, H) and the states at the end.

        dropout: applied to each layer's outputs.
        """
        h, final = x, []
        for number, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            h, end = unroll(cell, params[number], _beside(h, look) if number else h, state)
            h = h if dropout is None else dropout(h)
            final.append(end)
            if look is not None and number == 0:
                look.at(h)
        return h, tuple(final)

    def trace(self, params: LayerParams, x: Array | OneHot, states: States) -> list[Trace]:
        """Runs all steps layer by layer and keeps every state."""
        traces: list[Trace] = []
        for cell, own, state in zip(self.cells, params, states, strict=True):
            projected = cell.project(own, traces[-1].outputs if traces else x)
            traces.append(trace(cell, own, projected, state))
        return traces


def _beside(h: Array, look: Look | None) -> Array:
    """The input of the layer above: h and, with attention, the context."""
    return h if look is None else concat([h, look.seen], axis=-1)
