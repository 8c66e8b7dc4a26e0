"""The way to the screen: all that commands print goes through here, with its control characters made visible."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from charrnn.words import Block, Rows

if TYPE_CHECKING:
    from rich.console import Console

LABEL_WIDTH = 12
UNBOUNDED = 10_000
"""Columns of an output that is not a terminal: nothing is wrapped there."""

_BIDIRECTIONAL = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_CONTROLS = [
    code
    for code in [*range(0x20), *range(0x7F, 0xA0), *_BIDIRECTIONAL, *range(0xD800, 0xE000)]
    if chr(code) not in "\n\t"
]
_ESCAPED = {code: ascii(chr(code))[1:-1] for code in _CONTROLS}
_ESCAPED_IN_A_STRING = {code: f"\\u{code:04x}" for code in _CONTROLS}
"""As JSON and TOML both write a character in a string."""


def visible(text: str) -> str:
    """The text with every character that would control a terminal written as an escape, such as `\\x1b`.

    Line feed and tab are kept; the other C0 and C1 controls, DEL, bidirectional controls and lone
    surrogates are escaped.
    """
    return text.translate(_ESCAPED)


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False


def is_animated(stream: TextIO) -> bool:
    """Whether lines can be redrawn on this stream."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in ("dumb", "unknown", "")


def console(stream: TextIO, reader_gone: Callable[[], None] | None = None) -> "Console":
    """A rich console on a stream, for data: no markup, no emoji codes, no highlighting, no control characters.

    Rich obeys NO_COLOR, FORCE_COLOR and TERM. With `reader_gone`, write errors on the stream are ignored, and
    `reader_gone` is called if the stream is a pipe that was closed.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class DataConsole(Console):
        def on_broken_pipe(self) -> None:
            raise

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else visible(text), style, control)

    file = stream if reader_gone is None else cast(TextIO, _TolerantStream(stream, reader_gone))
    width = None if is_terminal(stream) else UNBOUNDED
    return DataConsole(file=file, width=width, markup=False, emoji=False, highlight=False)


class _TolerantStream:
    """A stream whose write errors do not stop the work that is reported on it."""

    def __init__(self, stream: TextIO, reader_gone: Callable[[], None]) -> None:
        self._stream, self._reader_gone = stream, reader_gone

    def write(self, text: str) -> int:
        with self._failure_borne():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._failure_borne():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _failure_borne(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._reader_gone()
        except OSError:
            pass


def print_facts(where: "Console", facts: Iterable[tuple[str, str]]) -> None:
    """Prints pairs of label and text, wrapped beside the labels; an empty label continues the fact before."""
    from rich.text import Text

    for label, text in facts:
        lines = Text(visible(text)).wrap(where, max(20, where.width - LABEL_WIDTH))
        for number, line in enumerate(lines):
            shown = Text(f"{label if number == 0 else '':<{LABEL_WIDTH}}", style="bold")
            line.rstrip()
            where.print(shown + line, soft_wrap=True)


def print_table(where: "Console", heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints columns with no lines between them, the first left-aligned and the others right-aligned."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for number, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    where.print(table)


def print_blocks(where: "Console", blocks: Iterable[Block]) -> None:
    """Prints a report: facts, tables, and empty lines."""
    for block in blocks:
        if block is None:
            where.print()
        elif isinstance(block, Rows):
            print_table(where, *block)
        else:
            print_facts(where, block)


def note(text: str) -> None:
    """Prints a line to stderr."""
    import click

    click.echo(visible(text), err=True)


def result_writer() -> Callable[[str], object]:
    """A function that writes results to stdout: unchanged, or with visible control characters on a terminal."""
    write = sys.stdout.write
    return (lambda text: write(visible(text))) if is_terminal(sys.stdout) else write


def open_closed_streams() -> None:
    """Gives a process that was started without standard streams empty ones, so that no file takes their place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def use_utf8() -> None:
    """Makes stdout use UTF-8 in any locale, and keep line ends unchanged."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", newline="")


def write_json(value: object) -> None:
    """Writes a line of strict JSON to stdout: numbers that are not finite become null."""
    import msgspec

    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # A name on a disk need not be Unicode; its bytes become escapes.
        text = json.dumps(msgspec.to_builtins(value))
    write_code(text + "\n")


def write_code(text: str) -> None:
    """Writes JSON or TOML to stdout; on a terminal with escapes, which mean the same, for control characters."""
    sys.stdout.write(text.translate(_ESCAPED_IN_A_STRING) if is_terminal(sys.stdout) else text)


def one_blas_thread() -> None:
    """Call this before NumPy is imported, for products of matrices and vectors.

    Two threads that wait for each other on a busy machine draw text many times slower than one.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
