"""What charrnn chooses where a person has not: sizes, rates and a budget that fit the corpus.

The figures were found by experiment on plays, on a part of the text that the benchmarks do not report.
"""

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.corpus.dataset import Dataset
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.tasks.observer import Trial

USUAL_MINUTES = 3.0
SMALL_CORPUS = 50_000
"""Characters below which a minute is enough."""

MANY_ROWS = 500_000
"""Symbols of a table from which its models may be larger."""

MEMORY_SPAN = 200
"""With it models of speeches drawn cold had lengths nearer to those of the text (KS 0.05 instead of 0.14)."""

EMBEDDING = 64
WINDOW = 64
LANES = 32
"""Of a text read as one stream; a step reads WINDOW characters in each."""

STEP_OF_A_LIST = 1024
"""Characters that a step reads of a list, in as many lanes as that takes: 16 to 128."""

MANY_STEPS = 1000
"""Beyond so many steps twice the lanes learn as much from as many characters, and read them faster."""

WEIGHT_DECAY = 0.05
"""A minute's model, which reads its text twice, is 0.014 nats better for it; one of ten seconds is as good."""

WIDTHS = (64, 96, 128, 192, 256, 320, 384, 512, 640, 768, 1024)

CHARS_PER_WEIGHT = 2.3
"""Characters that a run should read for each weight: with fewer a smaller model ends better, else a larger."""

WEIGHTS_PER_CHAR = 3.2
"""Weights that each character of the training text allows: a larger model learns a small text by heart."""

COST_OF_WIDTH = 1.6
"""Models of H units read H^(−1.6) as many characters a second, for H of 128 to 768."""

REFERENCE_UNITS = 256
REFERENCE_SPEED = 60_000.0
"""Characters a second that a model of so many units reads, where it was not measured."""


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """What suits a cell."""

    width: float = 1.0
    """Units, as a multiple of those of an LSTM that takes as long."""
    units: int | None = None
    """In place of that: of a cell whose size is not a matter of time."""
    layers: int = 1
    output_depth: int = 1
    embedding: int = EMBEDDING
    dropout: float = 1.0
    """As a multiple of what the number of readings asks for."""
    learning_rate: float = 1.0
    """As a multiple of an LSTM's."""


_MINIMAL = _Fit(layers=2, output_depth=2, learning_rate=0.7)
"""Nothing in these cells is non-linear but their gates: a layer of tanh above them was worth 0.13 nats."""

_FITS: dict[str, _Fit] = {
    "tanh": _Fit(learning_rate=0.5, dropout=0.3),
    "leaky": _Fit(learning_rate=0.5, dropout=0.3),
    "skip": _Fit(learning_rate=0.5, dropout=0.3),
    "lstm": _Fit(),
    "coupled_lstm": _Fit(),
    "peephole_lstm": _Fit(),
    "layer_norm_lstm": _Fit(),
    "gru": _Fit(learning_rate=0.7),
    "min_gru": _MINIMAL,
    "min_lstm": _MINIMAL,
    "output_recurrent": _Fit(units=256, dropout=0.0, learning_rate=0.7),
    "time_delay": _Fit(learning_rate=0.5),
    "echo_state": _Fit(units=2000, embedding=0, dropout=0.0, learning_rate=1.5),
}


def has_width(cell: str) -> bool:
    """Whether the units of a cell are chosen by how fast it learns."""
    return _FITS[cell].units is None


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_threads() -> int:
    return min(available_cores(), 4)


