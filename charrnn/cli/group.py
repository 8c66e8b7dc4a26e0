"""Groups of commands. A group knows their names and one line about each; a command's file is imported on use."""

import difflib
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

import charrnn
from charrnn.cli.errors import ReaderGoneError, finish, report
from charrnn.cli.terminal import open_closed_streams

COMMANDS = {
    "train": "Fit a model to text.",
    "sample": "Draw text from a model.",
    "eval": "Measure a model on text that it has not seen.",
    "predict": "Predict a label, tags or an output for each line.",
    "score": "Print the exact log-likelihood of each line.",
    "info": "Show what is in a run, or list all runs.",
    "cells": "List the recurrent cells, or show one: equations, drawing, options.",
    "study": "See what recurrent networks can do.",
}


class LazyGroup(click.Group):
    """Dispatches to `command` of the module whose name is `prefix` plus the command's name."""

    def __init__(self, lines: dict[str, str], prefix: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.lines, self.prefix = lines, prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lines)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lines:
            return None
        found: click.Command = importlib.import_module(f"{self.prefix}{cmd_name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.lines and not name.startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(name, self.lines, n=1)
            there = f"did you mean {close[0]}?" if close else f"there are {', '.join(self.lines)}"
            ctx.fail(f"no command {name!r}; {there}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lines.items()))


class CommandLine(LazyGroup):
    """All commands; ends with the exit code of the error, if any."""

    def __init__(self, **settings: Any) -> None:
        names = {"help_option_names": ["-h", "--help"]}
        super().__init__(COMMANDS, "charrnn.cli.", context_settings=names, **settings)
        version = click.version_option(charrnn.__version__, message="charrnn %(version)s")
        version(self)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        arguments = tuple(args)
        with _reader_watched():
            context = super().make_context(info_name, args, parent, **extra)
        context.obj = arguments
        return context

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_watched():
            return super().invoke(ctx)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        open_closed_streams()
        arguments = sys.argv[1:] if args is None else list(args)
        code: Any = 0
        try:
            code = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra)
        except SystemExit as ended:
            code = ended.code
        except (Exception, KeyboardInterrupt) as error:
            code = report(error, debug="--debug" in arguments)
        sys.exit(finish(code or 0))


@contextmanager
def _reader_watched() -> Iterator[None]:
    """Hides the error of a closed pipe from click, which would exit with a code of its own."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error
