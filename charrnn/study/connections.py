"""Measures what depends on what in one step of a cell, without any knowledge of the cell.

A cell's step is run in NumPy at a small size with random parameters. Each input and each array of the previous
state is changed on its own; whatever changes with it depends on it. To see which parameter carries a dependence,
the parameter, or a block of it, is set to zero.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells import build_cell
from charrnn.cells.catalogue import symbol
from charrnn.cells.cell import Cell, map_state, state_arrays
from charrnn.config import Option

Numbers = npt.NDArray[np.float64]
Params = dict[str, Numbers]

UNITS, INPUTS, OUTPUTS = 5, 4, 3
"""Sizes to measure at; no two are equal, so that a parameter's blocks of `UNITS` can be recognised."""

TOLERANCE = 1e-9

INPUT, HIDDEN, OUTPUT, TARGET, LOSS = "x", "h", "o", "y", "L"

Passing = Literal["gate", "share"]
"""How a value is passed on without a parameter: by a gate that depends on other values, or as a fixed share."""


class Block(NamedTuple):
    """A block of a parameter; its row and column count blocks of `UNITS`, if `UNITS` divides the size."""

    parameter: str
    row: int
    column: int


READOUT = Block("weight_ho", 0, 0)
"""V of a cell whose outputs are logits."""


@dataclass(frozen=True)
class Connection:
    """target(t) depends on source(t − delay), at every t, through the same parameters."""

    source: str
    target: str
    delay: int
    parameters: tuple[str, ...]
    """The parameters that it passes through, from the source to the target if there are several."""
    symbols: tuple[str, ...]
    """The symbols of the parameters; parts of one that serve different delays get the least delay as subscript."""
    passing: Passing | None = None
    """How the value is also passed on without a parameter, if it is."""


class _Link(NamedTuple):
    source: str
    target: str
    delay: int
    blocks: frozenset[Block]
    passing: Passing | None


def connections(name: str, options: dict[str, Option]) -> tuple[Connection, ...]:
    """The connections of a one-layer model of the cell: its step, the readout and the loss.

    Raises ValueError for an option that the cell does not have or cannot take.
    """
    step = _Step(build_cell(name, INPUTS, UNITS, options, num_outputs=OUTPUTS))
    links = _through_readout(_without_shifts(step), step.cell)
    order = list(step.cell.shapes)
    found = [
        *_named(name, links, order),
        *([] if step.cell.gives_logits else [_plain(HIDDEN, OUTPUT, "readout.weight", "V")]),
        Connection(OUTPUT, LOSS, 0, (), ()),
        Connection(TARGET, LOSS, 0, (), ()),
    ]
    return tuple(found)


