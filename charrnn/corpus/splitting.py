"""Where sequences begin and end in a text: at lines, at blank lines, at marks, or at the ends of files.

A line ends at LF or CRLF, and this terminator belongs to no sequence. A paragraph is a run of non-empty
lines; its inner line ends are text, its last line end and the empty lines around it are not. With `file`,
the unchanged text of a file is one sequence. With `mark`, sequences are what stands between marks.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol
from unicodedata import category, east_asian_width

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
MOST_COMPARED = 2000
"""Lines of which the characters at each place are compared."""

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
    """Builds the sequences of one file from its text. Starts and ends are returned separately, in order."""

    def feed(self, text: str, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
        """Takes text and the (L,) lines that it completes; returns starts and ends that are certain so far."""

    def close(self, start: int, end: int) -> tuple[Positions, Positions]:
        """The remaining starts and ends, for a file whose text is start:end."""


class Lines:
    """Each line is a sequence, even an empty one."""

    def feed(self, text: str, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
        return starts, ends

    def close(self, start: int, end: int) -> tuple[Positions, Positions]:
        return _NONE, _NONE


class Paragraphs:
    """Each run of non-empty lines is a sequence."""

    def __init__(self) -> None:
        self._open = False
        self._end = 0

    def feed(self, text: str, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
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

    def feed(self, text: str, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
        return _NONE, _NONE

    def close(self, start: int, end: int) -> tuple[Positions, Positions]:
        return np.array([start]), np.array([end])


class Marks:
    """What stands between marks is a sequence, even if it is empty; an empty beginning or end of the file is none.

    A mark is literal, but that a line end in it is LF or CRLF, and that a file begins and ends as a line does.
    """

    def __init__(self, start: int, mark: str) -> None:
        """`start` is the position at which the file's text begins."""
        mark = mark.replace("\r\n", "\n")
        inner = mark.removeprefix("\n") or mark
        self._begins_line = inner != mark
        self._pattern = re.compile("(?m:^)" * self._begins_line + re.escape(inner).replace("\\\n", "\r?\n"))
        self._longest = 2 * len(inner)
        self._text = ""
        """What is not settled, with the two characters before it, which may be a line end."""
        self._from = 0
        """Where in it the next mark may begin."""
        self._base = self._start = start
        """The positions of the text, and of the sequence that has begun."""
        self._is_first = True

    def feed(self, text: str, starts: Positions, ends: Positions) -> tuple[Positions, Positions]:
        self._text += text
        found: list[tuple[int, int]] = []
        for match in self._pattern.finditer(self._text, self._from):
            end = self._line_end(match.start()) if self._begins_line else self._base + match.start()
            if end > self._start or not self._is_first:
                found.append((self._start, end))
            self._is_first = False
            self._start, self._from = self._base + match.end(), match.end()
        self._from = max(self._from, len(self._text) - self._longest)
        settled = max(0, self._from - 2)
        self._text, self._from, self._base = self._text[settled:], self._from - settled, self._base + settled
        positions = np.array(found, np.int64).reshape(-1, 2)
        return positions[:, 0], positions[:, 1]

    def close(self, start: int, end: int) -> tuple[Positions, Positions]:
        starts, ends = self.feed("" if self._text.endswith("\n") else "\n", _NONE, _NONE)
        last = self._line_end(len(self._text))
        if last <= self._start:
            return starts, ends
        return np.append(starts, self._start), np.append(ends, last)

    def _line_end(self, at: int) -> int:
        """The position of the line end that is before `at`, or of `at` if there is none in this sequence."""
        line_end = next((found for found in ("\r\n", "\n") if self._text.endswith(found, 0, at)), "")
        return max(self._start, self._base + at - len(line_end))


GROUPINGS: dict[SplitName, type[Lines | Paragraphs | WholeFile]] = {
    "line": Lines,
    "paragraph": Paragraphs,
    "file": WholeFile,
}


def grouping(split: SplitName, start: int, mark: str) -> Grouping:
    """A new grouping for a file whose text begins at the position `start`."""
    return Marks(start, mark) if split == "mark" else GROUPINGS[split]()


def separator(split: SplitName, crlf: bool, mark: str = "\n") -> Separator:
    """The text between sequences; `crlf` says whether line ends are CRLF."""
    line_end = "\r\n" if crlf else "\n"
    if split == "mark":
        return mark.replace("\r\n", "\n").replace("\n", line_end)
    return {"line": line_end, "paragraph": 2 * line_end, "file": "\n"}[split]


