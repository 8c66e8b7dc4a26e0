"""`charrnn eval`: how good a model is on text that it has not seen."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.options import (
    Number,
    checkpoint_option,
    option,
    prior_option,
    run_and_file,
    run_and_file_arguments,
    runs_and_file,
    search_of,
    search_options,
    stop_option,
    subcommand,
)
from charrnn.cli.progress import Progress
from charrnn.cli.terminal import console, one_blas_thread, print_blocks, use_utf8, write_json
from charrnn.config import SPLIT_NAMES
from charrnn.errors import GateError

if TYPE_CHECKING:
    from charrnn.tasks.generate.evaluate import EvalReport

PARTS = ("train", "valid", "test")


@subcommand("eval")
@run_and_file_arguments
@option(
    "--part",
    type=click.Choice(PARTS),
    show_default="test",
    help="Part of the run's corpus.",
)
@option(
    "--split",
    type=click.Choice(SPLIT_NAMES),
    show_default="as the run did",
    help="What a sequence of FILE is.",
)
@stop_option("Options", "One way to end texts, of a model with several; by default a report on each.")
@checkpoint_option("Options")
@search_options
@prior_option
@option(
    "--compare",
    is_flag=True,
    help="Several runs side by side, a line each: RUN RUN ... [FILE]; all that generate text by default.",
)
@option(
    "--max-bits-per-char",
    type=Number(0),
    metavar="X",
    help="Exit with code 8 if the model needs more than this.",
)
def command(
    *,
    targets: tuple[str, ...],
    part: Any,
    split: Any,
    stop: Any,
    checkpoint: Any,
    compare: bool,
    beam: int | None,
    length_penalty: float | None,
    prior: Any,
    max_bits_per_char: float | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
) -> None:
    """Measure a model on text that it has not seen.

    Reads a FILE, or the part of the run's corpus that was kept for this, in full, and reports what the text
    costs the model, endings included, beside what simpler models make of it, and whether texts end where they
    should. A single argument that names a run or checkpoint is RUN, otherwise FILE.

    \b
    Examples:
      charrnn eval
      charrnn eval names
      charrnn eval names other-names.txt
      charrnn eval names --json | jq .bits_per_char
      charrnn eval --compare names-eos names-halt names-length
      charrnn eval plays --part valid --max-bits-per-char 2.2
    """
    if compare:
        runs, file = runs_and_file(targets, checkpoints)
    else:
        run, file = run_and_file(targets, checkpoints)
        runs = [run]
    if part is not None and file is not None:
        raise click.UsageError("--part is of the run's own corpus and FILE another text; give one of them")
    if split is not None and file is None:
        raise click.UsageError("--split is for a FILE; the run's own corpus is split as it was for training")
    one_blas_thread()
    from charrnn.checkpoint import resolve_checkpoint
    from charrnn.models.store import task_of
    from charrnn.tasks.generate.words import compared
    from charrnn.tasks.task import task

    found = [resolve_checkpoint(run, checkpoints, checkpoint) for run in runs]
    tasks = [task("generate" if compare else task_of(checkpoint)) for checkpoint in found]
    for of in tasks:
        if of.name != "generate" and (split is not None or max_bits_per_char is not None):
            raise click.UsageError(
                f"--split and --max-bits-per-char are for models that generate text, not --task {of.name}"
            )
        if beam is not None and "--beam" not in of.flags:
            raise click.UsageError("--beam is for models of --task tag and --task transduce")
        if length_penalty is not None and "--length-penalty" not in of.flags:
            raise click.UsageError("--length-penalty is for models of --task transduce")
        if stop is not None and "--stop" not in of.flags:
            raise click.UsageError(f"--stop is for models that end texts, not --task {of.name}")
        if prior is not None and "--prior" not in of.flags:
            raise click.UsageError(f"--prior is for models of --task classify and --task tree, not {of.name}")
    how = search_of(beam, length_penalty)
    with Progress(quiet=quiet) as progress:
        reports = [
            report
            for of, one in zip(tasks, found, strict=True)
            for report in of.reports(
                one, file=file, part=part, split=split, stop=stop, how=how, notify=progress, prior=prior
            )
        ]
    use_utf8()
    if as_json:
        for report in reports:
            write_json(report)
    elif compare:
        print_blocks(console(sys.stdout), compared(reports))
    else:
        for report in reports:
            print_blocks(console(sys.stdout), tasks[0].shown(report, verbose=verbose))
    if max_bits_per_char is not None:
        _check(reports, max_bits_per_char)


def _check(reports: "list[EvalReport]", most: float) -> None:
    """Raises GateError for the first report that is above the bound."""
    for report in reports:
        if report.bits_per_char is None or report.bits_per_char > most:
            needs = "no character" if report.bits_per_char is None else f"{report.bits_per_char:.4f} bits/char"
            raise GateError(
                f"{report.run} on {report.data}: {needs} under --stop {report.stop}, but --max-bits-per-char is "
                f"{most:g}"
            )
