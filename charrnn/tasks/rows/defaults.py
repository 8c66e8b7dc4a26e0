"""Defaults shared by every task whose examples are rows of a table."""

from typing import Any

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.tasks.defaults import EMBEDDING, usual_threads


def resolved(config: TrainConfig, chosen: dict[str, Any], *, minutes: float) -> ResolvedConfig:
    """The configuration with a task's defaults and the shared ones; its seed must be set."""
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
