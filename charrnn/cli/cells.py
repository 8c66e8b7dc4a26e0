"""`charrnn cells`: every cell of the registry, what it is for and what it computes."""

import sys
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from charrnn.cli.options import option, subcommand
from charrnn.cli.terminal import console, one_blas_thread, print_table, use_utf8, write_json
from charrnn.config import CELL_NAMES, Option, flag, settings

if TYPE_CHECKING:
    from rich.console import Console

INDENT = 4


class Parameter(msgspec.Struct):
    name: str
    symbol: str
    shape: tuple[int, ...]
    trained: bool


class CellOption(msgspec.Struct):
    name: str
    default: Option
    help: str


class Row(msgspec.Struct):
    name: str
    num_parameters: int
    num_trained: int
    section: str | None
    """A section of *Deep Learning*; None for a cell that is not in the book."""
    paper: str | None
    purpose: str
    equations: tuple[str, ...]
    unfolded: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    options: tuple[CellOption, ...]
    source: str


@subcommand("cells")
@click.argument("name", required=False, type=click.Choice(CELL_NAMES), metavar="[NAME]")
@option(
    "--hidden-size",
    type=click.IntRange(1, 65_536),
    default=384,
    show_default=True,
    metavar="N",
    help="Units of the one layer.",
)
@option(
    "--vocab-size",
    type=click.IntRange(1, 0x110000),
    default=65,
    show_default=True,
    metavar="N",
    help="Characters of the text; EOS comes to them.",
)
def command(
    *,
    name: str | None,
    hidden_size: int,
    vocab_size: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
) -> None:
    """List the recurrent cells, or show one: equations, drawing, options.

    Parameters are those of a whole model of one layer, readout included, and how many of them are trained. A
    source is a section of Goodfellow, Bengio and Courville, Deep Learning, or a paper beyond it. U, W and b are
    the weights of the input, of the state and the biases; -v says where each cell comes from. A drawing shows
    what each step reads: x is the input, h are the units, o the output, and time runs to the right.

    \b
    Examples:
      charrnn cells
      charrnn cells lstm
      charrnn cells --hidden-size 128 --vocab-size 27
      charrnn cells --json | jq -r '.[] | [.name, .num_parameters] | @tsv'
    """
    one_blas_thread()
    rows = [_row(cell, hidden_size, vocab_size) for cell in ([name] if name else CELL_NAMES)]
    use_utf8()
    if as_json:
        write_json(rows[0] if name else rows)
        return
    screen = console(sys.stdout)
    if not name:
        _print_line(screen, "CELL", "PARAMETERS", "TRAINED", "SOURCE")
        for row in rows:
            _print_line(screen, row.name, f"{row.num_parameters:,}", f"{row.num_trained:,}", _place(row))
            _print_below(screen, row.purpose, *row.equations, *([f"Source: {row.source}"] if verbose else ()))
        return
    (row,) = rows
    screen.print(f"{row.name}: {row.purpose}", style="bold")
    _print_below(screen, *row.equations)
    title, *drawing = row.unfolded
    screen.print(f"\n{title}")
    for line in drawing:
        screen.print(" " * INDENT + line, soft_wrap=True)
    screen.print()
    shapes = [
        (part.name, part.symbol, " x ".join(map(str, part.shape)), "" if part.trained else "fixed")
        for part in row.parameters
    ]
    print_table(screen, ("PARAMETER", "SYMBOL", "SHAPE", ""), shapes)
    if row.options:
        formatter = click.HelpFormatter(width=screen.width)
        formatter.indent()
        formatter.write_dl([(flag(o.name), f"{o.help}  [default: {_shown(o.default)}]") for o in row.options])
        screen.print(f"\nOptions of `charrnn train --cell {row.name}`")
        screen.print(formatter.getvalue().rstrip(), soft_wrap=True)
    screen.print(f"\nSource: {row.source}")


def _row(name: str, hidden_size: int, vocab_size: int) -> Row:
    from charrnn.cells import CELLS, option_names
    from charrnn.cells.catalogue import describe, symbol
    from charrnn.models.language_model import GeneratorConfig, LanguageModel

    model = LanguageModel(
        GeneratorConfig(
            cell=name,  # type: ignore[arg-type]
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_layers=1,
            stop=("eos",),
            training_chars=1,
        )
    )
    about = describe(name)
    return Row(
        name=name,
        num_parameters=model.num_parameters,
        num_trained=model.num_parameters - sum(prod(model.shapes[frozen]) for frozen in model.frozen),
        section=about.section,
        paper=about.paper,
        purpose=about.purpose,
        equations=about.equations,
        unfolded=about.unfolded,
        parameters=tuple(
            Parameter(own := key.removeprefix("layers.0."), symbol(name, own), shape, key not in model.frozen)
            for key, shape in model.shapes.items()
        ),
        options=tuple(
            CellOption(option, getattr(CELLS[name], option), settings()[option].help)
            for option in option_names(name)
        ),
        source=about.source,
    )


def _shown(value: Option) -> str:
    """A default as the command line takes it."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else f"{value}"


def _place(row: Row) -> str:
    if row.section is None:
        return row.paper or ""
    return f"{'section' if '.' in row.section else 'chapter'} {row.section}"


def _print_line(screen: "Console", name: str, parameters: str, trained: str, source: str) -> None:
    screen.print(f"{name:<18}{parameters:>12}{trained:>12}  {source}", style="bold", soft_wrap=True)


def _print_below(screen: "Console", *texts: str) -> None:
    from rich.text import Text

    for text in texts:
        for line in Text(text).wrap(screen, max(20, screen.width - INDENT)):
            line.rstrip()
            screen.print(Text(" " * INDENT) + line, soft_wrap=True)
