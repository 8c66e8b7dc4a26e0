"""Synthetic problems whose answers depend on inputs read long before, each with the loss of a constant output.

Each batch is drawn afresh; `span` is how many steps back the answers depend on. This file does not depend on the
models that are trained. Losses work with NumPy and with torch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.arrays import Array, floats, log_softmax, take_last


class Batch(NamedTuple):
    """inputs: (T, B, I). targets: what the last N of the T outputs should be, (N, B, O), or classes (N, B)."""

    inputs: NDArray[np.float32]
    targets: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Inputs, targets and how outputs are judged."""

    name: str
    input_size: int
    output_size: int
    draw: Callable[[np.random.Generator, int, int], Batch]
    """(rng, rows, span) -> a fresh batch. Raises ValueError for a span below `shortest_span`."""
    shortest_span: int
    loss: Callable[[Array, Array], Array]
    """Outputs (N, B, O), targets -> the loss that training minimises, ()."""
    error: Callable[[Array, Array], Array]
    """Outputs (N, B, O), targets -> the error that decides whether the problem is solved, ()."""
    baseline: float
    """The expected loss of the best constant output, which ignores the input."""
    solved_below: float
    """The error under which the problem counts as solved."""


def squared_error(outputs: Array, targets: Array) -> Array:
    """The mean of (o − y)², ()."""
    return ((outputs - targets) ** 2).mean()


def cross_entropy(outputs: Array, targets: Array) -> Array:
    """The mean of −ln softmax(o)[y], (), for logits (N, B, O) and classes (N, B)."""
    return -take_last(log_softmax(outputs), targets).mean()


def wrong_answers(outputs: Array, targets: Array) -> Array:
    """The share of answers whose largest logit is not that of their class, ()."""
    return floats(outputs.argmax(-1) != targets, outputs).mean()


