"""Human-readable descriptions of classifiers, their data and their results."""

from collections.abc import Iterator

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.models.store import ModelConfig
from charrnn.tasks.classify.data import LabelledDataset
from charrnn.tasks.classify.evaluate import LabelledReport
from charrnn.tasks.rows.labels import frequencies
from charrnn.tasks.rows.words import (
    DIRECTIONS,
    class_rows,
    commands,
    confusion_rows,
    label_facts,
    last_facts,
    number_facts,
    output_words,
    part_sizes,
    table_facts,
)
from charrnn.tasks.verdict import Rival
from charrnn.words import Block, Facts, count, shape

__all__ = ["commands", "data_words", "model_words", "rival", "shown"]


def data_words(dataset: LabelledDataset) -> Facts:
    facts = table_facts(dataset, "text")
    facts.append(("Texts", f"{part_sizes(dataset)}; {count(dataset.symbols.size, 'symbol')}"))
    return [*facts, ("Output", f"{output_words(dataset.label)} (--label-column)")]


def model_words(config: TrainConfig | ModelConfig, num_parameters: int) -> str:
    read = f"{DIRECTIONS[config.direction]}, {config.pooling} pooled"  # type: ignore[union-attr]
    what = shape(config.cell, config.num_layers, config.hidden_size)
    return f"{what}, read {read}, {count(num_parameters, 'parameter')}"


def rival(config: ResolvedConfig, dataset: LabelledDataset) -> Rival | None:
    return frequencies(dataset.label, dataset.valid.outputs, config.class_weights)


def shown(report: LabelledReport, *, verbose: bool) -> Iterator[Block]:
    facts = [("Model", f"{report.run}, step {report.step:,}: {report.model}, predicts {report.column}")]
    if report.labels is not None:
        facts.append(("Texts", f"{report.data}: {count(report.labels.num_examples, 'text')}"))
        yield facts + label_facts(report, report.labels, "text")
        yield None
        yield class_rows(report.labels)
        yield from confusion_rows(report.labels, "TEXTS")
    elif report.numbers is not None:
        facts.append(("Texts", f"{report.data}: {count(report.numbers.num_examples, 'text')}"))
        yield facts + number_facts(report.numbers)
    yield last_facts(report, f"{report.texts_per_second:,.0f} texts/s", verbose=verbose)
