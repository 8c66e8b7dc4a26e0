"""A text with a unit's activation at each character: colours on a terminal, signs elsewhere, or a picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from charrnn.cli.picture import save
from charrnn.cli.terminal import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

WIDTH = 78
"""Columns of a line of text, on a wider terminal too: longer lines are hard to read."""
LINE_END, TAB = "↵", "⇥"
SIGNS = "=- +#"
"""From strongly negative over nearly 0 to strongly positive."""
WEAK, STRONG = 0.2, 0.6
"""Shares of the scale from which an activation gets a sign, and a strong sign."""
NEGATIVE, POSITIVE = (60, 110, 220), (225, 70, 60)
"""Background at −1 and at 1, in red, green and blue; white between."""

PICTURE_CHARS = 80
MOST_PANELS = 24


class Shown(NamedTuple):
    """A passage of N characters to show."""

    text: str
    breaks: Sequence[bool]
    """(N,) whether a sequence begins with the character."""
    values: Sequence[float]
    """(N,) activations, divided by the unit's largest absolute value in the whole text: −1 to 1."""


class _Cell(NamedTuple):
    """A character as it is shown, with its activation."""

    shown: str
    value: float


def has_colour(where: "Console") -> bool:
    return where.color_system is not None and not where.no_color


def print_activations(where: "Console", passage: Shown) -> None:
    """Prints the text, blue behind a character where the unit is negative and red where it is positive.

    Without colour, `SIGNS` are printed under the characters.
    """
    from rich.cells import cell_len
    from rich.style import Style
    from rich.text import Text

    coloured = has_colour(where)
    for line in _lines(passage, min(WIDTH, where.width)):
        shown = Text("".join(cell.shown for cell in line)) if not coloured else Text()
        for cell in line if coloured else []:
            shown.append(cell.shown, Style(color="black", bgcolor=_background(cell.value)))
        where.print(shown, soft_wrap=True)
        if not coloured:
            signs = "".join(_sign(cell.value) * cell_len(cell.shown) for cell in line)
            where.print(Text(signs.rstrip()), soft_wrap=True)


def _lines(passage: Shown, width: int) -> Iterator[list[_Cell]]:
    """The lines of a passage, broken after line ends, before sequences, and where a line is full."""
    from rich.cells import cell_len

    line: list[_Cell] = []
    used = 0
    for character, begins, value in zip(*passage, strict=True):
        cell = _Cell(_look(character), value)
        if line and (begins or used + cell_len(cell.shown) > width):
            yield line
            line, used = [], 0
        line.append(cell)
        used += cell_len(cell.shown)
        if character == "\n":
            yield line
            line, used = [], 0
    if line:
        yield line


def _look(character: str) -> str:
    return {"\n": LINE_END, "\t": TAB}.get(character) or visible(character)


def _sign(value: float) -> str:
    strength = (abs(value) >= WEAK) + (abs(value) >= STRONG)
    return SIGNS[2 - strength if value < 0 else 2 + strength]


def sign_words() -> str:
    """What the signs mean."""
    strong_minus, minus, _, plus, strong_plus = tuple(SIGNS)
    return (
        f"Signs: {strong_minus} below -{STRONG} and {minus} below -{WEAK} of the largest, "
        f"{plus} above {WEAK} and {strong_plus} above {STRONG}"
    )


def _background(value: float) -> str:
    end, strength = (NEGATIVE if value < 0 else POSITIVE), min(1.0, abs(value))
    red, green, blue = (round(255 + (part - 255) * strength) for part in end)
    return f"rgb({red},{green},{blue})"


def draw_activations(
    figure: "Figure", path: Path, passages: "Sequence[tuple[str, Sequence[Shown]]]", names: Sequence[str]
) -> None:
    """Draws heat maps, a row for each named unit and a column for each character, blue negative, red positive.

    passages: titles, and the same text for each unit. Raises UsageError for a file type that matplotlib cannot
    draw, CorpusError if the file cannot be written.
    """
    panels = [
        (title if begin == 0 else "", text[begin : begin + PICTURE_CHARS], begin, units)
        for title, units in passages
        for text in [units[0].text]
        for begin in range(0, len(text), PICTURE_CHARS)
    ][:MOST_PANELS]
    figure.set_size_inches(12.0, len(panels) * (0.75 + 0.22 * len(names)))
    for number, (title, text, begin, units) in enumerate(panels, start=1):
        axes = figure.add_subplot(len(panels), 1, number)
        axes.imshow(
            [shown.values[begin : begin + PICTURE_CHARS] for shown in units],
            cmap="RdBu_r", vmin=-1.0, vmax=1.0, aspect="auto", interpolation="nearest",
        )  # fmt: skip
        # matplotlib would read text between two dollar signs as mathematics.
        labels = [_look(character).replace("$", r"\$") for character in text]
        axes.set_xticks(range(len(labels)), labels, family="monospace", fontsize=8)
        axes.set_xlim(-0.5, PICTURE_CHARS - 0.5)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.tick_params(length=0)
        axes.set_title(title, fontsize=9, loc="left")
    save(figure, path)
