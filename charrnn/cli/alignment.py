"""A model's attention on its input for each symbol that it wrote: shades on a terminal, or a picture."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.picture import new_figure, save
from charrnn.cli.terminal import visible

if TYPE_CHECKING:
    from rich.console import Console

    from charrnn.tasks.transduce.predict import Alignment

SHADES = " ░▒▓█"
MOST_PANELS = 12
"""The most inputs in a picture."""


def print_alignment(where: "Console", alignment: "Alignment") -> None:
    """Prints a row for each symbol written, a column for each symbol read: darker shades are larger weights."""
    from rich.cells import cell_len
    from rich.text import Text

    source, target, weights = alignment
    left = max([cell_len(visible(symbol)) for symbol in target] + [1]) + 1
    widths = [max(2, cell_len(visible(symbol)) + 1) for symbol in source]
    heads = "".join(
        visible(symbol) + " " * (w - cell_len(visible(symbol))) for symbol, w in zip(source, widths, strict=True)
    )
    where.print(Text(" " * left + heads), no_wrap=True, overflow="ellipsis")
    for symbol, row in zip(target, weights, strict=True):
        shown = visible(symbol)
        cells = "".join(_shade(float(x)) * (w - 1) + " " for x, w in zip(row, widths, strict=True))
        where.print(Text(shown + " " * (left - cell_len(shown)) + cells), no_wrap=True, overflow="ellipsis")


def _shade(weight: float) -> str:
    return SHADES[min(len(SHADES) - 1, int(weight * len(SHADES)))]


def draw_alignments(path: Path, alignments: "list[Alignment]") -> None:
    """Draws a panel for each alignment: rows are symbols written, columns symbols read. Raises like `picture`."""
    columns = min(3, max(1, len(alignments)))
    rows = max(1, math.ceil(len(alignments) / columns))
    figure = new_figure(figsize=(4.0 * columns, 3.6 * rows))
    for number, (source, target, weights) in enumerate(alignments, start=1):
        axes = figure.add_subplot(rows, columns, number)
        axes.imshow(weights, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
        axes.set_xticks(range(len(source)), [visible(symbol) for symbol in source])
        axes.set_yticks(range(len(target)), [visible(symbol) for symbol in target])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
    save(figure, path)
