"""`charrnn study span`: how far back networks learn to look, and what helps them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.options import Number, option, picture_option, subcommand
from charrnn.cli.picture import new_figure
from charrnn.cli.progress import Progress
from charrnn.cli.signals import StopSignals
from charrnn.cli.span_designs import CELLS, build_design, cell_option, chosen_designs, design_options
from charrnn.cli.span_report import as_dict, draw_successes, print_successes
from charrnn.cli.terminal import use_utf8, write_json
from charrnn.words import count

if TYPE_CHECKING:
    from charrnn.study.attempts import Outcome, Trial

PROBLEM_NAMES = ("adding", "copying", "temporal_order", "temporal_order_3", "brackets")
SPANS = (25, 50, 100, 200)


@subcommand("span")
@option(
    "--problem",
    type=click.Choice(PROBLEM_NAMES),
    default="adding",
    show_default=True,
    metavar="NAME",
    help=f"What is asked: {', '.join(PROBLEM_NAMES)}.",
)
@cell_option(multiple=True, help=f"A design: a cell; repeat it.  [default: {', '.join(CELLS)}]")
@option(
    "--variant",
    "variants",
    multiple=True,
    metavar="'LABEL: OPTIONS'",
    help="A design: a cell with options of its own among those below; repeat it.",
)
@option(
    "--span",
    "spans",
    type=click.IntRange(0, 100_000),
    multiple=True,
    default=SPANS,
    show_default=", ".join(map(str, SPANS)),
    show_range=False,
    metavar="N",
    help="Steps that answers reach back; repeat it.",
)
@option("--seeds", type=click.IntRange(1), default=5, show_default=True, metavar="N", help="Attempts of each.")
@option(
    "--steps",
    type=click.IntRange(1),
    default=5000,
    show_default=True,
    metavar="N",
    help="Optimisation steps of an attempt, at most; it ends when the problem is solved.",
)
@option("--jobs", type=click.IntRange(1), default=2, show_default=True, metavar="N",
        help="Attempts at a time, each on one thread.")  # fmt: skip
@option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where finished attempts are kept.  [default: .span/PROBLEM.jsonl where runs live]",
)
@picture_option("success against span")
@option(
    "--chain",
    type=Number(0, min_open=True),
    metavar="V",
    help="Also show the variance that independent weights need for a product of variance V.",
)
@design_options
def command(
    *,
    problem: str,
    cell: tuple[str, ...],
    variants: tuple[str, ...],
    spans: tuple[int, ...],
    seeds: int,
    steps: int,
    jobs: int,
    results: Path | None,
    picture: Path | None,
    chain: float | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
    **given: Any,
) -> None:
    """Measure how far back networks learn to look, and what helps them.

    As the span of what an answer depends on grows, gradient-based training becomes harder (Deep Learning, section
    10.7). Each design is trained on a problem of each span with each seed, on rows drawn afresh, until it has
    solved it or its steps are spent. The table counts the attempts that solved it, with the median of the steps
    that those took. Below it is the median final loss of all attempts, and at the end that of the best constant.

    Options of a design hold for all of them; a --variant adds to them or overrides them. Attempts that have ended
    are kept, so a sweep that was interrupted goes on where it stopped, and one that is larger makes what is new.

    \b
    Examples:
      charrnn study span
      charrnn study span --problem temporal_order --cell tanh --cell gru
      charrnn study span --variant 'leaky: --cell leaky --leak-alpha 0:0.99'
      charrnn study span --variant 'skip: --cell skip --skip-delay 9'
      charrnn study span --cell tanh --clip none --seeds 3
      charrnn study span --variant 'identity: --cell tanh --init identity'
      charrnn study span --variant 'flow: --cell tanh --flow-penalty 1'
      charrnn study span --cell gru --picture spans.png --chain 0.1
    """
    given = {name: value for name, value in given.items() if value is not None}
    chosen = chosen_designs(cell, variants, given)
    if picture is not None:
        new_figure()  # Checks for matplotlib before anything is trained.
    from charrnn.study.attempts import AttemptLog
    from charrnn.study.problems import PROBLEMS
    from charrnn.study.sweep import Sweep, grid, summary

    designs = {label: build_design(label, settings) for label, settings in chosen.items()}
    spans = tuple(dict.fromkeys(spans))
    trials = grid(problem, designs, spans, range(1, seeds + 1), steps)
    path = results or checkpoints / ".span" / f"{problem}.jsonl"
    found: dict[tuple[str, int, int], tuple[Trial, Outcome]] = {}
    with AttemptLog(path) as done, StopSignals() as signals, Progress(quiet=quiet) as progress:
        known = sum(done.outcome(trial) is not None for _, trial in trials)
        if known:
            progress.say(f"{known} of {count(len(trials), 'attempt')} are in {path}")
        sweep = Sweep(trials, done, jobs=jobs, notify=progress)
        try:
            for number, (label, trial, outcome) in enumerate(sweep.outcomes(), start=1):
                found[label, trial.span, trial.seed] = (trial, outcome)
                if number > known:
                    progress.say(f"{label}, span {trial.span}, seed {trial.seed}: {_words(outcome)}")
        except SystemExit:
            if signals.number is not None:
                progress.say(f"interrupted: what has ended is in {path}, and the same command goes on with it")
            raise
    ordered = [(label, *found[label, trial.span, trial.seed]) for label, trial in _by_design(trials, designs)]
    cells = {
        (label, span): summary(
            label, span, [o for name, trial, o in ordered if (name, trial.span) == (label, span)]
        )
        for label in designs
        for span in spans
    }
    if picture is not None:
        draw_successes(picture, problem, list(designs), spans, cells)
    use_utf8()
    if as_json:
        write_json(as_dict(PROBLEMS[problem], designs, ordered, cells, spans, steps, seeds, chain))
        return
    print_successes(PROBLEMS[problem], list(designs), spans, cells, chain)


def _by_design(trials: "Sequence[tuple[str, Trial]]", designs: Mapping[str, Any]) -> "list[tuple[str, Trial]]":
    """The trials sorted by design, then span, then seed."""
    places = {label: place for place, label in enumerate(designs)}
    return sorted(trials, key=lambda item: (places[item[0]], item[1].span, item[1].seed))


def _words(outcome: "Outcome") -> str:
    what = "solved" if outcome.solved else "diverged" if outcome.loss is None else "not solved"
    loss = "" if outcome.loss is None else f", loss {outcome.loss:.3g}"
    return f"{what} after {count(outcome.steps, 'step')}{loss}"
