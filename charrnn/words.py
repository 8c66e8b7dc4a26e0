"""The wording of numbers, times and models that all commands share, and the parts of a report before display."""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from charrnn.config import PastBudget, RunRecord, TrainConfig, budget_of

Facts: TypeAlias = list[tuple[str, str]]
"""Pairs of label and text; an empty label continues the previous fact."""


class Rows(NamedTuple):
    """A table: the first column is left-aligned, the others are right-aligned."""

    heads: Sequence[str]
    cells: Sequence[Sequence[str]]


Block: TypeAlias = Facts | Rows | None
"""A piece of a report; None is an empty line."""


def bits(nats: float) -> float:
    return nats / math.log(2)


def nats_and_bits(loss: float, unit: str = "char") -> str:
    return f"{loss:.3f} nats/{unit} = {bits(loss):.3f} bits/{unit}"


def quality(loss: float, unit: str = "char") -> str:
    """A loss in nats per unit, with its perplexity."""
    return f"{nats_and_bits(loss, unit)}, perplexity {math.exp(min(loss, 700)):.3f}"


def count(number: int, noun: str) -> str:
    """`1 step`, `1,000 steps`."""
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4f}"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def clock(seconds: float) -> str:
    """`0:05`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(num_bytes: int) -> str:
    """`512 B`, `1.5 MB`."""
    value, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def shape(cell: str, num_layers: int | None, hidden_size: int | None) -> str:
    """`lstm 1 x 128`: the cell, its layers and their units."""
    return f"{cell} {num_layers} x {hidden_size}"


def amount(unit: str, number: float) -> str:
    """`1 minute`, `0.5 epochs`, `5,000 steps`."""
    figures = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{figures} {unit if number != 1 else unit[:-1]}"


def budget_words(config: TrainConfig | PastBudget) -> str:
    return amount(*budget_of(config))


def budgets_words(record: RunRecord) -> str:
    """The budget of a run, and those that it had before."""
    past = [f"{budget_words(budget)} until step {budget.until:,}" for budget in record.past_budgets]
    return budget_words(record.config) + (f" in all ({', '.join(past)})" if past else "")


MOST_FILES = 3


def file_names(names: Sequence[str]) -> str:
    """`a.txt, b.txt`, or the number of files and the first few names."""
    shown = ", ".join(names[:MOST_FILES])
    return shown if len(names) <= MOST_FILES else f"{len(names):,} files ({shown}, …)"
