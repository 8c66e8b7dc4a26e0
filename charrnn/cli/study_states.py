"""`charrnn study states`: what single units of a trained model switch on."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
from charrnn.cli.score import STANDARD_INPUT
from charrnn.cli.terminal import console, one_blas_thread, print_facts, print_table, use_utf8, visible, write_json
from charrnn.cli.words import count
from charrnn.errors import CorpusError, UsageError

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.checkpoint import Checkpoint
    from charrnn.cli.activations import Shown
    from charrnn.corpus.readers import Source
    from charrnn.corpus.sequences import Sequences
    from charrnn.study.states import Activations, FeatureUnits, StatesReport

PASSAGES = 3
"""Features for whose best units a passage is shown."""
MOST_CHARS = 1_000_000
FEATURE_NAMES = (
    "position", "quotes", "brackets", "round", "square", "curly", "word", "word_start", "whitespace", "upper",
    "digit", "since_space", "to_end",
)  # fmt: skip
"""Those of `charrnn.study.features`, which help does without."""


class Passage(NamedTuple):
    """What is shown of the text for a unit."""

    title: str
    column: int
    """Of the unit among all."""
    where: slice


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
    from charrnn.models.saved import load_model
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
    data, sequences, total_chars = _text(found, Model(saved, found.path), file, given, most)
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
        for note in _notes(report, most):
            click.echo(note, err=True)
    shown = _passages(read, features, column, passage)
    use_utf8()
    if as_json:
        write_json(report)
    else:
        _print(report, read, shown)
    if picture is not None and figure is not None:
        columns = [passage.column for passage in shown]
        panels = [(p.title, [_shown(read, column, p.where) for column in columns]) for p in shown]
        draw_activations(figure, picture, panels, [_name(*read.name(column)) for column in columns])


def _place(unit: str) -> tuple[int, int]:
    if not re.fullmatch(r"[0-9]{1,9}:[0-9]{1,9}", unit):
        raise UsageError(f"--unit {visible(unit)}: expected LAYER:UNIT, two numbers from 0, such as 0:17")
    layer, _, number = unit.partition(":")
    return int(layer), int(number)


def _text(
    found: "Checkpoint", model: "Model", file: str | None, given: tuple[str, ...], most: int
) -> "tuple[str, Sequences, int | None]":
    """What it is called, its first `most` characters, and how many it has, None where more were not counted."""
    import numpy as np

    from charrnn.report.held_out import held_out
    from charrnn.study.states import first_chars, sequences_of

    config = model.saved.config
    total: int | None
    if file is None:
        text = held_out(found, found.path.resolve().parent.parent)
        name, total = f"{text.name} part", text.sequences.num_chars
        kept = first_chars(text.sequences, most)
    else:
        name, head = _head(found, file, most + 1)
        is_cut = len(head) > most
        whole = replace(sequences_of(head, config.split), open_end=is_cut)
        if not whole.num_chars:
            raise CorpusError(f"{name}: the text is empty; name one with characters in it")
        kept, total = first_chars(whole, most), None if is_cut else whole.num_chars
    if config.columns and (file is not None or given):
        context = model.context(given)
        kept = replace(kept, contexts=np.tile(context, (len(kept), 1)) if context is not None else None)
    elif given:
        model.context(given)  # Says that the model is given nothing.
    return name, kept, total


def _head(found: "Checkpoint", file: str, most: int) -> tuple[str, str]:
    """A name and the first `most` characters of a file or of standard input, of which no more is read."""
    from charrnn.corpus.readers import Source, expand
    from charrnn.corpus.scratch import workspace
    from charrnn.report.held_out import encoding_of

    encoding = encoding_of(found)
    with workspace(None) as work:
        if file != "-":
            return file, _first(expand([file], work), encoding, most)
        copy = work / "text"
        # No encoding takes more than four bytes a character; one more lets none be cut among those wanted.
        copy.write_bytes(sys.stdin.buffer.read(4 * most + 4))
        return STANDARD_INPUT, _first([Source(STANDARD_INPUT, copy)], encoding, most)


def _first(sources: "list[Source]", encoding: str, most: int) -> str:
    """The first `most` characters of files, a line end between one and the next."""
    from charrnn.corpus.readers import TextReader

    head = ""
    for source in sources:
        if head and not head.endswith("\n"):
            head += "\n"
        for text in TextReader(source, encoding):
            head += text[: most - len(head)]
            if len(head) >= most:
                return head
    return head


def _notes(report: "StatesReport", most: int) -> list[str]:
    notes = []
    if report.total_chars != report.num_chars:
        of = "more" if report.total_chars is None else f"{report.total_chars:,}"
        notes.append(f"{report.data}: read the first {report.num_chars:,} characters of {of} (--max-chars)")
    if report.num_oov:
        notes.append(f"{count(report.num_oov, 'character')} unknown to the model, read as nothing")
    if steady := [feature.feature for feature in report.features if not feature.units]:
        notes.append(f"not varying in both halves of the text: {', '.join(steady)}")
    return notes


def _passages(
    read: "Activations", features: "list[FeatureUnits]", column: int | None, length: int
) -> list[Passage]:
    """The beginning of the text for a unit that was asked for, else where the strongest features vary."""
    from charrnn.study.states import telling_passage

    if column is not None:
        return [_passage(read, column, "", slice(0, min(length, len(read.text))))]
    strongest = sorted(
        (feature for feature in features if feature.units), key=lambda f: -abs(f.units[0].correlation or 0.0)
    )
    shown: dict[int, Passage] = {}
    for feature in strongest:
        at = read.column(feature.units[0].layer, feature.units[0].unit)
        if at not in shown and len(shown) < PASSAGES:
            follows = f" follows {feature.feature}"
            shown[at] = _passage(read, at, follows, telling_passage(read, feature.feature, length))
    return list(shown.values())


def _passage(read: "Activations", column: int, follows: str, where: slice) -> Passage:
    scale = _scale(read, column)
    title = f"Unit {_name(*read.name(column))}{follows}, from -{scale:.2f} to {scale:.2f}"
    return Passage(title, column, where)


def _scale(read: "Activations", column: int) -> float:
    """The unit's largest activation, which is as blue or as red as can be."""
    return float(abs(read.values[:, column]).max())


