"""`charrnn sample`: draw text from a model."""

import math
import re
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from charrnn.cli.options import (
    Number,
    checkpoint_option,
    given_option,
    option,
    run_argument,
    stop_option,
    subcommand,
)
from charrnn.cli.selection import NOVEL_SPAN
from charrnn.cli.terminal import is_terminal, note, one_blas_thread, result_writer, use_utf8, write_json
from charrnn.config import MAX_SEED
from charrnn.errors import CorpusError, FewerTextsError
from charrnn.words import count

if TYPE_CHECKING:
    from charrnn.api import Sample

WHAT, HOW, KEPT = "What to draw", "How to draw", "Which samples to keep"
MAX_CHARS = 20_000

OF_DRAWS = (
    *("prompts", "num_chars", "until", "max_words", "seed", "temperature", "top_k", "top_p", "min_p"),
    *("unique", "novel", "novel_span", "min_chars", "match"),
)
"""Options that a search for the likeliest texts has no use for."""

FLUSH_SECONDS = 0.02
"""Seconds between writes of text that is read while it is drawn."""


def _pattern(ctx: click.Context, param: click.Parameter, value: str | None) -> "re.Pattern[str] | None":
    try:
        return None if value is None else re.compile(value)
    except re.error as error:
        raise click.BadParameter(f"{value!r} is no regular expression: {error}.", ctx, param) from error


