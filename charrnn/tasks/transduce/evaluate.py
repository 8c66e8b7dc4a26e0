"""The report on a model that maps sequences to sequences."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.config import StopName
from charrnn.corpus.bucketed import by_length
from charrnn.corpus.steps import STOP_INDEX
from charrnn.metrics.sequences import Transduction, transduction
from charrnn.sampling.beam import Search
from charrnn.sampling.scoring import choose_stop
from charrnn.tasks.rows.held_out import pair_rows
from charrnn.tasks.rows.pairs import Pairs
from charrnn.tasks.stored import PartName
from charrnn.tasks.transduce.encoder_decoder import batch_of
from charrnn.tasks.transduce.predict import SavedTransducer, load, search

BATCH = 128


@dataclass(frozen=True, kw_only=True)
class TransduceReport:
    """The fields of `charrnn eval --json` for such a model."""

    schema: Literal["charrnn.eval/1"] = "charrnn.eval/1"
    task: Literal["transduce"] = "transduce"
    run: str
    step: int | None
    model: str
    data: str
    stop: StopName
    beam: int
    length_penalty: float
    nll: float
    """Nats of all outputs of the table given their inputs, including the ending by `stop`."""
    loss: float | None
    """nll per output symbol, as training reports it."""
    figures: Transduction
    num_cut: int
    """Outputs cut because they were too long."""
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
    stop: StopName | None,
    how: Search,
    notify: Callable[[str, float], object],
    **_: object,
) -> list[TransduceReport]:
    """One report, on a file or on a part of the run's own table."""
    saved = load(checkpoint)
    columns = saved.config.columns
    data, pairs, notes = pair_rows(checkpoint, saved, columns, file=file, part=part, same_length=False)
    report = evaluate_transducer(
        saved,
        pairs,
        data=data,
        run=checkpoint.run_name,
        step=checkpoint.step,
        stop=choose_stop(saved.model.decoder, stop),
        how=how,
        notify=notify,
    )
    return [replace(report, notes=notes)]


def evaluate_transducer(
    saved: SavedTransducer,
    pairs: Pairs,
    *,
    data: str,
    run: str,
    step: int | None,
    stop: StopName,
    how: Search,
    notify: Callable[[str, float], object] = lambda _what, _share: None,
) -> TransduceReport:
    """Evaluates every distinct input once, against all its outputs anywhere in the table."""
    references: dict[tuple[str, bytes], list[str]] = {}
    first: dict[tuple[str, bytes], int] = {}
    for row, (source, target) in enumerate(zip(pairs.sources, pairs.targets, strict=True)):
        key = (source, b"" if pairs.contexts is None else pairs.contexts[row].tobytes())
        references.setdefault(key, []).append(target)
        first.setdefault(key, row)
    # Inputs of similar lengths are read together.
    keys = sorted(first, key=lambda key: (len(key[0]), first[key]))
    rows = np.array([first[key] for key in keys])
    asked = pairs.take(rows)
    begin, predicted, cut = time.perf_counter(), [], 0
    for found in search(saved, asked.inputs, asked.contexts, stop=stop, how=how):
        predicted.append([saved.target.symbols[k] for k in found[0].symbols])
        cut += not found[0].ended
        if len(predicted) % BATCH == 0:
            notify("decoding", len(predicted) / len(keys))
    seconds = time.perf_counter() - begin
    nll = 0.0
    for rows in by_length(pairs.inputs.lengths):
        batch = batch_of(saved.source, saved.target, pairs, rows, np.full(len(rows), STOP_INDEX[stop]))
        nll += float(saved.model.nll(saved.params, batch).sum(dtype=np.float64))
    symbols = int(pairs.outputs.lengths.sum())
    truth = [[saved.target.split(text) for text in references[key]] for key in keys]
    encoder, decoder = saved.config.encoder, saved.config.decoder
    shape = f"{encoder.cell} {encoder.num_layers} x {encoder.hidden_size}"
    looks = f"{decoder.attention} attention, " if decoder.attention else ""
    return TransduceReport(
        run=run,
        step=step,
        model=f"{shape}, {looks}context {decoder.context_mode}",
        data=data,
        stop=stop,
        beam=how.beam,
        length_penalty=how.length_penalty,
        nll=nll,
        loss=nll / symbols if symbols else None,
        figures=transduction(predicted, truth),
        num_cut=cut,
        num_oov=int(np.count_nonzero(asked.inputs.values == saved.source.size)),
        inputs_per_second=len(keys) / max(seconds, 1e-9),
        model_sha256=saved.sha256,
    )
