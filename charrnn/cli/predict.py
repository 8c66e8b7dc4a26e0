"""`charrnn predict`: a label, tags, an output or the next character for each line, or for each row of a table."""

import csv
import io
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
from charrnn.config import MAX_SEED, Encoding
from charrnn.errors import CorpusError, UsageError

if TYPE_CHECKING:
    from charrnn.corpus.table import Table
    from charrnn.sampling.prediction import Prediction
    from charrnn.tasks.task import Predictor
    from charrnn.tasks.transduce.predict import Alignment, Line
    from charrnn.tasks.tree.predict import Node


@subcommand("predict")
@run_and_file_arguments
@option(
    "-n",
    "--num-best",
    type=click.IntRange(1),
    show_default="1, of next characters 5",
    show_range=False,
    metavar="N",
    help="Candidates.",
)
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
@option("--csv", "as_csv", is_flag=True, help="Write a table between commas: the rows with their answers.")
@option("--tsv", "as_tsv", is_flag=True, help="Write it between tabs.")
@encoding_option
@checkpoint_option("Options")
def command(
    *,
    targets: tuple[str, ...],
    num_best: int | None,
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
    as_csv: bool,
    as_tsv: bool,
    encoding: str | None,
    checkpoint: Any,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    checkpoints: Path,
) -> None:
    """Predict a label, tags or an output for each line.

    Reads FILE or standard input, a text a line, and prints for each the likeliest labels (--task classify,
    tree), outputs (--task tag, transduce), each with its probability, or a number, and the line. Of a table with
    the columns that the model reads (CSV, TSV, JSON lines) each row is answered. A model that generates text takes
    a line as a beginning, and says what may come next: a character, or the end of the text. One of texts given a
    column (`charrnn train TABLE --context COLUMN`) is turned round by Bayes' rule, unless the column is --given:
    how probable each value is, given the text. A model of trees with labels in brackets (--node-labels) reads
    trees without them, and answers a node a line: its depth, its label with the probability, its words. A line
    that cannot be read has an error for an answer, the others are answered, and the exit code is 3. A single
    argument that names a run or checkpoint is RUN, otherwise FILE.

    \b
    Examples:
      echo Kowalski | charrnn predict surnames
      charrnn predict surnames people.txt -n 3
      charrnn predict surnames people.txt --json | jq -r .prediction
      charrnn predict mail new.csv --csv > labelled.csv
      charrnn predict mail new.txt --prior uniform
      echo "( ( very good ) film )" | charrnn predict reviews --indent
      echo "to be or n" | charrnn predict plays
      echo knight | charrnn predict phones --attention
      echo knight | charrnn predict phones --sample -n 5 --seed 1
    """
    if not sample and (temperature is not None or seed is not None):
        raise click.UsageError("--temperature and --seed are for --sample, which draws outputs")
    if as_json + as_csv + as_tsv > 1:
        raise click.UsageError("--json, --csv and --tsv are three ways to write answers; give one of them")
    one_blas_thread()
    from charrnn.api import load
    from charrnn.cli.prompt import encoding_for, lines_for
    from charrnn.corpus.readers import STANDARD_INPUT
    from charrnn.tasks.task import task
    from charrnn.tasks.transduce.predict import TransduceModel

    run, file = run_and_file(targets, checkpoints)
    model: Predictor = load(run, checkpoint=checkpoint, checkpoints=checkpoints)
    config = model.saved.config
    if num_best is None:
        num_best = 5 if config.task == "generate" and len(given) >= len(config.columns) else 1
    how = search_of(beam, length_penalty, num_best)
    if sample:
        seed = secrets.randbits(32) if seed is None else seed
        how = replace(how, temperature=temperature or 1.0, seed=seed)
    if verbose and not quiet:
        note(f"{model.path}{f', seed {seed}' if sample else ''}")
    flags = task(config.task).flags
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
            raise UsageError(f"{flag} is not for a model of --task {config.task}")
    if indent and not config.node_labels:
        raise UsageError("--indent: the model predicts the root alone; train --node-labels makes one of all nodes")
    looks = isinstance(model, TransduceModel) and model.has_attention
    if (attention or picture is not None) and not looks:
        shown = "--attention" if attention else "--picture"
        raise UsageError(f"{shown}: the model has no attention; --task transduce trains one that has")
    if attention and (as_json or as_csv or as_tsv):
        raise UsageError("--attention draws for the eye; leave --json, --csv and --tsv out, or say --picture FILE")
    options: dict[str, Any] = {"n": num_best}
    options |= {"given": given} if "--given" in flags else {}
    options |= {"stop": stop} if "--stop" in flags else {}
    options |= {"how": how} if "--beam" in flags else {}
    options |= {"prior": prior} if "--prior" in flags else {}
    list(model.predict([], **options))  # Refuses options that do not fit the model, before anything is read.
    use_utf8()
    write, screen = result_writer(), console(sys.stdout)
    read = _columns_read(config, given)
    decoded = encoding_for(model.path, encoding)
    table = None if file is None or not os.path.isfile(file) else table_in(file, read, decoded)
    if table is None:
        named: tuple[str, ...] = (read[0] if read and not read[0].isdecimal() else "text",)
        name = STANDARD_INPUT if file in (None, "-") else str(file)
        batches = _lines(lines_for(model.path, file, encoding, quiet=quiet), name)
    else:
        named, batches = table.names, iter([_rows(table, read)])
        for line in () if quiet else table.notes:
            note(line)
    delimiter = "," if as_csv else "\t" if as_tsv else None
    added = _added(named, 1 if _is_number(config) else 2 * num_best)
    if delimiter and not named[0].isdecimal():
        write(_record([*named, *added], delimiter))
    looked: list[Alignment] = []
    number, failed = 0, list[str]()
    for batch in batches:
        for text, found in _answers(model, batch, options, number):
            if as_json:
                write_json(_json(text, found, () if table is None else named))
            elif delimiter:
                answer = [] if isinstance(found, CorpusError) else _fields(found)
                write(_record([*text.fields, *answer, *[""] * (len(added) - len(answer))], delimiter))
            if isinstance(found, CorpusError):
                failed.append(f"{text.where}: {found}")
                if not as_json:
                    note(failed[-1])
                continue
            if not (as_json or delimiter):
                write(plain_lines(found, indent=indent, shown=_symbol if config.task == "generate" else str))
            wanted = picture is not None and len(looked) < MOST_PANELS
            if isinstance(model, TransduceModel) and (attention or wanted):
                alignment = model.alignment(text.read, str(found.prediction), given, stop=stop)
                if wanted:
                    looked.append(alignment)
                if attention:
                    print_alignment(screen, alignment)
        number += len(batch)
        sys.stdout.flush()
    if picture is not None:
        draw_alignments(picture, looked)
    if failed:
        raise CorpusError(f"{len(failed):,} of {number:,} texts could not be read; the first is {failed[0]}")


