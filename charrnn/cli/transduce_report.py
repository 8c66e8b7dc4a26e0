"""`charrnn eval` of a model of a sequence for a sequence."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.progress import Progress
from charrnn.cli.terminal import console, print_facts, use_utf8, write_json
from charrnn.cli.words import count
from charrnn.report.transduced import TransduceReport, evaluate_transducer, transduce_part
from charrnn.sampling.search import Search

if TYPE_CHECKING:
    from rich.console import Console


def evaluate(
    run: str | None,
    file: str | None,
    root: Path,
    which: Any,
    part: Any,
    stop: Any,
    how: Search,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Prints the report on a run and a file, or a part of the run's own table."""
    from charrnn.checkpoint import resolve_checkpoint
    from charrnn.models.saved import load_transducer
    from charrnn.sampling.scoring import choose_stop

    found = resolve_checkpoint(run, root, which)
    saved = load_transducer(found)
    data, pairs = transduce_part(found, saved, file=file, part=part)
    home = found.path.resolve().parent
    name = home.name if found.path.name.startswith("checkpoint-") else found.path.name
    with Progress(quiet=quiet) as progress:
        report = evaluate_transducer(
            saved,
            pairs,
            data=data,
            run=name,
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
        ("Exact", f"{_percent(found.exact_match)} (word error rate {_percent(found.word_error_rate)})"),
        ("Symbols", f"{_percent(found.symbol_error_rate)} error rate, edits a symbol of the nearest output"),
    ]
    if report.num_cut:
        facts.append(("Cut", f"{count(report.num_cut, 'output')} went on for too long"))
    if report.num_oov:
        facts.append(("Unknown", f"{count(report.num_oov, 'symbol')}, read as nothing in their place"))
    if verbose:
        facts += [
            ("Speed", f"{report.inputs_per_second:,.0f} inputs/s"),
            ("SHA-256", f"{report.model_sha256} (weights)"),
        ]
    print_facts(where, facts)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