@subcommand("sample")
@run_argument
@option(
    "-n",
    "--num-samples",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    group=WHAT,
    help="How many.",
)
@option(
    "--prompt",
    metavar="TEXT|@FILE|-",
    default="",
    group=WHAT,
    help="What every sample begins with: a text, a file, or standard input; @@ begins a text with @.",
)
@option(
    "--prompts",
    metavar="FILE|-",
    group=WHAT,
    help="A file of prompts, one a line, each answered in turn, with the seed, the seed plus 1, and so on.",
)
@option("--num-chars", type=click.IntRange(1), metavar="N", group=WHAT, help="Exactly N characters.")
@option(
    "--max-chars",
    type=click.IntRange(1),
    default=MAX_CHARS,
    show_default=True,
    metavar="N",
    group=WHAT,
    help="Cut a sample here; cuts are counted and reported.",
)
@option(
    "--until",
    metavar="TEXT",
    group=WHAT,
    help="End a sample as soon as it ends with TEXT, which is printed too; an end of its own may come before.",
)
@option("--max-words", type=click.IntRange(1), metavar="N", group=WHAT, help="Cut a sample after N words.")
@option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    show_default="random",
    show_range=False,
    metavar="N",
    group=WHAT,
    help="The same seed draws the same samples.",
)
@given_option(WHAT)
@option(
    "--likeliest",
    is_flag=True,
    group=WHAT,
    help="Draw nothing: search for the -n likeliest texts, and print each with its probability.",
)
@option("--print0", is_flag=True, group=WHAT, help="End each sample with NUL, as xargs -0 reads it.")
@option(
    "--temperature",
    type=Number(0),
    default=1.0,
    show_default=True,
    metavar="X",
    group=HOW,
    help="Below 1 for likelier text, above 1 for bolder; 0 takes the likeliest character.",
)
@option("--top-k", type=click.IntRange(1), metavar="N", group=HOW, help="Only the N likeliest characters.")
@option(
    "--top-p",
    type=Number(0, 1, min_open=True),
    metavar="X",
    group=HOW,
    help="Only the likeliest characters, as many as hold this share of the probability.",
)
@option(
    "--min-p",
    type=Number(0, 1),
    metavar="X",
    group=HOW,
    help="Only characters at least this share as likely as the likeliest.",
)
@stop_option(HOW, "How a text ends, of a model with several ways; by default its first of eos, halt, length.")
@checkpoint_option(HOW)
@option("--unique", is_flag=True, group=KEPT, help="Skip texts that were drawn before.")
@option(
    "--novel",
    is_flag=True,
    group=KEPT,
    help="Skip texts that occur in the training text; unless that is a list of short texts, also texts with more "
    f"than {NOVEL_SPAN} characters in a row from it.",
)
@option(
    "--novel-span",
    type=click.IntRange(1, 10_000),
    metavar="N",
    show_range=False,
    group=KEPT,
    help="--novel, with at most N characters in a row.",
)
@option("--min-chars", type=click.IntRange(1), metavar="N", group=KEPT, help="Skip texts of fewer characters.")
@option(
    "--match",
    callback=_pattern,
    metavar="REGEX",
    group=KEPT,
    help="Skip texts that this regular expression of Python does not match as a whole.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    run: str | None,
    num_samples: int,
    prompt: str,
    prompts: str | None,
    seed: int | None,
    likeliest: bool,
    print0: bool,
    checkpoint: Any,
    unique: bool,
    novel: bool,
    novel_span: int | None,
    min_chars: int | None,
    match: "re.Pattern[str] | None",
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
    **options: Any,
) -> None:
    """Draw text from a model.

    RUN is a run's name, its directory or one checkpoint in it; the newest run by default. Without options the
    texts are exact draws from the model's own distribution, their lengths included. With --json, `logprob` is what
    the model alone says of a text, whatever was skipped, and `finish_reason` how it ended: in the model's own way,
    or as num_chars, max_chars, max_words or until. Code 9: fewer texts than asked for were found.

    \b
    Examples:
      charrnn sample
      charrnn sample names -n 10 --temperature 0.8
      charrnn sample names -n 1000 --unique --novel > new-names.txt
      charrnn sample surnames --given Russian -n 10
      charrnn sample plays --prompt "ROMEO:" --num-chars 500
      charrnn sample plays --prompt @opening.txt --seed 7
      charrnn sample plays --prompts openings.txt --until . --novel --json
      charrnn sample codes -n 100 --match '[A-Z]{2}[0-9]+' --min-chars 6
      charrnn sample molecules -n 100 --json | jq -r .text
      charrnn sample passwords -n 20 --likeliest
    """
    if options["num_chars"] and ctx.get_parameter_source("max_chars") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--num-chars is exact and --max-chars a cut; give one of them", ctx)
    if print0 and as_json:
        raise click.UsageError("--print0 and --json are two formats; give one of them", ctx)
    if prompts is not None and prompt:
        raise click.UsageError("--prompt is one prompt and --prompts a file of them; give one of them", ctx)
    if min_chars is not None and min_chars > (options["num_chars"] or options["max_chars"]):
        raise click.UsageError("--min-chars is more than --num-chars or --max-chars allows", ctx)
    for parameter in ctx.command.params if likeliest else ():
        is_given = ctx.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if is_given and parameter.name in OF_DRAWS:
            flag = parameter.opts[0]
            raise click.UsageError(f"--likeliest draws nothing and keeps all it finds; leave {flag} out", ctx)
    one_blas_thread()
    from charrnn.api import load_text
    from charrnn.cli.prompt import encoding_for, lines_for, read_prompt
    from charrnn.cli.selection import PATIENCE, PATIENCE_CHARS, Novelty, draw, draw_accepted, not_seen_before

    model = load_text(run, checkpoint=checkpoint, checkpoints=checkpoints)
    if prompts is None:
        texts = [read_prompt(prompt, model.saved.vocabulary.symbols, encoding_for(model.path))]
    else:
        texts = [line for lines in lines_for(model.path, prompts, None, quiet=quiet) for line in lines]
    seed = secrets.randbits(32) if seed is None else seed
    if verbose and not quiet:
        note(str(model.path) if likeliest else f"{model.path}, seed {seed}")
    novelty = Novelty(model.path, novel_span) if novel or novel_span else None
    if novelty and not quiet:
        note(novelty.words)
    is_unseen = not_seen_before() if unique else None

    def accepts(text: str) -> bool:
        if len(text) < (min_chars or 0) or (match and not match.fullmatch(text)):
            return False
        return is_unseen is None or is_unseen(text)

    # At temperature 0 all samples are the same: a rejected one would be rejected again.
    patience = PATIENCE if options["temperature"] else 1
    for number, text in enumerate(texts, 1):
        try:
            model.saved.vocabulary.require(text)
        except CorpusError as error:
            raise error if prompts is None else CorpusError(f"{prompts}, line {number}: {error}") from error
    use_utf8()
    separator = "\0" if print0 else model.saved.config.separator
    writer = Writer(separator, as_json=as_json, with_probability=likeliest)
    if likeliest:
        asked = {name: options[name] for name in ("stop", "max_chars", "given")}
        writer.write_all(model.likeliest(num_samples, prompt=texts[0], **asked))
        return
    for number, text in enumerate(texts):
        own_seed = (seed + number) % (MAX_SEED + 1)
        draws = model.draws(cut_logprob=as_json, prompt=text, seed=own_seed, **options)
        if novelty or is_unseen or match or min_chars:
            writer.write_all(draw_accepted(draws, num_samples, accepts, patience, novelty))
        elif num_samples == 1 and not as_json:
            writer.stream(draws.prompt, draws.stream())
        else:
            writer.write_all(draw(draws, num_samples))
    if writer.num_cut and not quiet:
        note(
            f"{writer.num_cut:,} of {count(writer.num_samples, 'sample')} cut at "
            f"{options['max_chars']:,} characters (--max-chars)"
        )
    if writer.num_samples < num_samples * len(texts):
        why = (
            f"gave up after {patience:,} refused in a row, or {PATIENCE_CHARS:,} characters of them; a higher "
            "--temperature finds more"
            if options["temperature"]
            else "at --temperature 0 all samples are the same"
        )
        raise FewerTextsError(
            f"only {writer.num_samples:,} of {count(num_samples * len(texts), 'sample')} found: {why}"
        )


