"""The display of a training run on stderr: two lines that are redrawn, plain lines, or nothing.

Every display is an observer of the run (`charrnn.training.observer.RunObserver`). It handles rich and the screen;
the text comes from `train_report`.
"""

import math
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from charrnn.cli.progress import FRAME_SECONDS, bar
from charrnn.cli.signals import StopSignals
from charrnn.cli.terminal import console, is_animated, print_facts, visible
from charrnn.cli.train_report import figures, opening, position, share_done, validation_line
from charrnn.tasks.task import task

if TYPE_CHECKING:
    from rich.console import RenderableType

    from charrnn.training.loop import Metrics, Progress
    from charrnn.training.observer import Begun

LINE_SECONDS = 5.0
"""Seconds between plain lines."""

SAMPLE_SECONDS = 10.0
"""Seconds between samples; the last sample of a run is always shown."""

SAMPLE_LINES = 3

SMOOTHED_ROWS = 10
"""Rows of metrics, a twentieth of a run, that the training loss is averaged over."""


class Display:
    """Shows nothing, but keeps what the final report needs, and calls `signals.defer` when training begins."""

    def __init__(self, signals: StopSignals) -> None:
        self.signals = signals
        self.begin: Begun | None = None
        self.last_row: Metrics | None = None
        self._recent: deque[float] = deque(maxlen=SMOOTHED_ROWS)

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None: ...

    @property
    def train_loss(self) -> float | None:
        """Nats per character, the mean of the last rows of metrics."""
        return sum(self._recent) / len(self._recent) if self._recent else None

    @property
    def unit(self) -> str:
        """The unit of losses in nats per unit."""
        return "char" if self.begin is None else task(self.begin.record.config.task).unit

    def waiting(self, what: str) -> None:
        """Called when something begins that takes a moment."""

    def reading(self, done: int, total: int) -> None: ...

    def begun(self, begun: "Begun") -> None:
        self.begin = begun
        self.signals.defer(self.stopping)

    def planned(self, progress: "Progress") -> None: ...

    def stepped(self, progress: "Progress", metrics: "Metrics", seconds_left: float | None) -> None: ...

    def validating(self) -> None: ...

    def validated(self, progress: "Progress", loss: float | None, improved: bool) -> None: ...

    def logged(self, metrics: "Metrics") -> None:
        self.last_row = metrics
        self._recent.append(metrics.loss)

    def sampled(self, text: str) -> None: ...

    def stopping(self) -> None:
        """Called when a signal has asked to stop."""


class Lines(Display):
    """Plain lines: what is trained on what, then one every few seconds and one for each validation."""

    def __init__(self, signals: StopSignals, *, budget_given: bool, verbose: bool) -> None:
        super().__init__(signals)
        self.console = console(sys.stderr, lambda: signals.stop(signal.SIGPIPE))
        self._budget_given, self._verbose = budget_given, verbose
        self._shown_at = time.monotonic()
        self._sampled_at = -math.inf
        self._ending = False

    def say(self, text: str, style: str = "") -> None:
        """Prints a permanent line, cut at the width of the terminal."""
        from rich.text import Text

        self.console.print(Text(visible(text), style), no_wrap=True, overflow="ellipsis")

    def reading(self, done: int, total: int) -> None:
        if self._due(LINE_SECONDS):
            self.say(f"reading the corpus: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    def begun(self, begun: "Begun") -> None:
        super().begun(begun)
        if not begun.finished:
            print_facts(self.console, opening(begun, budget_given=self._budget_given, verbose=self._verbose))

    def planned(self, progress: "Progress") -> None:
        self.say(f"{progress.schedule.steps:,} steps fit into the budget")

    def stepped(self, progress: "Progress", metrics: "Metrics", seconds_left: float | None) -> None:
        if self._due(LINE_SECONDS):
            quality = figures(self.train_loss or metrics.loss, progress, metrics, self.unit)
            self.console.print(f"{position(progress, metrics, seconds_left)}  {quality}", soft_wrap=True)

    def validated(self, progress: "Progress", loss: float | None, improved: bool) -> None:
        self._ending = progress.step == progress.schedule.steps
        if loss is not None:
            self.say(validation_line(progress, self.train_loss, loss, improved, self.unit))

    def sampled(self, text: str) -> None:
        now = time.monotonic()
        if self._ending or now - self._sampled_at >= SAMPLE_SECONDS:
            self._sampled_at = now
            for line in text.split("\n")[:SAMPLE_LINES]:
                self.say(f"  > {line}", "dim")

    def stopping(self) -> None:
        # A signal can arrive while another line is being written; Python then refuses to write.
        with suppress(RuntimeError):
            self.say("stopping after this step, to save; once more stops at once")

    def _due(self, seconds: float) -> bool:
        now = time.monotonic()
        if now - self._shown_at < seconds:
            return False
        self._shown_at = now
        return True


class Animation(Lines):
    """For a terminal: like `Lines`, with a bar and the current figures in place of the regular lines."""

    def __init__(self, signals: StopSignals, *, budget_given: bool, verbose: bool) -> None:
        super().__init__(signals, budget_given=budget_given, verbose=verbose)
        from rich.live import Live

        # Drawn at each step, not by a thread, which would take time from training on a busy machine.
        self._live = Live(console=self.console, auto_refresh=False, transient=True, redirect_stdout=False)

    def __enter__(self) -> "Display":
        self._live.start()
        return self

    def close(self) -> None:
        self._live.stop()

    def waiting(self, what: str) -> None:
        from rich.text import Text

        self._draw(Text(f"{what} …", "dim", no_wrap=True, overflow="ellipsis"))

    def reading(self, done: int, total: int) -> None:
        if self._due(FRAME_SECONDS):
            self._draw(bar(done / max(total, 1), f"reading {done / 1e6:,.0f}/{total / 1e6:,.0f} MB"))

    def stepped(self, progress: "Progress", metrics: "Metrics", seconds_left: float | None) -> None:
        if not self._due(FRAME_SECONDS):
            return
        from rich.console import Group
        from rich.text import Text

        above = bar(share_done(progress, seconds_left), position(progress, metrics, seconds_left))
        below = figures(self.train_loss or metrics.loss, progress, metrics, self.unit)
        self._draw(Group(above, Text(below, no_wrap=True, overflow="ellipsis")))

    def validating(self) -> None:
        self.waiting("validating")

    def _draw(self, what: "RenderableType") -> None:
        self._live.update(what, refresh=True)


def open_display(signals: StopSignals, *, quiet: bool, verbose: bool, budget_given: bool) -> Display:
    """The display that suits stderr."""
    if quiet:
        return Display(signals)
    return (Animation if is_animated(sys.stderr) else Lines)(signals, budget_given=budget_given, verbose=verbose)
