"""Where sequences begin and end in a text: at lines, at blank lines, or at the ends of files.

A line ends at LF or CRLF, and this terminator belongs to no sequence. A paragraph is a run of non-empty
lines; its inner line ends are text, its last line end and the empty lines around it are not. With `file`,
the unchanged text of a file is one sequence.
"""

from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from charrnn.config import OrderName, Separator, SplitName

Positions = NDArray[np.int64]
LF, CR = 10, 13

FEWEST_INDEPENDENT = 20
"""Fewer sequences than this are read as one text in order."""
LONGEST_INDEPENDENT_LINE = 250
"""Lines of more characters than this, on average, are read as running text."""
LONGEST_BLOCK_LINES = 25
"""Blank lines further apart than this, on average, do not make paragraphs."""

_NONE: Positions = np.empty(0, np.int64)


class LineFinder:
    """Finds the lines of one file from its code points, chunk by chunk.

    Attributes:
        num_lf, num_crlf: line ends of each kind so far; an LF that follows a CR counts as CRLF only.
        num_cr: all carriage returns so far, those of CRLF included.
    """

    def __init__(self, start: int) -> None:
        """`start` is the position at which the file's text begins."""
        self.num_lf = self.num_crlf = self.num_cr = 0
        self._start = self._position = start
        self._after_cr = False

    def feed(self, code_points: NDArray[Any]) -> tuple[Positions, Positions]:
        """(L,) starts and ends of the lines that a terminator in this chunk completes."""
        base, after_cr = self._position, self._after_cr
        self._position += len(code_points)
        self._after_cr = bool(code_points[-1] == CR)
        self.num_cr += int(np.count_nonzero(code_points == CR))
        found = np.flatnonzero(code_points == LF)
        if not len(found):
            return _NONE, _NONE
        is_crlf = code_points[found - 1] == CR
        if found[0] == 0:
            is_crlf[0] = after_cr
        self.num_crlf += int(np.count_nonzero(is_crlf))
        self.num_lf += int(np.count_nonzero(~is_crlf))
        next_starts = found + (base + 1)
        starts = np.concatenate(([self._start], next_starts[:-1]))
        self._start = int(next_starts[-1])
        return starts, found + base - is_crlf

    def close(self) -> tuple[Positions, Positions]:
        """The last line, if the file does not end with a terminator."""
        if self._start == self._position:
            return _NONE, _NONE
        return np.array([self._start]), np.array([self._position])


class Grouping(Protocol):
    """Builds the sequences of one file from its lines. Starts and ends are returned separately, in order."""

    def feed(self, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
        """Takes (L,) lines; returns the starts and the ends of sequences that are certain so far."""

    def close(self, start: int, end: int) -> tuple[Positions, Positions]:
        """The remaining starts and ends, for a file whose text is start:end."""


class Lines:
    """Each line is a sequence, even an empty one."""

    def feed(self, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
        return starts, ends

    def close(self, start: int, end: int) -> tuple[Positions, Positions]:
        return _NONE, _NONE


class Paragraphs:
    """Each run of non-empty lines is a sequence."""

    def __init__(self) -> None:
        self._open = False
        self._end = 0

    def feed(self, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
        if not len(starts):
            return _NONE, _NONE
        filled = ends > starts
        filled_before = np.concatenate(([self._open], filled[:-1]))
        ends_before = np.concatenate(([self._end], ends[:-1]))
        self._open, self._end = bool(filled[-1]), int(ends[-1])
        return starts[filled & ~filled_before], ends_before[~filled & filled_before]

    def close(self, start: int, end: int) -> tuple[Positions, Positions]:
        return _NONE, np.array([self._end]) if self._open else _NONE


class WholeFile:
    """The text of the file is one sequence."""

    def feed(self, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
        return _NONE, _NONE

    def close(self, start: int, end: int) -> tuple[Positions, Positions]:
        return np.array([start]), np.array([end])


GROUPINGS: dict[SplitName, type[Grouping]] = {"line": Lines, "paragraph": Paragraphs, "file": WholeFile}


def separator(split: SplitName, crlf: bool) -> Separator:
    """The text between sequences; `crlf` says whether line ends are CRLF."""
    if split == "paragraph":
        return "\r\n\r\n" if crlf else "\n\n"
    return "\r\n" if crlf and split == "line" else "\n"


def choose_split(head: str) -> tuple[SplitName, str]:
    """The split that suits a text that begins with `head`, and why."""
    lines = [line.removesuffix("\r") for line in head.split("\n")]
    if len(lines) == 1:
        return "file", "the text has no line ends"
    if not lines[-1]:
        lines.pop()
    filled = [line for line in lines if line]
    blocks = sum(bool(line) and not before for before, line in pairwise(["", *lines]))
    if blocks >= 2 and len(filled) <= LONGEST_BLOCK_LINES * blocks:
        return "paragraph", f"blank lines set off blocks of {len(filled) / blocks:.1f} lines on average"
    mean = sum(map(len, filled)) / max(len(filled), 1)
    if _looks_wrapped(filled):
        return "file", f"its lines of {mean:.0f} characters are running text, wrapped without blank lines"
    return "line", f"lines of {mean:.0f} characters on average, not set off by blank lines"


def _looks_wrapped(lines: list[str]) -> bool:
    """Whether this is prose wrapped to a width: most lines are nearly full, and many begin in lower case."""
    if len(lines) < FEWEST_INDEPENDENT:
        return False
    lengths = np.array([len(line) for line in lines])
    width = float(np.quantile(lengths, 0.95))
    if not 40 <= width <= 140:
        return False
    full = float(np.mean(lengths >= width - 12))
    lower = sum(line[0].islower() for line in lines) / len(lines)
    words = sum(line.count(" ") + 1 for line in lines) / len(lines)
    return full > 0.6 and lower > 0.3 and words > 5


def choose_order(split: SplitName, num_sequences: int, num_chars: int) -> tuple[OrderName, str]:
    """The order that suits this many sequences with this many characters in total, and why."""
    if num_sequences < FEWEST_INDEPENDENT:
        return "ordered", f"only {num_sequences} sequence{'s' if num_sequences != 1 else ''}"
    if split == "paragraph":
        return "ordered", "paragraphs follow one another"
    if split == "file":
        return "independent", f"{num_sequences:,} files"
    mean = num_chars / num_sequences
    if mean > LONGEST_INDEPENDENT_LINE:
        return "ordered", f"lines of {mean:.0f} characters on average are running text"
    return "independent", f"a list of {num_sequences:,} lines, {mean:.1f} characters each on average"
