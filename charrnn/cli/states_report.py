"""What `charrnn study states` prints: units by feature, and passages of the text in a unit's colours."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from charrnn.cli.activations import Shown, has_colour, print_activations, sign_words
from charrnn.cli.score import STANDARD_INPUT
from charrnn.cli.terminal import console, print_facts, print_table
from charrnn.corpus.readers import Source, TextReader, expand
from charrnn.corpus.scratch import workspace
from charrnn.corpus.sequences import Sequences
from charrnn.errors import CorpusError
from charrnn.study.states import (
    Activations,
    FeatureUnits,
    StatesReport,
    first_chars,
    sequences_of,
    telling_passage,
)
from charrnn.tasks.generate.held_out import held_out
from charrnn.tasks.stored import encoding_of
from charrnn.words import count

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.checkpoint import Checkpoint


PASSAGES = 3
"""The most features whose best unit is shown on a passage."""


class Passage(NamedTuple):
    """A passage of the text that is shown for a unit."""

    title: str
    column: int
    """The unit's column among all units."""
    where: slice


def passages(read: Activations, features: list[FeatureUnits], column: int | None, length: int) -> list[Passage]:
    """The beginning of the text for a requested unit, else passages where the strongest features vary."""
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


def _passage(read: Activations, column: int, follows: str, where: slice) -> Passage:
    scale = _scale(read, column)
    title = f"Unit {unit_name(*read.name(column))}{follows}, from -{scale:.2f} to {scale:.2f}"
    return Passage(title, column, where)


def _scale(read: Activations, column: int) -> float:
    """The unit's largest absolute activation, which is shown in the strongest blue or red."""
    return float(abs(read.values[:, column]).max())


def shown_of(read: Activations, column: int, where: slice) -> Shown:
    """The passage `where` with the unit's activations, as shares of its largest."""
    begins = [i > 0 and bool(read.sequence[i] != read.sequence[i - 1]) for i in range(where.start, where.stop)]
    values = read.values[where, column] / (_scale(read, column) or 1.0)
    return Shown(read.text[where], begins, [float(value) for value in values])


def notes(report: StatesReport) -> list[str]:
    """Notes on how the text was read."""
    found = []
    if report.total_chars != report.num_chars:
        of = "more" if report.total_chars is None else f"{report.total_chars:,}"
        found.append(f"{report.data}: read the first {report.num_chars:,} characters of {of} (--max-chars)")
    if report.num_oov:
        found.append(f"{count(report.num_oov, 'character')} unknown to the model, read as nothing")
    if steady := [feature.feature for feature in report.features if not feature.units]:
        found.append(f"not varying in both halves of the text: {', '.join(steady)}")
    return found


def print_report(report: StatesReport, read: Activations, shown: list[Passage]) -> None:
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
        print_activations(screen, shown_of(read, passage.column, passage.where))
    if not has_colour(screen):
        screen.print()
        screen.print(sign_words(), soft_wrap=True)


def _rows(feature: FeatureUnits) -> list[tuple[str, ...]]:
    rows = []
    for number, unit in enumerate(feature.units):
        mean = f"{feature.mean:.1%}" if feature.binary else f"{feature.mean:.2f}"
        head = (feature.feature, mean) if number == 0 else ("", "")
        figures = (f"{x:+.3f}" if x is not None else "-" for x in (unit.found, unit.correlation))
        area = "-" if unit.auc is None else f"{unit.auc:.3f}"
        rows.append((*head, unit_name(unit.layer, unit.unit), *figures, area))
    return rows


def unit_name(layer: int, unit: int) -> str:
    return f"{layer}:{unit}"


def beginning(
    found: "Checkpoint", model: "Model", file: str | None, given: tuple[str, ...], most: int
) -> tuple[str, Sequences, int | None]:
    """The text's name, its first `most` characters, and its length, which is None if the rest was not counted."""
    config = model.saved.config
    total: int | None
    if file is None:
        text = held_out(found, found.path.resolve().parent.parent)
        name, total = f"{text.name} part", text.sequences.num_chars
        kept = first_chars(text.sequences, most)
    else:
        name, head = _head(found, file, most + 1)
        is_cut = len(head) > most
        whole = replace(sequences_of(head, config.split, config.separator), open_end=is_cut)
        if not whole.num_chars:
            raise CorpusError(f"{name}: the text is empty; name one with characters in it")
        kept, total = first_chars(whole, most), None if is_cut else whole.num_chars
    if config.columns and (file is not None or given):
        context = model.context(given)
        kept = replace(kept, contexts=np.tile(context, (len(kept), 1)) if context is not None else None)
    elif given:
        model.context(given)  # Raises an error: the model takes no context.
    return name, kept, total


def _head(found: "Checkpoint", file: str, most: int) -> tuple[str, str]:
    """The name and the first `most` characters of a file or of standard input, without reading the rest."""
    encoding = encoding_of(found)
    with workspace(None) as work:
        if file != "-":
            return file, _first(expand([file], work), encoding, most)
        copy = work / "text"
        # No encoding takes more than four bytes a character; reading one more keeps the wanted ones whole.
        copy.write_bytes(sys.stdin.buffer.read(4 * most + 4))
        return STANDARD_INPUT, _first([Source(STANDARD_INPUT, copy)], encoding, most)


def _first(sources: list[Source], encoding: str, most: int) -> str:
    """The first `most` characters of files, with a line end between files."""
    head = ""
    for source in sources:
        if head and not head.endswith("\n"):
            head += "\n"
        for text in TextReader(source, encoding):
            head += text[: most - len(head)]
            if len(head) >= most:
                return head
    return head
