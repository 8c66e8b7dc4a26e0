"""What a person sees of a training run, on stderr: two lines that are drawn over, plain lines, or nothing.

Every display is an observer of the run (`charrnn.tasks.observer.RunObserver`). It knows rich and the screen;
the words are those of `train_report`.
"""

import math
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from charrnn.cli.terminal import console, is_animated, print_facts, visible
from charrnn.cli.train_report import figures, opening, position, share_done, validation_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.tasks.observer import Begun
    from charrnn.training.loop import Metrics, Progress

LINE_SECONDS = 5.0
"""Between plain lines."""

FRAME_SECONDS = 0.1
"""Between frames of what is drawn over."""

SAMPLE_SECONDS = 10.0
"""Between samples, but the last one of a run is always shown."""

SAMPLE_LINES = 3


class Display:
    """Shows nothing, but remembers what the report at the end needs."""

    def __init__(self) -> None:
        self.begin: Begun | None = None
        self.last_row: Metrics | None = None

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None: ...

    def waiting(self, what: str) -> None:
        """Something is being done that takes a moment."""

    def reading(self, done: int, total: int) -> None: ...

    def begun(self, begun: "Begun") -> None:
        self.begin = begun

    def planned(self, progress: "Progress") -> None: ...

    def stepped(self, progress: "Progress", metrics: "Metrics", seconds_left: float | None) -> None: ...

    def validating(self) -> None: ...

    def validated(self, progress: "Progress", loss: float | None, improved: bool) -> None: ...

    def logged(self, metrics: "Metrics") -> None:
        self.last_row = metrics

    def sampled(self, text: str) -> None: ...

    def stopping(self) -> None:
        """The wish to stop has been heard."""
