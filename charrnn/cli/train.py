"""`charrnn train`: fit a model to text, or go on with a run."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.options import help_all, option, subcommand
from charrnn.cli.signals import StopSignals
from charrnn.cli.terminal import console, note, print_facts, use_utf8, write_json
from charrnn.cli.train_options import given_settings, settings_options
from charrnn.config import BUDGETS, RUN
from charrnn.errors import DivergedError, InterruptedTrainingError, UsageError

if TYPE_CHECKING:
    from charrnn.cli.train_display import Display
    from charrnn.tasks.run import Outcome


@subcommand("train")
@click.argument("corpus", nargs=-1, type=click.Path(allow_dash=True), metavar="CORPUS...")
@settings_options
@help_all
@option("--name", group=RUN, metavar="NAME", help="Name of the run.  [default: that of the corpus, made unique]")
@option("--resume", is_flag=True, group=RUN, help="Go on with the run --name, or the newest one.")
@option("--overwrite", is_flag=True, group=RUN, help="Replace the run --name.")
@option(
    "--config",
    "config_file",
    type=click.Path(),
    group=RUN,
    metavar="FILE.toml",
    help="Settings, as `charrnn info RUN --toml` prints them; the command line wins over them.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    name: str | None,
    resume: bool,
    overwrite: bool,
    config_file: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
    **_settings: Any,
) -> None:
    """Fit a model to text.

    CORPUS is one or more text files, a directory of them, or - for standard input. Options that you leave out are
    chosen to suit the text, and printed. The run is saved under ./checkpoints as it goes: Ctrl-C saves and stops,
    and --resume goes on to the same weights as if it had never stopped, or to a larger budget of the whole run.
    With --context, CORPUS is a table whose first line names its columns, or a directory with one file a class.

    \b
    Examples:
      charrnn train names.txt
      charrnn train names.txt --minutes 10 --hidden-size 256 --num-layers 2
      charrnn train names.tsv --context language
      charrnn train shakespeare.txt --epochs 20 --cell gru --name plays
      charrnn train --resume --name plays --epochs 40
      charrnn train names.txt --stop all --steps 5000 --seed 1
      cat *.log | charrnn train - --split line --name logs
      charrnn info plays --toml > plays.toml
      charrnn train --config plays.toml --hidden-size 512
    """
    given = given_settings(ctx, config_file)
    if resume and overwrite:
        raise click.UsageError("--resume goes on with a run and --overwrite begins it anew; give one of them", ctx)
    if overwrite and name is None:
        raise click.UsageError("--overwrite needs the --name of the run to replace", ctx)
    if not resume and not given.get("corpus"):
        raise click.UsageError("no CORPUS; name text files, a directory of them, or - for standard input", ctx)
    check_there([*given.get("corpus", ()), *filter(None, [given.get("valid")])])
    # NumPy only draws the short samples here; its threads would compete with torch's.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from charrnn.cli.train_display import open_display
    from charrnn.cli.train_report import Judged, closing, finished_already, judged, result, resume_command
    from charrnn.training.threads import limit_omp_spinning

    limit_omp_spinning()

    budget_given = resume or any(budget in given for budget in BUDGETS)
    with StopSignals() as signals:
        display = open_display(signals, quiet=quiet, verbose=verbose, budget_given=budget_given)
        try:
            with display:
                display.waiting("loading torch")
                if resume:
                    outcome = _resume(display, signals, checkpoints, name, given)
                else:
                    argv = ("charrnn", *ctx.find_root().obj)
                    outcome = _start(display, signals, checkpoints, name, given, overwrite=overwrite, argv=argv)
        except SystemExit:
            if signals.number is not None:
                kept = "what was saved before is kept" if display.begin else "nothing was trained yet"
                with suppress(OSError):
                    note(f"interrupted: {kept}")
            raise
        except DivergedError as error:
            raise DivergedError(f"{error} ({_kept(display)})") from error
    begun, last = display.begin, display.last_row
    assert begun is not None
    found = judged(begun, outcome) if outcome.finished and (as_json or not (quiet or begun.finished)) else Judged()
    if as_json:
        use_utf8()
        write_json(result(begun, outcome, last, display.train_loss, found))
    if not outcome.finished:
        raise InterruptedTrainingError(
            f"interrupted after step {outcome.progress.step:,} and saved; go on with: "
            f"{resume_command(outcome.run, checkpoints)}",
            signals.exit_code,
        )
    if begun.finished and not quiet:
        note(finished_already(begun, outcome, checkpoints))
    elif not quiet:
        print_facts(
            console(sys.stderr, lambda: None),
            closing(begun, outcome, last, display.train_loss, found, checkpoints),
        )


def check_there(paths: Iterable[str]) -> None:
    """Raises CorpusError for a missing file, before torch is loaded, which takes time."""
    from charrnn.corpus.readers import expand

    for path in paths:
        if path != "-" and not os.path.exists(path):
            expand([path], Path())


def _start(
    display: "Display",
    signals: StopSignals,
    root: Path,
    name: str | None,
    given: dict[str, Any],
    *,
    overwrite: bool,
    argv: tuple[str, ...],
) -> "Outcome":
    from charrnn.api import train_config
    from charrnn.tasks.run import start_run

    return start_run(
        train_config(checkpoints=root, **given),
        root=root,
        observer=display,
        name=name,
        overwrite=overwrite,
        argv=argv,
        should_stop=signals,
    )


def _resume(
    display: "Display", signals: StopSignals, root: Path, name: str | None, given: dict[str, Any]
) -> "Outcome":
    from charrnn.checkpoint import RunDirectory, resolve
    from charrnn.tasks.run import resume_run

    run = resolve(name, root)
    if not isinstance(run, RunDirectory):
        raise UsageError(f"{run.path}: is one checkpoint; --resume goes on with a run")
    return resume_run(run.path, root=root, observer=display, given=given, should_stop=signals)


def _kept(display: "Display") -> str:
    """Says which checkpoints a diverged run keeps."""
    from charrnn.checkpoint import RunDirectory

    if display.begin is None:
        return "nothing was saved"
    steps = ", ".join(f"{step:,}" for step in RunDirectory(display.begin.run).steps())
    return f"{display.begin.run} keeps step {steps}" if steps else f"{display.begin.run} has no checkpoint yet"
