"""The report on a model that predicts a symbol for each symbol."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.corpus.bucketed import by_length
from charrnn.metrics.sequences import Tagging, tagging
from charrnn.sampling.beam import Search
from charrnn.tasks.rows.held_out import pair_rows
from charrnn.tasks.rows.pairs import Pairs
from charrnn.tasks.stored import PartName
from charrnn.tasks.tag.predict import SavedTagger, load, search_tags
from charrnn.tasks.tag.tagger import batch_of

BATCH = 128


@dataclass(frozen=True, kw_only=True)
class TagReport:
    """The fields of `charrnn eval --json` for such a model."""

    schema: Literal["charrnn.eval/1"] = "charrnn.eval/1"
    task: Literal["tag"] = "tag"
    run: str
    step: int | None
    model: str
    data: str
    beam: int
    nll: float
    """Nats of all outputs given their inputs, which training minimises."""
    loss: float | None
    """nll / num_symbols"""
    figures: Tagging
    num_oov: int
    """Symbols of the inputs that the model does not know."""
    notes: tuple[str, ...] = ()
    inputs_per_second: float
    model_sha256: str


def reports(
    checkpoint: Checkpoint,
    *,
    file: str | None,
    part: PartName | None,
    how: Search,
    notify: Callable[[str, float], object],
    **_: object,
) -> list[TagReport]:
    """One report, on a file or on a part of the run's own table."""
    saved = load(checkpoint)
    data, pairs, notes = pair_rows(checkpoint, saved, file=file, part=part, same_length=True)
    run, step = checkpoint.run_name, checkpoint.step
    report = evaluate_tagger(saved, pairs, data=data, run=run, step=step, how=how, notify=notify)
    return [replace(report, notes=notes)]


def evaluate_tagger(
    saved: SavedTagger,
    pairs: Pairs,
    *,
    data: str,
    run: str,
    step: int | None,
    how: Search,
    notify: Callable[[str, float], object] = lambda _what, _share: None,
) -> TagReport:
    """Evaluates every row of the table; inputs of similar lengths are read together."""
    asked = pairs.take(np.argsort(pairs.inputs.lengths, kind="stable"))
    begin, predicted = time.perf_counter(), []
    for found in search_tags(saved, asked.inputs, how=how):
        predicted.append([saved.target.symbols[k] for k in found[0].symbols])
        if len(predicted) % BATCH == 0:
            notify("tagging", len(predicted) / len(asked))
    seconds = time.perf_counter() - begin
    batches = (batch_of(saved.model, pairs, rows) for rows in by_length(pairs.inputs.lengths))
    nll = sum(float(saved.model.nll(saved.params, batch).sum(dtype=np.float64)) for batch in batches)
    symbols = int(pairs.inputs.lengths.sum())
    encoder = saved.config.encoder
    edges = "output edges" if saved.model.decoder else "no output edges"
    return TagReport(
        run=run,
        step=step,
        model=f"{encoder.cell} {encoder.num_layers} x {encoder.hidden_size}, {encoder.direction}, {edges}",
        data=data,
        beam=how.beam,
        nll=nll,
        loss=nll / symbols if symbols else None,
        figures=tagging(
            predicted,
            [saved.target.split(text) for text in asked.targets],
            [saved.source.split(text) for text in asked.sources],
            separator=saved.source.separator,
        ),
        num_oov=int(np.count_nonzero(asked.inputs.values == saved.source.size)),
        inputs_per_second=len(asked) / max(seconds, 1e-9),
        model_sha256=saved.sha256,
    )
