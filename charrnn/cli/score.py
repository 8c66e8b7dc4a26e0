"""`charrnn score`: the exact log-likelihood of each line."""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
import msgspec

from charrnn.cli.options import (
    checkpoint_option,
    given_option,
    option,
    run_and_file,
    run_and_file_arguments,
    stop_option,
    subcommand,
)
from charrnn.cli.terminal import is_animated, note, one_blas_thread, result_writer, use_utf8, visible, write_json
from charrnn.errors import CorpusError
from charrnn.words import count

if TYPE_CHECKING:
    from charrnn.sampling.scoring import Score

CHUNK_BYTES = 1 << 16
STANDARD_INPUT = "standard input"


class _Line(msgspec.Struct):
    text: str


@subcommand("score")
@run_and_file_arguments
@option("--jsonl", is_flag=True, help="Score the `text` of JSON lines, as `charrnn sample --json` writes them.")
@stop_option(
    "Options", "How a text ends, of a model with several ways; by default its first of eos, halt, length."
)
@given_option("Options")
@checkpoint_option("Options")
def command(
    *,
    targets: tuple[str, ...],
    jsonl: bool,
    stop: Any,
    given: tuple[str, ...],
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
    or checkpoint is RUN, otherwise FILE.

    \b
    Examples:
      charrnn score words.txt
      charrnn score names words.txt | sort -n | head
      tail -f app.log | charrnn score logs --json
      charrnn sample names -n 100 --json | charrnn score names --jsonl
    """
    one_blas_thread()
    from charrnn.api import load_text

    run, file = run_and_file(targets, checkpoints)
    model = load_text(run, checkpoint=checkpoint, checkpoints=checkpoints)
    if verbose and not quiet:
        note(str(model.path))
    use_utf8()
    marked = is_animated(sys.stdout) and "NO_COLOR" not in os.environ
    write = sys.stdout.write if marked else result_writer()
    unknown = 0
    with nullcontext(sys.stdin.buffer) if file in (None, "-") else open_text(str(file)) as stream:
        name = STANDARD_INPUT if file in (None, "-") else str(file)
        for texts in read_texts(cast(BufferedReader, stream), name, jsonl=jsonl):
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


def read_texts(stream: BufferedReader, name: str, *, jsonl: bool) -> Iterator[list[str]]:
    """Yields the lines of a stream, as many together as have arrived. A line ends at LF or CRLF.

    Raises CorpusError for a line that is not UTF-8 or, with `jsonl`, not a JSON object with a text, after it has
    yielded the lines before.
    """
    number = 0
    for lines in _lines(stream):
        texts: list[str] = []
        for line in lines:
            number += 1
            try:
                texts.append(msgspec.json.decode(line, type=_Line).text if jsonl else line.decode())
            except (UnicodeDecodeError, msgspec.MsgspecError) as error:
                yield texts
                wanted = "a JSON object with a `text`" if jsonl else "UTF-8"
                raise CorpusError(f"{name}, line {number}: not {wanted}: {error}") from error
        yield texts


def _lines(stream: BufferedReader) -> Iterator[list[bytes]]:
    begun: list[bytes] = []
    while data := stream.read1(CHUNK_BYTES):
        first, *others = data.split(b"\n")
        begun.append(first)
        if others:
            whole = [b"".join(begun), *others[:-1]]
            begun = [others[-1]]
            yield [line.removesuffix(b"\r") for line in whole]
    if last := b"".join(begun):
        yield [last]


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


def open_text(path: str) -> BufferedReader:
    """Opens a file for reading. Raises CorpusError if that fails."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}; name a text file, or a run") from error
