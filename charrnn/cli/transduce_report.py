"""`charrnn eval` of a model of a sequence for a sequence."""

import sys
from typing import TYPE_CHECKING, Any

from charrnn.checkpoint import Checkpoint
from charrnn.cli.progress import Progress
from charrnn.cli.terminal import console, print_facts, use_utf8, write_json
from charrnn.cli.words import count, figure, last_facts, percent
from charrnn.report.held_out_rows import pair_rows
from charrnn.report.transduced import TransduceReport, evaluate_transducer
from charrnn.sampling.search import Search

if TYPE_CHECKING:
    from rich.console import Console


def evaluate(
    found: Checkpoint,
    file: str | None,
    part: Any,
    stop: Any,
    how: Search,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Prints the report on a model and a file, or a part of its run's own table."""
    from charrnn.models.saved import load_transducer
    from charrnn.sampling.scoring import choose_stop

    saved = load_transducer(found)
    data, pairs = pair_rows(found, saved, file=file, part=part)
    with Progress(quiet=quiet) as progress:
        report = evaluate_transducer(
            saved,
            pairs,
            data=data,
            run=found.run_name,
            step=found.step,
            stop=choose_stop(saved.model.decoder, stop),
            how=how,
            notify=progress,
        )
    use_utf8()
    if as_json:
        write_json(report)
    else:
        print_report(console(sys.stdout), report, verbose=verbose)


def print_report(where: "Console", report: TransduceReport, *, verbose: bool) -> None:
    found = report.figures
    how = "greedy" if report.beam == 1 else f"beam {report.beam}, length penalty {report.length_penalty:g}"
    facts = [
        ("Model", f"{report.run}, step {report.step:,}: {report.model}, --stop {report.stop}"),
        ("Inputs", f"{report.data}: {found.num_inputs:,} with {found.num_references:,} outputs; {how}"),
        ("Likelihood", f"{figure(report.loss)} nats/symbol, the ending included"),
        ("Exact", f"{percent(found.exact_match)} (word error rate {percent(found.word_error_rate)})"),
        ("Symbols", f"{percent(found.symbol_error_rate)} error rate, edits a symbol of the nearest output"),
    ]
    if report.num_cut:
        facts.append(("Cut", f"{count(report.num_cut, 'output')} went on for too long"))
    print_facts(where, facts + last_facts(report, f"{report.inputs_per_second:,.0f} inputs/s", verbose=verbose))
