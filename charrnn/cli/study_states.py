"""`charrnn study states`: what single units of a trained model switch on."""

import re
from pathlib import Path
from typing import Any

import click

from charrnn.cli.options import (
    checkpoint_option,
    given_option,
    option,
    picture_option,
    run_and_file,
    stop_option,
    subcommand,
)
from charrnn.cli.progress import Progress, with_time_left
from charrnn.cli.terminal import note, one_blas_thread, use_utf8, visible, write_json
from charrnn.errors import CorpusError, UsageError
from charrnn.words import count

MOST_CHARS = 1_000_000
FEATURE_NAMES = (
    "position", "quotes", "brackets", "round", "square", "curly", "word", "word_start", "whitespace", "upper",
    "digit", "since_space", "to_end",
)  # fmt: skip
"""The names of `charrnn.study.features`, which the help does not import."""


@subcommand("states")
@click.argument("targets", nargs=-1, metavar="[RUN] [TEXT]")
@option("--unit", metavar="LAYER:UNIT", help="Show this unit, both numbers from 0, on the text's beginning.")
@option(
    "--feature",
    "names",
    multiple=True,
    type=click.Choice(FEATURE_NAMES),
    metavar="NAME",
    help="Only this feature; repeat it. By default all.",
)
@option("--top", type=click.IntRange(1, 1000), default=3, show_default=True, metavar="N", help="Units a feature.")
@option(
    "--what",
    type=click.Choice(["memory", "output"]),
    show_default="memory where there is one",
    help="tanh of an LSTM's memory c, or what a cell puts out.",
)
@option(
    "--passage",
    type=click.IntRange(1, MOST_CHARS),
    default=320,
    show_default=True,
    metavar="N",
    help="Characters of a text that is shown.",
)
@option(
    "--max-chars",
    type=click.IntRange(1, MOST_CHARS),
    default=20_000,
    show_default=True,
    metavar="N",
    help="Read at most the first N characters, line ends included.",
)
@picture_option("the passages")
@stop_option("Options", "How texts end, of a model with several ways; by default its first of eos, halt, length.")
@given_option("Options")
@checkpoint_option("Options")
def command(
    *,
    targets: tuple[str, ...],
    unit: str | None,
    names: tuple[str, ...],
    top: int,
    what: Any,
    passage: int,
    max_chars: int,
    picture: Path | None,
    stop: Any,
    given: tuple[str, ...],
    checkpoint: Any,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
) -> None:
    """Find which units of a trained model switch on what.

    Reads TEXT, a file or - for standard input, or else the run's held-out part, and ranks all units of all layers
    by their correlation with each feature of the text: position (characters since the line began), quotes,
    brackets (how many are open; also round, square, curly), word, word_start, whitespace, upper, digit,
    since_space, to_end. Units are chosen on the first half of the text; what is printed of them is measured on
    the second. AUC is how often the unit tells a character with the feature from one without, 0.5 by chance.

    Then the best units of the strongest features are shown on a passage of the text: blue behind a character
    where the unit is negative, red where it is positive, or signs under it where there is no colour. The straight
    ' is an apostrophe, never a quotation mark. A single argument that names a run or checkpoint is RUN, otherwise
    TEXT.

    \b
    Examples:
      charrnn study states
      charrnn study states plays --feature position --top 10
      charrnn study states plays scene.txt --unit 0:17
      charrnn study states code main.c --feature curly --picture curly.png
      charrnn study states plays --json | jq '.features[0].units'
    """
    run, file = run_and_file(targets, checkpoints)
    place = None if unit is None else _place(unit)
    one_blas_thread()
    from charrnn.api import Model
    from charrnn.checkpoint import resolve_checkpoint
    from charrnn.cli.activations import draw_activations
    from charrnn.cli.picture import new_figure
    from charrnn.cli.states_report import beginning, notes, passages, print_report, shown_of, unit_name
    from charrnn.models.store import load_model
    from charrnn.sampling.scoring import choose_stop
    from charrnn.study.states import (
        MOST_NUMBERS,
        StatesReport,
        activations,
        follow,
        has_memory,
        rank,
        unit_activations,
        unit_counts,
    )

    figure = None if picture is None else new_figure()
    found = resolve_checkpoint(run, checkpoints, checkpoint)
    saved = load_model(found)
    layers = unit_counts(saved.model)
    what = what or ("memory" if has_memory(saved.model) else "output")
    if what == "memory" and not has_memory(saved.model):
        raise UsageError(f"--what memory: the cell {saved.config.cell} has no memory beside its output")
    stop = choose_stop(saved.model, stop)
    most = max(1, min(max_chars, MOST_NUMBERS // sum(layers)))
    data, sequences, total_chars = beginning(found, Model(saved, found.path), file, given, most)
    with Progress(quiet=quiet) as progress:
        read = activations(saved, sequences, stop, what, with_time_left(progress))
    column = None if place is None else read.column(*place)
    chosen = tuple(dict.fromkeys(names)) or FEATURE_NAMES
    features = rank(read, chosen, top) if column is None else follow(read, column, chosen)
    if column is None and not any(feature.units for feature in features):
        raise CorpusError(
            f"{data}: no feature asked for varies in both halves of the {count(len(read.text), 'character')} "
            "read, so no unit can follow it; name a longer text, or a --unit to show"
        )
    report = StatesReport(
        run=found.run_name,
        step=found.step,
        data=data,
        stop=stop,
        what=what,
        layers=layers,
        num_chars=len(read.text),
        total_chars=total_chars,
        num_chosen=len(read.text) // 2,
        num_oov=read.num_oov,
        features=tuple(features),
        activations=None if column is None else unit_activations(read, column),
    )
    if not quiet:
        for line in notes(report):
            note(line)
    shown = passages(read, features, column, passage)
    use_utf8()
    if as_json:
        write_json(report)
    else:
        print_report(report, read, shown)
    if picture is not None and figure is not None:
        columns = [passage.column for passage in shown]
        panels = [(p.title, [shown_of(read, column, p.where) for column in columns]) for p in shown]
        draw_activations(figure, picture, panels, [unit_name(*read.name(column)) for column in columns])


def _place(unit: str) -> tuple[int, int]:
    if not re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}", unit):
        raise UsageError(f"--unit {visible(unit)}: expected LAYER:UNIT, two numbers from 0, such as 0:17")
    layer, _, number = unit.partition(":")
    return int(layer), int(number)