def _shown(read: "Activations", column: int, where: slice) -> "Shown":
    from charrnn.cli.activations import Shown

    begins = [i > 0 and bool(read.sequence[i] != read.sequence[i - 1]) for i in range(where.start, where.stop)]
    values = read.values[where, column] / (_scale(read, column) or 1.0)
    return Shown(read.text[where], begins, [float(value) for value in values])


def _print(report: "StatesReport", read: "Activations", shown: list[Passage]) -> None:
    from charrnn.cli.activations import has_colour, print_activations, sign_words

    screen = console(sys.stdout)
    meaning = "tanh(c) of the memory c" if report.what == "memory" else "the output h"
    units = " + ".join(map(str, report.layers))
    facts = [
        ("Run", f"{report.run}, step {report.step:,}; {units} units, {meaning}"),
        ("Text", f"{report.data}, {count(report.num_chars, 'character')}"),
    ]
    if report.activations is None:
        facts.append(("Chosen", f"on the first {report.num_chosen:,} characters, measured on the others"))
    print_facts(screen, facts)
    if rows := [row for feature in report.features for row in _rows(feature)]:
        screen.print()
        print_table(screen, ("FEATURE", "MEAN", "UNIT", "FIRST HALF", "SECOND HALF", "AUC"), rows)
    for passage in shown:
        screen.print()
        screen.print(passage.title, style="bold", soft_wrap=True)
        print_activations(screen, _shown(read, passage.column, passage.where))
    if not has_colour(screen):
        screen.print()
        screen.print(sign_words(), soft_wrap=True)


def _rows(feature: "FeatureUnits") -> list[tuple[str, ...]]:
    rows = []
    for number, unit in enumerate(feature.units):
        mean = f"{feature.mean:.1%}" if feature.binary else f"{feature.mean:.2f}"
        head = (feature.feature, mean) if number == 0 else ("", "")
        figures = (f"{x:+.3f}" if x is not None else "-" for x in (unit.found, unit.correlation))
        area = "-" if unit.auc is None else f"{unit.auc:.3f}"
        rows.append((*head, _name(unit.layer, unit.unit), *figures, area))
    return rows


def _name(layer: int, unit: int) -> str:
    return f"{layer}:{unit}"
