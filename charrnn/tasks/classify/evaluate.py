"""The report on a model that predicts a label or a number for each text."""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.metrics.labels import Classification, Regression
from charrnn.tasks.classify.data import Examples, labelled_examples, load_labelled
from charrnn.tasks.classify.predict import SavedClassifier, load, logits_of
from charrnn.tasks.rows.data import Learned, read_pairs
from charrnn.tasks.rows.held_out import columns_asked, own_rows
from charrnn.tasks.rows.labels import figures_of
from charrnn.tasks.stored import PartName, encoding_of


@dataclass(frozen=True, kw_only=True)
class LabelledReport:
    """The fields of `charrnn eval --json` for such a model; one of `labels` and `numbers` is None."""

    schema: Literal["charrnn.eval/1"] = "charrnn.eval/1"
    task: Literal["classify"] = "classify"
    run: str
    step: int | None
    model: str
    data: str
    column: str
    labels: Classification | None
    numbers: Regression | None
    temperature: float | None
    """What the logits are divided by, as fitted to the validation part."""
    num_oov: int
    """Symbols of the texts that the model does not know."""
    texts_per_second: float
    model_sha256: str


def labelled_rows(
    checkpoint: Checkpoint, saved: SavedClassifier, *, file: str | None, part: PartName | None
) -> tuple[str, Examples]:
    """The name and the examples of a file, or of a part of the run's own table. Raises as `own_rows` does."""
    config = saved.config
    if file is None:
        return own_rows(checkpoint, part, load_labelled, Learned.of([saved.source], [config.label]))
    table, _, _ = read_pairs([file], *columns_asked(checkpoint, config), encoding=encoding_of(checkpoint))
    return file, labelled_examples(table, config.text_column, config.label, saved.source)


def reports(
    checkpoint: Checkpoint, *, file: str | None, part: PartName | None, **_: object
) -> list[LabelledReport]:
    """One report, on a file or on a part of the run's own table."""
    saved = load(checkpoint)
    data, examples = labelled_rows(checkpoint, saved, file=file, part=part)
    return [evaluate_labelled(saved, examples, data=data, run=checkpoint.run_name, step=checkpoint.step)]


def evaluate_labelled(
    saved: SavedClassifier, examples: Examples, *, data: str, run: str, step: int | None
) -> LabelledReport:
    begin = time.perf_counter()
    logits, readout = logits_of(saved, examples.inputs), saved.model.readout
    seconds = time.perf_counter() - begin
    encoder, label = saved.config.encoder, saved.config.label
    labels, numbers = figures_of(readout, saved.params, logits, examples.outputs)
    return LabelledReport(
        run=run,
        step=step,
        model=f"{encoder.cell} {encoder.num_layers} x {encoder.hidden_size}",
        data=data,
        column=label.name,
        labels=labels,
        numbers=numbers,
        temperature=None if labels is None else readout.temperature(saved.params),
        num_oov=int(np.count_nonzero(examples.inputs.values == saved.source.size)),
        texts_per_second=len(examples) / max(seconds, 1e-9),
        model_sha256=saved.sha256,
    )
