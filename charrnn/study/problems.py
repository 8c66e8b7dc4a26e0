"""Synthetic problems whose answers depend on what was read long before, and what a constant makes of each.

A problem is drawn afresh, batch by batch; `span` is how far back the answers reach. This file does not know what
is trained on it. Losses are written for NumPy and torch alike.
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
    """What is read and what is asked for."""

    name: str
    input_size: int
    output_size: int
    draw: Callable[[np.random.Generator, int, int], Batch]
    """(rng, rows, span) -> a fresh batch."""
    loss: Callable[[Array, Array], Array]
    """Outputs (N, B, O), targets -> what training lowers, ()."""
    error: Callable[[Array, Array], Array]
    """Outputs (N, B, O), targets -> what tells whether the problem is solved, ()."""
    baseline: float
    """The expected loss of the best constant output, which knows no input."""
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
    """T = `span` steps of (value, marker); the last output is to be the sum of the two marked values.

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
"""Symbols that are asked for."""


def copying(symbols: int) -> Problem:
    """Each output is to be the symbol, one-hot, that was read `span` steps before; ANSWERS of them are asked for.

    Symbols are uniform and independent, so nothing but memory tells them: a constant costs ln `symbols`. At all
    times the last `span` symbols are still to be said, span · log₂ `symbols` bits.

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
        loss=cross_entropy,
        error=wrong_answers,
        baseline=math.log(symbols),
        solved_below=0.01,
    )


COPYING = copying(4)

PROBLEMS = {problem.name: problem for problem in (ADDING, COPYING)}
