"""What a terminal may be shown, and how: control characters made visible, rich consoles, lines of facts."""

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

LABEL_WIDTH = 12
UNBOUNDED = 10_000
"""Columns of what is not a terminal: nothing is wrapped there."""

_BIDIRECTIONAL = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPED = {
    code: ascii(chr(code))[1:-1]
    for code in [*range(0x20), *range(0x7F, 0xA0), *_BIDIRECTIONAL, *range(0xD800, 0xE000)]
    if chr(code) not in "\n\t"
}


def visible(text: str) -> str:
    """The text with everything that would steer a terminal written as an escape, such as `\\x1b`.

    Line feed and tab are left; the other C0 and C1 controls, DEL, bidirectional controls and lone
    surrogates are not.
    """
    return text.translate(_ESCAPED)


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False


def is_animated(stream: TextIO) -> bool:
    """Whether lines can be drawn over on this stream."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in ("dumb", "unknown", "")


def console(stream: TextIO) -> "Console":
    """A rich console on a stream, for data: no markup, no emoji codes, no highlighting.

    NO_COLOR, FORCE_COLOR and TERM are rich's to obey.
    """
    from rich.console import Console

    width = None if is_terminal(stream) else UNBOUNDED
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def print_facts(where: "Console", facts: Iterable[tuple[str, str]]) -> None:
    """Prints pairs of label and text, wrapped beside the labels; an empty label goes on with the one before."""
    from rich.text import Text

    for label, text in facts:
        lines = Text(visible(text)).wrap(where, max(20, where.width - LABEL_WIDTH))
        for number, line in enumerate(lines):
            shown = Text(f"{label if number == 0 else '':<{LABEL_WIDTH}}", style="bold")
            line.rstrip()
            where.print(shown + line, soft_wrap=True)


def write_text(text: str) -> None:
    """Writes a result to stdout: as it is, in UTF-8, or with its control characters visible on a terminal."""
    sys.stdout.write(visible(text) if is_terminal(sys.stdout) else text)


def use_utf8() -> None:
    """Makes stdout speak UTF-8, whatever the locale says, and keep line ends as they are."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", newline="")


def write_json(value: object) -> None:
    """Writes a line of strict JSON to stdout: what is not finite becomes null."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def one_blas_thread() -> None:
    """To be called before NumPy is imported, for matrices times vectors.

    Two threads that wait for each other on a busy machine draw text many times slower than one.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
