"""`charrnn study listops`: expressions to train and test recursive networks on."""

import sys
from pathlib import Path
from typing import Any

import click

from charrnn.cli.options import Number, option, subcommand
from charrnn.cli.progress import Progress
from charrnn.cli.terminal import write_json
from charrnn.config import MAX_SEED
from charrnn.errors import CorpusError, UsageError

OPERATORS = "MAX,MIN,MED,SM,FIRST,LAST"


@subcommand("listops")
@option(
    "-n", "--number", type=click.IntRange(1), default=1000, show_default=True, metavar="N", help="Expressions."
)
@option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    show_range=False,
    metavar="N",
    help="The same seed, the same expressions.",
)
@option(
    "--operators",
    default=OPERATORS,
    show_default=True,
    metavar="NAME,...",
    help="MED is the median, SM the sum modulo 10.",
)
@option(
    "--max-depth",
    type=click.IntRange(1, 100),
    default=20,
    show_default=True,
    metavar="N",
    help="Lists within one another.",
)
@option(
    "--max-args",
    type=click.IntRange(2, 100),
    default=5,
    show_default=True,
    metavar="N",
    help="Arguments of a list, which has at least two.",
)
@option(
    "--nesting",
    type=Number(0, 1, max_open=True),
    default=0.25,
    show_default=True,
    show_range=False,
    metavar="X",
    help="Probability that an argument is a list.",
)
@option(
    "--min-symbols",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Only expressions of at least so many digits, operators and ends.",
)
@option(
    "--max-symbols", type=click.IntRange(4), default=1000, show_default=True, metavar="N", help="At most so many."
)
@option(
    "--brackets",
    type=click.Choice(["pairs", "lists", "random"]),
    default="pairs",
    show_default=True,
    help="Two things in each pair, a whole list, or a tree drawn at random over the same symbols.",
)
@option(
    "--exclude",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Leave out expressions of this file (after the last tab of a line), whatever their brackets.",
)
def command(
    *,
    number: int,
    seed: int,
    operators: str,
    max_depth: int,
    max_args: int,
    nesting: float,
    min_symbols: int,
    max_symbols: int,
    brackets: Any,
    exclude: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
) -> None:
    """Make ListOps expressions to train recursive networks on.

    They are operators on lists of digits, and of lists. Prints a value and an expression a line, between them a
    tab, no two alike: what `charrnn train --task tree` reads. As Nangia and Bowman 2018 describe them, with FIRST
    and LAST, which public sets have. The same seed gives the same expressions in any brackets.

    \b
    Examples:
      charrnn study listops -n 90000 > lists.tsv
      charrnn train lists.tsv --task tree --label-column 1:category
      charrnn study listops -n 500 --min-symbols 101 --exclude lists.tsv
      charrnn study listops -n 90000 --brackets random > random.tsv
      charrnn study listops -n 9 --operators MAX,MIN --max-args 3 --json
    """
    from charrnn.study.listops import OPERATORS as KNOWN
    from charrnn.study.listops import ListOps, rows

    names = tuple(operators.split(","))
    if unknown := [name for name in names if name not in KNOWN]:
        raise UsageError(f"--operators {unknown[0]!r}: expected some of {', '.join(KNOWN)}")
    if min_symbols > max_symbols:
        raise UsageError(f"--min-symbols {min_symbols} is more than the {max_symbols} of --max-symbols")
    source = ListOps(operators=names, max_depth=max_depth, max_args=max_args, nesting=nesting)
    known = set() if exclude is None else _expressions(exclude)
    found = rows(
        source, number, seed, brackets=brackets, min_symbols=min_symbols, max_symbols=max_symbols, exclude=known
    )
    written = 0
    with Progress(quiet=quiet) as progress:
        for value, text in found:
            if as_json:
                write_json({"value": value, "expression": text})
            else:
                sys.stdout.write(f"{value}\t{text}\n")
            written += 1
            if written % 1000 == 0:
                progress("making expressions", written / number)
    if written < number:
        raise UsageError(
            f"{written:,} of {number:,} expressions: there are hardly more of such; allow for more operators, "
            "arguments, depth or symbols"
        )


def _expressions(path: Path) -> set[str]:
    try:
        with path.open(encoding="utf-8") as file:
            return {line.rstrip("\r\n").rpartition("\t")[2] for line in file}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise CorpusError(f"{path}: cannot be read: {reason}") from error
