"""Small models, corpora and steps that several test files share."""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from charrnn.cells import CELLS, build_cell
from charrnn.cells.cell import Cell
from charrnn.config import DEPTHS as DEPTH_SETTINGS
from charrnn.config import StopName
from charrnn.corpus.sequences import Sequences, to_code_points
from charrnn.corpus.steps import PADDING, STOP_INDEX, StepReader, Steps, map_arrays
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.models.language_model import LanguageModel
from charrnn.models.store import ModelConfig

CELL_CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in CELLS),
    ("gru", {"reset_gate": "before"}),
    ("leaky", {"leak_alpha": "learned"}),
    ("skip", {"skip_delay": "2,3"}),
    ("skip", {"skip_delay": "2", "remove_short": True}),
    ("output_recurrent", {"feedback": "output"}),
    ("time_delay", {"delay_levels": 2}),
    ("echo_state", {"leak_alpha": "0.3"}),
]
"""Every cell of the registry, and options that change a cell's equations."""

DEPTHS: list[dict[str, Any]] = [
    {"input_depth": 2},
    {"output_depth": 3},
    {"transition_depth": 2},
    {"transition_depth": 3},
    {"input_depth": 3, "transition_depth": 2, "output_depth": 2},
]
MODEL_CASES = [
    *CELL_CASES,
    *(("tanh", depth) for depth in DEPTHS),
    *((cell, DEPTHS[-1]) for cell in ("lstm", "gru", "skip", "leaky")),
    ("output_recurrent", {"feedback": "output", "transition_depth": 2, "input_depth": 2}),
    ("time_delay", {"input_depth": 2, "output_depth": 2}),
]
"""Every cell in a model, and models that are deep in each of the three places."""


