"""`charrnn predict`: what each line most probably is."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from charrnn.cli.options import (
    checkpoint_option,
    given_option,
    option,
    run_and_file,
    run_and_file_arguments,
    stop_option,
    subcommand,
)
from charrnn.cli.score import STANDARD_INPUT, open_text, read_texts
from charrnn.cli.terminal import one_blas_thread, result_writer, use_utf8, write_json
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.sampling.prediction import Prediction


@subcommand("predict")
@run_and_file_arguments
@option("-n", "--num-best", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Candidates.")
@given_option("Options")
@stop_option(
    "Options", "How a text ends, of a model with several ways; by default its first of eos, halt, length."
)
@checkpoint_option("Options")
def command(
    *,
    targets: tuple[str, ...],
    num_best: int,
    given: tuple[str, ...],
    stop: Any,
    checkpoint: Any,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
) -> None:
    """Tell what each line most probably is.

    Reads FILE or standard input, a text a line. A model of --task classify prints the likeliest labels, each with
    its probability, or a number, and the line. A model of texts given a column (`charrnn train TABLE --context
    COLUMN`) is turned round by Bayes' rule: how probable each value is, given the text. A single argument that
    names a run or checkpoint is RUN, otherwise FILE.

    \b
    Examples:
      echo Kowalski | charrnn predict surnames
      charrnn predict surnames people.txt -n 3
      charrnn predict surnames people.txt --json | jq -r .prediction
    """
    one_blas_thread()
    from charrnn.api import Model, load_predictor

    run, file = run_and_file(targets, checkpoints)
    model = load_predictor(run, checkpoint=checkpoint, checkpoints=checkpoints)
    if verbose and not quiet:
        click.echo(str(model.path), err=True)
    predict: Callable[..., Iterator[Prediction]] = model.predict
    if isinstance(model, Model):
        predict = partial(model.predict, given=given, stop=stop)
    elif given or stop is not None:
        raise UsageError("--given and --stop are for models that generate text; this one classifies it")
    use_utf8()
    write = result_writer()
    with nullcontext(sys.stdin.buffer) if file in (None, "-") else open_text(str(file)) as stream:
        name = STANDARD_INPUT if file in (None, "-") else str(file)
        for texts in read_texts(cast(BufferedReader, stream), name, jsonl=False):
            for found in predict(texts, n=num_best):
                if as_json:
                    write_json(found)
                else:
                    write(plain_line(found))
            sys.stdout.flush()


def plain_line(found: "Prediction") -> str:
    """Candidates with their probabilities, or a number, and the input, between tabs."""
    best = [field for c in found.candidates for field in (c.value, f"{c.probability:.4f}")]
    return "\t".join([*(best or [f"{found.prediction:.6g}"]), found.input]) + "\n"
