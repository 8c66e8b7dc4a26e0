"""Watching a training run: what is told, and the watcher that shows nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from charrnn.config import Precision, RunRecord
from charrnn.training.loop import Metrics, Observer, Progress


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a short trial told of this machine, where sizes or the precision were to be chosen by that."""

    hidden_size: int
    precision: Precision
    """The faster one."""
    threads: int
    """All that may be used, unless another program takes a core from them."""
    chars_per_second: float
    """In training, of a model of so many units, so trained."""
    seconds: float
    """That the trial itself took."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What is known when the first step is about to be taken."""

    run: Path
    record: RunRecord
    dataset: Any
    """The task's own."""
    trial: Trial | None
    resumed_at: int | None
    warnings: tuple[str, ...]


class RunObserver(Observer, Protocol):
    def reading(self, done: int, total: int) -> None:
        """Bytes of the corpus encoded so far."""

    def begun(self, begun: Begun) -> None: ...

    def sampled(self, text: str) -> None:
        """A short sample of the model as it is."""


class SilentObserver:
    """For the library, where nobody looks at a screen."""

    def reading(self, done: int, total: int) -> None: ...

    def begun(self, begun: Begun) -> None: ...

    def planned(self, progress: Progress) -> None: ...

    def stepped(self, progress: Progress, metrics: Metrics, seconds_left: float | None) -> None: ...

    def validating(self) -> None: ...

    def validated(self, progress: Progress, loss: float | None, improved: bool) -> None: ...

    def logged(self, metrics: Metrics) -> None: ...

    def sampled(self, text: str) -> None: ...
