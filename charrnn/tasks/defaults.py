"""What charrnn chooses where a person has not: sizes, rates and a budget that fit the corpus.

The figures were found by training on names and on plays for three minutes on two cores.
"""

import os
from dataclasses import dataclass
from typing import Any

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.corpus.dataset import Dataset
from charrnn.errors import UsageError

USUAL_MINUTES = 3.0
SMALL_CORPUS = 50_000
"""Characters below which a minute is enough and a smaller model generalises better."""

LARGE_CORPUS = 500_000
"""Characters from which a few minutes read a text a few times only: there is room for a larger model."""

MEMORY_SPAN = 200
"""With it models of speeches drawn cold had lengths nearer to those of the text (KS 0.05 instead of 0.14)."""


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """What suits a cell on a large corpus."""

    units: int = 384
    layers: int = 1
    output_depth: int = 1
    dropout: float = 0.2
    weight_dropout: float = 0.1
    """It asks for weights from step to step that are learned."""
    lanes: int = 16
    """At least so many: where each step is a call from Python, more lanes cost it little."""
    learning_rate: float = 6e-3


_LSTM = _Fit()
_STEP_LOOP = _Fit(units=256, dropout=0.1, weight_dropout=0.0, lanes=32)
_MINIMAL = _Fit(layers=2, output_depth=2, dropout=0.1, weight_dropout=0.0, learning_rate=4e-3)
"""Nothing in these cells is non-linear but their gates: a layer of tanh above them was worth 0.13 nats."""

_FITS: dict[str, _Fit] = {
    "tanh": _Fit(dropout=0.05, weight_dropout=0.0, lanes=32, learning_rate=3e-3),
    "leaky": _Fit(dropout=0.05, weight_dropout=0.0, lanes=32, learning_rate=3e-3),
    "skip": _Fit(dropout=0.05, weight_dropout=0.0, lanes=32, learning_rate=3e-3),
    "lstm": _LSTM,
    "coupled_lstm": _STEP_LOOP,
    "peephole_lstm": _STEP_LOOP,
    "layer_norm_lstm": _STEP_LOOP,
    "gru": _Fit(dropout=0.1, lanes=32, learning_rate=4e-3),
    "min_gru": _MINIMAL,
    "min_lstm": _MINIMAL,
    "output_recurrent": _Fit(units=256, dropout=0.0, weight_dropout=0.0, learning_rate=4e-3),
    "time_delay": _Fit(units=256, dropout=0.1, weight_dropout=0.0, learning_rate=3e-3),
    "echo_state": _Fit(units=2000, dropout=0.0, weight_dropout=0.0, lanes=32, learning_rate=1e-2),
}


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve(config: TrainConfig, dataset: Dataset) -> ResolvedConfig:
    """The configuration with every choice made that it leaves open; its seed must be set. Raises UsageError."""
    train, fit = dataset.parts.train, _FITS[config.cell]
    listed = dataset.order == "independent"
    small, large = train.num_chars < SMALL_CORPUS, train.num_chars >= LARGE_CORPUS
    # What is read tens of times in a few minutes is learned by heart unless dropout hinders it.
    more_dropout = 0.0 if large or fit.dropout == 0.0 else 0.1
    more_weight_dropout = 0.0 if large or fit.weight_dropout == 0.0 else 0.2
    lanes = _lanes(train.num_chars / max(len(train), 1)) if listed else 16
    chosen: dict[str, Any] = {
        "hidden_size": fit.units // 3 if small else fit.units if large else 2 * fit.units // 3,
        "num_layers": fit.layers,
        "output_depth": fit.output_depth,
        "dropout": round(fit.dropout + more_dropout, 3),
        "weight_dropout": round(fit.weight_dropout + more_weight_dropout, 3),
        "symbol_dropout": 0.0,
        "lm_weight": 0.0,
        "batch_size": max(lanes, fit.lanes),
        "bptt_steps": 64,
        "learning_rate": round(fit.learning_rate * (1.0 if large else 4 / 3), 6),
        "threads": min(available_cores(), 4),
    }
    if listed and config.cell == "lstm" and config.forget_bias is None:
        # Memories that are carried through a whole book and never cleared do better if they are short.
        chosen["memory_span"] = MEMORY_SPAN
    if config.minutes is None and config.epochs is None and config.steps is None:
        chosen["minutes"] = 1.0 if small else USUAL_MINUTES
    window = config.bptt_steps or chosen["bptt_steps"]
    if config.washout > window:
        raise UsageError(f"--washout {config.washout}: more than the {window} characters of --bptt-steps")
    if config.symbol_dropout or config.lm_weight:
        raise UsageError(
            "--symbol-dropout and --lm-weight are for models of whole inputs (--task classify, tag, transduce)"
        )
    missing = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return ResolvedConfig(**{**vars(config), **missing, "split": dataset.split, "order": dataset.order})


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
        "learning_rate": 3e-3 if fit.learning_rate < 6e-3 else 5e-3,
    }
    return _of_rows(config, chosen, minutes=1.0 if small else USUAL_MINUTES)


def resolve_tagger(config: TrainConfig, num_symbols: int) -> ResolvedConfig:
    """The same for a model that writes a symbol for each that it reads; its seed must be set."""
    fit, small = _FITS[config.cell], num_symbols < LARGE_CORPUS
    chosen: dict[str, Any] = {
        "hidden_size": 192 if small else 256,
        "num_layers": 2,
        "dropout": 0.4 if small else 0.2,
        "weight_dropout": 0.0,
        "symbol_dropout": 0.1,
        "lm_weight": 0.0,
        # Small batches and a high rate: with few examples it was steps that were wanting.
        "batch_size": 8 if small else 32,
        "learning_rate": (3e-3 if fit.learning_rate < 6e-3 else 4e-3) * (2 if small else 1),
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
        "symbol_dropout": 0.02 if num_pairs >= 5_000 and small else 0.0,
        "lm_weight": 0.0,
        "batch_size": 32 if small else 64,
        "learning_rate": 3e-3 if fit.learning_rate < 6e-3 else 4e-3,
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
    chosen |= {"output_depth": 1, "bptt_steps": 1, "threads": min(available_cores(), 4)}
    if config.minutes is None and config.epochs is None and config.steps is None:
        chosen["minutes"] = minutes
    missing = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return ResolvedConfig(**{**vars(config), **missing, "split": "line", "order": "independent"})


def _lanes(mean_length: float) -> int:
    """The more, the shorter the sequences: an optimisation step then reads some hundred characters."""
    return 64 if mean_length < 24 else 32 if mean_length < 48 else 16
