"""ListOps: expressions of operators on lists of digits, whose value depends on the tree that the brackets give.

`[MAX 2 9 [MIN 4 7 ] 0 ]` is 9. A line for `charrnn train --task tree` is a value, a tab and an expression. Each
list is written as pairs from the left, `( ( ( ( ( [MAX 2 ) 9 ) … ) 0 ) ] )`; its operator and its end are leaves
like any other symbol.

Source: Nangia and Bowman 2018, *ListOps: A Diagnostic Dataset for Latent Tree Learning*.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Brackets = Literal["pairs", "lists", "random"]


def _median(values: Sequence[int]) -> int:
    """The median; of two middle values, their mean rounded down, as in the paper."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) // 2


OPERATORS: dict[str, Callable[[Sequence[int]], int]] = {
    "MAX": max,
    "MIN": min,
    "MED": _median,
    "SM": lambda values: sum(values) % 10,
    "FIRST": lambda values: values[0],
    "LAST": lambda values: values[-1],
}
"""MED is the median, SM the sum modulo 10; FIRST and LAST are not in the paper, but in public sets."""

END = "]"

MOST_DRAWN = 10_000
"""Symbols at which a draw is abandoned, unless larger ones are requested: with much nesting some would not end."""

_List = tuple[str, list[Any]]
"""An operator and its arguments, each a list or a digit."""


@dataclass(frozen=True)
class Expression:
    value: int
    symbols: tuple[str, ...]
    """Digits, operators and ends, in order."""
    pairs: str
    """The symbols with their brackets, two items in each pair of brackets."""
    lists: str
    """The same with one list in each pair of brackets."""
    depth: int
    """The number of lists nested within one another."""


@dataclass(frozen=True, kw_only=True)
class ListOps:
    """A distribution over expressions whose outermost part is a list."""

    operators: tuple[str, ...] = tuple(OPERATORS)
    max_depth: int = 20
    max_args: int = 5
    """A list has 2 to `max_args` arguments; each number is equally likely."""
    nesting: float = 0.25
    """Probability that an argument is a list, at depths below `max_depth`."""

    def draw(self, rng: np.random.Generator, room: int = MOST_DRAWN) -> Expression | None:
        """An expression of at most `room` symbols; None for a larger one, whose drawing stops there."""
        try:
            return _expression(self._list(rng, 1, _Room(room)))
        except _TooLarge:
            return None

    def _list(self, rng: np.random.Generator, depth: int, room: "_Room") -> _List:
        room.take(2)
        operator = self.operators[rng.integers(len(self.operators))]
        number = rng.integers(2, self.max_args + 1)
        return operator, [self._argument(rng, depth, room) for _ in range(number)]

    def _argument(self, rng: np.random.Generator, depth: int, room: "_Room") -> _List | str:
        if depth < self.max_depth and rng.random() < self.nesting:
            return self._list(rng, depth + 1, room)
        room.take(1)
        return str(rng.integers(10))


class _TooLarge(Exception):  # noqa: N818
    pass


class _Room:
    """A budget of symbols; spending more raises _TooLarge."""

    def __init__(self, symbols: int) -> None:
        self._left = symbols

    def take(self, symbols: int) -> None:
        self._left -= symbols
        if self._left < 0:
            raise _TooLarge


def _expression(drawn: _List | str) -> Expression:
    if isinstance(drawn, str):
        return Expression(int(drawn), (drawn,), drawn, drawn, 0)
    operator, arguments = drawn[0], [_expression(argument) for argument in drawn[1]]
    pairs = f"[{operator}"
    for part in (*(argument.pairs for argument in arguments), END):
        pairs = f"( {pairs} {part} )"
    return Expression(
        value=OPERATORS[operator]([argument.value for argument in arguments]),
        symbols=(f"[{operator}", *(symbol for argument in arguments for symbol in argument.symbols), END),
        pairs=pairs,
        lists=" ".join(["(", f"[{operator}", *(argument.lists for argument in arguments), END, ")"]),
        depth=1 + max(argument.depth for argument in arguments),
    )


def rows(
    source: ListOps,
    number: int,
    seed: int,
    *,
    brackets: Brackets = "pairs",
    min_symbols: int = 0,
    max_symbols: int = 10_000,
    exclude: Collection[str] = (),
) -> Iterator[tuple[int, str]]:
    """Yields values and expressions of `min_symbols` to `max_symbols` symbols.

    There are fewer than `number` if 10,000 draws in a row, and 100 more for each missing one, find nothing new.
    No two have the same symbols, and none has those of an expression in `exclude`, whatever the brackets. The same
    seed gives the same expressions with any brackets. `random` brackets are a random binary tree over the symbols,
    whatever they mean: at each step every pair of neighbours is equally likely to be joined.
    """
    rng, trees = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    seen, vain = {_bare(text) for text in exclude}, 0
    while number > 0 and vain < 100 * number + 10_000:
        found = source.draw(rng, max(max_symbols, MOST_DRAWN))
        bare = "" if found is None else " ".join(found.symbols)
        if found is None or bare in seen or not min_symbols <= len(found.symbols) <= max_symbols:
            vain += 1
            continue
        seen.add(bare)
        number, vain = number - 1, 0
        joined = _joined(found.symbols, trees) if brackets == "random" else ""
        yield found.value, {"pairs": found.pairs, "lists": found.lists, "random": joined}[brackets]


def _bare(text: str) -> str:
    """The symbols of an expression without its brackets."""
    return " ".join(text.replace("(", " ").replace(")", " ").split())


def _joined(symbols: Sequence[str], rng: np.random.Generator) -> str:
    parts = list(symbols)
    while len(parts) > 1:
        at = int(rng.integers(len(parts) - 1))
        parts[at : at + 2] = [f"( {parts[at]} {parts[at + 1]} )"]
    return parts[0]
