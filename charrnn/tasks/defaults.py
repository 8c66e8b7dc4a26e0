"""What charrnn chooses for every task where a person has not: what suits each cell, and how many threads."""

import os
from dataclasses import dataclass

USUAL_MINUTES = 3.0
EMBEDDING = 64


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What suits a cell."""

    width: float = 1.0
    """Units, as a multiple of those of an LSTM that takes as long."""
    units: int | None = None
    """In place of that: of a cell whose size is not a matter of time."""
    layers: int = 1
    output_depth: int = 1
    embedding: int = EMBEDDING
    dropout: float = 1.0
    """As a multiple of what the number of readings asks for."""
    learning_rate: float = 1.0
    """As a multiple of an LSTM's."""


_MINIMAL = Fit(layers=2, output_depth=2, learning_rate=0.7)
"""Nothing in these cells is non-linear but their gates: a layer of tanh above them was worth 0.13 nats."""

FITS: dict[str, Fit] = {
    "tanh": Fit(learning_rate=0.5, dropout=0.3),
    "leaky": Fit(learning_rate=0.5, dropout=0.3),
    "skip": Fit(learning_rate=0.5, dropout=0.3),
    "lstm": Fit(),
    "coupled_lstm": Fit(),
    "peephole_lstm": Fit(),
    "layer_norm_lstm": Fit(),
    "gru": Fit(learning_rate=0.7),
    "min_gru": _MINIMAL,
    "min_lstm": _MINIMAL,
    "output_recurrent": Fit(units=256, dropout=0.0, learning_rate=0.7),
    "time_delay": Fit(learning_rate=0.5),
    "echo_state": Fit(units=2000, embedding=0, dropout=0.0, learning_rate=1.5),
}


def has_width(cell: str) -> bool:
    """Whether the units of a cell are chosen by how fast it learns."""
    return FITS[cell].units is None


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_threads() -> int:
    return min(available_cores(), 4)
