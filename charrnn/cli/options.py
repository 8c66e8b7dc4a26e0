"""Options that several commands share, as decorators, and help that shows options in groups."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from charrnn.config import ENDING_STOPS, STOP_NAMES, StopName

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]

COMMON = "Everywhere"
MAX_SEED = 2**63 - 1


class Option(click.Option):
    """An option that is listed in the help under the heading `group`."""

    def __init__(self, *args: Any, group: str = "Options", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.group = group


class Command(click.Command):
    """A command whose help lists its options group by group, in the order in which they were declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", COMMON), []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


class Number(click.FloatRange):
    """A finite float within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class CheckpointChoice(click.ParamType):
    """`best`, `last` or a step."""

    name = "checkpoint"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        if value in ("best", "last"):
            return str(value)
        if str(value).isdecimal():
            return int(value)
        self.fail(f"{value!r} is neither best, last nor a step.", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in ("best", "last") if name.startswith(incomplete)]


def command(**settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A command of charrnn's, with the options that every command has."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        return click.command(cls=Command, **settings)(_common(function))

    return decorate


def option(*names: str, group: str = "Options", **settings: Any) -> Decorator[F]:
    return click.option(*names, cls=Option, group=group, **settings)


def _common(function: F) -> F:
    for decorator in (
        option("--debug", is_flag=True, expose_value=False, group=COMMON, help="Show the traceback of an error."),
        option(
            "--checkpoints",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("checkpoints"),
            show_default=True,
            group=COMMON,
            metavar="DIR",
            help="Where runs live.",
        ),
        option("-v", "--verbose", is_flag=True, group=COMMON, help="Say more on stderr."),
        option("-q", "--quiet", is_flag=True, group=COMMON, help="Say nothing on stderr but errors."),
        option(
            "--json", "as_json", is_flag=True, group=COMMON, help="Results as JSON, or JSONL for many."
        ),
    ):
        function = decorator(function)
    return function


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of runs; what looks like a path is left to the shell."""
    from charrnn.checkpoint import list_runs

    runs = list_runs(ctx.params.get("checkpoints") or Path("checkpoints"))
    found = [CompletionItem(run.name) for run in runs if run.name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def run_argument(function: F) -> F:
    return click.argument("run", required=False, shell_complete=complete_run)(function)


def run_and_file_arguments(function: F) -> F:
    """`[RUN] [FILE]` as the tuple `targets` of at most two, for `run_and_file`."""
    return click.argument("targets", nargs=-1, metavar="[RUN] [FILE]", shell_complete=complete_run)(function)


def run_and_file(targets: tuple[str, ...], root: Path) -> tuple[str | None, str | None]:
    """What `[RUN] [FILE]` mean: a single one that names a run or checkpoint is RUN, otherwise FILE."""
    if len(targets) > 2:
        raise click.UsageError(
            f"at most a RUN and a FILE, but there are {len(targets)} arguments", click.get_current_context()
        )
    if len(targets) == 2:
        return targets[0], targets[1]
    if not targets:
        return None, None
    from charrnn.checkpoint import names_a_run

    return (targets[0], None) if names_a_run(targets[0], root) else (None, targets[0])


checkpoint_option = option(
    "--checkpoint",
    type=CheckpointChoice(),
    default="best",
    show_default=True,
    metavar="best|last|STEP",
    help="Which checkpoint of the run.",
)


def stop_option(help: str) -> Decorator[F]:
    return option("--stop", type=click.Choice(STOP_NAMES), help=help)


def ordered_stops(given: tuple[str, ...]) -> tuple[StopName, ...]:
    """What repeated `--stop` mean together: each once, in the order in which they are preferred."""
    if "all" in given:
        given = (*given, *ENDING_STOPS)
    if "none" in given and len(set(given)) > 1:
        raise click.UsageError(
            "--stop none means that texts have no end, so it cannot be combined", click.get_current_context()
        )
    return ("none",) if "none" in given else tuple(stop for stop in ENDING_STOPS if stop in given)
