"""`charrnn study gradients`: how far gradients reach back through a network, and the matrices behind it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.decay import draw_decay, print_report
from charrnn.cli.options import (
    checkpoint_option,
    option,
    picture_option,
    run_and_file,
    run_and_file_arguments,
    subcommand,
)
from charrnn.cli.picture import new_figure
from charrnn.cli.progress import Progress, with_time_left
from charrnn.cli.terminal import console, use_utf8, write_json
from charrnn.cli.train_options import one_cell_options
from charrnn.config import CELL_NAMES, MAX_SEED
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.study.through_time import ThroughTime

FRESH = "A model that was not trained, in place of RUN"


@subcommand("gradients")
@run_and_file_arguments
@option(
    "--length",
    type=click.IntRange(1, 100_000),
    show_default="100, less in short texts",
    show_range=False,
    metavar="N",
    help="The longest lag.",
)
@option(
    "--rows",
    type=click.IntRange(1, 10_000),
    show_default="4, fewer in short texts",
    show_range=False,
    metavar="N",
    help="Stretches of the text to measure on; figures are means over them.",
)
@picture_option("the norms and eigenvalues")
@checkpoint_option("Options")
@option("--cell", type=click.Choice(CELL_NAMES), metavar="NAME", group=FRESH, help="Its cell; FILE is its text.")
@option("--hidden-size", type=click.IntRange(1, 65_536), show_default="as trained", show_range=False, metavar="N",
        group=FRESH, help="Units of a layer.")  # fmt: skip
@option("--num-layers", type=click.IntRange(1, 64), show_default="as trained", show_range=False, metavar="N",
        group=FRESH, help="Layers, one above the other.")  # fmt: skip
@option("--transition-depth", type=click.IntRange(1, 64), show_default="1", show_range=False, metavar="N",
        group=FRESH, help="Layers between a step's units and the next step's.")  # fmt: skip
@option("--seed", type=click.IntRange(0, MAX_SEED), show_default="0", show_range=False, metavar="N",
        group=FRESH, help="Of its weights.")  # fmt: skip
@one_cell_options
def command(
    *,
    targets: tuple[str, ...],
    length: int | None,
    rows: int | None,
    picture: Path | None,
    checkpoint: Any,
    cell: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
    **settings: Any,
) -> None:
    """Measure how far gradients reach back through a network.

    For each layer: the norm of dh(T)/ds(t), the Jacobian of an output by the state of each step before, against
    the lag T - t, exact and over real text; the largest singular value of a step's own Jacobian along the text;
    the largest finite-time Lyapunov exponent; the eigenvalues of the recurrent weights. RUN is a model of --task
    generate, FILE a text in place of the part that the run kept for `charrnn eval`. With --cell it is a model
    as training would begin with it, on FILE.

    \b
    Examples:
      charrnn study gradients
      charrnn study gradients plays --length 200 --rows 8
      charrnn study gradients plays other.txt --picture decay.png
      charrnn study gradients --cell tanh --hidden-size 128 plays.txt
      charrnn study gradients --cell leaky --leak-alpha 0:0.99 plays.txt
      charrnn study gradients plays --json | jq '.layers[0].own.norms'
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if picture is not None:
        new_figure()  # Checks for matplotlib before anything is measured.
    from charrnn.training.threads import limit_omp_spinning

    limit_omp_spinning()
    with Progress(quiet=quiet) as progress:
        tell = with_time_left(progress)
        if cell is None:
            if given:
                flag = "--" + next(iter(given)).replace("_", "-")
                raise UsageError(f"{flag} is of a model that was not trained; name its --cell")
            report = _of_run(*run_and_file(targets, checkpoints), checkpoint, checkpoints, rows, length, tell)
        else:
            report = _of_fresh(cell, targets, given, checkpoints, rows, length, tell)
    use_utf8()
    if as_json:
        write_json(report)
    else:
        print_report(console(sys.stdout), report, verbose=verbose)
    if picture is not None:
        draw_decay(picture, report)


def _of_run(
    run: str | None, file: str | None, which: Any, root: Path, rows: int | None, length: int | None, tell: Any
) -> "ThroughTime":
    """Measures a trained model on FILE or on the text that its run held out."""
    from charrnn.checkpoint import resolve_checkpoint
    from charrnn.models.store import load_model
    from charrnn.sampling.scoring import choose_stop
    from charrnn.study.excerpts import excerpts
    from charrnn.study.through_time import require_state, through_time
    from charrnn.tasks.generate.held_out import held_out

    found = resolve_checkpoint(run, root, which)
    saved = load_model(found)
    _or_usage_error(found.run_name, lambda: require_state(saved.model))
    text = held_out(found, found.path.resolve().parent.parent, file=file)
    name = text.name if file is not None else f"the {text.name} split of {found.run_name}"
    measured = excerpts(
        text.sequences,
        saved.vocabulary,
        order=saved.config.order,
        stop=choose_stop(saved.model, None),
        rows=rows,
        length=length,
        name=name,
    )
    return through_time(
        saved.model, saved.params, measured, data=name, run=found.run_name, step=found.step, notify=tell
    )


def _of_fresh(
    cell: str,
    targets: tuple[str, ...],
    settings: dict[str, Any],
    root: Path,
    rows: int | None,
    length: int | None,
    tell: Any,
) -> "ThroughTime":
    """Measures a model as `charrnn train FILE` would initialise it."""
    if len(targets) != 1:
        raise UsageError("--cell needs one FILE, the text that the model that was not trained reads, and no RUN")
    import numpy as np

    from charrnn.config import TrainConfig
    from charrnn.corpus.kept import keep_standard_input
    from charrnn.corpus.sequences import sample_lengths
    from charrnn.models.language_model import LanguageModel
    from charrnn.study.excerpts import excerpts
    from charrnn.study.through_time import require_state, through_time
    from charrnn.tasks.generate.data import load_dataset
    from charrnn.tasks.generate.defaults import resolve
    from charrnn.tasks.generate.train import model_config

    config = TrainConfig(
        corpus=keep_standard_input(targets, root),
        cell=cell,  # type: ignore[arg-type]
        valid_fraction=0.0,
        test_fraction=0.0,
        **{"seed": 0, **settings},
    )
    dataset = load_dataset(config, root)
    model = LanguageModel(model_config(resolve(config, dataset), dataset))
    _or_usage_error(f"--cell {cell}", lambda: require_state(model))
    text = dataset.parts.train
    measured = excerpts(
        text,
        dataset.vocabulary,
        order=dataset.order,
        stop=model.stops[0],
        rows=rows,
        length=length,
        name=targets[0],
    )
    params = model.init(np.random.default_rng(config.seed), sample_lengths(text))
    return through_time(model, params, measured, data=targets[0], notify=tell)


def _or_usage_error(name: str, check: Any) -> None:
    """Raises a ValueError of `check` as a UsageError that begins with `name`."""
    try:
        check()
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
