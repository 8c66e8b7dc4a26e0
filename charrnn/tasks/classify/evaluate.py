"""The report on a model that predicts a label or a number for each text."""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.config import Prior
from charrnn.metrics.labels import Classification, Regression
from charrnn.tasks.classify.data import Examples, labelled_examples, load_labelled
from charrnn.tasks.classify.predict import SavedClassifier, load, logits_of
from charrnn.tasks.rows.data import Learned, num_symbols, read_pairs
from charrnn.tasks.rows.held_out import columns_asked, own_rows
from charrnn.tasks.rows.labels import WRONG, figures_of, temperature_notes, unknown_labels
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
    prior: Prior | None
    """What the labels' frequencies are taken to be; None: as the model was trained."""
    num_oov: int
    """Symbols of the texts that the model does not know."""
    notes: tuple[str, ...]
    texts_per_second: float
    model_sha256: str


def labelled_rows(
    checkpoint: Checkpoint, saved: SavedClassifier, *, file: str | None, part: PartName | None
) -> tuple[str, Examples, tuple[str, ...]]:
    """The name of a file, or of a part of the run's own table, its rows, and notes. Raises as `own_rows` does."""
    config, label = saved.config, saved.config.label
    if file is None:
        return *own_rows(checkpoint, part, load_labelled, Learned.of([saved.source], [label])), ()
    asked, size = columns_asked(checkpoint, config), num_symbols(config.source_sep)
    table, name, _ = read_pairs([file], *asked, encoding=encoding_of(checkpoint), size=size)
    examples = labelled_examples(table, config.text_column, label, saved.source)
    return file, examples, (*table.notes, *unknown_labels(label, table.column(name), WRONG))


def reports(
    checkpoint: Checkpoint,
    *,
    file: str | None,
    part: PartName | None,
    prior: Prior | None = None,
    **_: object,
) -> list[LabelledReport]:
    """One report, on a file or on a part of the run's own table."""
    saved = load(checkpoint)
    data, examples, notes = labelled_rows(checkpoint, saved, file=file, part=part)
    begin = time.perf_counter()
    logits, readout = logits_of(saved, examples.inputs), saved.model.readout
    seconds = time.perf_counter() - begin
    encoder, label = saved.config.encoder, saved.config.label
    labels, numbers = figures_of(readout, saved.params, logits, examples.outputs, prior)
    report = LabelledReport(
        run=checkpoint.run_name,
        step=checkpoint.step,
        model=f"{encoder.cell} {encoder.num_layers} x {encoder.hidden_size}",
        data=data,
        column=label.name,
        labels=labels,
        numbers=numbers,
        temperature=None if labels is None else readout.temperature(saved.params),
        prior=prior,
        num_oov=int(np.count_nonzero(examples.inputs.values == saved.source.size)),
        notes=notes + temperature_notes(readout, saved.params),
        texts_per_second=len(examples) / max(seconds, 1e-9),
        model_sha256=saved.sha256,
    )
    return [report]
