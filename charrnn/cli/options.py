"""Options that several commands share, as decorators, and help that shows options in groups."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from click.shell_completion import CompletionItem

from charrnn.config import STOP_NAMES, Prior
from charrnn.errors import CorpusError

if TYPE_CHECKING:
    from click.types import OptionHelpExtra

    from charrnn.checkpoint import RunDirectory
    from charrnn.sampling.beam import Search

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]

COMMON = "Everywhere"
HELP_ALL = "charrnn.help_all"
NAME_WIDTH = 30
"""Columns of an option and its value in the help; a longer one has a line of its own."""


class Option(click.Option):
    """An option that is listed in the help under the heading `group`.

    A `show_default` in words is shown unchanged; `show_range` says whether to show the bounds of a number; an
    option that is not `common` is shown only by `--help-all`.
    """

    def __init__(
        self, *args: Any, group: str = "Options", show_range: bool = True, common: bool = True, **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self.group, self.show_range, self.common = group, show_range, common

    def get_help_extra(self, ctx: click.Context) -> "OptionHelpExtra":
        extra = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            extra["default"] = self.show_default
        if not self.show_range:
            extra.pop("range", None)
        return extra


class Command(click.Command):
    """A command whose help lists its options group by group, in the order in which they were declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            shown = ctx.meta.get(HELP_ALL) or getattr(parameter, "common", True)
            if record is not None and shown and not isinstance(parameter, click.Argument):
                groups.setdefault(getattr(parameter, "group", COMMON), []).append(record)
        groups[COMMON] = groups.pop(COMMON)
        names = [name for records in groups.values() for name, _ in records]
        width = max(len(name) for name in names if len(name) <= NAME_WIDTH)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in records], col_max=width)


class Number(click.FloatRange):
    """A finite float within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def help_all(function: Function) -> Function:
    """`--help-all`, for a command with options that its short help leaves out."""

    def show(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            ctx.meta[HELP_ALL] = True
            click.echo(ctx.get_help(), color=ctx.color)
            ctx.exit()

    return option(
        "--help-all",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        group=COMMON,
        help="Show all options, these and the rarer ones.",
    )(function)


def subcommand(name: str) -> Callable[[Function], click.Command]:
    """Makes a command of a function, with the options that every command has."""

    def decorate(function: Function) -> click.Command:
        return click.command(name, cls=Command)(_common(function))

    return decorate


def option(*names: str, group: str = "Options", **settings: Any) -> Decorator:
    return click.option(*names, cls=Option, group=group, **settings)


def _common(function: Function) -> Function:
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
        option("-v", "--verbose", is_flag=True, group=COMMON, help="Say more."),
        option("-q", "--quiet", is_flag=True, group=COMMON, help="Say nothing on stderr but errors."),
        option("--json", "as_json", is_flag=True, group=COMMON, help="Results as JSON, or JSONL for many."),
    ):
        function = decorator(function)
    return function


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of runs; what looks like a path is left to the shell. Names that cannot be printed are left out."""
    from charrnn.checkpoint import list_runs

    runs = list_runs(ctx.params.get("checkpoints") or Path("checkpoints"))
    found = [CompletionItem(run.name) for run in runs if run.name.startswith(incomplete)]
    offered = found or [CompletionItem(incomplete, type="file")]
    return [item for item in offered if item.value.isprintable()]


def run_argument(function: Function) -> Function:
    return click.argument("run", required=False, shell_complete=complete_run)(function)


def run_and_file_arguments(function: Function) -> Function:
    """`[RUN] [FILE]` as the tuple `targets` of at most two, for `run_and_file`."""
    return click.argument("targets", nargs=-1, metavar="[RUN] [FILE]", shell_complete=complete_run)(function)


