"""`charrnn eval` of a model that tells a label or a number for each text."""

import sys
from typing import TYPE_CHECKING, Any

from charrnn.checkpoint import Checkpoint
from charrnn.cli.terminal import console, print_facts, print_table, use_utf8, write_json
from charrnn.cli.words import count, figure, last_facts, percent
from charrnn.report.classification import ClassFigures, Classification
from charrnn.report.labelled import LabelledReport, evaluate_labelled, labelled_rows
from charrnn.report.regression import Regression

if TYPE_CHECKING:
    from rich.console import Console

WIDEST_TABLE = 7
"""Labels up to which the whole confusion table fits on a screen; of more, the commonest confusions are named."""

MOST_CONFUSIONS = 8
MOST_ROWS = 30


def evaluate(found: Checkpoint, file: str | None, part: Any, *, as_json: bool, verbose: bool) -> None:
    """Prints the report on a model and a file, or a part of its run's own table."""
    from charrnn.models.saved import load_classifier

    saved = load_classifier(found)
    data, examples = labelled_rows(found, saved, file=file, part=part)
    report = evaluate_labelled(saved, examples, data=data, run=found.run_name, step=found.step)
    use_utf8()
    if as_json:
        write_json(report)
    else:
        print_report(console(sys.stdout), report, verbose=verbose)


def print_report(where: "Console", report: LabelledReport, *, verbose: bool) -> None:
    facts = [("Model", f"{report.run}, step {report.step:,}: {report.model}, tells {report.column}")]
    if report.labels is not None:
        facts.append(("Texts", f"{report.data}: {count(report.labels.num_examples, 'text')}"))
        print_labels(where, facts, report.labels, report.temperature, "text")
        where.print()
        heads = ("LABEL", "TEXTS", "PREDICTED", "PRECISION", "RECALL", "F1")
        rows = sorted(report.labels.per_class, key=lambda c: -c.support)[:MOST_ROWS]
        print_table(where, heads, [_class_row(c) for c in rows])
        print_confusion(where, report.labels, "TEXTS")
    elif report.numbers is not None:
        facts.append(("Texts", f"{report.data}: {count(report.numbers.num_examples, 'text')}"))
        print_facts(where, facts + number_facts(report.numbers))
    print_facts(where, last_facts(report, f"{report.texts_per_second:,.0f} texts/s", verbose=verbose))


def print_labels(
    where: "Console", facts: list[tuple[str, str]], found: Classification, temperature: float | None, unit: str
) -> None:
    """What is known already, and how good labels and their probabilities are."""
    floor = f"always the commonest: {percent(found.majority_accuracy)}"
    macro = f"F1 {percent(found.macro_f1)}, recall {percent(found.macro_recall)}"
    calibration = f"expected calibration error {percent(found.expected_calibration_error)}"
    facts += [
        ("Accuracy", f"{percent(found.accuracy)} ({floor})"),
        ("Macro", f"{macro}, precision {percent(found.macro_precision)}"),
        ("Probability", f"{figure(found.loss)} nats/{unit}, {calibration}, temperature {temperature:.3f}"),
    ]
    print_facts(where, facts)


def _class_row(c: ClassFigures) -> tuple[str, ...]:
    return (
        c.label,
        f"{c.support:,}",
        f"{c.predicted:,}",
        percent(c.precision),
        percent(c.recall),
        percent(c.f1),
    )


def print_confusion(where: "Console", found: Classification, unit: str) -> None:
    """The whole table where it fits, else the commonest confusions, if there are any; an empty line before it."""
    labels, confusion = [c.label for c in found.per_class], found.confusion
    if len(labels) <= WIDEST_TABLE:
        where.print()
        rows = [(label, *(f"{n:,}" for n in row)) for label, row in zip(labels, confusion, strict=True)]
        print_table(where, ("TRUTH", *(f"{label[:8]}?" for label in labels)), rows)
        return
    pairs = [(n, i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) if i != j and n]
    worst = sorted(pairs, key=lambda pair: -pair[0])[:MOST_CONFUSIONS]
    if not worst:
        return
    where.print()
    print_table(where, ("TRUTH", "PREDICTED", unit), [(labels[i], labels[j], f"{n:,}") for n, i, j in worst])


def number_facts(found: Regression) -> list[tuple[str, str]]:
    exact = [] if found.exact is None else [("Exact", f"{percent(found.exact)} round to the right whole number")]
    return [
        *exact,
        ("Error", f"mean squared {figure(found.mse)} (the mean alone: {figure(found.mean_baseline_mse)})"),
        ("", f"root {figure(found.rmse)}, mean absolute {figure(found.mae)}"),
        ("R²", f"{figure(found.r2)}; correlation {figure(found.pearson)}, of ranks {figure(found.spearman)}"),
    ]
