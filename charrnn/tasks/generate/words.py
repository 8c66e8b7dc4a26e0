"""Human-readable descriptions of text generators, their data and their results."""

import math
from collections.abc import Iterator
from typing import Any

from charrnn.config import ResolvedConfig, StopName, TrainConfig
from charrnn.corpus.columns import Column
from charrnn.metrics.baselines import QUICK_BYTES, quick_ngram
from charrnn.metrics.copies import Copies
from charrnn.metrics.lengths import LengthReport
from charrnn.models.stopping import STOPS
from charrnn.models.store import ModelConfig
from charrnn.tasks.generate.data import Dataset
from charrnn.tasks.generate.evaluate import EvalReport
from charrnn.tasks.generate.free_running import FreeRunning
from charrnn.tasks.task import Next
from charrnn.tasks.verdict import Rival
from charrnn.words import Block, Facts, Rows, count, figure, file_names, shape, size

CAREFUL = "0.8"
"""At this temperature, plays of a model trained for three minutes have as many real words as held-out plays, and
still more distinct ones; below it they repeat themselves (`tests/benchmarks/samples.py`)."""

_BASELINES = (("ngram", "n-gram"), ("xz", "xz"), ("unigram", "unigram"), ("uniform", "uniform"))
_QUANTILES = ("min", "p5", "p25", "p50", "p75", "p95", "max", "mean")


def data_words(dataset: Dataset) -> Facts:
    sequences, parts = dataset.corpus.sequences, dataset.parts
    whole = f"{count(sequences.num_chars, 'character')} in {count(len(sequences), 'sequence')}"
    facts = [("Corpus", f"{file_names(dataset.corpus.files)}: {whole}")]
    facts += [("", note) for note in dataset.notes]
    sizes = f"{parts.train.num_chars:,} to train on, {parts.valid.num_chars:,} to validate, "
    sizes += f"{parts.test.num_chars:,} to test; {count(dataset.vocabulary.size, 'symbol')}"
    return [*facts, ("Characters", sizes)]


def model_words(config: TrainConfig | ModelConfig, num_parameters: int) -> str:
    names = config.context if isinstance(config, TrainConfig) else [column.name for column in config.columns]
    given = f", given {', '.join(names)}" if names else ""
    ends = f"{endings(config.stop)} (--stop {' '.join(config.stop)})"
    what = shape(config.cell, config.num_layers, config.hidden_size)
    return f"{what}{given}, {count(num_parameters, 'parameter')}; {ends}"


def endings(stops: tuple[StopName, ...]) -> str:
    """How the texts of a model end."""
    named = [STOPS[stop].words for stop in stops if stop != "none"]
    return f"texts end by {' or '.join(named)}" if named else "texts have no end"


def rival(config: ResolvedConfig, dataset: Dataset) -> Rival | None:
    """The best n-gram, from `quick_ngram`."""
    found = quick_ngram(
        dataset.parts.train,
        dataset.parts.valid,
        dataset.vocabulary,
        training_chars=dataset.parts.train.num_chars,
        independent=dataset.order == "independent",
        endings=config.stop != ("none",),
        separator=dataset.corpus.separator,
    )
    if found is None:
        return None
    part = "" if found.is_whole else f", fitted to the last {QUICK_BYTES / 1e6:g} MB"
    return Rival(f"the best n-gram{part}", found.loss)


def commands(config: ResolvedConfig, dataset: Dataset) -> list[Next]:
    extra = ["--num-chars", "500"] if config.stop == ("none",) else []
    if config.order == "independent" and not extra:
        extra = ["-n", "10"]
    given = [item for column in dataset.columns for item in ("--given", f"{column.name}={_usual(column)}")]
    return [
        Next("sample", [*given, *extra]),
        Next("sample", [*given, *extra, "--temperature", CAREFUL], "fewer slips"),
        Next("eval"),
    ]


def _usual(column: Column) -> str:
    """The column's commonest category, or its mean."""
    return column.values[column.counts.index(max(column.counts))] if column.values else f"{column.mean:.4g}"


def shown(report: EvalReport, *, verbose: bool) -> Iterator[Block]:
    yield _facts(report, verbose=verbose)
    if report.baselines is not None:
        yield None
        yield Rows(("MODEL", "BITS/CHAR", "PERPLEXITY"), _beside(report, report.baselines))
        if report.baselines["note"]:
            yield [("Note", report.baselines["note"])]
    if report.free_running is not None:
        yield [("Samples", _free_running(report.free_running))]
    if report.copies is not None:
        yield [("Copies", _copies(report.copies))]
    if report.lengths is not None:
        yield None
        heads = ("LENGTHS", "MIN", "5 %", "25 %", "MEDIAN", "75 %", "95 %", "MAX", "MEAN")
        yield Rows(heads, _quantiles(report.lengths))
        yield _calibration(report, report.lengths)
    if report.verdict is not None:
        yield None
        yield [("Verdict", report.verdict)]


def compared(reports: list[EvalReport]) -> Iterator[Block]:
    """One line per report, the best first; KS is the distance between sampled and held-out lengths."""
    heads = ("RUN", "MODEL", "STOP", "BITS/CHAR", "NATS/SYMBOL", "PERPLEXITY", "KS")
    rows = sorted(reports, key=lambda report: math.inf if report.loss is None else report.loss)
    yield Rows(heads, [_compared(report) for report in rows])
    if len({report.data_sha256 for report in reports}) > 1:
        yield [("Note", "the runs were not measured on the same text; name a FILE to do that")]


