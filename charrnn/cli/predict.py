"""`charrnn predict`: what each line most probably is."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from charrnn.cli.alignment import print_alignment
from charrnn.cli.options import (
    checkpoint_option,
    given_option,
    option,
    run_and_file,
    run_and_file_arguments,
    search_of,
    search_options,
    stop_option,
    subcommand,
)
from charrnn.cli.score import STANDARD_INPUT, open_text, read_texts
from charrnn.cli.terminal import console, one_blas_thread, result_writer, use_utf8, write_json
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
@search_options
@option("--attention", is_flag=True, help="Show where the model looked for each symbol that it wrote.")
@checkpoint_option("Options")
def command(
    *,
    targets: tuple[str, ...],
    num_best: int,
    given: tuple[str, ...],
    stop: Any,
    beam: int | None,
    length_penalty: float | None,
    attention: bool,
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
    from charrnn.api import LabelModel, Model, Transducer, load_predictor

    run, file = run_and_file(targets, checkpoints)
    model = load_predictor(run, checkpoint=checkpoint, checkpoints=checkpoints)
    if verbose and not quiet:
        click.echo(str(model.path), err=True)
    predict: Callable[..., Iterator[Prediction]] = model.predict
    searched = beam is not None or length_penalty is not None
    if isinstance(model, Model):
        predict = partial(model.predict, given=given, stop=stop)
    elif isinstance(model, Transducer):
        how = search_of(max(beam or 5, num_best), length_penalty)
        predict = partial(model.predict, given=given, stop=stop, how=how)
    if searched and not isinstance(model, Transducer):
        raise UsageError("--beam and --length-penalty are for models of --task transduce")
    if attention and not (isinstance(model, Transducer) and model.saved.config.decoder.attention):
        raise UsageError("--attention: the model has no attention; --task transduce trains one that has")
    if isinstance(model, LabelModel) and (given or stop is not None):
        raise UsageError("--given and --stop are for models that generate text; this one classifies it")
    use_utf8()
    write, screen = result_writer(), console(sys.stdout)
    with nullcontext(sys.stdin.buffer) if file in (None, "-") else open_text(str(file)) as stream:
        name = STANDARD_INPUT if file in (None, "-") else str(file)
        for texts in read_texts(cast(BufferedReader, stream), name, jsonl=False):
            for found in predict(texts, n=num_best):
                if as_json:
                    write_json(found)
                else:
                    write(plain_line(found))
                    if attention and isinstance(model, Transducer):
                        looked = model.alignment(found, given)
                        if looked is not None:
                            print_alignment(screen, *looked)
            sys.stdout.flush()


def plain_line(found: "Prediction") -> str:
    """Candidates with their probabilities, or a number, and the input, between tabs."""
    best = [field for c in found.candidates for field in (c.value, f"{c.probability:.4f}")]
    return "\t".join([*(best or [f"{found.prediction:.6g}"]), found.input]) + "\n"
