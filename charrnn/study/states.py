"""How single units of a language model follow features of the text that they read, in NumPy; no colours here.

Each character of a text has features (its place in its line, whether it is quoted, …), and each unit has an
activation once the character is read. Units are ranked by how well their activation follows a feature. The best
of many units would follow any feature by chance, so units are chosen on the first half of the text and evaluated
on the second.

Source: Karpathy, Johnson and Fei-Fei 2015, *Visualizing and Understanding Recurrent Networks*, section 4.2.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import tanh
from charrnn.cells.cell import Cell
from charrnn.cells.unroll import Trace
from charrnn.config import SplitName, StopName
from charrnn.corpus.sequences import Sequences, to_code_points
from charrnn.corpus.splitting import LineFinder, grouping
from charrnn.corpus.steps import PADDING, STOP_INDEX, StepReader
from charrnn.errors import UsageError
from charrnn.models.language_model import LanguageModel
from charrnn.models.stack import States
from charrnn.models.store import SavedModel
from charrnn.study.features import FEATURE_NAMES, FEATURES, FloatArray, features

What = Literal["memory", "output"]

BATCH = 64
"""Independent sequences that are read in parallel."""
WINDOW_STEPS = 4096
"""Steps of all rows together whose intermediate values are held at a time."""
BLOCK = 4096
"""Characters whose activations are held in float64 at a time."""
MOST_NUMBERS = 1 << 27
"""The most activations that are held, over all units and characters."""
ALIKE = 1e-6
"""A spread below this share of the largest value is rounding: such values count as constant."""

IntArray = npt.NDArray[np.int64]
Notify = Callable[[str, float], object]
"""Called with the current task and the share of it that is done."""


def sequences_of(text: str, split: SplitName, mark: str = "\n") -> Sequences:
    """Splits a text in memory into sequences, as a corpus is split."""
    code_points = to_code_points(text)
    lines, groups = LineFinder(0), grouping(split, 0, mark)
    parts = [groups.feed(text, *lines.feed(code_points))] if len(code_points) else []
    parts += [groups.feed("", *lines.close()), groups.close(0, len(code_points))]
    starts, ends = (np.concatenate(found) for found in zip(*parts, strict=True))
    alphabet, ids = np.unique(code_points, return_inverse=True)
    return Sequences(ids.astype(np.uint32), alphabet, starts.astype(np.int64), ends.astype(np.int64))


def first_chars(sequences: Sequences, most: int) -> Sequences:
    """The first `most` characters of the sequences; the last one kept may be cut, and then has no end."""
    starts, ends = np.asarray(sequences.starts[:most]), np.asarray(sequences.ends[:most])
    before = np.cumsum(ends - starts) - (ends - starts)
    kept = max(1, int(np.searchsorted(before, most)))
    starts, before, whole = starts[:kept], before[:kept], ends[:kept]
    cut = np.minimum(whole, starts + most - before)
    is_last = kept == len(sequences)
    return replace(
        sequences,
        starts=starts,
        ends=cut,
        open_end=bool(cut[-1] < whole[-1]) or (is_last and sequences.open_end),
        contexts=None if sequences.contexts is None else sequences.contexts[:kept],
    )


def unit_counts(model: LanguageModel) -> tuple[int, ...]:
    """The number of units of each layer."""
    return tuple(cell.output_size for cell in model.layers)


def has_memory(model: LanguageModel) -> bool:
    """Whether all cells carry a memory c besides their output."""
    return all("c" in _fields(cell) for cell in model.layers)


def _fields(cell: Cell) -> tuple[str, ...]:
    fields: tuple[str, ...] = cell.zero_state(1, np.zeros((), np.float32))._fields
    return fields


@dataclass(frozen=True, eq=False)
class Activations:
    """N characters of a text, and the activations of all layers' U units after each character."""

    text: str
    """The text of the sequences, joined with nothing between."""
    sequence: IntArray
    """(N,) the sequence that each character belongs to."""
    values: npt.NDArray[np.float32]
    """(N, U) tanh(c) of a memory c, or a cell's output h."""
    layers: tuple[int, ...]
    """Units of each layer, U in total."""
    num_oov: int
    """Characters that are not in the model's vocabulary."""
    features: FloatArray
    """(N, len(FEATURES))"""

    def name(self, column: int) -> tuple[int, int]:
        """Layer and unit of a column, both from 0."""
        layer = 0
        while column >= self.layers[layer]:
            column -= self.layers[layer]
            layer += 1
        return layer, column

    def column(self, layer: int, unit: int) -> int:
        """Raises UsageError if the model has no such unit."""
        if not (0 <= layer < len(self.layers) and 0 <= unit < self.layers[layer]):
            there = ", ".join(f"{i}:0 to {i}:{size - 1}" for i, size in enumerate(self.layers))
            raise UsageError(f"--unit {layer}:{unit}: the model has no such unit; it has {there}")
        return sum(self.layers[:layer]) + unit


