"""The perplexity report: a full pass over held-out text with the state handled as in training.

Everything is computed in NumPy by the equations that sample and score text: in float32, summed in float64.
"""

import hashlib
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array
from charrnn.checkpoint import Checkpoint, RunDirectory
from charrnn.config import OrderName, SplitName, StopName
from charrnn.corpus.passes import cold_blocks, independent_pass, ordered_pass
from charrnn.corpus.sequences import Sequences, sample_lengths
from charrnn.corpus.steps import PADDING, Kind, StepReader, Window
from charrnn.metrics.baselines import Baselines, baselines
from charrnn.metrics.copies import Copies, copies, place_of
from charrnn.metrics.lengths import LengthReport, ks_distance, length_report
from charrnn.models.language_model import Assessment
from charrnn.models.store import SavedModel, load_model
from charrnn.sampling.ancestral import Drawn
from charrnn.sampling.prompt import length_distribution
from charrnn.sampling.scoring import assess_windows, choose_stop
from charrnn.tasks.generate.free_running import CHARS, MOST_CHARS, ROWS, FreeRunning, draw_texts, free_running
from charrnn.tasks.generate.held_out import HeldOut, held_out
from charrnn.tasks.generate.mixture import steppers
from charrnn.tasks.stored import PartName
from charrnn.tasks.verdict import Course, Rival, course_of, verdict

SAMPLES = 2000
LONGEST = 8
"""A sample is cut at this many times the longest held-out length, or earlier where `MOST_CHARS` would not suffice;
the report counts the cuts."""

COLD_BLOCK = 64
STREAM_BLOCK = 1024
"""Characters per block of one stream, for the standard error."""

FloatArray = npt.NDArray[np.float64]
Notify = Callable[[str, float], object]
"""Called with the name of the current work and the share of it that is done."""


@dataclass(frozen=True)
class ColdFigures:
    nll: float
    loss: float | None
    block: int | None
    """Characters per block of one stream, each scored from the initial state; None if each sequence is."""


@dataclass(frozen=True, kw_only=True)
class UnseenFigures:
    """Figures of the sequences that do not occur in the training text, from the pass over all sequences."""

    nll: float
    loss: float | None
    loss_per_symbol: float | None
    num_chars: int
    num_sequences: int


@dataclass(frozen=True, kw_only=True)
class EvalReport:
    """The fields of `charrnn eval --json`; a ratio is None if its denominator is zero."""

    schema: Literal["charrnn.eval/1"] = "charrnn.eval/1"
    run: str
    step: int | None
    model: str
    """Cell, layers and units, as `lstm 1 x 256`."""
    data: str
    """The split or the file that was scored."""
    stop: StopName
    order: OrderName
    state_carried: bool
    nll: float
    """Total nats, endings included."""
    loss: float | None
    """nll / num_chars"""
    loss_per_symbol: float | None
    """nll / (num_chars + num_sequences), or nll / num_chars if no ending is charged."""
    bits_per_char: float | None
    perplexity: float | None
    perplexity_stderr: float | None
    perplexity_excluding_oov: float | None
    bits_per_byte: float | None
    nll_per_sequence: float | None
    nll_length: float
    """The part of nll spent on stopping."""
    num_chars: int
    num_bytes: int
    num_sequences: int
    num_oov: int
    accuracy: float | None
    cold: ColdFigures
    lengths: LengthReport | None
    num_sampled: int
    num_cut: int
    """Samples of the length report that were cut at `cut_at` characters; its distances are of lengths below."""
    cut_at: int | None
    overlap: int | None
    """Held-out sequences that also occur in the training text; None if that is unknown, and for the run's own
    parts of an ordered text."""
    unseen: UnseenFigures | None
    """The other sequences alone, if there are both kinds."""
    baselines: dict[str, Any] | None
    free_running: FreeRunning | None
    """The n-gram's loss on the model's own samples, and on the held-out text."""
    copies: Copies | None
    """How much of the samples stands in the training text."""
    verdict: str | None
    """Whether the model is better than the n-gram, how often its run read the text, and what would help most."""
    notes: tuple[str, ...]
    chars_per_second: float
    peak_memory_bytes: int
    model_sha256: str
    data_sha256: str


