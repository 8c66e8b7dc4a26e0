"""Defaults for options left open: sizes, rates and a budget that fit the text and the machine.

The figures were found by experiment on plays, on a part of the text that the benchmarks do not report.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.errors import UsageError
from charrnn.tasks.defaults import EMBEDDING, USUAL_MINUTES, Fit, fit_of, usual_threads
from charrnn.tasks.generate.data import Dataset

if TYPE_CHECKING:
    from charrnn.training.observer import Trial

SMALL_CORPUS = 50_000
"""Characters below which a minute is enough."""

MEMORY_SPAN = 200
"""With it, speeches sampled from the initial state had lengths nearer to the text's (KS 0.05 instead of 0.14)."""

WINDOW = 64
LANES = 32
"""For a text read as one stream: a step reads WINDOW characters in each lane."""

STEP_OF_A_LIST = 1024
"""Characters that a step reads of independent sequences, in as many lanes as needed: 16 to 128."""

MANY_STEPS = 1000
"""Beyond this many steps, twice the lanes learn as much or more from as many characters, and read them faster:
64 lanes instead of 16 improve speeches read five times by 0.016 nats, and instead of 32 molecules by 0.006."""

LARGE_STEP = 2500
"""A step of this many characters is not made larger."""

MOST_LANES = 128

WEIGHT_DECAY = 0.05
"""It improves a one-minute model, which reads its text twice, by 0.014 nats, and a ten-second one by nothing."""

WIDTHS = (64, 96, 128, 192, 256, 320, 384, 512, 640, 768, 1024)

CHARS_PER_WEIGHT = 2.3
"""Characters that a run should read per weight: with fewer a smaller model ends better, with more a larger."""

WEIGHTS_PER_CHAR = 3.2
"""Weights that each character of the training text allows: a larger model memorises a small text."""

COST_OF_WIDTH = 1.6
"""The speed of a model of H units, in characters a second, goes as H^(−1.6), for H of 128 to 768."""

REFERENCE_UNITS = 256
REFERENCE_SPEED = 60_000.0
"""Characters a second that a model of REFERENCE_UNITS reads, if no speed was measured."""


def resolve(config: TrainConfig, dataset: Dataset, trial: "Trial | None" = None) -> ResolvedConfig:
    """The configuration with defaults for all options left open; its seed must be set. Raises UsageError.

    trial: the measured speed of this machine.
    """
    train, fit = dataset.parts.train, fit_of(config.cell)
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
    if config.batch_size is None and config.steps is None:
        while read / (lanes * length) > MANY_STEPS and lanes * length < LARGE_STEP and lanes < MOST_LANES:
            lanes *= 2
    chosen |= {
        "hidden_size": units,
        "batch_size": lanes,
        "dropout": round(fit.dropout * _dropout(read / max(1, train.num_chars)), 2),
        "weight_dropout": 0.0,
        "learning_rate": float(f"{fit.learning_rate * _learning_rate(read / (lanes * length)):.2g}"),
    }
    if listed and mean_length >= WINDOW and config.cell == "lstm" and config.forget_bias is None:
        # Not for ordered text: memories carried through a whole book and never cleared do better if short.
        chosen["memory_span"] = MEMORY_SPAN
    window = config.bptt_steps or WINDOW
    if config.washout > window:
        raise UsageError(f"--washout {config.washout}: more than the {window} characters of --bptt-steps")
    missing = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return ResolvedConfig(**{**vars(config), **missing, "split": dataset.split, "order": dataset.order})


@dataclass(frozen=True, kw_only=True)
class _Budget:
    """What a run may read, in time or in characters."""

    minutes: float | None
    chars: float | None
    trial: "Trial | None"

    def chars_read(self, units: float) -> float:
        """Characters that an LSTM of this many units reads; repeated readings count."""
        if self.chars is not None:
            return self.chars
        assert self.minutes is not None
        speed, at = REFERENCE_SPEED, float(REFERENCE_UNITS)
        if self.trial is not None:
            speed, at = self.trial.chars_per_second, float(self.trial.hidden_size)
        return 60.0 * self.minutes * speed * math.pow(at / units, COST_OF_WIDTH)


def _width(budget: _Budget, num_chars: int, fit: Fit) -> int:
    """Units of the largest model that reads enough text in the budget, and is not too large for the text."""
    best = WIDTHS[0]
    for units in WIDTHS:
        weights = 4 * units * (units + EMBEDDING)
        enough = budget.chars_read(units) >= CHARS_PER_WEIGHT * weights
        if enough and weights <= WEIGHTS_PER_CHAR * num_chars:
            best = units
    return max(1, round(best * fit.width))


def _dropout(readings: float) -> float:
    """The dropout that keeps a model from memorising a text read this many times."""
    return min(0.4, 0.2 * max(0.0, math.log2(max(1.0, readings) / 3.8)))


def _learning_rate(steps: float) -> float:
    """The peak rate of a run of this many steps: the fewer, the larger each must be."""
    return 3e-2 * math.pow(min(1.0, 1500.0 / max(1.0, steps)), 1 / 3)


def _lanes(length: int) -> int:
    """The number of lanes, a power of two: the shorter the windows, the more."""
    return min(MOST_LANES, max(16, 1 << round(math.log2(max(1.0, STEP_OF_A_LIST / length)))))