def activations(
    saved: SavedModel,
    sequences: Sequences,
    stop: StopName,
    what: What,
    notify: Notify = lambda _what, _share: None,
) -> Activations:
    """Reads sequences as in training: each from the initial state, or all as one stream.

    h_t is the state after BOS, y_1 … y_t, so a character's activation is that of the step that reads it. `what`
    may be the memory only if the cells have one.
    """
    model = saved.model
    reader = StepReader.of(sequences, saved.vocabulary)
    taus = np.asarray(sequences.ends) - np.asarray(sequences.starts)
    before = np.cumsum(taus) - taus
    texts = [sequences.get(s) for s in range(len(sequences))]
    last = len(texts) - 1
    values = np.empty((int(taus.sum()), sum(unit_counts(model))), np.float32)
    done, total = 0, int(taus.sum() + len(taus))
    for sequence, position in _lanes(reader, taus, STOP_INDEX[stop], saved.config.order == "ordered"):
        stops = np.full(sequence.shape[1], STOP_INDEX[stop])
        for at, units in _read(saved, reader, sequence, position, stops, what):
            rows = slice(at, at + len(units))
            read = position[rows] > 0
            values[before[sequence[rows][read]] + position[rows][read] - 1] = units[read]
            done += int((sequence[rows] != PADDING).sum())
            notify("reading", min(1.0, done / total))
    ids = saved.vocabulary.encode("".join(texts))
    return Activations(
        text="".join(texts),
        sequence=np.repeat(np.arange(len(texts)), taus),
        values=values,
        layers=unit_counts(model),
        num_oov=int((ids == saved.vocabulary.unknown).sum()),
        features=np.concatenate(
            [features(text, has_end=s < last or not sequences.open_end) for s, text in enumerate(texts)]
        ),
    )


