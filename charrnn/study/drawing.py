"""An unfolded graph drawn in characters: time runs to the right, each step is a column, each kind of node a row.

A channel of lines lies between two rows of nodes. A connection within a step goes straight up or down; any other
leaves its node by an exit, or by a lane past the rows between, follows a track, and ends at an arrow. Lines that
cross (┼) are not joined.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from charrnn.study.connections import Connection
from charrnn.study.unfold import Unfolded

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
LINES = " ╵╷│╴┘┐┤╶└┌├─┴┬┼"
"""Indexed by the sum of the directions in which lines leave a place."""

WIDEST_GAP = 14
"""The most columns between two nodes."""

NARROWEST = 8
"""The fewest columns of a step."""


class Port(IntEnum):
    """Where the lines of a channel touch its nodes, from the left."""

    STRAIGHT = 0
    INTO_UPPER = 1
    INTO_LOWER = 2
    FROM_UPPER = 3
    FROM_LOWER = 4


@dataclass
class Channel:
    """The lines between one row of nodes and the next."""

    ports: set[Port] = field(default_factory=set)
    tracks: list[list[tuple[int, int]]] = field(default_factory=list)
    """For each track, the ranges of columns that its lines take."""
    downwards: bool = False
    """Whether the straight lines go down."""
    top: int = 0
    """The number of its first line of text."""

    def offset(self, port: Port) -> int:
        """Columns from the beginning of a node to a port."""
        return sorted(self.ports).index(port) + (len(self.ports) <= 3)

    @property
    def arrows_above(self) -> bool:
        return Port.INTO_UPPER in self.ports or (Port.STRAIGHT in self.ports and not self.downwards)

    @property
    def height(self) -> int:
        below = Port.INTO_LOWER in self.ports or (Port.STRAIGHT in self.ports and self.downwards)
        return max(1, self.arrows_above + len(self.tracks) + below)

    def track(self, left: int, right: int) -> int:
        """Takes the range of columns on the first track that has room for it; returns the track's number."""
        free = (n for n, taken in enumerate(self.tracks) if all(right < a or b < left for a, b in taken))
        number = next(free, len(self.tracks))
        if number == len(self.tracks):
            self.tracks.append([])
        self.tracks[number].append((left, right))
        return number

    def track_line(self, number: int) -> int:
        return self.top + self.arrows_above + number


@dataclass(frozen=True)
class Route:
    """A connection that runs along a track of a channel."""

    by: Connection
    channel: int
    exit: Port | None
    """None for a lane beside the node, used when other rows lie between."""
    entry: Port


