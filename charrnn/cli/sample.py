"""`charrnn sample`: draw text from a model."""

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
from charrnn.cli.terminal import note, one_blas_thread, result_writer, use_utf8, write_json
from charrnn.config import MAX_SEED
from charrnn.words import count

if TYPE_CHECKING:
    from charrnn.api import Sample

WHAT, HOW, KEPT = "What to draw", "How to draw", "Which samples to keep"
MAX_CHARS = 20_000

FLUSH_SECONDS = 0.02
"""Seconds between writes of text that is read while it is drawn."""


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
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    show_default="random",
    show_range=False,
    metavar="N",
    group=WHAT,
    help="The same seed draws the same samples.",
)
@given_option(WHAT)
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
@option("--novel", is_flag=True, group=KEPT, help="Skip texts that occur in the training text.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    run: str | None,
    num_samples: int,
    prompt: str,
    seed: int | None,
    print0: bool,
    checkpoint: Any,
    unique: bool,
    novel: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
    **options: Any,
) -> None:
    """Draw text from a model.

    RUN is a run's name, its directory or one checkpoint in it; the newest run by default. Without options the
    texts are exact draws from the model's own distribution, their lengths included.

    \b
    Examples:
      charrnn sample
      charrnn sample names -n 10 --temperature 0.8
      charrnn sample names -n 1000 --unique --novel > new-names.txt
      charrnn sample surnames --given Russian -n 10
      charrnn sample plays --prompt "ROMEO:" --num-chars 500
      charrnn sample plays --prompt @opening.txt --seed 7
      charrnn sample molecules -n 100 --json | jq -r .text
    """
    if options["num_chars"] and ctx.get_parameter_source("max_chars") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--num-chars is exact and --max-chars a cut; give one of them", ctx)
    if print0 and as_json:
        raise click.UsageError("--print0 and --json are two formats; give one of them", ctx)
    one_blas_thread()
    from charrnn.api import load_text
    from charrnn.cli.prompt import read_prompt
    from charrnn.cli.selection import PATIENCE, draw, draw_accepted, not_in_training_text, not_seen_before

    model = load_text(run, checkpoint=checkpoint, checkpoints=checkpoints)
    options["prompt"] = read_prompt(prompt, model.saved.vocabulary.symbols)
    options["seed"] = secrets.randbits(32) if seed is None else seed
    if verbose and not quiet:
        note(f"{model.path}, seed {options['seed']}")
    draws = model.draws(cut_logprob=as_json, **options)
    use_utf8()
    writer = Writer("\0" if print0 else model.saved.config.separator, as_json=as_json)
    if num_samples == 1 and not (unique or novel or as_json):
        writer.stream(draws.prompt, draws.stream())
    elif not (unique or novel):
        writer.write_all(draw(draws, num_samples))
    else:
        tests = ([not_in_training_text(model.path)] if novel else []) + ([not_seen_before()] if unique else [])
        # At temperature 0 all samples are the same: a rejected one would be rejected again.
        patience = PATIENCE if options["temperature"] else 1
        accepted = draw_accepted(draws, num_samples, lambda text: all(test(text) for test in tests), patience)
        writer.write_all(accepted)
        if writer.num_samples < num_samples and not quiet:
            note(
                f"only {writer.num_samples:,} of {count(num_samples, 'sample')} found: gave up after "
                f"{patience:,} refused in a row; a higher --temperature finds more"
            )
    if writer.num_cut and not quiet:
        note(
            f"{writer.num_cut:,} of {count(writer.num_samples, 'sample')} cut at "
            f"{options['max_chars']:,} characters (--max-chars)"
        )


class Writer:
    """Writes samples to stdout, each followed by `separator`, or as a line of JSON."""

    def __init__(self, separator: str, *, as_json: bool) -> None:
        self._separator, self._as_json = separator, as_json
        self._write = result_writer()
        self.num_samples = self.num_cut = 0
        self._flushed_at = time.monotonic()

    def write_all(self, samples: Iterator["Sample"]) -> None:
        for sample in samples:
            if self._as_json:
                write_json(sample)
            else:
                self._write(sample.text)
                sys.stdout.write(self._separator)
            self._written(sample)

    def stream(self, prompt: str, items: Iterator["str | Sample"]) -> None:
        """One sample, character by character."""
        for number, item in enumerate(items):
            if number == 0:  # By now the model has accepted the prompt.
                self._write(prompt)
            if isinstance(item, str):
                self._write(item)
                self._flush_now_and_then()
            else:
                sys.stdout.write(self._separator)
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