def reports(
    checkpoint: Checkpoint,
    *,
    file: str | None,
    part: PartName | None,
    split: SplitName | None,
    stop: StopName | None,
    notify: Notify,
    **_: object,
) -> list[EvalReport]:
    """A report on each of the model's stopping mechanisms, or on `stop` alone."""
    saved = load_model(checkpoint)
    stops = saved.model.stops if stop is None else (choose_stop(saved.model, stop),)
    home = checkpoint.path.resolve().parent
    text = held_out(checkpoint, home.parent, file=file, part=part, split=split)
    notify("fitting simpler models", 0.0)
    simpler, course = simpler_models(saved, text), course_of(RunDirectory(home))
    run, step = checkpoint.run_name, checkpoint.step
    return [
        evaluate(saved, text, stop=stop, run=run, step=step, simpler=simpler, course=course, notify=notify)
        for stop in stops
    ]


def evaluate(
    saved: SavedModel,
    text: HeldOut,
    *,
    stop: StopName,
    run: str,
    step: int | None,
    simpler: Baselines | None = None,
    course: Course | None = None,
    samples: int | None = None,
    seed: int = 0,
    notify: Notify = lambda _what, _share: None,
) -> EvalReport:
    """The report on one stopping mechanism.

    simpler: what `simpler_models` returned for this text; course: how the run went, if known; samples:
    lengths to sample, 0 for none.
    """
    config, sequences = saved.config, text.sequences
    reader = StepReader.of(sequences, saved.vocabulary)
    begin = time.perf_counter()
    totals = _Totals(saved, sequences, stop)
    for window in totals.read(_as_trained(reader, config.order, stop), notify):
        totals.add(*window)
    seconds = time.perf_counter() - begin

    chars, count = sequences.num_chars, len(sequences)
    loss = _ratio(totals.nll, chars)
    cold = ColdFigures(totals.nll, loss, None)
    if config.order == "ordered":
        cold = _cold(saved, reader, stop, notify)
    endings, ending = stop != "none", saved.model.endings[stop]
    observed, wanted = totals.lengths, SAMPLES if samples is None else samples
    ngram = None if simpler is None or not chars else simpler.ngram
    counted = endings and not ending.announces
    cut_at = min(LONGEST * max(int(observed.max(initial=0)), 100), MOST_CHARS // ROWS)
    drawn: list[Drawn] = []
    if wanted and (counted or ngram is not None or text.train is not None):
        drawn = draw_texts(
            saved,
            stop,
            sequences.contexts,
            least=wanted if counted else 0,
            cut_at=cut_at if counted else CHARS // 8,
            seed=seed,
            notify=notify,
        )
    lengths, sampled, cut = None, np.empty(0, np.int64), 0
    if endings:
        training = np.empty(0, np.int64) if text.train is None else sample_lengths(text.train)
        if counted:
            sampled = np.array([len(one.symbols) for one in drawn[:wanted]], np.int64)
            cut = sum(one.finish_reason == "max_chars" for one in drawn[:wanted])
        else:
            sampled = _announced_lengths(saved, sequences.contexts, stop, wanted, seed)
        lengths = length_report(observed, sampled, *totals.cdf, training=training)
        if cut and observed.size:
            below, training = np.minimum(observed, cut_at), np.minimum(training, cut_at)
            lengths = replace(
                lengths,
                ks_distance=ks_distance(below, sampled),
                ks_training=ks_distance(below, training) if training.size else None,
            )
    free = copied = None
    if ngram is not None and drawn and simpler is not None:
        notify("reading samples", 0.0)
        judge = simpler.figures["ngram"]
        free = free_running(saved, drawn, ngram, judge["order"], judge["loss"])
    if text.train is not None and text.corpus is not None and drawn:
        notify("looking for copies", 0.0)
        place = partial(place_of, text.corpus, is_table=config.text_column is not None)
        texts = [saved.vocabulary.decode(one.symbols) for one in drawn]
        copied = copies(text.train, texts, sequences, place)
    known = chars - totals.num_oov
    return EvalReport(
        run=run,
        step=step,
        model=f"{config.cell} {config.num_layers} x {config.hidden_size}",
        data=text.name,
        stop=stop,
        order=config.order,
        state_carried=config.order == "ordered",
        nll=totals.nll,
        loss=loss,
        loss_per_symbol=_ratio(totals.nll, chars + (count if endings else 0)),
        bits_per_char=_ratio(totals.nll / math.log(2), chars),
        perplexity=_exp(loss),
        perplexity_stderr=totals.perplexity_stderr(),
        perplexity_excluding_oov=_exp(_ratio(totals.nll - totals.num_oov * _oov_nats(saved), known)),
        bits_per_byte=_ratio(totals.nll / math.log(2), sequences.num_bytes),
        nll_per_sequence=_ratio(totals.nll, count),
        nll_length=totals.nll_length,
        num_chars=chars,
        num_bytes=sequences.num_bytes,
        num_sequences=count,
        num_oov=totals.num_oov,
        accuracy=_ratio(totals.correct, chars),
        cold=cold,
        lengths=lengths,
        num_sampled=len(sampled),
        num_cut=cut,
        cut_at=cut_at if endings else None,
        overlap=text.overlap,
        unseen=totals.unseen(text.seen),
        baselines=None if simpler is None else simpler.figures,
        free_running=free,
        copies=copied,
        verdict=verdict(loss, _best_ngram(simpler), course),
        notes=text.notes,
        chars_per_second=chars / max(seconds, 1e-9),
        peak_memory_bytes=peak_memory_bytes(),
        model_sha256=saved.sha256,
        data_sha256=_data_sha256(sequences, config.separator),
    )


def simpler_models(saved: SavedModel, text: HeldOut) -> Baselines:
    """The baselines for this text, the same for every mechanism that charges endings."""
    config, valid = saved.config, text.valid
    return baselines(
        text.train,
        valid if valid is not None and len(valid) else None,
        text.sequences,
        saved.vocabulary,
        training_chars=config.training_chars,
        independent=config.order == "independent",
        endings=config.stop != ("none",),
        separator=config.separator,
    )


def _best_ngram(simpler: Baselines | None) -> Rival | None:
    figures = None if simpler is None else simpler.figures["ngram"]
    return None if figures is None or figures["loss"] is None else Rival("the best n-gram", figures["loss"])


class _Totals:
    """Sums over a pass, for the whole and for each sequence."""

    def __init__(self, saved: SavedModel, sequences: Sequences, stop: StopName) -> None:
        self._saved, self._stop, self._sequences = saved, stop, sequences
        self._ending = saved.model.endings[stop]
        n = len(sequences)
        self._nll = np.zeros(n)
        self._log_reach, self._log_survival = np.zeros(n), np.zeros(n)
        self._ended = np.zeros(n, bool)
        self._blocks: list[tuple[float, int]] = []
        self.nll_length, self.num_oov, self.correct = 0.0, 0, 0

    @property
    def nll(self) -> float:
        return float(self._nll.sum())

    def read(self, windows: Iterator[Window], notify: Notify) -> Iterator[tuple[Window, Array, Assessment]]:
        """Assesses the windows and reports progress."""
        done, total = 0, max(1, self._sequences.num_chars)
        for item in assess_windows(self._saved.model, self._saved.params, windows):
            yield item
            done += int(np.count_nonzero(item[0].steps.kinds == Kind.CHARACTER))
            notify("scoring", done / total)

    def add(self, window: Window, hidden: Array, found: Assessment) -> None:
        steps, owner = window.steps, window.sequence
        real = owner != PADDING
        owners, n = owner[real], len(self._nll)
        self._nll += np.bincount(owners, found.nll[real].astype(np.float64), n)
        character = steps.kinds == Kind.CHARACTER
        self.nll_length += float(found.stopping.sum(dtype=np.float64))
        self.num_oov += int(np.count_nonzero(character & (steps.targets > self._saved.vocabulary.eos)))
        self.correct += int(found.correct.sum())
        self._blocks.append((float(found.nll.sum(dtype=np.float64)), int(character.sum())))
        if self._ending.announces:
            at = steps.kinds == Kind.ANNOUNCEMENT
            p = self._ending.distribution(self._saved.params, hidden[at].astype(np.float64))
            self._log_reach[owner[at]] = p.log_survival(steps.targets[at] - 1)
            self._log_survival[owner[at]] = p.log_survival(steps.targets[at])
            self._ended[owner[at]] = True
            return
        ending = steps.kinds == Kind.ENDING
        go_on = found.log_go_on.astype(np.float64)
        self._log_reach += np.bincount(owner[character], go_on[character], n)
        self._log_survival += np.bincount(owners, go_on[real], n)
        self._ended[owner[ending]] = True

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Lengths of the sequences that were read from their beginning to an ending that was charged."""
        s = self._sequences
        return (np.asarray(s.ends) - np.asarray(s.starts))[self._whole]

    @property
    def cdf(self) -> tuple[FloatArray, FloatArray]:
        """F(τ − 1) and F(τ) of those sequences, F(k) = 1 − Π_{j ≤ k} (1 − s_j) along the observed text."""
        return -np.expm1(self._log_reach[self._whole]), -np.expm1(self._log_survival[self._whole])

    @property
    def _whole(self) -> npt.NDArray[np.bool_]:
        """(S,) whether a sequence was read whole; one with a cut beginning has an unknown length."""
        cut = self._sequences.open_start & (np.arange(len(self._ended)) == 0)
        return np.asarray(self._ended & ~cut)

    def unseen(self, seen: npt.NDArray[np.bool_] | None) -> UnseenFigures | None:
        """Figures of the sequences that are not `seen` (S,); None if all or none are."""
        if seen is None or seen.all() or not seen.any():
            return None
        s, nll = self._sequences, float(self._nll[~seen].sum())
        chars, count = int(np.sum((s.ends - s.starts)[~seen])), int(np.count_nonzero(~seen))
        return UnseenFigures(
            nll=nll,
            loss=_ratio(nll, chars),
            loss_per_symbol=_ratio(nll, chars + (0 if self._stop == "none" else count)),
            num_chars=chars,
            num_sequences=count,
        )

    def perplexity_stderr(self) -> float | None:
        """From the spread over sequences, or over blocks of one stream (delta method on the ratio nll / chars)."""
        s = self._sequences
        nats: FloatArray = self._nll
        chars = (np.asarray(s.ends) - np.asarray(s.starts)).astype(np.float64)
        if len(nats) == 1:
            nats = np.array([block[0] for block in self._blocks])
            chars = np.array([float(block[1]) for block in self._blocks])
        n, total = len(nats), float(chars.sum())
        if n < 2 or not total:
            return None
        loss = float(nats.sum()) / total
        stderr = math.sqrt(float(np.sum((nats - loss * chars) ** 2)) * n / (n - 1)) / total
        return None if (p := _exp(loss)) is None else p * stderr


def _as_trained(reader: StepReader, order: OrderName, stop: StopName) -> Iterator[Window]:
    if order == "independent":
        return independent_pass(reader, stop)
    return ordered_pass(reader, stop, window=STREAM_BLOCK)


def _cold(saved: SavedModel, reader: StepReader, stop: StopName, notify: Notify) -> ColdFigures:
    sequences = reader.sequences
    one_stream = len(sequences) == 1
    windows = cold_blocks(reader, stop, block=COLD_BLOCK) if one_stream else independent_pass(reader, stop)
    totals = _Totals(saved, sequences, stop)
    nll = sum(float(found.nll.sum(dtype=np.float64)) for _, _, found in totals.read(windows, notify))
    return ColdFigures(nll, _ratio(nll, sequences.num_chars), COLD_BLOCK if one_stream else None)


def _announced_lengths(
    saved: SavedModel, contexts: npt.NDArray[np.float32] | None, stop: StopName, wanted: int, seed: int
) -> npt.NDArray[np.int64]:
    """About `wanted` lengths from p(τ) at the initial state, in contexts (S, X); no text is drawn for them."""
    models = steppers(saved, contexts, seed)
    u = np.random.default_rng(seed).random((len(models), -(-wanted // len(models))))
    lengths_of = (length_distribution(model, saved.model.endings[stop]) for model in models)
    drawn = [p.inverse_survival(np.log1p(-row)) for p, row in zip(lengths_of, u, strict=True)]
    return np.concatenate(drawn)


def peak_memory_bytes() -> int:
    """The most memory this process has held, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _data_sha256(sequences: Sequences, separator: str) -> str:
    """SHA-256 of the sequences as UTF-8, each followed by the separator."""
    digest = hashlib.sha256()
    for index in range(len(sequences)):
        digest.update(sequences.get(index).encode(errors="surrogatepass"))
        digest.update(separator.encode())
    return digest.hexdigest()


def _oov_nats(saved: SavedModel) -> float:
    return math.log(saved.model.config.training_chars + 1)


def _ratio(value: float, count: int) -> float | None:
    return value / count if count else None


def _exp(value: float | None) -> float | None:
    return None if value is None or value > 700 else math.exp(value)
