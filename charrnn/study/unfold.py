"""A recurrent network unfolded in time: the graph as data, every edge labelled by the parameters it shares.

Source: Goodfellow, Bengio and Courville, *Deep Learning*, sections 10.1 and 10.2, figures 10.2 to 10.4.
"""

from dataclasses import dataclass

from charrnn.cells.catalogue import symbol
from charrnn.models.language_model import LanguageModel
from charrnn.study.connections import INPUT, LOSS, OUTPUT, TARGET, Connection, Passing, connections

ORDER = (TARGET, LOSS, OUTPUT)
"""Kinds of nodes above the hidden units, from the top; the input is at the bottom."""


@dataclass(frozen=True)
class Node:
    name: str
    kind: str
    time: int
    """From 1 to τ; 0 or less for parts of an initial state."""


@dataclass(frozen=True)
class Edge:
    source: str
    target: str
    symbols: tuple[str, ...]
    parameters: tuple[str, ...]
    passing: Passing | None
    """Whether the value is also passed on without a parameter, by a gate or as a fixed share."""


@dataclass(frozen=True)
class Shared:
    """A parameter, and the number of steps at which it acts."""

    symbols: tuple[str, ...]
    """Several if parts of it serve different delays."""
    name: str
    shape: tuple[int, ...]
    times: int
    trained: bool


@dataclass(frozen=True)
class Unfolded:
    cell: str
    steps: int
    connections: tuple[Connection, ...]
    """The connections, the same at every step."""
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    parameters: tuple[Shared, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of nodes, from the output down to the input, memories below the hidden units."""
        hidden = dict.fromkeys(c.target for c in self.connections if c.target not in ORDER)
        return (*ORDER, *hidden, INPUT)


def unfold(model: LanguageModel, steps: int) -> Unfolded:
    """A one-layer model over τ = `steps` steps, measured from its cell. Raises ValueError like `connections`."""
    name = model.config.cell
    found = connections(name, model.config.cell_options)
    edges = [edge for time in range(1, steps + 1) for edge in _edges(found, time)]
    ends = dict.fromkeys(end for source, target, _ in edges for end in (source, target))
    nodes = sorted((Node(_name(kind, time), kind, time) for kind, time in ends), key=lambda node: node.time)
    return Unfolded(
        cell=name,
        steps=steps,
        connections=found,
        nodes=tuple(nodes),
        edges=tuple(
            Edge(_name(*source), _name(*target), by.symbols, by.parameters, by.passing)
            for source, target, by in edges
        ),
        parameters=tuple(
            _shared(model, name, found, steps, key.removeprefix("layers.0."), shape)
            for key, shape in model.shapes.items()
        ),
    )


def _edges(found: tuple[Connection, ...], time: int) -> list[tuple[tuple[str, int], tuple[str, int], Connection]]:
    """The edges that end at this time. Inputs and targets begin at time 1; states exist before."""
    return [
        ((by.source, time - by.delay), (by.target, time), by)
        for by in found
        if time > by.delay or by.source not in (INPUT, TARGET)
    ]


def _shared(
    model: LanguageModel,
    cell: str,
    found: tuple[Connection, ...],
    steps: int,
    parameter: str,
    shape: tuple[int, ...],
) -> Shared:
    using = [by for by in found if parameter in by.parameters]
    first = min((by.delay if by.source in (INPUT, TARGET) else 0 for by in using), default=0)
    symbols = [by.symbols[by.parameters.index(parameter)] for by in using] or [symbol(cell, parameter)]
    return Shared(
        symbols=tuple(dict.fromkeys(symbols)),
        name=parameter,
        shape=shape,
        times=max(0, steps - first),
        trained=f"layers.0.{parameter}" not in model.frozen,
    )


def _name(kind: str, time: int) -> str:
    return f"{kind}({time})"
