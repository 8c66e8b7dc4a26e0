"""Human-readable descriptions of recursive networks, their data and their results."""

from collections.abc import Iterator

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.models.store import ModelConfig
from charrnn.tasks.rows.labels import frequencies
from charrnn.tasks.rows.words import (
    commands,
    confusion_rows,
    label_facts,
    last_facts,
    number_facts,
    output_words,
    part_sizes,
    table_facts,
)
from charrnn.tasks.tree.data import TreeDataset
from charrnn.tasks.tree.evaluate import Band, TreeReport
from charrnn.tasks.verdict import Rival
from charrnn.words import Block, Facts, Rows, count, percent

__all__ = ["commands", "data_words", "model_words", "rival", "shown"]


def data_words(dataset: TreeDataset) -> Facts:
    deepest = f"depth to {int(dataset.train.forest.depths.max())}"
    sizes = f"{part_sizes(dataset)}; {deepest}, {count(dataset.symbols.size, 'symbol')}"
    return [*table_facts(dataset, "tree"), ("Trees", sizes), ("Output", output_words(dataset.label))]


def model_words(config: TrainConfig | ModelConfig, num_parameters: int) -> str:
    assert isinstance(config, TrainConfig)
    leaves = f"leaves read by {config.cell}" if config.leaves == "characters" else "leaves of one symbol"
    return f"{config.composition} of {config.hidden_size}, {leaves}, {count(num_parameters, 'parameter')}"


def rival(config: ResolvedConfig, dataset: TreeDataset) -> Rival | None:
    return frequencies(dataset.label, dataset.valid.outputs, config.class_weights)


def shown(report: TreeReport, *, verbose: bool) -> Iterator[Block]:
    facts = [("Model", f"{report.run}, step {report.step:,}: {report.model}, predicts {report.column}")]
    if report.labels is not None:
        facts.append(("Trees", f"{report.data}: {count(report.labels.num_examples, 'tree')}"))
        if report.node_accuracy is not None:
            nodes = f"{percent(report.node_accuracy)} of {report.num_labelled_nodes:,} labelled"
            facts.append(("Nodes", nodes))
        yield facts + label_facts(report, report.labels, "tree")
        yield from confusion_rows(report.labels, "TREES")
    elif report.numbers is not None:
        facts.append(("Trees", f"{report.data}: {count(report.numbers.num_examples, 'tree')}"))
        yield facts + number_facts(report.numbers)
    for head, bands in (("DEPTH", report.by_depth), ("LEAVES", report.by_leaves)):
        yield None
        figures = ["ACCURACY"] if any(band.accuracy is not None for band in bands) else []
        figures += ["MEAN SQUARED ERROR"] if report.numbers is not None else []
        yield Rows((head, "TREES", *figures), [_band_row(band) for band in bands])
    if report.num_unlabelled_roots:
        yield [("Left out", f"{count(report.num_unlabelled_roots, 'tree')} without a label at the root")]
    yield last_facts(report, f"{report.trees_per_second:,.0f} trees/s", verbose=verbose)


def _band_row(band: Band) -> tuple[str, ...]:
    sizes = f"{band.least:,}" if band.least == band.most else f"{band.least:,}-{band.most:,}"
    figures = [percent(band.accuracy)] if band.accuracy is not None else []
    figures += [f"{band.mse:,.4f}"] if band.mse is not None else []
    return sizes, f"{band.num_trees:,}", *figures