class Writer:
    """Writes samples to stdout with `separator` between them, or each as a line of JSON.

    with_probability: whether its probability and a tab stand before each text.
    """

    def __init__(self, separator: str, *, as_json: bool, with_probability: bool = False) -> None:
        self._as_json, self._with_probability = as_json, with_probability
        if is_terminal(sys.stdout):  # There a carriage return would be made visible.
            separator = separator.replace("\r\n", "\n")
        mark = separator.lstrip("\r\n")
        # A mark at the beginning of a line stands before each text, any other separator after it.
        begins_line = mark not in ("", separator) and not mark.endswith("\n")
        self._before, self._after = (mark, separator.removesuffix(mark)) if begins_line else ("", separator)
        self._write = result_writer()
        self.num_samples = self.num_cut = 0
        self._flushed_at = time.monotonic()

    def write_all(self, samples: Iterator["Sample"]) -> None:
        for sample in samples:
            if self._as_json:
                write_json(sample)
            else:
                if self._with_probability:
                    self._write(f"{math.exp(sample.logprob):.4g}\t")
                self._write(self._before + sample.text)
                self._write(self._after)
            self._written(sample)

    def stream(self, prompt: str, items: Iterator["str | Sample"]) -> None:
        """One sample, character by character."""
        for number, item in enumerate(items):
            if number == 0:  # By now the model has accepted the prompt.
                self._write(self._before + prompt)
            if isinstance(item, str):
                self._write(item)
                self._flush_now_and_then()
            else:
                self._write(self._after)
                self._written(item)

    def _written(self, sample: "Sample") -> None:
        self.num_samples += 1
        self.num_cut += sample.finish_reason == "max_chars"
        self._flush_now_and_then()

    def _flush_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._flushed_at > FLUSH_SECONDS:
            sys.stdout.flush()
            self._flushed_at = now
