"""Where a model looked in its input for each symbol that it wrote, as shades on a terminal."""

from typing import TYPE_CHECKING

from charrnn.cli.terminal import visible

if TYPE_CHECKING:
    import numpy.typing as npt
    from rich.console import Console

SHADES = " ░▒▓█"


def print_alignment(where: "Console", source: list[str], target: list[str], weights: "npt.NDArray") -> None:  # type: ignore[type-arg]
    """A row for each symbol written, a column for each one read: the darker, the more of (T, S) lies there."""
    from rich.cells import cell_len
    from rich.text import Text

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
