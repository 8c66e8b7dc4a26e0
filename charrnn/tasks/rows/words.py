"""Text shared by the reports on models of whole inputs."""

from collections.abc import Sized
from typing import Any, Protocol

from charrnn.config import Prior, ResolvedConfig
from charrnn.corpus.columns import Column
from charrnn.metrics.labels import ClassFigures, Classification, Regression
from charrnn.tasks.rows.pairs import PairDataset
from charrnn.tasks.task import Next
from charrnn.words import Facts, Rows, count, figure, file_names, percent

DIRECTIONS: dict[str, str] = {"forward": "forwards", "backward": "backwards", "both": "both ways"}

WIDEST_TABLE = 7
"""Up to this many labels the whole confusion table fits on a screen; else the commonest confusions are listed."""

MOST_CONFUSIONS = 8
MOST_ROWS = 30

UNEVEN = 1.5
"""Classes are uneven if the commonest has this many times the texts of the mean one."""


class RowReport(Protocol):
    @property
    def num_oov(self) -> int: ...

    @property
    def model_sha256(self) -> str: ...


class Table(Protocol):
    """The data of a run in three parts."""

    @property
    def files(self) -> tuple[str, ...]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def train(self) -> Sized: ...

    @property
    def valid(self) -> Sized: ...

    @property
    def test(self) -> Sized: ...


def table_facts(dataset: Table, noun: str) -> Facts:
    """The files, the total number of rows, and what was chosen."""
    total = sum(map(len, (dataset.train, dataset.valid, dataset.test)))
    return [
        ("Corpus", f"{file_names(dataset.files)}: {count(total, noun)}"),
        *(("", note) for note in dataset.notes),
    ]


def part_sizes(dataset: Table) -> str:
    sizes = map(len, (dataset.train, dataset.valid, dataset.test))
    return "{:,} to train on, {:,} to validate, {:,} to test".format(*sizes)


def output_words(label: Column) -> str:
    what = f"one of {len(label.values):,} labels" if label.values else "a number"
    return f"{label.name}, {what}"


def pair_words(dataset: PairDataset) -> Facts:
    """Describes the training pairs."""
    symbols = f"{count(dataset.source.size, 'symbol')} read, {dataset.target.size:,} written"
    return [*table_facts(dataset, "pair"), ("Pairs", part_sizes(dataset)), ("Symbols", symbols)]


def no_rival(config: ResolvedConfig, dataset: Any) -> None:
    """There is no count-based model to compare with."""


def commands(config: ResolvedConfig, dataset: Any) -> list[Next]:
    """Commands that use a run."""
    return [Next("predict"), Next("eval")]


def last_facts(report: RowReport, speed: str, *, verbose: bool) -> Facts:
    """The end of a report: unknown symbols, and if `verbose` the speed and the hash of the weights."""
    facts = [("Unknown", f"{count(report.num_oov, 'symbol')}, read as zero inputs")]
    details = [("Speed", speed), ("SHA-256", f"{report.model_sha256} (weights)")]
    return (facts if report.num_oov else []) + (details if verbose else [])


class LabelReport(Protocol):
    @property
    def temperature(self) -> float | None: ...

    @property
    def prior(self) -> Prior | None: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


def label_facts(report: LabelReport, found: Classification, unit: str) -> Facts:
    """The quality of labels and their probabilities; of uneven classes the macro averages come first."""
    floor = f"always the commonest: {percent(found.majority_accuracy)}"
    macro = f"F1 {percent(found.macro_f1)}, recall {percent(found.macro_recall)}"
    calibration = f"expected calibration error {percent(found.expected_calibration_error)}"
    quality = [
        ("Accuracy", f"{percent(found.accuracy)} ({floor})"),
        ("Macro", f"{macro}, precision {percent(found.macro_precision)}"),
    ]
    return [
        *(reversed(quality) if _uneven(found) else quality),
        ("Probability", f"{figure(found.loss)} nats/{unit}, {calibration}, temperature {report.temperature:.3f}"),
        *([] if report.prior is None else [("Prior", f"{report.prior} (--prior)")]),
        *(("Note", note) for note in report.notes),
    ]


def _uneven(found: Classification) -> bool:
    support = [c.support for c in found.per_class if c.support]
    return bool(support) and max(support) * len(support) >= UNEVEN * sum(support)


def class_rows(found: Classification) -> Rows:
    """A line for each of the commonest classes."""
    heads = ("LABEL", "TEXTS", "PREDICTED", "PRECISION", "RECALL", "F1")
    return Rows(heads, [_class_row(c) for c in sorted(found.per_class, key=lambda c: -c.support)[:MOST_ROWS]])


def _class_row(c: ClassFigures) -> tuple[str, ...]:
    shares = (percent(share) for share in (c.precision, c.recall, c.f1))
    return (c.label, f"{c.support:,}", f"{c.predicted:,}", *shares)


def confusion_rows(found: Classification, unit: str) -> list[Rows | None]:
    """The whole table if it fits, else the commonest confusions, if any."""
    labels, confusion = [c.label for c in found.per_class], found.confusion
    if len(labels) <= WIDEST_TABLE:
        cells = [(label, *(f"{n:,}" for n in row)) for label, row in zip(labels, confusion, strict=True)]
        return [None, Rows(("TRUTH", *(f"{label[:8]}?" for label in labels)), cells)]
    pairs = [(n, i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) if i != j and n]
    worst = sorted(pairs, key=lambda pair: -pair[0])[:MOST_CONFUSIONS]
    if not worst:
        return []
    return [None, Rows(("TRUTH", "PREDICTED", unit), [(labels[i], labels[j], f"{n:,}") for n, i, j in worst])]


def number_facts(found: Regression) -> Facts:
    exact = [] if found.exact is None else [("Exact", f"{percent(found.exact)} round to the right whole number")]
    return [
        *exact,
        ("Error", f"mean squared {figure(found.mse)} (the mean alone: {figure(found.mean_baseline_mse)})"),
        ("", f"root {figure(found.rmse)}, mean absolute {figure(found.mae)}"),
        ("R²", f"{figure(found.r2)}; correlation {figure(found.pearson)}, of ranks {figure(found.spearman)}"),
    ]
