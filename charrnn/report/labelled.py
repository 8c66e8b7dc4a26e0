"""The report on a model that tells a label or a number for each text."""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.corpus.labelled import Examples, labelled_examples, load_labelled, read_pairs
from charrnn.models.saved import SavedClassifier
from charrnn.report.classification import Classification, classification
from charrnn.report.held_out import PartName, run_record
from charrnn.report.held_out_rows import own_rows
from charrnn.report.regression import Regression, regression
from charrnn.sampling.classifying import logits_of


@dataclass(frozen=True, kw_only=True)
class LabelledReport:
    """The fields of `charrnn eval --json` of such a model; one of `labels` and `numbers` is None."""

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
    """What the logits are divided by, as the validation part had it."""
    num_oov: int
    """Symbols of the texts that the model does not know."""
    texts_per_second: float
    model_sha256: str


def labelled_rows(
    checkpoint: Checkpoint, saved: SavedClassifier, *, file: str | None, part: PartName | None
) -> tuple[str, Examples]:
    """The name and the examples of a file as given, or of a part of the run's own. Raises as `own_rows` does."""
    if file is None:
        return own_rows(checkpoint, part, load_labelled)
    record, config = run_record(checkpoint), saved.config
    encoding = "utf-8" if record is None else record.config.encoding
    bare = record is not None and record.config.label_column is None and record.config.text_column is None
    names = (None, None) if bare else (config.label.name, config.text_column)
    table, _, _ = read_pairs([file], *names, encoding=encoding)
    return file, labelled_examples(table, config.text_column, config.label, saved.symbols)


def evaluate_labelled(
    saved: SavedClassifier, examples: Examples, *, data: str, run: str, step: int | None
) -> LabelledReport:
    begin = time.perf_counter()
    logits, readout = logits_of(saved, examples.inputs), saved.model.readout
    seconds = time.perf_counter() - begin
    encoder, label = saved.config.encoder, saved.config.label
    labels, numbers, temperature = None, None, None
    if readout.is_regression:
        numbers = regression(readout.numbers(logits), examples.outputs * label.scale + label.mean)
    else:
        p = readout.probabilities(saved.params, logits)
        labels = classification(p, examples.outputs.astype(np.int64), label.values)
        temperature = readout.temperature(saved.params)
    return LabelledReport(
        run=run,
        step=step,
        model=f"{encoder.cell} {encoder.num_layers} x {encoder.hidden_size}",
        data=data,
        column=label.name,
        labels=labels,
        numbers=numbers,
        temperature=temperature,
        num_oov=int(np.count_nonzero(examples.inputs.values == saved.symbols.size)),
        texts_per_second=len(examples) / max(seconds, 1e-9),
        model_sha256=saved.sha256,
    )
