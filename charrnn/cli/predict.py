"""`charrnn predict`: a label, tags or an output for each line."""

import secrets
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.alignment import MOST_PANELS, draw_alignments, print_alignment
from charrnn.cli.options import (
    Number,
    checkpoint_option,
    encoding_option,
    given_option,
    option,
    picture_option,
    prior_option,
    run_and_file,
    run_and_file_arguments,
    search_of,
    search_options,
    stop_option,
    subcommand,
)
from charrnn.cli.terminal import console, note, one_blas_thread, result_writer, use_utf8, write_json
from charrnn.config import MAX_SEED
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.sampling.prediction import Prediction
    from charrnn.tasks.task import Predictor
    from charrnn.tasks.transduce.predict import Alignment
    from charrnn.tasks.tree.predict import Node


@subcommand("predict")
@run_and_file_arguments
@option("-n", "--num-best", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Candidates.")
@given_option("Options")
@stop_option(
    "Options", "How a text ends, of a model with several ways; by default its first of eos, halt, length."
)
@search_options
@prior_option
@option("--indent", is_flag=True, help="Show every tree as a picture: a node a line, under its parent.")
@option("--sample", is_flag=True, help="Draw outputs (tag, transduce), and do not search for the likeliest.")
@option(
    "--temperature",
    type=Number(0, min_open=True),
    show_default="1",
    metavar="X",
    show_range=False,
    help="Of --sample: below 1 likelier outputs are drawn more often.",
)
@option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    show_default="random",
    metavar="N",
    show_range=False,
    help="Of --sample: the same seed draws the same outputs.",
)
@option("--attention", is_flag=True, help="Show where the model looked for each symbol that it wrote.")
@picture_option("where it looked")
@encoding_option
@checkpoint_option("Options")
def command(
    *,
    targets: tuple[str, ...],
    num_best: int,
    given: tuple[str, ...],
    stop: Any,
    beam: int | None,
    length_penalty: float | None,
    prior: Any,
    indent: bool,
    sample: bool,
    temperature: float | None,
    seed: int | None,
    attention: bool,
    picture: Path | None,
    encoding: str | None,
    checkpoint: Any,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
) -> None:
    """Predict a label, tags or an output for each line.

    Reads FILE or standard input, a text a line, and prints for each the likeliest labels (--task classify,
    tree), outputs (--task tag, transduce), each with its probability, or a number, and the line. A model of texts
    given a column (`charrnn train TABLE --context COLUMN`) is turned round by Bayes' rule: how probable each value
    is, given the text. A model of trees with labels in brackets (--node-labels) reads trees without them, and
    answers a node a line: its depth, its label with the probability, its words. A single argument that names a
    run or checkpoint is RUN, otherwise FILE.

    \b
    Examples:
      echo Kowalski | charrnn predict surnames
      charrnn predict surnames people.txt -n 3
      charrnn predict surnames people.txt --json | jq -r .prediction
      charrnn predict mail new.txt --prior uniform
      echo "( ( very good ) film )" | charrnn predict reviews --indent
      echo knight | charrnn predict phones --attention
      echo knight | charrnn predict phones --sample -n 5 --seed 1
    """
    if not sample and (temperature is not None or seed is not None):
        raise click.UsageError("--temperature and --seed are for --sample, which draws outputs")
    one_blas_thread()
    from charrnn.api import load
    from charrnn.cli.prompt import lines_for
    from charrnn.tasks.task import task
    from charrnn.tasks.transduce.predict import TransduceModel

    run, file = run_and_file(targets, checkpoints)
    model: Predictor = load(run, checkpoint=checkpoint, checkpoints=checkpoints)
    how = search_of(beam, length_penalty, num_best)
    if sample:
        seed = secrets.randbits(32) if seed is None else seed
        how = replace(how, temperature=temperature or 1.0, seed=seed)
    if verbose and not quiet:
        note(f"{model.path}{f', seed {seed}' if sample else ''}")
    name = model.saved.config.task
    flags = task(name).flags
    asked = {
        "--beam": beam is not None,
        "--sample": sample,
        "--length-penalty": length_penalty is not None,
        "--given": bool(given),
        "--stop": stop is not None,
        "--prior": prior is not None,
        "--indent": indent,
    }
    for flag in asked:
        if asked[flag] and flag not in flags:
            raise UsageError(f"{flag} is not for a model of --task {name}")
    if indent and not model.saved.config.node_labels:
        raise UsageError("--indent: the model predicts the root alone; train --node-labels makes one of all nodes")
    looks = isinstance(model, TransduceModel) and model.has_attention
    if (attention or picture is not None) and not looks:
        shown = "--attention" if attention else "--picture"
        raise UsageError(f"{shown}: the model has no attention; --task transduce trains one that has")
    if attention and as_json:
        raise UsageError("--attention draws for the eye; leave --json out, or give --picture FILE")
    options: dict[str, Any] = {"n": num_best}
    options |= {"given": given} if "--given" in flags else {}
    options |= {"stop": stop} if "--stop" in flags else {}
    options |= {"how": how} if "--beam" in flags else {}
    options |= {"prior": prior} if "--prior" in flags else {}
    use_utf8()
    write, screen = result_writer(), console(sys.stdout)
    looked: list[Alignment] = []
    batches = lines_for(model.path, file, encoding, quiet=quiet)
    for answers in _answers(model, batches, options):
        for found in answers:
            if as_json:
                write_json(found)
            else:
                write(plain_lines(found, indent=indent))
            wanted = picture is not None and len(looked) < MOST_PANELS
            if isinstance(model, TransduceModel) and (attention or wanted):
                alignment = model.alignment(found, given, stop=stop)
                if wanted:
                    looked.append(alignment)
                if attention:
                    print_alignment(screen, alignment)
        sys.stdout.flush()
    if picture is not None:
        draw_alignments(picture, looked)


def _answers(
    model: "Predictor", batches: Iterator[list[str]], options: dict[str, Any]
) -> "Iterator[Iterator[Prediction]]":
    """The predictions for the lines of each batch. A drawn output depends on the line's number alone, not on the
    batches, and errors name that number."""
    number = 0
    for texts in batches:
        yield model.predict(texts, **options, number=number)
        number += len(texts)


def plain_lines(found: "Prediction", *, indent: bool) -> str:
    """Candidates with their probabilities, or a number, and the input, between tabs.

    Of a prediction for all nodes a line for each, behind its depth or, with `indent`, under its parent.
    """
    from charrnn.tasks.tree.predict import TreePrediction

    if not isinstance(found, TreePrediction):
        return "\t".join([*_fields(found), found.input]) + "\n"
    if not indent:
        return "".join("\t".join([str(node.depth), *_fields(node), node.text]) + "\n" for node in found.nodes)
    lines = []
    for node in found.nodes:
        leaf = [node.text] if node.end == node.first + 1 else []
        lines.append("  " * node.depth + "  ".join([*_fields(node), *leaf]) + "\n")
    return "".join(lines)


def _fields(found: "Prediction | Node") -> list[str]:
    best = [field for c in found.candidates for field in (c.value, f"{c.probability:.4f}")]
    return best or [f"{found.prediction:.6g}"]