def draw(graph: Unfolded, width: int) -> "Drawing":
    """Draws as many steps as fit the width, at least two; all steps are alike."""
    for steps in range(min(graph.steps, width // NARROWEST), 2, -1):
        drawing = Drawing(graph, steps, width)
        if max(map(len, drawing.lines)) <= width:
            return drawing
    return Drawing(graph, min(graph.steps, 2), width)


def label(by: Connection) -> str:
    """The symbols of a connection's parameters, only the first if there are more than two, and its `passing`."""
    symbols = by.symbols if len(by.symbols) <= 2 else (f"{by.symbols[0]}…",)
    return "+".join(part for part in (" ".join(symbols), by.passing) if part)


class Drawing:
    """Nodes, straight lines and tracks painted on a plane.

    steps: the number of steps drawn. lines: the drawing. beyond: connections that start before its first step.
    """

    def __init__(self, graph: Unfolded, steps: int, width: int) -> None:
        self.steps, self.kinds = steps, graph.kinds
        row = {kind: number for number, kind in enumerate(graph.kinds)}
        self.begins = {
            kind: min((node.time for node in graph.nodes if node.kind == kind and node.time >= 0), default=1)
            for kind in graph.kinds
        }
        self.channels = [Channel() for _ in graph.kinds[1:]]
        self.level: list[Connection] = []
        self.straight: list[tuple[Connection, int]] = []
        self.routes: list[Route] = []
        self.beyond: list[Connection] = []
        for by in graph.connections:
            source, target = row[by.source], row[by.target]
            if source == target and by.delay == 1:
                self.level.append(by)
            elif by.delay == 0 and abs(source - target) == 1:
                channel = min(source, target)
                self.straight.append((by, channel))
                self.channels[channel].ports.add(Port.STRAIGHT)
                self.channels[channel].downwards = target > source
            elif by.delay < steps + (self.begins[by.source] == 0):
                self.routes.append(self._route(by, source, target))
            else:
                self.beyond.append(by)
        self.node = max(len(f"{kind}({steps})") for kind in graph.kinds)
        first = min(self.begins.values())
        columns = steps + 1 - first
        longest = max(len(label(by)) for by in graph.connections)
        lane = max((len(label(route.by)) + 1 for route in self.routes if route.exit is None), default=0)
        needed = longest + 6 + lane
        gap = max(needed, min(WIDEST_GAP, (width - columns * self.node) // columns))
        self.margin = longest + 1 if first == 1 else 0
        self.pitch, self.first = self.node + gap, first
        self.bits: dict[tuple[int, int], int] = {}
        self.text: dict[tuple[int, int], str] = {}
        self.line: dict[str, int] = {}
        self.lines = self._paint()

    def _route(self, by: Connection, source: int, target: int) -> Route:
        up = target <= source
        channel = target if up else target - 1
        exits = {(True, 0): Port.FROM_UPPER, (True, 1): Port.FROM_LOWER, (False, 1): Port.FROM_UPPER}
        route = Route(
            by, channel, exits.get((up, abs(source - target))), Port.INTO_UPPER if up else Port.INTO_LOWER
        )
        self.channels[channel].ports |= {port for port in (route.exit, route.entry) if port is not None}
        return route

    def _paint(self) -> list[str]:
        placed = [
            (route, time, self._track(route, time))
            for route in self.routes
            for time in range(max(1, self.begins[route.by.source] + route.by.delay), self.steps + 1)
        ]
        line = 0
        for number, kind in enumerate(self.kinds):
            self.line[kind] = line
            if number < len(self.channels):
                self.channels[number].top = line + 1
                line += 1 + self.channels[number].height
        for kind in self.kinds:
            for time in range(self.begins[kind], self.steps + 1):
                self._write(self._column(time), self.line[kind], f"{kind}({time})")
        for by in self.level:
            for time in range(self.begins[by.source] + 1, self.steps + 1):
                self._draw_level(by, time)
        for by, channel in self.straight:
            for time in range(1, self.steps + 1):
                self._draw_straight(by, self.channels[channel], time)
        for route, time, number in placed:
            self._draw_route(route, time, self.channels[route.channel].track_line(number))
        columns = 1 + max(x for x, _ in (*self.bits, *self.text))
        return [
            "".join(self.text.get((x, y), LINES[self.bits.get((x, y), 0)]) for x in range(columns)).rstrip()
            for y in range(line + 1)
        ]

    def _column(self, time: int) -> int:
        return self.margin + (time - self.first) * self.pitch

    def _ends(self, route: Route, time: int) -> tuple[int, int]:
        """The columns where a route leaves its source and enters its target."""
        channel, left = self.channels[route.channel], self._column(time - route.by.delay)
        out = self.node + len(label(route.by)) + 2 if route.exit is None else channel.offset(route.exit)
        return left + out, self._column(time) + channel.offset(route.entry)

    def _track(self, route: Route, time: int) -> int:
        out, into = self._ends(route, time)
        return self.channels[route.channel].track(min(out, into), max(out, into))

    def _draw_level(self, by: Connection, time: int) -> None:
        left, right, line = self._column(time - 1) + self.node + 1, self._column(time) - 2, self.line[by.target]
        self._across(left, right, line)
        self._write(right - 2 - len(label(by)), line, label(by))
        self._write(right, line, "→")

    def _draw_straight(self, by: Connection, channel: Channel, time: int) -> None:
        x, y = self._column(time) + channel.offset(Port.STRAIGHT), channel.top
        self._down(x, y - 1, y + channel.height)
        at = y + channel.height - 1 if channel.downwards else y
        self._write(x, at, "↓" if channel.downwards else "↑")
        self._write(x - 1 - len(label(by)), at, label(by))

    def _draw_route(self, route: Route, time: int, track: int) -> None:
        by, channel = route.by, self.channels[route.channel]
        out, into = self._ends(route, time)
        shown = label(by)
        self._across(min(out, into), max(out, into), track)
        if route.exit is None:
            line = self.line[by.source]
            self._across(out - len(shown) - 2, out, line)
            self._write(out - len(shown) - 1, line, shown)
            self._down(out, min(line, track), max(line, track))
        else:
            self._down(out, *self._span(channel, route.exit is Port.FROM_UPPER, track))
            self._write(self._column(time) - 2 - len(shown), track, shown)
        upper = route.entry is Port.INTO_UPPER
        self._down(into, *self._span(channel, upper, track))
        self._write(into, channel.top if upper else channel.top + channel.height - 1, "↑" if upper else "↓")

    @staticmethod
    def _span(channel: Channel, upper: bool, track: int) -> tuple[int, int]:
        """The first and last line between a track and the node above it (`upper`) or below it."""
        return (channel.top - 1, track) if upper else (track, channel.top + channel.height)

    def _write(self, x: int, y: int, text: str) -> None:
        self.text |= {(x + i, y): character for i, character in enumerate(text)}

    def _across(self, left: int, right: int, y: int) -> None:
        for x in range(left, right):
            self._join(x, y, RIGHT)
            self._join(x + 1, y, LEFT)

    def _down(self, x: int, top: int, bottom: int) -> None:
        for y in range(top, bottom):
            self._join(x, y, DOWN)
            self._join(x, y + 1, UP)

    def _join(self, x: int, y: int, direction: int) -> None:
        self.bits[x, y] = self.bits.get((x, y), 0) | direction