def _compared(report: EvalReport) -> tuple[str, ...]:
    distance = None if report.lengths is None else report.lengths.ks_distance
    return (
        report.run,
        report.model,
        report.stop,
        figure(report.bits_per_char),
        figure(report.loss_per_symbol),
        figure(report.perplexity),
        "-" if distance is None else f"{distance:.3f}",
    )


def _facts(report: EvalReport, *, verbose: bool) -> list[tuple[str, str]]:
    sizes = f"{count(report.num_chars, 'character')} in {count(report.num_sequences, 'sequence')}"
    facts = [
        ("Model", f"{report.run}, step {report.step:,}: {report.model}, --stop {report.stop}"),
        ("Text", f"{report.data}: {sizes}"),
        ("Perplexity", f"{figure(report.perplexity)} per character{_error(report.perplexity_stderr)}"),
        ("", f"{figure(report.loss)} nats/char = {figure(report.bits_per_char)} bits/char"),
        ("", f"{figure(report.bits_per_byte)} bits/byte, {figure(report.loss_per_symbol)} nats/symbol"),
        ("", f"{figure(report.nll_per_sequence)} nats/sequence"),
    ]
    if report.state_carried:
        block = f", in blocks of {report.cold.block}" if report.cold.block else ", each sequence by itself"
        facts.append(("Cold", f"{figure(report.cold.loss)} nats/char from the initial state{block}"))
    if report.stop != "none":
        share = report.nll_length / report.nll if report.nll else 0.0
        facts.append(("Endings", f"{report.nll_length:,.1f} of {report.nll:,.1f} nats ({share:.1%})"))
    if report.accuracy is not None:
        facts.append(("Accuracy", f"the likeliest character is the right one in {report.accuracy:.1%}"))
    if report.num_oov:
        unknown = f"{count(report.num_oov, 'character')}; perplexity without them "
        facts.append(("Unknown", unknown + figure(report.perplexity_excluding_oov)))
    if report.overlap is not None:
        facts.append(("Overlap", f"{count(report.overlap, 'sequence')} also in the training text"))
    if report.unseen is not None:
        sizes = f"{count(report.unseen.num_sequences, 'other sequence')}"
        bits = None if report.unseen.loss is None else report.unseen.loss / math.log(2)
        figures = f"{figure(report.unseen.loss)} nats/char = {figure(bits)} bits/char"
        facts.append(("Unseen", f"{figures} of the {sizes}, {figure(report.unseen.loss_per_symbol)} nats/symbol"))
    facts += [("Note", note) for note in report.notes]
    if verbose:
        speed = f"{report.chars_per_second:,.0f} chars/s, {size(report.peak_memory_bytes)} of memory"
        facts += [("Speed", speed), ("SHA-256", f"{report.model_sha256} (weights)")]
        facts.append(("", f"{report.data_sha256} (text)"))
    return facts


def _beside(report: EvalReport, baselines: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = [("this model", figure(report.bits_per_char), figure(report.perplexity))]
    for key, name in _BASELINES:
        figures = baselines[key]
        if figures is not None and figures["loss"] is not None:
            name = f"{name} of order {figures['order']}" if "order" in figures else name
            rows.append((name, figure(figures["bits_per_char"]), figure(math.exp(min(figures["loss"], 700)))))
    return rows


def _free_running(found: FreeRunning) -> str:
    sampled, held_out = found.ngram_loss_sampled / math.log(2), found.ngram_loss_held_out / math.log(2)
    return f"an n-gram needs {sampled:.4f} bits/char for them, {held_out:.4f} for the held-out text"


def _copies(found: Copies) -> str:
    texts = f"{count(found.num_chars, 'character')} in {count(found.num_texts, 'sample')}"
    held_out = f"(held-out text: {found.copied_held_out or 0.0:.1%})"
    spans = f"{found.copied or 0.0:.1%} of {texts} are in spans of {found.span} or more from the training text"
    where = "" if found.place is None else f"; the longest has {found.longest:,}: {found.place}"
    return f"{spans} {held_out}{where}; {found.repeated:.1%} of the samples are whole training texts"


def _quantiles(lengths: LengthReport) -> list[tuple[str, ...]]:
    rows = []
    for name, quantiles in (("held out", lengths.held_out), ("sampled", lengths.sampled)):
        if quantiles is not None:
            rows.append((name, *(f"{getattr(quantiles, field):,.4g}" for field in _QUANTILES)))
    return rows


def _calibration(report: EvalReport, lengths: LengthReport) -> list[tuple[str, str]]:
    facts = []
    if lengths.ks_distance is not None:
        drift = "" if lengths.ks_training is None else f" ({lengths.ks_training:.3f} from the training text)"
        facts.append(("Distance", f"{lengths.ks_distance:.3f} between sampled and held-out lengths (KS){drift}"))
    if lengths.pit is not None:
        shares = " ".join(f"{share:.2f}" for share in lengths.pit.histogram)
        facts.append(("PIT", f"{shares}; 0.10 each is perfect"))
    if report.num_cut:
        cut = f"{report.num_cut:,} of {count(report.num_sampled, 'sample')} at {report.cut_at:,} characters"
        facts.append(("Cut", f"{cut}; the distance is of lengths below that"))
    return facts


def _error(value: float | None) -> str:
    return "" if value is None else f", standard error {value:.4f}"