def _names(cases: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return ["-".join([cell, *map(str, options.values())]) for cell, options in cases]


each_cell = pytest.mark.parametrize(("cell", "options"), CELL_CASES, ids=_names(CELL_CASES))
each_model = pytest.mark.parametrize(("cell", "options"), MODEL_CASES, ids=_names(MODEL_CASES))
"""The options hold settings of the model's depth beside those of the cell."""

ENDINGS: tuple[StopName, ...] = ("eos", "halt", "length")

STOP_SETS: list[tuple[StopName, ...]] = [("eos",), ("halt",), ("length",), ENDINGS]
each_stop = pytest.mark.parametrize(
    ("stops", "stop"),
    [(stops, stop) for stops in STOP_SETS for stop in stops],
    ids=[stop if len(stops) == 1 else f"all-{stop}" for stops in STOP_SETS for stop in stops],
)
"""Each mechanism alone, and each as one of three heads."""

STANDARD_CELLS = ("tanh", "lstm", "gru")


SETTINGS = {stop if len(stops) == 1 else f"all-{stop}": (stops, stop) for stops in STOP_SETS for stop in stops}
"""The heads of a model, and the mechanism that is asked of it."""


def is_standard(cell: str, options: dict[str, Any]) -> bool:
    return cell in STANDARD_CELLS and not options.keys() & set(DEPTH_SETTINGS)


def each_of(
    arguments: tuple[str, ...],
    cases: list[tuple[str, dict[str, Any]]],
    settings: dict[str, tuple[Any, ...]],
    usual: Callable[[int], Iterable[str]],
) -> pytest.MarkDecorator:
    """Each case with each setting, by name; other than a standard cell's are slow unless `usual` for that case."""
    chosen = [
        pytest.param(
            cell,
            options,
            *setting,
            id=f"{_names([(cell, options)])[0]}-{name}",
            marks=() if is_standard(cell, options) or name in usual(number) else (pytest.mark.slow,),
        )
        for number, (cell, options) in enumerate(cases)
        for name, setting in settings.items()
    ]
    return pytest.mark.parametrize(("cell", "options", *arguments), chosen)


each_model_and_stop = each_of(("stops", "stop"), MODEL_CASES, SETTINGS, lambda _number: ENDINGS)
"""Every model with every mechanism; three heads on other than the standard cells are slow tests."""

each_model_and_a_stop = each_of(("stops", "stop"), MODEL_CASES, SETTINGS, lambda number: ENDINGS[number % 3 :][:1])
"""The same, but one mechanism in turn for other than the standard cells; the others are slow tests too."""

each_model_and_length = each_of(
    ("stops",), MODEL_CASES, {"length": (("length",),), "all": (ENDINGS,)}, lambda _number: ["length"]
)
"""Every model with a drawn length; three heads on other than the standard cells are slow tests."""


def make_cell(name: str, input_size: int, hidden_size: int, options: dict[str, Any] | None = None) -> Cell:
    """A cell for two outputs, which only a cell that feeds them back needs to know."""
    return build_cell(name, input_size, hidden_size, options or {}, num_outputs=2)


def make_model(
    cell: str = "lstm",
    options: dict[str, Any] | None = None,
    *,
    stops: tuple[StopName, ...] = ("eos",),
    vocab_size: int = 2,
    hidden_size: int = 3,
    num_layers: int = 1,
    initial_state: str = "zero",
    length_scale: float = 3.0,
    training_chars: int = 1000,
) -> LanguageModel:
    given = options or {}
    config = ModelConfig(
        cell=cell,  # type: ignore[arg-type]
        cell_options={name: value for name, value in given.items() if name not in DEPTH_SETTINGS},
        **{name: value for name, value in given.items() if name in DEPTH_SETTINGS},
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        initial_state=initial_state,  # type: ignore[arg-type]
        stop=stops,
        length_scale=length_scale,
        split="line",
        order="independent",
        training_chars=training_chars,
    )
    return LanguageModel(config)


def random_params(
    shapes: dict[str, tuple[int, ...]], seed: int = 0, scale: float = 1.0, dtype: Any = np.float64
) -> dict[str, np.ndarray]:
    """Normal numbers for every parameter, biases and learned states too."""
    rng = np.random.default_rng(seed)
    return {name: np.asarray(scale * rng.normal(size=shape), dtype) for name, shape in shapes.items()}


def as_torch(params: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}


def steps_to_torch(steps: Steps) -> Steps:
    return map_arrays(lambda array: torch.from_numpy(np.asarray(array)), steps)


def alphabet_of(size: int) -> Vocabulary:
    """The first letters."""
    return Vocabulary(tuple("abcdefghijklmnopqrstuvwxyz"[:size]))


def corpus(texts: Iterable[str], *, open_start: bool = False, open_end: bool = False) -> Sequences:
    """Sequences with a newline behind each, as a file of lines is read."""
    texts = list(texts)
    code_points = to_code_points("".join(text + "\n" for text in texts))
    alphabet, ids = np.unique(code_points, return_inverse=True)
    ends = np.cumsum([len(text) + 1 for text in texts]) - 1
    starts = ends - [len(text) for text in texts]
    return Sequences(
        text=ids.astype(np.uint8),
        alphabet=alphabet.astype(np.uint32),
        starts=starts.astype(np.int64),
        ends=ends.astype(np.int64),
        open_start=open_start,
        open_end=open_end,
    )


def reader_of(texts: Iterable[str], vocabulary: Vocabulary, **open_ends: bool) -> StepReader:
    return StepReader.of(corpus(texts, **open_ends), vocabulary)


def whole_steps(texts: list[str], stop: StopName | list[StopName], vocabulary: Vocabulary) -> Steps:
    """Each text as a row of one batch, padded behind its end; one mechanism, or one a row."""
    reader = reader_of(texts, vocabulary)
    names = [stop] * len(texts) if isinstance(stop, str) else stop
    stops = np.array([STOP_INDEX[name] for name in names])
    rows = np.arange(len(texts))
    taus = np.array([len(text) for text in texts])
    first = np.array([reader.first_position(row, s) for row, s in zip(rows, stops, strict=True)])
    position = first + np.arange(int(np.max(taus + 1 - first)))[:, None]
    return reader.steps(np.where(position <= taus, rows, PADDING), position, stops)


def output_bound(model: LanguageModel, params: dict[str, np.ndarray]) -> np.ndarray:
    """What each unit that the readout and the heads read can reach from a zero state, (H,), by the weights."""
    bound = np.ones(1)  # Symbols, flags and count features, and units behind tanh.
    for index, (cell, own) in enumerate(zip(model.layers, model.stack.params(params), strict=True)):
        layer = {name: np.abs(value) for name, value in own.items()}
        H = model.config.hidden_size
        if model.config.cell in ("min_gru", "min_lstm"):
            reach = layer["weight_ih"][-H:].sum(axis=1) if index == 0 else layer["weight_ih"][-H:] @ bound
            bound = layer["bias"][-H:] + reach
        elif model.config.cell == "output_recurrent":
            bound = layer["bias_ho"] + layer["weight_ho"].sum(axis=1)
        else:
            levels = cell.delay_levels if model.config.cell == "time_delay" else 1  # type: ignore[attr-defined]
            bound = np.full(H, float(levels))
    return np.ones_like(bound) if model.config.output_depth > 1 else bound


def text_nll(
    model: LanguageModel,
    params: dict[str, Any],
    texts: list[str],
    stop: StopName | list[StopName],
    vocabulary: Vocabulary | None = None,
) -> np.ndarray:
    """The model's own nll of each text, (S,), summed in float64: one padded batch through the real steps."""
    steps = whole_steps(texts, stop, vocabulary or alphabet_of(model.config.vocab_size))
    if isinstance(next(iter(params.values())), torch.Tensor):
        steps = steps_to_torch(steps)
    hidden, _ = model.read(params, steps, model.initial_state(params, len(texts)))
    nll = model.nll(params, hidden, steps)
    if isinstance(nll, torch.Tensor):
        nll = nll.detach().numpy()
    return nll.astype(np.float64).sum(axis=0)


def all_texts(vocab_size: int, longest: int) -> list[str]:
    """Every text of at most `longest` of the first letters."""
    letters = alphabet_of(vocab_size).symbols
    return ["".join(t) for length in range(longest + 1) for t in product(letters, repeat=length)]


def assert_follows(counts: Iterable[int], probabilities: Iterable[float]) -> None:
    """Pearson's statistic of counts over cells that sum to one, held to four standard deviations."""
    observed = np.array(list(counts), float)
    expected = observed.sum() * np.array(list(probabilities), float)
    np.testing.assert_allclose(expected.sum(), observed.sum(), rtol=1e-6)
    assert observed[expected == 0].sum() == 0
    rare = expected < 8
    if rare.any():
        observed = np.append(observed[~rare], observed[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
        if expected[-1] < 8:
            merged = np.argmin(expected[:-1])
            observed[merged] += observed[-1]
            expected[merged] += expected[-1]
            observed, expected = observed[:-1], expected[:-1]
    assert len(observed) >= 3, "too few cells to tell anything"
    statistic = float(((observed - expected) ** 2 / expected).sum())
    freedom = len(observed) - 1
    spread = 2.0 / (9.0 * freedom)
    bound = freedom * (1.0 - spread + 4.0 * spread**0.5) ** 3
    assert statistic < bound, (statistic, bound, observed, expected)
