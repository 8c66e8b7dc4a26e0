"""Defaults for every task: settings that suit each cell, and the number of threads."""

import os
from dataclasses import dataclass

USUAL_MINUTES = 3.0
EMBEDDING = 64


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Settings that suit a cell."""

    width: float = 1.0
    """Units, as a multiple of those of an LSTM that takes the same time."""
    units: int | None = None
    """A fixed number of units instead, for a cell whose size does not depend on its speed."""
    layers: int = 1
    output_depth: int = 1
    embedding: int = EMBEDDING
    dropout: float = 1.0
    """As a multiple of the dropout that suits the number of epochs."""
    learning_rate: float = 1.0
    """As a multiple of an LSTM's."""


_MINIMAL = Fit(layers=2, output_depth=2, learning_rate=0.35)
"""Only the gates of these cells are non-linear: a tanh layer above them improved the loss by 0.13 nats. Twice the
rate costs 0.15 to 0.19 nats, half of it 0.05 to 0.07."""

_FITS: dict[str, Fit] = {
    "tanh": Fit(learning_rate=0.5, dropout=0.3),
    "leaky": Fit(learning_rate=0.5, dropout=0.3),
    "skip": Fit(learning_rate=0.5, dropout=0.3),
    "gru": Fit(learning_rate=0.7),
    "min_gru": _MINIMAL,
    "min_lstm": _MINIMAL,
    "output_recurrent": Fit(units=256, dropout=0.0, learning_rate=0.7),
    "time_delay": Fit(learning_rate=0.5),
    "echo_state": Fit(units=2000, embedding=0, dropout=0.0, learning_rate=0.75),
}


def fit_of(cell: str) -> Fit:
    """An LSTM's for a cell that needs no other."""
    return _FITS.get(cell, Fit())


def has_width(cell: str) -> bool:
    """Whether the number of a cell's units is chosen by its training speed."""
    return fit_of(cell).units is None


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_threads() -> int:
    return min(available_cores(), 4)
