"""The report on a model that predicts a label or a number for each tree."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from charrnn.checkpoint import Checkpoint
from charrnn.config import Prior, TrainConfig
from charrnn.errors import CorpusError
from charrnn.metrics.labels import Classification, Regression, rounded_right
from charrnn.tasks.rows.data import Learned
from charrnn.tasks.rows.held_out import columns_asked, own_rows
from charrnn.tasks.rows.labels import WRONG, figures_of, temperature_notes, unknown_labels
from charrnn.tasks.stored import PartName, encoding_of
from charrnn.tasks.tree.data import (
    TreeDataset,
    TreeExamples,
    labels_of,
    load_trees,
    read_expressions,
    tree_examples,
)
from charrnn.tasks.tree.predict import SavedTreeModel, load, logits_of, reader_of
from charrnn.tasks.tree.trees import NONE

DEPTH_EDGES = (1, 2, 3, 5, 8, 13, 20, 40, 80)
LEAF_EDGES = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, kw_only=True)
class Band:
    """The trees whose size lies between two bounds, both included."""

    least: int
    most: int
    num_trees: int
    accuracy: float | None
    """Accuracy at the root, of labels or rounded whole numbers; None for other numbers."""
    mse: float | None
    """Mean squared error at the root, for numbers."""


@dataclass(frozen=True, kw_only=True)
class TreeReport:
    """The fields of `charrnn eval --json` for such a model; one of `labels` and `numbers` is None."""

    schema: Literal["charrnn.eval/1"] = "charrnn.eval/1"
    task: Literal["tree"] = "tree"
    run: str
    step: int | None
    model: str
    data: str
    column: str
    labels: Classification | None
    """At the labelled roots."""
    numbers: Regression | None
    node_accuracy: float | None
    """Accuracy of the labels of all nodes, if nodes are labelled."""
    num_labelled_nodes: int
    num_unlabelled_roots: int
    """Trees that count only in the figures of nodes."""
    by_depth: tuple[Band, ...]
    by_leaves: tuple[Band, ...]
    temperature: float | None
    """What the logits are divided by, as fitted to the validation part."""
    prior: Prior | None
    """What the labels' frequencies are taken to be; None: as the model was trained."""
    num_oov: int
    """Leaves with a symbol that the model does not know."""
    notes: tuple[str, ...]
    trees_per_second: float
    model_sha256: str


def tree_rows(
    checkpoint: Checkpoint, saved: SavedTreeModel, *, file: str | None, part: PartName | None
) -> tuple[str, TreeExamples, tuple[str, ...]]:
    """The name of a file, or of a part of the run's own table, its trees, and notes. Raises as `own_rows` does."""
    reader, label = reader_of(saved), saved.config.label
    if file is None:

        def load(config: TrainConfig) -> TreeDataset:
            return load_trees(config, reader)

        return *own_rows(checkpoint, part, load, Learned.of([saved.source], [label])), ()
    column, text = columns_asked(checkpoint, saved.config)
    table, name, text_column = read_expressions([file], column, text, reader, encoding=encoding_of(checkpoint))
    examples = tree_examples(table, text_column, label, reader, saved.source)
    strings, _, _ = labels_of(table, examples.forest, name)
    return file, examples, (*table.notes, *unknown_labels(label, strings, WRONG))


def reports(
    checkpoint: Checkpoint,
    *,
    file: str | None,
    part: PartName | None,
    prior: Prior | None = None,
    **_: object,
) -> list[TreeReport]:
    """One report, on a file or on a part of the run's own table."""
    saved = load(checkpoint)
    data, examples, notes = tree_rows(checkpoint, saved, file=file, part=part)
    begin = time.perf_counter()
    forest, readout = examples.forest, saved.model.readout
    logits = logits_of(saved, forest, examples.words)
    seconds = time.perf_counter() - begin
    config, label = saved.config, saved.config.label
    root = forest.ends - forest.sizes
    said = ~np.isnan(examples.outputs)
    if not said.any():
        raise CorpusError(f"{data}: nothing in it has a label that a prediction could be compared with")
    compared = said[root]
    root = root[compared]
    truth = examples.outputs[root]
    labels, numbers = figures_of(readout, saved.params, logits[root], truth, prior)
    node_accuracy, squares = None, None
    if labels is None:
        predicted, true = readout.numbers(logits[root]), truth * label.scale + label.mean
        root_right, squares = rounded_right(predicted, true), (predicted - true) ** 2
    else:
        right = readout.probabilities(saved.params, logits, prior).argmax(-1) == examples.outputs
        root_right, node_accuracy = right[root], float(right[said].mean()) if config.node_labels else None
    report = TreeReport(
        run=checkpoint.run_name,
        step=checkpoint.step,
        model=f"{config.composition} of {config.hidden_size}",
        data=data,
        column=label.name,
        labels=labels,
        numbers=numbers,
        node_accuracy=node_accuracy,
        num_labelled_nodes=int(np.count_nonzero(said)),
        num_unlabelled_roots=int(np.count_nonzero(~compared)),
        by_depth=_bands(forest.depths[compared], DEPTH_EDGES, root_right, squares),
        by_leaves=_bands(forest.num_leaves[compared], LEAF_EDGES, root_right, squares),
        temperature=None if labels is None else readout.temperature(saved.params),
        prior=prior,
        num_oov=_unknown_leaves(examples, saved.source.size),
        notes=notes + temperature_notes(readout, saved.params),
        trees_per_second=len(examples) / max(seconds, 1e-9),
        model_sha256=saved.sha256,
    )
    return [report]


def _bands(
    sizes: npt.NDArray[np.int64],
    edges: Sequence[int],
    right: npt.NDArray[np.bool_] | None,
    squares: npt.NDArray[np.float64] | None,
) -> tuple[Band, ...]:
    """(R,) each: the size of a tree, whether the prediction at its root is right, the squared error."""
    bands, least = [], 0
    for most in (*edges, int(sizes.max(initial=0))):
        inside = (sizes >= least) & (sizes <= most)
        if inside.any():
            bands.append(
                Band(
                    least=max(least, int(sizes[inside].min())),
                    most=min(most, int(sizes[inside].max())),
                    num_trees=int(inside.sum()),
                    accuracy=None if right is None else float(right[inside].mean()),
                    mse=None if squares is None else float(squares[inside].mean()),
                )
            )
        least = most + 1
    return tuple(bands)


def _unknown_leaves(examples: TreeExamples, unknown: int) -> int:
    words, leaves = examples.words, examples.forest.leaf
    owner = np.repeat(np.arange(len(words)), words.lengths)
    has_unknown = np.bincount(owner, words.values == unknown, minlength=len(words)) > 0
    return int(np.count_nonzero(has_unknown[leaves[leaves != NONE]]))
