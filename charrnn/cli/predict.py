"""`charrnn predict`: what each line most probably belongs to."""

import sys
from contextlib import nullcontext
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

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
    """Tell what each line most probably belongs to.

    Reads FILE or standard input, a text a line. A model of texts given a column (`charrnn train TABLE --context
    COLUMN`) is turned round by Bayes' rule: how probable each value is, given the text. Prints the likeliest
    values, each with its probability, and the line. A single argument that names a run or checkpoint is RUN,
    otherwise FILE.

    \b
    Examples:
      echo Kowalski | charrnn predict surnames
      charrnn predict surnames people.txt -n 3
      charrnn predict surnames people.txt --json | jq -r .prediction
    """
    one_blas_thread()
    from charrnn.api import load

    run, file = run_and_file(targets, checkpoints)
    model = load(run, checkpoint=checkpoint, checkpoints=checkpoints)
    if verbose and not quiet:
        click.echo(str(model.path), err=True)
    use_utf8()
    write = result_writer()
    with nullcontext(sys.stdin.buffer) if file in (None, "-") else open_text(str(file)) as stream:
        name = STANDARD_INPUT if file in (None, "-") else str(file)
        for texts in read_texts(cast(BufferedReader, stream), name, jsonl=False):
            for found in model.predict(texts, given=given, stop=stop, n=num_best):
                if as_json:
                    write_json(found)
                else:
                    best = "\t".join(f"{c.value}\t{c.probability:.4f}" for c in found.candidates)
                    write(f"{best}\t{found.input}\n")
            sys.stdout.flush()
