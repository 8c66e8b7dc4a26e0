"""`charrnn eval` of a model of a symbol for each symbol."""

import sys
from typing import TYPE_CHECKING, Any

from charrnn.checkpoint import Checkpoint
from charrnn.cli.progress import Progress
from charrnn.cli.terminal import console, print_facts, use_utf8, write_json
from charrnn.cli.words import count, figure, last_facts, percent
from charrnn.report.held_out_rows import pair_rows
from charrnn.report.tagged import TagReport, evaluate_tagger
from charrnn.sampling.search import Search

if TYPE_CHECKING:
    from rich.console import Console


def evaluate(
    found: Checkpoint,
    file: str | None,
    part: Any,
    how: Search,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Prints the report on a model and a file, or a part of its run's own table."""
    from charrnn.models.saved import load_tagger

    saved = load_tagger(found)
    data, pairs = pair_rows(found, saved, file=file, part=part)
    with Progress(quiet=quiet) as progress:
        report = evaluate_tagger(
            saved, pairs, data=data, run=found.run_name, step=found.step, how=how, notify=progress
        )
    use_utf8()
    if as_json:
        write_json(report)
    else:
        print_report(console(sys.stdout), report, verbose=verbose)


def print_report(where: "Console", report: TagReport, *, verbose: bool) -> None:
    found = report.figures
    how = "exact" if "no output edges" in report.model else "greedy" if report.beam == 1 else f"beam {report.beam}"
    inputs = f"{report.data}: {count(found.num_sequences, 'input')}, {count(found.num_symbols, 'symbol')}"
    per_output = report.nll / found.num_sequences if found.num_sequences else None
    facts = [
        ("Model", f"{report.run}, step {report.step:,}: {report.model}"),
        ("Inputs", f"{inputs}; {how} search"),
        ("Likelihood", f"{figure(report.loss)} nats/symbol, {figure(per_output)} nats an output"),
        ("Symbols", f"{percent(found.symbol_accuracy)} right"),
        ("Words", f"{percent(found.word_accuracy)} right throughout, of {found.num_words:,}"),
        ("Whole", f"{percent(found.sequence_accuracy)} of the outputs right throughout"),
    ]
    print_facts(where, facts + last_facts(report, f"{report.inputs_per_second:,.0f} inputs/s", verbose=verbose))
