"""Ctrl-C and similar signals in training: the first asks the loop to save and stop, the second stops at once."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Installs the signal handlers for a `with` block. Call it to know whether to stop.

    Before `defer`, which is called once there is something to save, and again after a first signal, a signal exits
    at once with code 128 plus its number. A signal that was ignored before, as by nohup, stays ignored.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._notice: Callable[[], None] | None = None
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        return self.number is not None

    @property
    def exit_code(self) -> int:
        return 128 + (self.number or 0)

    def defer(self, notice: Callable[[], None]) -> None:
        """From now on the first signal only asks to stop, and `notice` is called when it arrives."""
        self._notice = notice

    def stop(self, number: int) -> None:
        """Asks to stop as a signal of this number would."""
        self.number = self.number or number

    def __enter__(self) -> "StopSignals":
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        second = self.number is not None
        self.number = number
        if second or self._notice is None:
            raise SystemExit(self.exit_code)
        self._notice()