class Text(NamedTuple):
    """A line of a file, or a row of a table."""

    read: "Line"
    """What the model reads of it."""
    where: str
    fields: Sequence[str]


def _columns_read(config: Any, given: Sequence[str]) -> list[str]:
    """The columns of a table that a model reads, its text first; none for a model of plain text."""
    text = config.source_column if config.task in ("tag", "transduce") else config.text_column
    behind = config.columns if config.task == "transduce" and not given else ()
    return [] if text is None else [name.strip() for name in (text, *(column.name for column in behind))]


def _is_number(config: Any) -> bool:
    """Whether a model predicts a number."""
    return config.task in ("classify", "tree") and not config.label.values


def table_in(file: str, columns: Sequence[str], encoding: Encoding) -> "Table | None":
    """The table in a file, if it has these columns; None for a file of a text a line.

    Raises CorpusError for one that by its name and its form is a table, but without such a column.
    """
    from charrnn.corpus.readers import Source, read_head
    from charrnn.corpus.records import (
        ENDINGS,
        HEAD_CHARS,
        JSON_LINES,
        ending_of,
        find_form,
        plain_text_note,
        read_records,
    )
    from charrnn.corpus.scratch import workspace
    from charrnn.corpus.table import is_number, read_table

    if not columns:
        return None
    head = read_head([Source(file, Path(file))], encoding, HEAD_CHARS)
    if len(head) == HEAD_CHARS:
        head = head[: head.rfind("\n") + 1] or head
    form, is_named = find_form(head, file), ending_of(file) in ENDINGS
    try:
        _, fields = next(read_records(file, [head], form), (0, []))
    except CorpusError:  # It begins like a table, and is none.
        return None
    header = not all(map(is_number, columns))
    if not header:
        found = is_named and form != JSON_LINES and 1 < len(fields) >= max(map(int, columns))
    elif set(columns) <= {field.strip() for field in fields}:
        found = is_named or len(fields) > 1 or form == JSON_LINES
    else:
        with_columns = form.delimiter == "\t" and len(fields) == len(columns)  # An input, and they behind it.
        is_table = len(fields) > 1 and plain_text_note([file], head) is not None
        found = is_named and is_table and not with_columns
    if not found:
        return None
    with workspace(None) as spool:
        table = read_table([file], spool=spool, header=header, encoding=encoding)
    for column in columns:
        table.index(column)
    return table


