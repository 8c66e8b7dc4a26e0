"""What an attack reports: one `Try` for each thing it tried, and the table that a person reads."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Try(NamedTuple):
    """One try of an attack."""

    kind: str
    """The row of the table that counts it, such as `kill at a file operation`."""
    what: str
    """Enough to do it again: the operation, the byte, the seed."""
    failure: str | None = None
    """What charrnn got wrong, in one line; None if it held."""


Attack = Callable[[int, int, Path], Iterator[Try]]
"""`attack(tries, seed, folder)` makes at least `tries` tries inside an empty folder and yields each."""


class Table:
    """Counts tries and failures by kind."""

    def __init__(self) -> None:
        self.tries: dict[str, int] = {}
        self.failures: dict[str, list[str]] = {}

    def add(self, attempts: Iterable[Try]) -> None:
        for attempt in attempts:
            self.tries[attempt.kind] = self.tries.get(attempt.kind, 0) + 1
            if attempt.failure is not None:
                self.failures.setdefault(attempt.kind, []).append(f"{attempt.what}: {attempt.failure}")

    @property
    def num_failures(self) -> int:
        return sum(map(len, self.failures.values()))

    def lines(self) -> Iterator[str]:
        yield f"{'attack':<44}{'tries':>10}{'failures':>10}"
        for kind, tries in self.tries.items():
            yield f"{kind:<44}{tries:>10,}{len(self.failures.get(kind, [])):>10,}"
        for kind, failures in self.failures.items():
            yield ""
            yield from (f"{kind}: {failure}" for failure in failures[:20])
