"""Reports an error as one line on stderr and an exit code."""

import errno
import os
import sys
import traceback
from contextlib import suppress

import click

from charrnn.cli.terminal import note
from charrnn.errors import CharRNNError, InterruptedTrainingError, ResourceError

UNEXPECTED = 1
READER_GONE = 141
INTERRUPTED = 130

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ReaderGoneError(Exception):
    """The reader of our output has closed the pipe."""


def report(error: BaseException, *, debug: bool) -> int:
    """Shows the error, with its traceback for `debug`, and returns the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    code, line = describe(error)
    if debug:
        with suppress(OSError):
            note("".join(traceback.format_exception(error)).rstrip("\n"))
    if line:
        # A message may quote names from a disk or a terminal: nothing in it may control the terminal.
        with suppress(OSError):
            note(" ".join(line.splitlines()))
    return code


def describe(error: BaseException) -> tuple[int, str]:
    """The exit code of an error and its message line, which is empty if nothing should be printed."""
    if isinstance(error, InterruptedTrainingError):
        return error.exit_code, str(error)
    if isinstance(error, CharRNNError):
        return error.exit_code, f"Error: {error}"
    if isinstance(error, click.UsageError):
        see = f" (see {error.ctx.command_path} -h)" if error.ctx is not None else ""
        return error.exit_code, f"Error: {error.format_message()}{see}"
    if isinstance(error, click.ClickException):
        return error.exit_code, f"Error: {error.format_message()}"
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return INTERRUPTED, ""
    if isinstance(error, ReaderGoneError | BrokenPipeError):
        return READER_GONE, ""
    if _out_of_memory(error):
        return ResourceError.exit_code, (
            "Error: out of memory; make the model (--hidden-size), the batch (--batch-size) or the number of "
            "samples smaller"
        )
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f"{error.filename}: " if error.filename else ""
        return ResourceError.exit_code, f"Error: {where}{error.strerror}; free some space and try again"
    what = f"{type(error).__name__}: {error}"
    return UNEXPECTED, f"Error: unexpected: {what}; run it again with --debug for the traceback"


def finish(code: int) -> int:
    """Flushes stdout. Returns the exit code, or another one if flushing fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Output that cannot be written now would cause another error message when the interpreter shuts down.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return code or READER_GONE
        return code or report(error, debug=False)
    return code


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out. On a CPU, torch has no exception type of its own for that."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