def _lines(batches: Iterable[list[str]], name: str) -> Iterator[list[Text]]:
    number = 0
    for texts in batches:
        yield [Text(text, f"{name}, line {number + k}", (text,)) for k, text in enumerate(texts, start=1)]
        number += len(texts)


def _rows(table: "Table", columns: Sequence[str]) -> list[Text]:
    """The rows of a table; space around the values behind the text is dropped, as in training."""
    texts, *others = (table.column(column) for column in columns)
    values = [[value.strip() for value in column] for column in others]
    read: Iterable[Line] = zip(texts, *values, strict=True) if values else texts
    rows = enumerate(zip(read, zip(*table.columns, strict=True), strict=True))
    return [Text(text, table.where(row), fields) for row, (text, fields) in rows]


def _answers(
    model: "Predictor", batch: Sequence[Text], options: dict[str, Any], number: int
) -> "Iterator[tuple[Text, Prediction | CorpusError]]":
    """The prediction for each text, or the error in it: where a batch cannot be read, halves of it are tried.

    number: the first text's number. A drawn output depends on it alone, not on the batches.
    """
    done = 0
    try:
        for found in model.predict([text.read for text in batch], **options, number=number):
            yield batch[done], found
            done += 1
    except CorpusError as error:
        if len(batch) - done == 1:
            yield batch[done], error
            return
        middle = (done + len(batch) + 1) // 2
        for first, end in ((done, middle), (middle, len(batch))):
            yield from _answers(model, batch[first:end], options, number + first)


def _json(text: Text, found: "Prediction | CorpusError", names: Sequence[str]) -> dict[str, Any]:
    """The fields of a line of JSON, with those of the table's row, if it is one."""
    import msgspec

    answer: dict[str, Any]
    if isinstance(found, CorpusError):
        line = text.read if isinstance(text.read, str) else text.read[0]
        answer = {"input": line, "error": f"{text.where}: {found}"}
    else:
        answer = msgspec.to_builtins(found)
    return answer | ({"row": dict(zip(names, text.fields, strict=True))} if names else {})


def _added(names: Sequence[str], width: int) -> list[str]:
    """Names for `width` new columns of a table: prediction, probability, prediction_2, …, not among its own."""
    added = [("prediction", "probability")[k % 2] + (f"_{k // 2 + 1}" if k > 1 else "") for k in range(width)]
    while set(added) & set(names):
        added = [f"{name}_" for name in added]
    return added


def _record(fields: Sequence[str], delimiter: str) -> str:
    """A line of a table, with quotes where they are needed: RFC 4180, but for LF at its end."""
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter).writerow(fields)
    return line.getvalue().removesuffix("\r\n") + "\n"


def plain_lines(found: "Prediction", *, indent: bool, shown: Callable[[str], str] = str) -> str:
    """Candidates, each as `shown`, with their probabilities, or a number, and the input, between tabs.

    Of a prediction for all nodes a line for each, behind its depth or, with `indent`, under its parent.
    """
    from charrnn.tasks.tree.predict import TreePrediction

    if not isinstance(found, TreePrediction):
        return "\t".join([*_fields(found, shown), found.input.replace("\n", "\\n")]) + "\n"
    if not indent:
        return "".join("\t".join([str(node.depth), *_fields(node), node.text]) + "\n" for node in found.nodes)
    lines = []
    for node in found.nodes:
        leaf = [node.text] if node.end == node.first + 1 else []
        lines.append("  " * node.depth + "  ".join([*_fields(node), *leaf]) + "\n")
    return "".join(lines)


def _fields(found: "Prediction | Node", shown: Callable[[str], str] = str) -> list[str]:
    best = [field for c in found.candidates for field in (shown(c.value), f"{c.probability:.4f}")]
    return best or [f"{found.prediction:.6g}"]


def _symbol(value: str) -> str:
    """A character as it is seen: a space, a line end and the like in quotes."""
    return repr(value) if len(value) == 1 and (value.isspace() or not value.isprintable()) else value