class _Step:
    """A step of a cell as a function of named arrays: the input "x", and those of the previous state by number."""

    def __init__(self, cell: Cell) -> None:
        rng = np.random.default_rng(0)
        self.cell = cell
        self.zero = cell.zero_state(1, np.zeros(()))
        self.params: Params = {name: rng.normal(size=shape) for name, shape in cell.shapes.items()}
        sizes: dict[str, tuple[int, ...]] = {INPUT: (1, INPUTS)}
        sizes |= {str(i): array.shape for i, array in enumerate(state_arrays(self.zero))}
        self.values, self.others = ({key: rng.normal(size=size) for key, size in sizes.items()} for _ in range(2))
        self.sources = tuple(sizes)
        self.blocks = [
            block for name in cell.shapes if "bias" not in name for block in _blocks(name, cell.shapes[name])
        ]
        self.before = self.run(self.values)

    def run(self, values: dict[str, Numbers], params: Params | None = None) -> dict[str, Numbers]:
        """The output "h" and the new state's arrays by number; arrays missing from the values are zero."""
        weights = self.params if params is None else params
        numbers = iter(range(len(self.sources)))
        state = map_state(lambda zero: values.get(str(next(numbers)), zero), self.zero)
        x = values.get(INPUT, np.zeros((1, INPUTS)))
        output, new = self.cell.step(weights, self.cell.project(weights, x), state)
        return {HIDDEN: output, **{str(i): array for i, array in enumerate(state_arrays(new))}}

    def heard(self, targets: list[str], sources: tuple[str, ...]) -> list[tuple[str, str]]:
        """The pairs of target and source in which the target changes with the source.

        Sources are changed together, and halved if that has an effect: few arrays of a long history have one.
        """
        changed = self.run({**self.values, **{source: self.others[source] for source in sources}})
        moved = [target for target in targets if _differ(changed[target], self.before[target])]
        if not moved or len(sources) == 1:
            return [(target, sources[0]) for target in moved]
        half = len(sources) // 2
        return self.heard(moved, sources[:half]) + self.heard(moved, sources[half:])

    def link(self, target: str, source: str) -> tuple[frozenset[Block], Passing | None]:
        """The blocks that carry a dependence, and how the value is passed on without them, if it is."""
        effect, background = self._effect(target, source, self.params, {}), {}
        if not _differ(effect, 0.0):
            background = self.values
            effect = self._effect(target, source, self.params, background)
        blocks = frozenset(
            block
            for block in self.blocks
            if _differ(effect, self._effect(target, source, self._without([block]), background))
        )
        bare = self._without(blocks)
        if blocks and not _differ(self._effect(target, source, bare, background), 0.0):
            return blocks, None
        among = (self._effect(target, source, bare, values) for values in (self.values, self.others))
        return blocks, "gate" if _differ(*among) else "share"

    def _effect(self, target: str, source: str, params: Params, background: dict[str, Numbers]) -> Numbers:
        """The change of the target when the source goes from zero to its value, given `background` for the others.

        If the others are zero, no parameter that acts on them can be mistaken for one that acts on the source.
        """
        there = {key: value for key, value in background.items() if key != source}
        moved = self.run({**there, source: self.values[source]}, params)[target]
        return moved - self.run(there, params)[target]

    def _without(self, blocks: Iterable[Block]) -> Params:
        params = {name: value.copy() for name, value in self.params.items()}
        for block in blocks:
            params[block.parameter][_places(params[block.parameter].shape, block)] = 0.0
        return params


def _without_shifts(step: _Step) -> list[_Link]:
    """Links between the input, the output "h" and memories, in place of links between arrays of states.

    An array that only copies an older one counts as that one, with a longer delay. An array that does not depend
    on an earlier value of its own, even indirectly, is no memory: whatever depends on it is linked to its sources
    instead. An output that depends on a memory is linked to the memory's value after the step.
    """
    new = step.before
    given = {value.tobytes(): key for key, value in step.values.items()}
    handed = {key: given[value.tobytes()] for key, value in new.items() if value.tobytes() in given}
    fresh = [key for key in new if key not in handed]
    measured = {pair: step.link(*pair) for pair in step.heard(fresh, step.sources)}
    same = {key for key in fresh if np.array_equal(new[key], new[HIDDEN])}
    if step.cell.gives_logits:
        same = {
            t
            for t in fresh
            if all(READOUT in blocks for (target, _), (blocks, _) in measured.items() if target == t)
        }
    fresh = [key for key in fresh if key == HIDDEN or key not in same]

    def origin(source: str) -> tuple[str, int]:
        if source == INPUT:
            return source, 0
        delay = 1
        while source in handed:
            source, delay = handed[source], delay + 1
        return HIDDEN if source in same else source, delay

    links: list[_Link] = []
    for (target, key), (blocks, passing) in measured.items():
        source, delay = origin(key)
        if target in fresh:
            links.append(_Link(source, target, delay, blocks, passing))
    memories = {key for key in fresh if key == HIDDEN or key in _ancestors(key, links)}
    while passed := next((link for link in links if link.source not in (INPUT, *memories)), None):
        links.remove(passed)
        links += [
            _Link(
                link.source, passed.target, link.delay + passed.delay, link.blocks | passed.blocks,
                passed.passing if link.passing else None,
            )
            for link in links
            if link.target == passed.source
        ]  # fmt: skip
    names = _field_names(step, memories)
    kept = [link for link in links if link.target in memories]
    return [
        link._replace(source=names.get(link.source, link.source), target=names.get(link.target, link.target))
        for link in _after_the_step(kept, memories - {HIDDEN})
    ]


def _ancestors(key: str, links: list[_Link]) -> set[str]:
    found: set[str] = set()
    ahead = [key]
    while ahead:
        at = ahead.pop()
        sources = {link.source for link in links if link.target == at} - found
        found |= sources
        ahead += sources
    return found