def resolve(config: TrainConfig, dataset: Dataset, trial: "Trial | None" = None) -> ResolvedConfig:
    """The configuration with every choice made that it leaves open; its seed must be set. Raises UsageError.

    trial: how fast this machine was found to be.
    """
    train, fit = dataset.parts.train, _FITS[config.cell]
    listed = dataset.order == "independent"
    chosen: dict[str, Any] = {
        "num_layers": fit.layers,
        "output_depth": fit.output_depth,
        "embedding_size": fit.embedding,
        "symbol_dropout": 0.0,
        "lm_weight": 0.0,
        "bptt_steps": WINDOW,
        "optimizer": "muon",
        "weight_decay": WEIGHT_DECAY,
        "precision": "float32" if trial is None else trial.precision,
        "threads": usual_threads() if trial is None else trial.threads,
    }
    if config.minutes is None and config.epochs is None and config.steps is None:
        chosen["minutes"] = 1.0 if train.num_chars < SMALL_CORPUS else USUAL_MINUTES
    length = config.bptt_steps or WINDOW
    mean_length = train.num_chars / max(len(train), 1)
    if listed:
        length = min(length, 1 + round(mean_length))
    lanes = config.batch_size or (_lanes(length) if listed else LANES)
    budget = _Budget(
        minutes=config.minutes or chosen.get("minutes"),
        chars=config.steps * lanes * length if config.steps else config.epochs and config.epochs * train.num_chars,
        trial=trial,
    )
    units = config.hidden_size or fit.units or _width(budget, train.num_chars, fit)
    read = budget.chars_read(units / fit.width)
    if config.batch_size is None and config.steps is None and read / (lanes * length) > MANY_STEPS and not listed:
        lanes *= 2
    chosen |= {
        "hidden_size": units,
        "batch_size": lanes,
        "dropout": round(fit.dropout * _dropout(read / max(1, train.num_chars)), 2),
        "weight_dropout": 0.0,
        "learning_rate": float(f"{fit.learning_rate * _learning_rate(read / (lanes * length)):.2g}"),
    }
    if listed and mean_length >= WINDOW and config.cell == "lstm" and config.forget_bias is None:
        # Memories that are carried through a whole book and never cleared do better if they are short.
        chosen["memory_span"] = MEMORY_SPAN
    window = config.bptt_steps or WINDOW
    if config.washout > window:
        raise UsageError(f"--washout {config.washout}: more than the {window} characters of --bptt-steps")
    if config.symbol_dropout or config.lm_weight:
        raise UsageError(
            "--symbol-dropout and --lm-weight are for models of whole inputs (--task classify, tag, transduce)"
        )
    missing = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return ResolvedConfig(**{**vars(config), **missing, "split": dataset.split, "order": dataset.order})


@dataclass(frozen=True, kw_only=True)
class _Budget:
    """What a run may read, in time or in characters."""

    minutes: float | None
    chars: float | None
    trial: "Trial | None"

    def chars_read(self, units: float) -> float:
        """Characters that an LSTM of so many units reads; those read again are counted again."""
        if self.chars is not None:
            return self.chars
        assert self.minutes is not None
        speed, at = REFERENCE_SPEED, float(REFERENCE_UNITS)
        if self.trial is not None:
            speed, at = self.trial.chars_per_second, float(self.trial.hidden_size)
        return 60.0 * self.minutes * speed * math.pow(at / units, COST_OF_WIDTH)


def _width(budget: _Budget, num_chars: int, fit: _Fit) -> int:
    """Units of the largest model that reads enough text in the budget, and is not too large for the text."""
    best = WIDTHS[0]
    for units in WIDTHS:
        weights = 4 * units * (units + EMBEDDING)
        enough = budget.chars_read(units) >= CHARS_PER_WEIGHT * weights
        if enough and weights <= WEIGHTS_PER_CHAR * num_chars:
            best = units
    return max(1, round(best * fit.width))


def _dropout(readings: float) -> float:
    """What keeps a text that is read so many times from being learned by heart."""
    return min(0.4, 0.2 * max(0.0, math.log2(max(1.0, readings) / 3.8)))


def _learning_rate(steps: float) -> float:
    """The peak rate of a run of so many steps: the fewer, the larger each must be."""
    return 3e-2 * math.pow(min(1.0, 1500.0 / max(1.0, steps)), 1 / 3)


