"""`charrnn eval` of a model that tells a label or a number for each tree."""

import sys
from typing import TYPE_CHECKING, Any

from charrnn.checkpoint import Checkpoint
from charrnn.cli.labelled_report import number_facts, print_confusion, print_labels
from charrnn.cli.terminal import console, print_facts, print_table, use_utf8, write_json
from charrnn.cli.words import count, last_facts, percent
from charrnn.report.trees import Band, TreeReport, evaluate_trees, tree_rows

if TYPE_CHECKING:
    from rich.console import Console


def evaluate(found: Checkpoint, file: str | None, part: Any, *, as_json: bool, verbose: bool) -> None:
    """Prints the report on a model and a file, or a part of its run's own table."""
    from charrnn.models.saved import load_tree_model

    saved = load_tree_model(found)
    data, examples = tree_rows(found, saved, file=file, part=part)
    report = evaluate_trees(saved, examples, data=data, run=found.run_name, step=found.step)
    use_utf8()
    if as_json:
        write_json(report)
    else:
        print_report(console(sys.stdout), report, verbose=verbose)


def print_report(where: "Console", report: TreeReport, *, verbose: bool) -> None:
    facts = [("Model", f"{report.run}, step {report.step:,}: {report.model}, tells {report.column}")]
    if report.labels is not None:
        facts.append(("Trees", f"{report.data}: {count(report.labels.num_examples, 'tree')}"))
        if report.node_accuracy is not None:
            nodes = f"{percent(report.node_accuracy)} of {report.num_labelled_nodes:,} labelled"
            facts.append(("Nodes", nodes))
        print_labels(where, facts, report.labels, report.temperature, "tree")
        print_confusion(where, report.labels, "TREES")
    elif report.numbers is not None:
        facts.append(("Trees", f"{report.data}: {count(report.numbers.num_examples, 'tree')}"))
        print_facts(where, facts + number_facts(report.numbers))
    for head, bands in (("DEPTH", report.by_depth), ("LEAVES", report.by_leaves)):
        where.print()
        figures = ["ACCURACY"] if any(band.accuracy is not None for band in bands) else []
        figures += ["MEAN SQUARED ERROR"] if report.numbers is not None else []
        print_table(where, (head, "TREES", *figures), map(_band_row, bands))
    if report.num_unlabelled_roots:
        print_facts(
            where, [("Left out", f"{count(report.num_unlabelled_roots, 'tree')} without a label at the root")]
        )
    print_facts(where, last_facts(report, f"{report.trees_per_second:,.0f} trees/s", verbose=verbose))


def _band_row(band: Band) -> tuple[str, ...]:
    sizes = f"{band.least:,}" if band.least == band.most else f"{band.least:,}-{band.most:,}"
    figures = [percent(band.accuracy)] if band.accuracy is not None else []
    figures += [f"{band.mse:,.4f}"] if band.mse is not None else []
    return sizes, f"{band.num_trees:,}", *figures
