"""`charrnn study unfold`: the unfolded graph of a recurrent network, drawn."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.options import option, size_options, subcommand
from charrnn.cli.terminal import console, one_blas_thread, print_facts, print_table, use_utf8, write_json
from charrnn.cli.train_options import one_cell_options
from charrnn.config import CELL_NAMES
from charrnn.errors import UsageError
from charrnn.words import count

if TYPE_CHECKING:
    from charrnn.study.drawing import Drawing
    from charrnn.study.unfold import Shared, Unfolded

PASSING = {
    "gate": "the value itself is passed on, as far as a gate lets it",
    "share": "a fixed share of the value itself is passed on",
}


@subcommand("unfold")
@option(
    "--cell", type=click.Choice(CELL_NAMES), default="tanh", show_default=True, metavar="NAME", help="The cell."
)
@option("--steps", type=click.IntRange(1, 100), default=3, show_default=True, metavar="N", help="Time steps.")
@size_options
@one_cell_options("skip_delay", "remove_short", "feedback", "delay_levels")
def command(
    *,
    cell: str,
    steps: int,
    hidden_size: int,
    vocab_size: int,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
    **options: Any,
) -> None:
    """Draw a recurrent network unfolded in time.

    Time runs to the right: x is read, h are the hidden units, c a memory, o the output, L the loss against the
    true y. Edges of one label are one parameter, the same at every step. What depends on what is measured from
    one step of the cell. As many steps are drawn as fit the terminal.

    \b
    Examples:
      charrnn study unfold
      charrnn study unfold --cell lstm
      charrnn study unfold --cell skip --skip-delay 2 --steps 4
      charrnn study unfold --cell output_recurrent --feedback output
      charrnn study unfold --cell gru --json | jq .edges
    """
    one_blas_thread()
    from charrnn.models.language_model import one_layer
    from charrnn.study.drawing import draw
    from charrnn.study.unfold import unfold

    given = {name: value for name, value in options.items() if value is not None}
    try:
        graph = unfold(one_layer(cell, vocab_size, hidden_size, given), steps)
    except ValueError as error:
        raise UsageError(f"--cell {cell}: {error}") from error
    use_utf8()
    if as_json:
        write_json(graph)
        return
    where = console(sys.stdout)
    drawing = draw(graph, where.width)
    for line in drawing.lines:
        where.print(line, soft_wrap=True)
    where.print()
    print_table(where, ("PARAMETER", "SYMBOL", "SHAPE", "USED"), map(_row, graph.parameters))
    if notes := _notes(graph, drawing):
        where.print()
        print_facts(where, notes)


def _row(shared: "Shared") -> tuple[str, ...]:
    shape = " x ".join(map(str, shared.shape))
    used = f"{shared.times} times" if shared.times != 1 else "once"
    return (shared.name, " ".join(shared.symbols), shape, used + ("" if shared.trained else ", fixed"))


def _notes(graph: "Unfolded", drawing: "Drawing") -> list[tuple[str, str]]:
    notes = [
        (word, meaning) for word, meaning in PASSING.items() if any(word == by.passing for by in graph.connections)
    ]
    if any(len(by.symbols) > 2 for by in graph.connections):
        notes.append(("…", "and the parameters of the layers on the way; --json names them"))
    if drawing.steps < graph.steps:
        notes.append(("Note", f"{drawing.steps} of {count(graph.steps, 'step')} fit the terminal; all are alike"))
    reach: dict[tuple[str, str], list[int]] = {}
    for by in drawing.beyond:
        reach.setdefault((by.source, by.target), []).append(by.delay)
    for (source, target), delays in reach.items():
        far = sorted(delays)
        through = f" … {source}(t−{far[-1]})" if len(far) > 1 else ""
        notes.append(
            ("Note", f"{target}(t) also hears {source}(t−{far[0]}){through}, before the first step drawn")
        )
    return notes