def one_hot(ids: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """(..., size) for classes (...,)."""
    return np.eye(size, dtype=np.float32)[ids]


# Adding ----------------------------------------------------------------------------------------------------


def draw_adding(rng: np.random.Generator, rows: int, span: int) -> Batch:
    """T = `span` steps of (value, marker); the last output should be the sum of the two marked values.

    Values are uniform in [0, 1); one marker is 1 in each half, the others are 0. Raises ValueError for T < 2.
    """
    if span < 2:
        raise ValueError(f"span {span}: two markers need at least two steps")
    values, markers = rng.uniform(size=(span, rows)), np.zeros((span, rows))
    half = span // 2
    for marked in (rng.integers(half, size=rows), rng.integers(half, span, size=rows)):
        markers[marked, np.arange(rows)] = 1.0
    inputs = np.stack([values, markers], axis=-1).astype(np.float32)
    return Batch(inputs, inputs.prod(axis=-1).sum(axis=0)[None, :, None])


ADDING = Problem(
    name="adding",
    input_size=2,
    output_size=1,
    draw=draw_adding,
    shortest_span=2,
    loss=squared_error,
    error=squared_error,
    baseline=1.0 / 6.0,
    solved_below=0.01,
)
"""The variance of a sum of two uniform values is 2 / 12; the best constant is their mean, 1.

Source: Hochreiter and Schmidhuber 1997, section 5.4; with markers in halves as in Le, Jaitly and Hinton 2015.
"""


# Copying ---------------------------------------------------------------------------------------------------

ANSWERS = 20
"""Symbols to output."""


def copying(symbols: int) -> Problem:
    """Each output should be the one-hot symbol that was read `span` steps before; the last ANSWERS outputs count.

    Symbols are uniform and independent, so only memory can predict them: a constant costs ln `symbols`. At every
    step the last `span` symbols are still to be output, span · log₂ `symbols` bits.

    Source: the delay line of Jaeger 2002, *Short term memory in echo state networks*, with symbols for numbers.
    """

    def draw(rng: np.random.Generator, rows: int, span: int) -> Batch:
        ids = rng.integers(symbols, size=(span + ANSWERS, rows))
        return Batch(one_hot(ids, symbols), ids[:ANSWERS])

    return Problem(
        name="copying",
        input_size=symbols,
        output_size=symbols,
        draw=draw,
        shortest_span=0,
        loss=cross_entropy,
        error=wrong_answers,
        baseline=math.log(symbols),
        solved_below=0.01,
    )


COPYING = copying(4)


# Temporal order ---------------------------------------------------------------------------------------------

SYMBOLS = "abcdXYEB"
"""Noise (a to d), the marks to remember (X, Y), the first symbol (E) and the last symbol (B) of a sequence."""

PLACES = {2: ((10, 20), (50, 60)), 3: ((10, 20), (33, 43), (66, 76))}
"""For each number of marks: the range, in hundredths of the sequence, in which each mark occurs."""


def temporal_order(marks: int) -> Problem:
    """Which of X and Y occurred at each of `marks` places, in order: one class of 2^`marks`, output at the end.

    T = `span` steps: E, then noise, uniform on a, b, c, d, with an X or a Y, uniform and independent, at a uniform
    place within each of PLACES, then B. The class is a binary number, X = 0, Y = 1, the first mark first. The
    paper draws 100 to 110 steps; here all rows have the same length.

    Source: Hochreiter and Schmidhuber 1997, section 5.6, tasks 6a (two marks) and 6b (three).
    """
    shortest = marks + 2

    def draw(rng: np.random.Generator, rows: int, span: int) -> Batch:
        if span < shortest:
            raise ValueError(f"span {span}: {marks} marks between E and B need at least {shortest} steps")
        ids = rng.integers(4, size=(span, rows))
        ids[0], ids[-1] = SYMBOLS.index("E"), SYMBOLS.index("B")
        which = rng.integers(2, size=(marks, rows))
        for mark, (first, last) in zip(which, PLACES[marks], strict=True):
            low = _hundredths(first, marks, span - 2)
            high = max(low + 1, _hundredths(last, marks, span - 2))
            ids[1 + rng.integers(low, high, size=rows), np.arange(rows)] = SYMBOLS.index("X") + mark
        return Batch(one_hot(ids, len(SYMBOLS)), (2 ** np.arange(marks)[::-1] @ which)[None])

    return Problem(
        name="temporal_order" if marks == 2 else f"temporal_order_{marks}",
        input_size=len(SYMBOLS),
        output_size=2**marks,
        draw=draw,
        shortest_span=shortest,
        loss=cross_entropy,
        error=wrong_answers,
        baseline=marks * math.log(2),
        solved_below=0.01,
    )


def _hundredths(share: int, marks: int, steps: int) -> int:
    """`share` hundredths of the steps. 33 and 66 mean thirds, so that each mark has a place even in few steps."""
    if marks == 3 and share >= 33:
        thirds, rest = divmod(share, 33)
        return thirds * steps // 3 + rest * steps // 100
    return share * steps // 100


TEMPORAL_ORDER, TEMPORAL_ORDER_3 = temporal_order(2), temporal_order(3)


# Brackets --------------------------------------------------------------------------------------------------

OPENING, CLOSING, FILLER = "([{<", ")]}>", "abcdefgh"
CHARACTERS = OPENING + CLOSING + FILLER


def draw_brackets(rng: np.random.Generator, rows: int, span: int) -> Batch:
    """A text of `span` characters: an opening bracket, then filler; the next character closes the bracket.

    Brackets and filler are uniform and independent. The class is one of CHARACTERS, as in a text generator, and
    the closing bracket comes `span` characters after the opening one. Raises ValueError for an empty text.
    """
    if span < 1:
        raise ValueError(f"span {span}: an opening bracket needs at least one character")
    kinds = rng.integers(len(OPENING), size=rows)
    filler = rng.integers(len(FILLER), size=(span - 1, rows)) + len(OPENING + CLOSING)
    ids = np.concatenate([kinds[None], filler])
    return Batch(one_hot(ids, len(CHARACTERS)), (kinds + len(OPENING))[None])


BRACKETS = Problem(
    name="brackets",
    input_size=len(CHARACTERS),
    output_size=len(CHARACTERS),
    draw=draw_brackets,
    shortest_span=1,
    loss=cross_entropy,
    error=wrong_answers,
    baseline=math.log(len(OPENING)),
    solved_below=0.01,
)
"""The best constant gives each closing bracket probability 1/4.

This is the task of latching a symbol over noise of Bengio, Simard and Frasconi 1994, section 2, with characters.
"""

PROBLEMS = {problem.name: problem for problem in (ADDING, COPYING, TEMPORAL_ORDER, TEMPORAL_ORDER_3, BRACKETS)}
