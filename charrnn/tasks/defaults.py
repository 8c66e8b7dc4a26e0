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


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve(config: TrainConfig, dataset: Dataset) -> ResolvedConfig:
    """The configuration with every choice made that it leaves open; its seed must be set."""
    order = dataset.order
    listed = order == "independent"
    small = dataset.parts.train.num_chars < SMALL_CORPUS
    chosen: dict[str, Any] = {
        "hidden_size": 128 if small else 256 if listed else 384,
        "dropout": 0.3 if listed else 0.2,
        # A list is read tens of times in a few minutes, and only this kept a model from learning it by heart.
        "weight_dropout": 0.3 if listed else 0.2,
        "batch_size": 64 if listed else 16,
        "bptt_steps": 256 if listed else 64,
        "learning_rate": 8e-3 if listed else 6e-3,
        "threads": min(available_cores(), 4),
    }
    if config.minutes is None and config.epochs is None and config.steps is None:
        chosen["minutes"] = 1.0 if small else USUAL_MINUTES
    missing = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return ResolvedConfig(**{**vars(config), **missing, "split": dataset.split, "order": order})
