"""The report on a model of a sequence for a sequence."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from charrnn.checkpoint import Checkpoint
from charrnn.config import StopName
from charrnn.corpus.pairs import Pairs, load_pairs, read_pair_table
from charrnn.corpus.paths import seen_from
from charrnn.errors import CheckpointError, CorpusError
from charrnn.models.saved import SavedTransducer
from charrnn.report.held_out import PartName, run_record
from charrnn.report.sequence_figures import Transduction, transduction
from charrnn.sampling.search import Search, search

BATCH = 128


@dataclass(frozen=True, kw_only=True)
class TransduceReport:
    """The fields of `charrnn eval --json` of such a model."""

    schema: Literal["charrnn.eval/1"] = "charrnn.eval/1"
    task: Literal["transduce"] = "transduce"
    run: str
    step: int | None
    model: str
    data: str
    stop: StopName
    beam: int
    length_penalty: float
    figures: Transduction
    num_cut: int
    """Outputs that went on for too long."""
    num_oov: int
    """Symbols of the inputs that the model does not know."""
    inputs_per_second: float
    model_sha256: str


def transduce_part(
    checkpoint: Checkpoint, saved: SavedTransducer, *, file: str | None, part: PartName | None
) -> tuple[str, Pairs]:
    """The name and the pairs of a file as given, or of a part of the run's own table (test, else validation).

    Raises CorpusError, CheckpointError.
    """
    record, config = run_record(checkpoint), saved.config
    if file is not None:
        encoding = "utf-8" if record is None else record.config.encoding
        names = [column.name for column in config.columns]
        table = read_pair_table([file], config.source_column, config.target_column, names, encoding=encoding)
        return file, table.pairs(saved.source, saved.target, config.columns)
    if record is None:
        raise CheckpointError(f"{checkpoint.path}: has no run beside it; name a FILE to evaluate it on")
    dataset = load_pairs(seen_from(record.config, Path(record.directory)))
    if dataset.sha256 != record.corpus_sha256:
        raise CorpusError(f"{record.corpus_files[0]}: has changed since the run {record.name} was trained")
    name = part or ("test" if len(dataset.test) else "valid")
    if not len(dataset.part(name)):
        raise CorpusError(f"the {name} split of {record.name} is empty; name a FILE instead")
    return name, dataset.part(name)


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
    """Every different input once, against all outputs that stand beside it anywhere in the table."""
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
        figures=transduction(predicted, truth),
        num_cut=cut,
        num_oov=int(np.count_nonzero(asked.inputs.values == saved.source.size)),
        inputs_per_second=len(keys) / max(seconds, 1e-9),
        model_sha256=saved.sha256,
    )
