"""`charrnn cells`: every cell of the registry, what it is for and what it computes."""

import sys
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from charrnn.cli.options import size_options, subcommand
from charrnn.cli.terminal import console, one_blas_thread, use_utf8, write_json
from charrnn.config import CELL_NAMES

if TYPE_CHECKING:
    from rich.console import Console

INDENT = 4


class Row(msgspec.Struct):
    name: str
    num_parameters: int
    num_trained: int
    section: str | None
    """A section of *Deep Learning*; None for a cell that is not in the book."""
    paper: str | None
    purpose: str
    equations: tuple[str, ...]
    source: str


@subcommand("cells")
@size_options
def command(
    *, hidden_size: int, vocab_size: int, as_json: bool, quiet: bool, verbose: bool, checkpoints: Path
) -> None:
    """List the recurrent cells, their equations and sizes.

    Parameters are those of a whole model of one layer, readout included, and how many of them are trained. A
    source is a section of Goodfellow, Bengio and Courville, Deep Learning, or a paper beyond it. U, W and b are
    the weights of the input, of the state and the biases; -v tells where each cell comes from.

    \b
    Examples:
      charrnn cells
      charrnn cells --hidden-size 128 --vocab-size 27
      charrnn cells --json | jq -r '.[] | [.name, .num_parameters] | @tsv'
    """
    one_blas_thread()
    rows = [_row(name, hidden_size, vocab_size) for name in CELL_NAMES]
    use_utf8()
    if as_json:
        write_json(rows)
        return
    where = console(sys.stdout)
    _print_line(where, "CELL", "PARAMETERS", "TRAINED", "SOURCE")
    for row in rows:
        _print_line(where, row.name, f"{row.num_parameters:,}", f"{row.num_trained:,}", _place(row))
        for text in (row.purpose, *row.equations, *((f"Source: {row.source}",) if verbose else ())):
            _print_below(where, text)


def _row(name: str, hidden_size: int, vocab_size: int) -> Row:
    from charrnn.cells.catalogue import describe
    from charrnn.models.language_model import one_layer

    model, about = one_layer(name, vocab_size, hidden_size), describe(name)
    return Row(
        name=name,
        num_parameters=model.num_parameters,
        num_trained=model.num_parameters - sum(prod(model.shapes[frozen]) for frozen in model.frozen),
        section=about.section,
        paper=about.paper,
        purpose=about.purpose,
        equations=about.equations,
        source=about.source,
    )


def _place(row: Row) -> str:
    if row.section is None:
        return row.paper or ""
    return f"{'section' if '.' in row.section else 'chapter'} {row.section}"


def _print_line(where: "Console", name: str, parameters: str, trained: str, source: str) -> None:
    where.print(f"{name:<18}{parameters:>12}{trained:>12}  {source}", style="bold", soft_wrap=True)


def _print_below(where: "Console", text: str) -> None:
    from rich.text import Text

    for line in Text(text).wrap(where, max(20, where.width - INDENT)):
        line.rstrip()
        where.print(Text(" " * INDENT) + line, soft_wrap=True)
