"""The report on a model that tells a label or a number for each text."""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Params
from charrnn.checkpoint import Checkpoint
from charrnn.corpus.labelled import Examples, labelled_examples, load_labelled, read_pairs
from charrnn.models.label_readout import LabelReadout
from charrnn.models.saved import SavedClassifier
from charrnn.report.classification import Classification, classification
from charrnn.report.held_out import PartName, encoding_of
from charrnn.report.held_out_rows import columns_asked, own_rows
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
    config = saved.config
    table, _, _ = read_pairs([file], *columns_asked(checkpoint, config), encoding=encoding_of(checkpoint))
    return file, labelled_examples(table, config.text_column, config.label, saved.symbols)


def told_figures(
    readout: LabelReadout,
    params: Params,
    logits: npt.NDArray[np.floating],
    outputs: npt.NDArray[np.float64],
) -> tuple[Classification, None] | tuple[None, Regression]:
    """Of logits (R, K) and outputs (R,): the index of a label, NaN where there is none, or a number as trained."""
    label = readout.label
    if readout.is_regression:
        return None, regression(readout.numbers(logits), outputs * label.scale + label.mean)
    truth = np.where(np.isnan(outputs), -1, outputs).astype(np.int64)
    return classification(readout.probabilities(params, logits), truth, label.values), None


def evaluate_labelled(
    saved: SavedClassifier, examples: Examples, *, data: str, run: str, step: int | None
) -> LabelledReport:
    begin = time.perf_counter()
    logits, readout = logits_of(saved, examples.inputs), saved.model.readout
    seconds = time.perf_counter() - begin
    encoder, label = saved.config.encoder, saved.config.label
    labels, numbers = told_figures(readout, saved.params, logits, examples.outputs)
    return LabelledReport(
        run=run,
        step=step,
        model=f"{encoder.cell} {encoder.num_layers} x {encoder.hidden_size}",
        data=data,
        column=label.name,
        labels=labels,
        numbers=numbers,
        temperature=None if labels is None else readout.temperature(saved.params),
        num_oov=int(np.count_nonzero(examples.inputs.values == saved.symbols.size)),
        texts_per_second=len(examples) / max(seconds, 1e-9),
        model_sha256=saved.sha256,
    )
