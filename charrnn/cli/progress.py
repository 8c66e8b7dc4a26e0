"""A progress bar on a terminal; nothing anywhere else."""

import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from charrnn.cli.terminal import console, is_animated, note
from charrnn.words import clock

if TYPE_CHECKING:
    from rich.console import RenderableType

FRAME_SECONDS = 0.1


def bar(share: float, beside: str) -> "RenderableType":
    """A bar as wide as the text beside it leaves room for; share is 0 to 1."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 2, 0, 0), expand=True)
    row.add_column(ratio=1, min_width=5)
    row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(ProgressBar(total=1.0, completed=min(share, 1.0)), Text(beside))
    return row


class Progress:
    """Draws progress on stderr when called with the current task and the share of it that is done."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet, self._shown_at = quiet, -math.inf
        self._live = None
        if not quiet and is_animated(sys.stderr):
            from rich.live import Live

            self._live = Live(
                console=console(sys.stderr), auto_refresh=False, transient=True, redirect_stdout=False
            )

    def __enter__(self) -> "Progress":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, line: str) -> None:
        """Prints a permanent line above the bar."""
        if self._live is not None:
            self._live.console.print(line, soft_wrap=True)
        elif not self._quiet:
            note(line)

    def __call__(self, what: str, share: float) -> None:
        now = time.monotonic()
        if self._live is not None and now - self._shown_at > FRAME_SECONDS:
            self._shown_at = now
            self._live.update(bar(share, what), refresh=True)


def with_time_left(progress: Progress) -> Callable[[str, float], None]:
    """Adds to each task the time that it has left, estimated from the time that it took so far."""
    what, begun = "", time.monotonic()

    def tell(doing: str, share: float) -> None:
        nonlocal what, begun
        now = time.monotonic()
        if doing != what:
            what, begun = doing, now
        left = (now - begun) / share * (1.0 - share) if share else None
        progress(doing if left is None else f"{doing}, {clock(left)} left", share)

    return tell
