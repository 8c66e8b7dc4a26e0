"""What charrnn chooses where a person has not: sizes, rates and a budget that fit the corpus.

The figures were found by training on names and on plays for three minutes on two cores.
"""

import os
from typing import Any

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.corpus.dataset import Dataset

USUAL_MINUTES = 3.0
SMALL_CORPUS = 50_000
"""Characters below which a minute is enough and a smaller model generalises better."""

LARGE_CORPUS = 500_000
"""Characters from which a few minutes read a text a few times only: there is room for a larger model."""

MEMORY_SPAN = 200
"""With it models of speeches drawn cold had lengths nearer to those of the text (KS 0.05 instead of 0.14)."""


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve(config: TrainConfig, dataset: Dataset) -> ResolvedConfig:
    """The configuration with every choice made that it leaves open; its seed must be set."""
    train = dataset.parts.train
    listed = dataset.order == "independent"
    small, large = train.num_chars < SMALL_CORPUS, train.num_chars >= LARGE_CORPUS
    chosen: dict[str, Any] = {
        "hidden_size": 128 if small else 384 if large else 256,
        "dropout": 0.2 if large else 0.3,
        # What is read tens of times in a few minutes is learned by heart unless this hinders it.
        "weight_dropout": 0.1 if large else 0.3,
        "batch_size": _lanes(train.num_chars / max(len(train), 1)) if listed else 16,
        "bptt_steps": 64,
        "learning_rate": 6e-3 if large else 8e-3,
        "threads": min(available_cores(), 4),
    }
    if listed and config.cell == "lstm" and config.forget_bias is None:
        # Memories that are carried through a whole book and never cleared do better if they are short.
        chosen["memory_span"] = MEMORY_SPAN
    if config.minutes is None and config.epochs is None and config.steps is None:
        chosen["minutes"] = 1.0 if small else USUAL_MINUTES
    missing = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return ResolvedConfig(**{**vars(config), **missing, "split": dataset.split, "order": dataset.order})


def _lanes(mean_length: float) -> int:
    """The more, the shorter the sequences: an optimisation step then reads some hundred characters."""
    return 64 if mean_length < 24 else 32 if mean_length < 48 else 16