def _after_the_step(links: list[_Link], memories: set[str]) -> list[_Link]:
    """Replaces m(t−1) -> h(t) by m(t) -> h(t), and drops the other links to h(t) that pass through m(t) alone."""
    inside = {link.source: link for link in links if link.target in memories and link.source == link.target}
    found: list[_Link] = []
    for link in links:
        if link.target != HIDDEN:
            found.append(link)
        elif link.source in inside and link.delay == 1:
            found.append(link._replace(delay=0, blocks=link.blocks - inside[link.source].blocks))
        else:
            through = {
                block
                for other in links
                for block in other.blocks
                if (other.target in memories and (other.source, other.delay) == (link.source, link.delay))
                or (other.target == HIDDEN and other.source in inside)
            }
            if link.blocks - through or not through:
                found.append(link._replace(blocks=link.blocks - through))
    return found


def _field_names(step: _Step, memories: set[str]) -> dict[str, str]:
    """The name of each memory in the cell's state, such as "c"."""
    numbers = iter(range(len(step.sources)))
    numbered: Any = map_state(lambda _: np.array(next(numbers)), step.zero)
    names: dict[str, str] = {}
    for field in numbered._fields:
        for index, number in enumerate(keys := [str(int(a)) for a in state_arrays(getattr(numbered, field))]):
            if number in memories:
                names[number] = field if len(keys) == 1 else f"{field}{index + 1}"
    return names


def _through_readout(links: list[_Link], cell: Cell) -> list[_Link]:
    """For a cell that gives logits: adds the units h between the inputs and the output o, which may be fed back.

    W acts from step to step. If W reads the input, the input contains what would be fed back: the true output of
    the previous step.
    """
    if not cell.gives_logits:
        return links
    found: list[_Link] = []
    for link in links:
        source = OUTPUT if link.source == HIDDEN else link.source
        for block in sorted(link.blocks - {READOUT}):
            fed = (TARGET, HIDDEN, 1) if source == INPUT and block.parameter == "weight_hh" else None
            found.append(_Link(*(fed or (source, HIDDEN, link.delay)), frozenset({block}), None))
    return [*found, _Link(HIDDEN, OUTPUT, 0, frozenset({READOUT}), None)]


def _named(name: str, links: list[_Link], order: list[str]) -> list[Connection]:
    """The links with the symbols of the cell's equations, one for each source, target and delay."""
    merged: dict[tuple[str, str, int], _Link] = {}
    for link in links:
        key = link[:3]
        if key in merged:
            link = link._replace(
                blocks=merged[key].blocks | link.blocks, passing=merged[key].passing or link.passing
            )
        merged[key] = link
    found: list[Connection] = []
    for link in merged.values():
        parameters = tuple(p for p in order if any(block.parameter == p for block in link.blocks))
        symbols = []
        for parameter in parameters:
            part = _part(link, parameter)
            peers = [other for other in merged.values() if other[:2] == link[:2] and _part(other, parameter)]
            alike = min(other.delay for other in peers if _part(other, parameter) == part)
            several = len({_part(other, parameter) for other in peers}) > 1
            symbols.append(symbol(name, parameter) + (_subscript(alike) if several else ""))
        found.append(Connection(*link[:3], parameters, tuple(symbols), link.passing))
    return found


def _part(link: _Link, parameter: str) -> frozenset[Block]:
    return frozenset(block for block in link.blocks if block.parameter == parameter)


def _plain(source: str, target: str, parameter: str, name: str) -> Connection:
    return Connection(source, target, 0, (parameter,), (name,))


def _subscript(number: int) -> str:
    return "".join(chr(ord("₀") + int(digit)) for digit in str(number))


def _blocks(name: str, shape: tuple[int, ...]) -> list[Block]:
    rows, columns = (size // UNITS if size % UNITS == 0 else 1 for size in (*shape, 1)[:2])
    return [Block(name, row, column) for row in range(rows) for column in range(columns)]


def _places(shape: tuple[int, ...], block: Block) -> tuple[slice, ...]:
    return tuple(
        slice(index * UNITS, (index + 1) * UNITS) if size % UNITS == 0 else slice(None)
        for size, index in zip(shape, block[1:], strict=False)
    )


def _differ(a: Numbers, b: Numbers | float) -> bool:
    return bool(np.max(np.abs(a - b)) > TOLERANCE)