def run_and_file(targets: tuple[str, ...], root: Path) -> tuple[str | None, str | None]:
    """What `[RUN] [FILE]` mean: a single argument that names a run or checkpoint is RUN, otherwise FILE.

    Raises CorpusError for a single argument that is neither.
    """
    if len(targets) > 2:
        raise click.UsageError(
            f"at most a RUN and a FILE, but there are {len(targets)} arguments", click.get_current_context()
        )
    if len(targets) == 2:
        return targets[0], targets[1]
    if not targets:
        return None, None
    from charrnn.checkpoint import names_a_run

    if names_a_run(targets[0], root):
        return targets[0], None
    if targets[0] != "-" and not os.path.exists(targets[0]):
        raise CorpusError(
            f"{targets[0]}: neither a run or checkpoint in {root} nor a file; `charrnn info` lists runs"
        )
    return None, targets[0]


def runs_and_file(targets: tuple[str, ...], root: Path) -> tuple[list[str | None], str | None]:
    """What `RUN RUN … [FILE]` means: the last argument is FILE if it names no run; no RUN: all runs of text."""
    from charrnn.checkpoint import list_runs, names_a_run

    file = targets[-1] if targets and not names_a_run(targets[-1], root) else None
    runs: list[str | None] = list(targets if file is None else targets[:-1])
    if file is not None and file != "-" and not os.path.exists(file):
        raise CorpusError(f"{file}: neither a run or checkpoint in {root} nor a file; `charrnn info` lists runs")
    return runs or [str(run.path) for run in list_runs(root) if _generates(run)] or [None], file


def _generates(run: "RunDirectory") -> bool:
    """Whether a run has a checkpoint of a model of text."""
    from charrnn.config import RunRecord

    return bool(run.steps()) and run.has_run_file() and run.read_run(RunRecord).config.task == "generate"


def checkpoint_option(group: str) -> Decorator:
    return option(
        "--checkpoint",
        callback=_which_checkpoint,
        shell_complete=_complete_checkpoint,
        default="best",
        show_default=True,
        metavar="best|last|STEP",
        group=group,
        help="Which checkpoint of the run.",
    )


def _which_checkpoint(ctx: click.Context, param: click.Parameter, value: str) -> str | int:
    if value in ("best", "last"):
        return value
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither best, last nor a step.", ctx, param)
    return int(value)


def _complete_checkpoint(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in ("best", "last") if name.startswith(incomplete)]


def search_options(function: Function) -> Function:
    for name, kind, default, help in (
        ("--length-penalty", Number(0), "1", "Rank outputs by ln p / (length + 1)^X; 0 by probability alone."),
        (
            "--beam",
            click.IntRange(1),
            "5",
            "Outputs followed side by side (tag, transduce); 1 is greedy.",
        ),
    ):
        metavar = "N" if isinstance(kind, click.IntRange) else "X"
        function = option(name, type=kind, show_default=default, metavar=metavar, show_range=False, help=help)(
            function
        )
    return function


def search_of(beam: int | None, length_penalty: float | None, num_best: int = 1) -> "Search":
    """The search that the options request, with a beam of at least `num_best`."""
    from charrnn.sampling.beam import BEAM

    penalty = BEAM.length_penalty if length_penalty is None else length_penalty
    return replace(BEAM, beam=max(beam or BEAM.beam, num_best), length_penalty=penalty)


def picture_option(what: str) -> Decorator:
    return option(
        "--picture",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help=f"Draw {what} (.png, .svg, .pdf; needs matplotlib, the extra `plot`).",
    )


def given_option(group: str) -> Decorator:
    return option(
        "--given",
        multiple=True,
        metavar="[NAME=]VALUE",
        group=group,
        help="What a conditioned model is given; repeat it for several columns.",
    )


def encoding_option(function: Function) -> Function:
    return option(
        "--encoding", metavar="NAME", help="Text encoding of FILE.  [default: that of the run's corpus]"
    )(function)


def prior_option(function: Function) -> Function:
    return option(
        "--prior",
        type=click.Choice(get_args(Prior)),
        show_default="as the model was trained",
        help="How frequent the labels are taken to be (classify, tree): as in training, or all the same.",
    )(function)


def stop_option(group: str, help: str) -> Decorator:
    return option("--stop", type=click.Choice(STOP_NAMES), group=group, help=help)
