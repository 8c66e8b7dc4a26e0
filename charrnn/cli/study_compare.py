"""`charrnn study compare`: designs side by side on one text, at equal time."""

import shlex
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

import click

from charrnn.cli.options import option, subcommand
from charrnn.cli.progress import Progress
from charrnn.cli.signals import StopSignals
from charrnn.cli.terminal import console, print_table, use_utf8, write_json
from charrnn.config import CELL_NAMES
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.config import TrainConfig
    from charrnn.study.compare import Compared

DEPTHS = {
    "wide": "",
    "deep input": "--input-depth 2",
    "deep transition": "--transition-depth 2",
    "deep output": "--output-depth 2",
    "stacked": "--num-layers 2",
}
"""The places where section 10.5 of *Deep Learning* makes a recurrent network deep; `wide` is deep in none."""


@subcommand("compare")
@click.argument("corpus", type=click.Path(), metavar="CORPUS")
@click.argument("train_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- TRAIN_OPTIONS]")
@option(
    "--what",
    type=click.Choice(["cells", "depth"]),
    default="cells",
    show_default=True,
    help="Every cell with its defaults, or one cell made deep in each place, at equal size.",
)
@option("--cell", "cells", multiple=True, metavar="NAME", help="Only these cells; repeat it.")
@option(
    "--variant",
    "variants",
    multiple=True,
    metavar="'LABEL: OPTIONS'",
    help="Another design, as options of `charrnn train`; repeat it, in place of --what.",
)
@option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=3.0,
    show_default=True,
    metavar="X",
    help="Training time of each run; --steps or --epochs among TRAIN_OPTIONS replace it.",
)
@option("--seeds", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Runs of each design.")
@option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs at a time, of one thread each if more than one.",
)
@option("--equal-size", is_flag=True, help="As many parameters as the first design, within 5 %.")
def command(
    *,
    corpus: str,
    train_options: tuple[str, ...],
    what: str,
    cells: tuple[str, ...],
    variants: tuple[str, ...],
    minutes: float,
    seeds: int,
    jobs: int,
    equal_size: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
) -> None:
    """Train designs on one text for the same time, and compare them.

    Each is trained by `charrnn train` with its defaults and TRAIN_OPTIONS, and measured by a full pass over the
    held-out text. The runs stay under ./checkpoints; a comparison that was interrupted goes on where it stopped.

    \b
    Examples:
      charrnn study compare plays.txt
      charrnn study compare plays.txt --cell tanh --cell lstm --minutes 1 --jobs 2
      charrnn study compare plays.txt --what depth --cell tanh --seeds 3
      charrnn study compare names.txt --variant 'one: --stop halt'
      charrnn study compare plays.txt -- --split file --stop none
    """
    from charrnn.cli.train import check_there
    from charrnn.study.compare import Compared, compare

    check_there([corpus])
    common = [*train_options, *(["--threads", "1"] if jobs > 1 else [])]
    if not {"--steps", "--epochs"} & set(train_options):
        common += ["--minutes", f"{minutes:g}"]
    chosen = _designs(what, cells, variants)
    designs = {label: _config(corpus, [*common, *options]) for label, options in chosen}
    if len(designs) < len(chosen):
        raise UsageError("two variants have one name")
    if equal_size or (what == "depth" and not variants):
        designs = _equally_large(designs, checkpoints)
    results: list[Compared] = []
    with StopSignals() as signals, Progress(quiet=quiet) as progress:
        try:
            for found in compare(designs, range(1, seeds + 1), checkpoints, jobs=jobs, notify=progress):
                results.append(found)
                loss = "diverged" if found.loss is None else f"{found.loss:.4f} nats/char"
                progress.say(f"{found.label}, seed {found.seed}: {loss}")
        except SystemExit:
            if signals.number is not None:
                progress.say("interrupted: the runs are kept, and the same command goes on with them")
            raise
    use_utf8()
    if as_json:
        write_json(results)
    else:
        _print(results)


def _designs(what: str, cells: tuple[str, ...], variants: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    """The label and the options for `charrnn train` of each design."""
    for cell in cells:
        if cell not in CELL_NAMES:
            raise UsageError(f"--cell {cell}: there are {', '.join(CELL_NAMES)}")
    if variants:
        named = [text.partition(":") for text in variants]
        return [(label.strip(), shlex.split(options)) for label, _, options in named]
    if what == "depth":
        return [
            (label if len(cells) < 2 else f"{cell} {label}", ["--cell", cell, *shlex.split(options)])
            for cell in cells or ("tanh",)
            for label, options in DEPTHS.items()
        ]
    return [(cell, ["--cell", cell]) for cell in cells or CELL_NAMES]


def _config(corpus: str, options: list[str]) -> "TrainConfig":
    """The configuration that `charrnn train` would make of these options."""
    from charrnn.api import train_config
    from charrnn.cli.train import command as train
    from charrnn.cli.train_options import given_settings

    parent = click.get_current_context().find_root()  # It holds the names of --help, which click caches.
    given = given_settings(train.make_context("train", [corpus, *options], parent), None)
    return train_config(checkpoints=click.get_current_context().params["checkpoints"], **given)


def _equally_large(designs: "dict[str, TrainConfig]", root: Path) -> "dict[str, TrainConfig]":
    """The designs, each with the hidden size that gives it as many parameters as the first."""
    from dataclasses import replace

    from charrnn.models.language_model import LanguageModel
    from charrnn.study.compare import equal_hidden_size
    from charrnn.tasks.generate.data import load_dataset
    from charrnn.tasks.generate.defaults import resolve
    from charrnn.tasks.generate.train import model_config

    first = replace(next(iter(designs.values())), seed=1)
    dataset = load_dataset(first, root)
    target = LanguageModel(model_config(resolve(first, dataset), dataset)).num_parameters
    return {
        label: replace(config, hidden_size=equal_hidden_size(config, dataset, target))
        for label, config in designs.items()
    }


def _print(results: "list[Compared]") -> None:
    """Prints a line for each design, the best first; for several seeds means, and the spread of the losses."""
    by_label: dict[str, list[Compared]] = defaultdict(list)
    for result in results:
        by_label[result.label].append(result)
    rows = sorted(by_label.items(), key=lambda item: min((r.loss for r in item[1] if r.loss), default=99.0))
    heads = ("DESIGN", "PARAMETERS", "CHARS/S", "EPOCHS", "NATS/CHAR")
    print_table(console(sys.stdout), heads, [_row(label, runs) for label, runs in rows])


def _row(label: str, runs: "list[Compared]") -> tuple[str, ...]:
    done = [run for run in runs if run.loss is not None]
    if not done:
        return (label, "-", "-", "-", "diverged")
    losses = [run.loss for run in done if run.loss is not None]
    spread = f" ± {stdev(losses):.4f}" if len(losses) > 1 else ""
    failed = f" ({len(runs) - len(done)} diverged)" if len(done) < len(runs) else ""
    return (
        label,
        f"{done[0].parameters:,}",
        f"{mean(run.chars_per_second or 0.0 for run in done):,.0f}",
        f"{mean(run.epochs or 0.0 for run in done):.1f}",
        f"{mean(losses):.4f}{spread}{failed}",
    )