def resolve_classifier(config: TrainConfig, num_examples: int) -> ResolvedConfig:
    """The same for a model that reads whole texts; its seed must be set."""
    fit, small = _FITS[config.cell], num_examples < 5_000
    chosen: dict[str, Any] = {
        "hidden_size": 128,
        "num_layers": 1,
        "dropout": 0.5,
        "weight_dropout": 0.0,
        "symbol_dropout": 0.1,
        "lm_weight": 0.5,
        "batch_size": 32,
        "learning_rate": 3e-3 if fit.learning_rate < 1.0 else 5e-3,
    }
    return _of_rows(config, chosen, minutes=1.0 if small else USUAL_MINUTES)


def resolve_tagger(config: TrainConfig, num_symbols: int) -> ResolvedConfig:
    """The same for a model that writes a symbol for each that it reads; its seed must be set."""
    fit, small = _FITS[config.cell], num_symbols < MANY_ROWS
    chosen: dict[str, Any] = {
        "hidden_size": 192 if small else 256,
        "num_layers": 2,
        "dropout": 0.4 if small else 0.2,
        "weight_dropout": 0.0,
        "symbol_dropout": 0.1,
        "lm_weight": 0.0,
        # Small batches and a high rate: with few examples it was steps that were wanting.
        "batch_size": 8 if small else 32,
        "learning_rate": (3e-3 if fit.learning_rate < 1.0 else 4e-3) * (2 if small else 1),
    }
    return _of_rows(config, chosen, minutes=2 * USUAL_MINUTES if small else 5 * USUAL_MINUTES)


def resolve_transducer(config: TrainConfig, num_pairs: int) -> ResolvedConfig:
    """The same for a model that reads a whole input and writes an output; its seed must be set."""
    fit, small = _FITS[config.cell], num_pairs < 20_000
    chosen: dict[str, Any] = {
        "hidden_size": 128 if small else 160,
        "num_layers": 2,
        "dropout": 0.5 if num_pairs < 5_000 else 0.4 if small else 0.2,
        "weight_dropout": 0.0,
        "weight_decay": 0.1,
        "symbol_dropout": 0.02 if num_pairs >= 5_000 and small else 0.0,
        "lm_weight": 0.0,
        "batch_size": 32 if small else 64,
        "learning_rate": 4e-3 if fit.learning_rate < 1.0 else 6e-3,
    }
    return _of_rows(config, chosen, minutes=USUAL_MINUTES if small else 5 * USUAL_MINUTES)


def resolve_tree(config: TrainConfig, num_trees: int) -> ResolvedConfig:
    """The same for a model that reads trees; its seed must be set. Raises UsageError for what it does not have."""
    for name in ("lm_weight", "weight_dropout"):
        if getattr(config, name):
            raise UsageError(f"--task tree has no --{name.replace('_', '-')}")
    if config.num_layers not in (None, 1):
        raise UsageError(f"--num-layers {config.num_layers}: --task tree has one layer, the composition")
    small = num_trees < 20_000
    chosen: dict[str, Any] = {
        "hidden_size": 128,
        "num_layers": 1,
        "dropout": 0.1 if small else 0.0,
        "weight_dropout": 0.0,
        "symbol_dropout": 0.0,
        "lm_weight": 0.0,
        "batch_size": 64 if small else 128,
        "learning_rate": 2e-3 if config.composition == "tanh" else 4e-3,
    }
    return _of_rows(config, chosen, minutes=USUAL_MINUTES if small else 5 * USUAL_MINUTES)


def _of_rows(config: TrainConfig, chosen: dict[str, Any], *, minutes: float) -> ResolvedConfig:
    """With what is the same for every task whose examples are rows of a table."""
    chosen = {
        "output_depth": 1,
        "bptt_steps": 1,
        "embedding_size": EMBEDDING,
        "optimizer": "muon",
        "weight_decay": 0.0,
        "precision": "float32",
        "threads": usual_threads(),
        **chosen,
    }
    if config.minutes is None and config.epochs is None and config.steps is None:
        chosen["minutes"] = minutes
    missing = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return ResolvedConfig(**{**vars(config), **missing, "split": "line", "order": "independent"})


def _lanes(length: int) -> int:
    """The more, the shorter the windows: a power of two."""
    return 1 << min(7, max(4, round(math.log2(STEP_OF_A_LIST / length))))
