"""`charrnn score`: the exact log-likelihood of each line."""

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.options import (
    checkpoint_option,
    encoding_option,
    given_option,
    option,
    run_and_file,
    run_and_file_arguments,
    stop_option,
    subcommand,
)
from charrnn.cli.terminal import is_animated, note, one_blas_thread, result_writer, use_utf8, visible, write_json
from charrnn.corpus.readers import STANDARD_INPUT as STANDARD_INPUT
from charrnn.words import count

if TYPE_CHECKING:
    from charrnn.sampling.scoring import Score


@subcommand("score")
@run_and_file_arguments
@option("--jsonl", is_flag=True, help="Score the `text` of JSON lines, as `charrnn sample --json` writes them.")
@stop_option(
    "Options", "How a text ends, of a model with several ways; by default its first of eos, halt, length."
)
@given_option("Options")
@encoding_option
@checkpoint_option("Options")
def command(
    *,
    targets: tuple[str, ...],
    jsonl: bool,
    stop: Any,
    given: tuple[str, ...],
    encoding: str | None,
    checkpoint: Any,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
) -> None:
    """Print the exact log-likelihood of each line.

    Reads FILE or standard input. Every line, also an empty one, is a whole text for the model, read from its
    initial state, and given what --given says if the model is conditioned. Prints for each the natural logarithm
    of its probability, ending included, its bits per character, and the line. A single argument that names a run
    or checkpoint is RUN, otherwise FILE. Lines are read in the encoding of the run's corpus, JSON lines in UTF-8.

    \b
    Examples:
      charrnn score words.txt
      charrnn score names words.txt | sort -n | head
      tail -f app.log | charrnn score logs --json
      charrnn sample names -n 100 --json | charrnn score names --jsonl
    """
    one_blas_thread()
    from charrnn.api import load_text
    from charrnn.cli.prompt import lines_for

    run, file = run_and_file(targets, checkpoints)
    model = load_text(run, checkpoint=checkpoint, checkpoints=checkpoints)
    if verbose and not quiet:
        note(str(model.path))
    use_utf8()
    marked = is_animated(sys.stdout) and "NO_COLOR" not in os.environ
    write = sys.stdout.write if marked else result_writer()
    unknown = 0
    for texts in lines_for(model.path, file, encoding, jsonl=jsonl, quiet=quiet):
        for score in model.score(texts, stop, given):
            unknown += score.num_oov
            if as_json:
                write_json(score)
            else:
                write(plain_line(score, marked=marked))
        sys.stdout.flush()
    if unknown and not quiet:
        cost = math.log(model.saved.model.config.training_chars + 1)
        note(
            f"{count(unknown, 'character')} unknown to the model, at ln(training characters + 1) = {cost:.2f} "
            "nats each"
        )


def plain_line(score: "Score", *, marked: bool) -> str:
    """Log-likelihood in nats, bits per character, text; highlights the least expected character if `marked`."""
    bits = "-" if score.bits_per_char is None else f"{score.bits_per_char:.4f}"
    text = _one_line(score.text)
    if marked and score.worst:
        at = score.worst[0].index
        before, worst, after = (
            _one_line(part) for part in (score.text[:at], score.text[at], score.text[at + 1 :])
        )
        text = visible(before) + click.style(visible(worst), reverse=True) + visible(after)
    return f"{-score.nll:.4f}\t{bits}\t{text}\n"


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")
