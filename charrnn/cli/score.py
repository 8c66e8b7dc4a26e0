"""`charrnn score`: the exact log-likelihood of each text."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.options import (
    Number,
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
from charrnn.config import SPLIT_NAMES, SplitName
from charrnn.corpus.readers import STANDARD_INPUT as STANDARD_INPUT
from charrnn.words import bits, count

if TYPE_CHECKING:
    from charrnn.api import Model
    from charrnn.sampling.scoring import Score

TOGETHER = 1024
"""Texts that are scored together."""


@subcommand("score")
@run_and_file_arguments
@option("--jsonl", is_flag=True, help="Score the `text` of JSON lines, as `charrnn sample --json` writes them.")
@option(
    "--split",
    type=click.Choice(SPLIT_NAMES),
    show_default="as the run did; with --prompt, line",
    help="What a text of FILE is.",
)
@option(
    "--prompt",
    metavar="TEXT|@FILE|-",
    default="",
    help="What stands before every text: it is read, but not charged, so a score is that of going on so.",
)
@option(
    "--chars",
    is_flag=True,
    help="A line for each character, then for the end, and an empty line after each text; `nats` in --json.",
)
@option(
    "--max-bits-per-char", type=Number(0), metavar="X", help="Print only texts that need no more: the usual ones."
)
@option(
    "--min-bits-per-char", type=Number(0), metavar="X", help="Print only texts that need no less: the odd ones."
)
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
    split: Any,
    prompt: str,
    chars: bool,
    max_bits_per_char: float | None,
    min_bits_per_char: float | None,
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
    initial state, and given what --given says if the model is conditioned; if the run read paragraphs or whole
    files, those are the texts. Prints for each the natural logarithm of its probability, ending included, its
    bits per character (an empty text needs infinitely many), and the text. A single argument that names a run or
    checkpoint is RUN, otherwise FILE. Text is read in the encoding of the run's corpus, JSON lines in UTF-8.

    \b
    Examples:
      charrnn score words.txt
      charrnn score names words.txt | sort -n | head
      tail -f app.log | charrnn score logs --min-bits-per-char 1.5
      charrnn score logs odd.log --chars
      charrnn score plays replies.txt --prompt "ROMEO:"
      charrnn sample names -n 100 --json | charrnn score names --jsonl
    """
    run, file = run_and_file(targets, checkpoints)
    if jsonl and split is not None:
        raise click.UsageError("--jsonl reads a text a line and --split cuts a plain file; give one of them")
    if prompt == "-" and file in (None, "-"):
        raise click.UsageError("--prompt - and the texts are both standard input; name a FILE of texts")
    one_blas_thread()
    from charrnn.api import load_text
    from charrnn.cli.prompt import encoding_for, lines_for, read_prompt

    model = load_text(run, checkpoint=checkpoint, checkpoints=checkpoints)
    if verbose and not quiet:
        note(str(model.path))
    prompt = read_prompt(prompt, model.saved.vocabulary.symbols, encoding_for(model.path))
    use_utf8()
    marked = not chars and is_animated(sys.stdout) and "NO_COLOR" not in os.environ
    write = sys.stdout.write if marked else result_writer()
    fewest, most = min_bits_per_char or 0.0, math.inf if max_bits_per_char is None else max_bits_per_char
    of_run = model.saved.config.split
    if jsonl or (split or ("line" if prompt else of_run)) == "line":
        batches = lines_for(model.path, file, encoding, jsonl=jsonl, quiet=quiet)
    else:
        if split is None and not quiet:
            note(f"the text is split by {of_run}, as in the run (--split)")
        batches = texts_in(file, model, split or of_run, encoding, quiet=quiet)
    unknown, advice = 0, None
    for texts in batches:
        for score in model.score(texts, stop, given, prompt):
            unknown += score.num_oov
            if score.num_oov and advice is None:
                advice = model.saved.vocabulary.other_form(score.text)
            if not fewest <= (math.inf if score.bits_per_char is None else score.bits_per_char) <= most:
                continue
            if as_json:
                write_json({name: value for name, value in vars(score).items() if chars or name != "nats"})
            else:
                write(lines_of_chars(score) if chars else plain_line(score, marked=marked))
        sys.stdout.flush()
    if unknown and not quiet:
        cost = math.log(model.saved.model.config.training_chars + 1)
        note(
            f"{count(unknown, 'character')} unknown to the model, at ln(training characters + 1) = {cost:.2f} "
            "nats each" + ("" if advice is None else f"; {advice}")
        )


def texts_in(
    file: str | None, model: "Model", split: SplitName, encoding: str | None, *, quiet: bool
) -> Iterator[list[str]]:
    """The texts of a file or of standard input, split as `charrnn eval` does; notes go to stderr."""
    from charrnn.cli.prompt import encoding_for
    from charrnn.corpus.encoded import encode

    decoded = encoding_for(model.path, encoding)
    corpus = encode([file or "-"], split=split, mark=model.saved.config.separator, encoding=decoded)
    for line in () if quiet else corpus.notes:
        note(line)
    for first in range(0, len(corpus.sequences), TOGETHER):
        yield [corpus.sequences.get(i) for i in range(len(corpus.sequences))[first : first + TOGETHER]]


def lines_of_chars(score: "Score") -> str:
    """Log-likelihood, bits and character, a line each, the same of the end, and an empty line."""
    costs = zip(score.nats, [*map(_one_line, score.text), "(end)"], strict=True)
    return "".join(f"{-nats:.4f}\t{bits(nats):.4f}\t{symbol}\n" for nats, symbol in costs) + "\n"


def plain_line(score: "Score", *, marked: bool) -> str:
    """Log-likelihood in nats, bits per character, text; highlights the least expected character if `marked`."""
    cost = "-" if score.bits_per_char is None else f"{score.bits_per_char:.4f}"
    text = _one_line(score.text)
    if marked and score.worst:
        at = score.worst[0].index
        before, worst, after = (
            _one_line(part) for part in (score.text[:at], score.text[at], score.text[at + 1 :])
        )
        text = visible(before) + click.style(visible(worst), reverse=True) + visible(after)
    return f"{-score.nll:.4f}\t{cost}\t{text}\n"


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")