def _lanes(reader: StepReader, taus: IntArray, stop: int, is_ordered: bool) -> Iterator[tuple[IntArray, IntArray]]:
    """The sequence and the position in it that each step of each row reads, both (T, B); PADDING and −1 for none.

    If the state is carried from one sequence to the next, one row holds all of them; else each has its own row.
    """
    first = np.array([reader.first_position(s, stop) for s in range(len(taus))])
    counts = taus + 1 - first
    if is_ordered:
        sequence = np.repeat(np.arange(len(taus)), counts)
        position = np.arange(len(sequence)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        yield sequence[:, None], position[:, None]
        return
    order = np.argsort(counts, kind="stable")
    for begin in range(0, len(order), BATCH):
        rows = order[begin : begin + BATCH]
        position = first[rows] + np.arange(int(counts[rows].max()))[:, None]
        real = position <= taus[rows]
        yield np.where(real, rows, PADDING), np.where(real, position, -1)


def _read(
    saved: SavedModel, reader: StepReader, sequence: IntArray, position: IntArray, stops: IntArray, what: What
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """The first step of each window, and all units at its steps (T, B, U); rows start from the initial state."""
    model, params = saved.model, saved.model.joined(saved.params)
    layers = model.stack.compact(model.stack.params(params))
    steps_at_once = max(1, WINDOW_STEPS // sequence.shape[1])
    state: States | None = None
    for at in range(0, len(sequence), steps_at_once):
        window = slice(at, at + steps_at_once)
        steps = reader.steps(sequence[window], position[window], stops)
        if state is None:
            state = model.initial_state(saved.params, len(stops), steps.context)
        x = model.inputs(params, steps.inputs, steps.remaining, steps.context)
        traces = model.stack.trace(layers, x, state)
        state = tuple(trace.states[-1] for trace in traces)
        yield at, np.concatenate([_units(trace, what) for trace in traces], axis=-1)


def _units(trace: Trace, what: What) -> npt.NDArray[np.float32]:
    """(T, B, U) of one layer."""
    if what == "memory":
        return np.stack([tanh(state.c) for state in trace.states[1:]])
    outputs: npt.NDArray[np.float32] = trace.outputs
    return outputs


@dataclass(frozen=True, kw_only=True)
class UnitFigures:
    """How a unit follows a feature. Figures are None if the unit or the feature does not vary."""

    layer: int
    unit: int
    found: float | None
    """Pearson's correlation on the first half of the text, by which units are ranked."""
    correlation: float | None
    """Pearson's correlation on the second half."""
    auc: float | None
    """`auc` of the activations times the sign of `found`, on the second half; None if the feature is a count."""


@dataclass(frozen=True, kw_only=True)
class FeatureUnits:
    """The units that follow a feature best, the best first."""

    feature: str
    about: str
    binary: bool
    mean: float
    """The feature's mean on the second half; for a binary feature the share of characters that have it."""
    units: tuple[UnitFigures, ...]
    """Empty unless the feature varies in both halves."""


def rank(found: Activations, names: Sequence[str] = FEATURE_NAMES, top: int = 3) -> list[FeatureUnits]:
    """The units of largest |correlation| with each of these features, chosen on the first half of the text."""
    half = len(found.text) // 2
    by_choice = correlations(found.values[:half], found.features[:half])
    ranked = []
    for feature in names:
        chosen = by_choice[FEATURE_NAMES.index(feature)]
        order = np.argsort(-np.nan_to_num(np.abs(chosen), nan=-1.0), kind="stable")[:top]
        columns = [int(column) for column in order if not np.isnan(chosen[column])]
        ranked.append(_figures(found, feature, columns, chosen))
    return ranked


def follow(found: Activations, column: int, names: Sequence[str] = FEATURE_NAMES) -> list[FeatureUnits]:
    """The figures of `rank` for the unit of this column, one entry for each name."""
    half = len(found.text) // 2
    first = correlations(found.values[:half, [column]], found.features[:half])
    every = np.full((len(FEATURES), found.values.shape[1]), np.nan)
    every[:, column] = first[:, 0]
    return [_figures(found, name, [column], every[FEATURE_NAMES.index(name)]) for name in names]


def _figures(found: Activations, name: str, columns: list[int], chosen: FloatArray) -> FeatureUnits:
    half, number = len(found.text) // 2, FEATURE_NAMES.index(name)
    feature = FEATURES[number]
    first, second = found.features[:half, number], found.features[half:, number]
    varies = bool(len(first) and np.ptp(first) > 0 and np.ptp(second) > 0)
    columns = columns if varies else []
    after = correlations(found.values[half:, columns], second[:, None])[0]
    units = []
    for column, correlation in zip(columns, after, strict=True):
        sign = -1.0 if chosen[column] < 0 else 1.0
        layer, unit = found.name(column)
        on = found.values[half:, column][second > 0], found.values[half:, column][second <= 0]
        units.append(
            UnitFigures(
                layer=layer,
                unit=unit,
                found=_or_none(chosen[column]),
                correlation=_or_none(correlation),
                auc=auc(sign * on[0], sign * on[1]) if feature.is_binary else None,
            )
        )
    return FeatureUnits(
        feature=name,
        about=feature.about,
        binary=feature.is_binary,
        mean=float(second.mean()) if len(second) else 0.0,
        units=tuple(units),
    )


def _or_none(number: float) -> float | None:
    return None if np.isnan(number) else float(number)


def correlations(values: npt.NDArray[np.floating], against: FloatArray) -> FloatArray:
    """(F, U) Pearson's correlations of columns (N, U) with columns (N, F); NaN if either does not vary.

    Deviations from the means are summed in float64.
    """
    N, U = values.shape
    if N == 0 or U == 0:
        return np.full((against.shape[1], U), np.nan)
    centre = np.mean(values, axis=0, dtype=np.float64)
    products, squares = np.zeros((against.shape[1], U)), np.zeros(U)
    aside = against - against.mean(axis=0)
    for begin in range(0, N, BLOCK):
        rows = slice(begin, begin + BLOCK)
        deviations = values[rows] - centre
        products += aside[rows].T @ deviations
        squares += np.square(deviations).sum(axis=0)
    spreads = np.sqrt(squares), np.sqrt(np.square(aside).sum(axis=0))
    steady = [
        spread <= ALIKE * N**0.5 * np.abs(data).max(axis=0)
        for spread, data in zip(spreads, (values, against), strict=True)
    ]
    both = np.outer(np.where(steady[1], np.nan, spreads[1]), np.where(steady[0], np.nan, spreads[0]))
    found: FloatArray = np.clip(products / both, -1.0, 1.0)
    return found


def auc(on: npt.NDArray[np.floating], off: npt.NDArray[np.floating]) -> float:
    """The area under the ROC curve: how often a value of `on` exceeds one of `off`; a tie counts half.

    0.5 is chance, 1 perfect. Source: Mann and Whitney 1947; Hanley and McNeil 1982.
    """
    ordered = np.sort(off)
    below = np.searchsorted(ordered, on, "left") + np.searchsorted(ordered, on, "right")
    return float(below.mean(dtype=np.float64) / (2.0 * len(off)))


@dataclass(frozen=True, kw_only=True)
class UnitActivations:
    """One unit, character by character."""

    layer: int
    unit: int
    text: str
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class StatesReport:
    """What `charrnn study states --json` prints."""

    run: str
    step: int
    data: str
    stop: StopName
    what: What
    layers: tuple[int, ...]
    """Units of each layer."""
    num_chars: int
    """Characters read, out of `total_chars`, which is None if the rest was not counted."""
    total_chars: int | None
    num_chosen: int
    """Characters that the units were chosen on; they are evaluated on the rest."""
    num_oov: int
    features: tuple[FeatureUnits, ...]
    activations: UnitActivations | None = None
    """The activations of the requested unit, if any."""
    schema: Literal["charrnn.study.states/1"] = "charrnn.study.states/1"


def unit_activations(found: Activations, column: int) -> UnitActivations:
    layer, unit = found.name(column)
    values = tuple(float(value) for value in found.values[:, column])
    return UnitActivations(layer=layer, unit=unit, text=found.text, values=values)


def telling_passage(found: Activations, feature: str, length: int) -> slice:
    """The passage of the second half in which a feature varies most, from the beginning of a line if possible."""
    N = len(found.text)
    half = N // 2
    length = min(length, N - half)
    values = found.features[:, FEATURE_NAMES.index(feature)]
    starts = np.arange(half, N - length + 1)
    begins = np.array(
        [i == 0 or found.text[i - 1] == "\n" or found.sequence[i - 1] != found.sequence[i] for i in starts]
    )
    starts = starts[begins] if begins.any() else starts
    sums = np.concatenate([[0.0], np.cumsum(values)]), np.concatenate([[0.0], np.cumsum(values**2)])
    total, squares = (s[starts + length] - s[starts] for s in sums)
    best = int(starts[np.argmax(squares - total**2 / length)])
    return slice(best, best + length)
