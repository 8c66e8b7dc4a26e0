"""Attacks charrnn and prints what held: `python tests/attacks kills --tries 500`, or `all`.

Each attack is a module of this folder with a function `attack`. A failure is printed with what makes it happen
again, and the exit code is 1.
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path

import click

sys.path[:0] = [str(Path(__file__).parent.parent)]

from report import Table  # noqa: E402

TRIES = {
    "kills": 505,
    "disks": 200,
    "power": 200,
    "tampering": 57_000,
    "readers": 10_000,
    "starts": 20,
    "changes": 50,
    "terminals": 100,
    "interrupts": 74,
}
"""How often each attack is made when nobody says."""


@click.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice(["all", *TRIES]), metavar="ATTACK...")
@click.option("--tries", type=click.IntRange(1), help="How often each is made (default: a number for each).")
@click.option("--seed", type=int, default=0, show_default=True)
def main(names: tuple[str, ...], tries: int | None, seed: int) -> None:
    """Attack charrnn and print what held."""
    table = Table()
    for name in TRIES if "all" in names else names:
        with tempfile.TemporaryDirectory() as folder:
            table.add(import_module(name).attack(tries or TRIES[name], seed, Path(folder)))
    click.echo("\n".join(table.lines()))
    sys.exit(1 if table.num_failures else 0)


main()
