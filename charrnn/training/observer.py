"""Observers of a training run: what is reported to them, and an observer that shows nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from charrnn.config import Precision, RunRecord
from charrnn.training.loop import Metrics, Observer, Progress


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The result of a short trial of this machine, if sizes or the precision depend on it."""

    hidden_size: int
    precision: Precision
    """The faster precision."""
    threads: int
    """The number of threads that may be used, unless another program takes a core."""
    chars_per_second: float
    """Training speed with this number of units, this precision and these threads."""
    seconds: float
    """The duration of the trial."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What is known just before the first step."""

    run: Path
    record: RunRecord
    dataset: Any
    """The dataset, in the task's own type."""
    trial: Trial | None
    resumed_at: int | None
    finished: bool
    """Whether nothing is left to train."""
    warnings: tuple[str, ...]


class RunObserver(Observer, Protocol):
    def reading(self, done: int, total: int) -> None:
        """Bytes of the corpus encoded so far."""

    def begun(self, begun: Begun) -> None: ...

    def sampled(self, text: str) -> None:
        """A short sample from the current model."""


class SilentObserver:
    """For use as a library, without screen output."""

    def reading(self, done: int, total: int) -> None: ...

    def begun(self, begun: Begun) -> None: ...

    def planned(self, progress: Progress) -> None: ...

    def stepped(self, progress: Progress, metrics: Metrics, seconds_left: float | None) -> None: ...

    def validating(self) -> None: ...

    def validated(self, progress: Progress, loss: float | None, improved: bool) -> None: ...

    def logged(self, metrics: Metrics) -> None: ...

    def sampled(self, text: str) -> None: ...
