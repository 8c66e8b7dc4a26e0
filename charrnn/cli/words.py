"""Numbers, times and models in the words that every command uses."""

import math
from typing import Protocol

from charrnn.config import ModelConfig, StopName, TaskName, TrainConfig

DIRECTIONS: dict[str, str] = {"forward": "forwards", "backward": "backwards", "both": "both ways"}


def bits(nats: float) -> float:
    return nats / math.log(2)


UNITS: dict[TaskName, str] = {
    "generate": "char",
    "classify": "text",
    "tag": "symbol",
    "transduce": "symbol",
    "tree": "label",
}
"""What a loss is divided by, and what is counted a second."""


def nats_and_bits(loss: float, unit: str = "char") -> str:
    return f"{loss:.3f} nats/{unit} = {bits(loss):.3f} bits/{unit}"


def quality(loss: float, unit: str = "char") -> str:
    """A loss in nats per unit, with the perplexity that it is."""
    return f"{nats_and_bits(loss, unit)}, perplexity {math.exp(min(loss, 700)):.3f}"


def count(number: int, noun: str) -> str:
    """`1 step`, `1,000 steps`."""
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4f}"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


class RowReport(Protocol):
    """What reports on models of whole inputs have in common."""

    @property
    def num_oov(self) -> int: ...

    @property
    def model_sha256(self) -> str: ...


def last_facts(report: RowReport, speed: str, *, verbose: bool) -> list[tuple[str, str]]:
    """What such a report ends with: unknown symbols, and if `verbose` the speed and which weights they were."""
    facts = [("Unknown", f"{count(report.num_oov, 'symbol')}, read as nothing in their place")]
    details = [("Speed", speed), ("SHA-256", f"{report.model_sha256} (weights)")]
    return (facts if report.num_oov else []) + (details if verbose else [])


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


def endings(stops: tuple[StopName, ...]) -> str:
    """How the texts of a model end."""
    from charrnn.models.stopping import STOPS  # loads NumPy, which no help text needs

    named = [STOPS[stop].words for stop in stops if stop != "none"]
    return f"texts end by {' or '.join(named)}" if named else "texts have no end"


def model_words(config: TrainConfig | ModelConfig, num_parameters: int) -> str:
    what = shape(config.cell, config.num_layers, config.hidden_size)
    if config.task == "classify":
        read = f"{DIRECTIONS[config.direction]}, {config.pooling} pooled"
        return f"{what}, read {read}, {count(num_parameters, 'parameter')}"
    if config.task == "tag":
        edges = (
            "output edges" if isinstance(config, TrainConfig) and config.has_output_edges else "no output edges"
        )
        return f"{what}, read {DIRECTIONS[config.direction]}, {edges}, {count(num_parameters, 'parameter')}"
    if config.task == "transduce":
        read = "no attention" if config.attention == "none" else f"{config.attention} attention"
        size = f"{count(num_parameters, 'parameter')} (--stop {' '.join(config.stop)})"
        return f"{what} twice, {read}, context {config.context_mode}, {size}"
    if config.task == "tree" and isinstance(config, TrainConfig):
        leaves = f"leaves read by {config.cell}" if config.leaves == "characters" else "leaves of one symbol"
        return f"{config.composition} of {config.hidden_size}, {leaves}, {count(num_parameters, 'parameter')}"
    names = config.context if isinstance(config, TrainConfig) else [column.name for column in config.columns]
    given = f", given {', '.join(names)}" if names else ""
    ends = f"{endings(config.stop)} (--stop {' '.join(config.stop)})"
    return f"{what}{given}, {count(num_parameters, 'parameter')}; {ends}"


def budget_words(config: TrainConfig) -> str:
    if config.minutes is not None:
        return f"{config.minutes:g} minute{'s' if config.minutes != 1 else ''}"
    if config.epochs is not None:
        return f"{config.epochs:g} epoch{'s' if config.epochs != 1 else ''}"
    return count(config.steps or 0, "step")