def choose_mark(head: str, text: str) -> tuple[str, str]:
    """The mark that `text` is in a text that begins with `head`, with the line ends around it, and what that is.

    Whole lines, if it is a whole line anywhere; else the beginning or end of a line, if it always stands there.
    """
    text = text.replace("\r\n", "\n")
    if text.startswith("\n") or text.endswith("\n"):
        return text, repr(text)
    literal = re.escape(text)
    begins, ends = rf"(?m:^){literal}", rf"{literal}(?m:\r?$)"
    if re.search(rf"(?m:^){ends}", head):
        return f"\n{text}\n", f"lines that are {text!r}"
    number = head.count(text)
    if number and len(re.findall(begins, head)) == number:
        return f"\n{text}", f"{text!r} at the beginning of a line"
    if number and len(re.findall(ends, head)) == number:
        return f"{text}\n", f"{text!r} at the end of a line"
    return text, repr(text)


def choose_split(head: str) -> tuple[SplitName, str]:
    """The split that suits a text that begins with `head`, and why."""
    lines = [line.removesuffix("\r") for line in head.split("\n")]
    if len(lines) == 1:
        return "file", "the text has no line ends"
    if not lines[-1]:
        lines.pop()
    filled = [line for line in lines if line]
    records = ""
    if sum(line.startswith(">") for line in filled) > 1 and filled[0].startswith(">"):
        records = "; to read each record that a line with > begins as a text, as in FASTA, say --split-on '>'"
    blocks = sum(bool(line) and not before for before, line in pairwise(["", *lines]))
    if blocks >= 2 and len(filled) <= LONGEST_BLOCK_LINES * blocks:
        return "paragraph", f"blank lines set off blocks of {len(filled) / blocks:.1f} lines on average{records}"
    mean = sum(map(len, filled)) / max(len(filled), 1)
    if _looks_wrapped(filled):
        how = f"its lines of {mean:.0f} characters are running text, wrapped without blank lines"
        return "file", how + records
    return "line", f"lines of {mean:.0f} characters on average, not set off by blank lines{records}"


def _looks_wrapped(lines: list[str]) -> bool:
    """Whether this is running text, of any script, that was wrapped to a width.

    Then most lines are nearly full, half of them very nearly. Lists with lines of one width have columns, at which
    most lines have the same character, or are codes: all equally long, the last too, without spaces.
    """
    if len(lines) < FEWEST_INDEPENDENT:
        return False
    widths = np.array([_columns(line) for line in lines])
    width = float(np.quantile(widths, 0.95))
    if not 40 <= width <= 140 or np.mean(widths >= width - 12) <= 0.6 or np.median(widths) < width - 5:
        return False
    if np.ptp(widths) == 0 and all(line.isascii() and " " not in line for line in lines):
        return False
    some = list({line.lstrip() or line for line in lines[:MOST_COMPARED]})
    shared = int(np.quantile([len(line) for line in some], 0.4))
    usual = _commonest("".join(some))
    columns = zip(*(line[:shared] for line in some if len(line) >= shared), strict=True)
    # The fewer lines, the more they have in common by chance.
    return all(_commonest(column) < usual + 0.5 + len(some) ** -0.5 for column in columns)


def _commonest(characters: Sequence[str]) -> float:
    """The share of the commonest character."""
    return Counter(characters).most_common(1)[0][1] / len(characters)


def _columns(line: str) -> int:
    """The width of a line on a terminal: characters of East Asia take two columns, combining marks none."""
    if line.isascii():
        return len(line)
    return sum(0 if category(c) == "Mn" else 2 if east_asian_width(c) in "WF" else 1 for c in line)


def choose_order(split: SplitName, num_sequences: int, num_chars: int) -> tuple[OrderName, str]:
    """The order that suits this many sequences with this many characters in total, and why."""
    if num_sequences < FEWEST_INDEPENDENT:
        return "ordered", f"only {num_sequences} sequence{'s' if num_sequences != 1 else ''}"
    if split == "paragraph":
        return "ordered", "paragraphs follow one another"
    if split in ("file", "mark"):
        return "independent", f"{num_sequences:,} {'files' if split == 'file' else 'texts'}"
    mean = num_chars / num_sequences
    if mean > LONGEST_INDEPENDENT_LINE:
        return "ordered", f"lines of {mean:.0f} characters on average are running text"
    return "independent", f"a list of {num_sequences:,} lines, {mean:.1f} characters each on average"
