"""A small checkpoint that the tests of checkpoint/ save, damage and read back."""

from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from charrnn.checkpoint import Checkpoint, encode_json, encode_tensors, encode_vocab

SHAPES = {"layers.0.bias": (3,), "layers.0.weight_hh": (3, 2)}


class Config(Struct, forbid_unknown_fields=True):
    hidden_size: int


def parameters(step: int) -> dict[str, np.ndarray]:
    return {name: np.full(shape, step, np.float32) for name, shape in SHAPES.items()}


def example_files(step: int) -> dict[str, bytes]:
    return {
        "config.json": encode_json(Config(hidden_size=3)),
        "vocab.json": encode_vocab("ab\n"),
        "model.safetensors": encode_tensors(parameters(step)),
        "training_state.safetensors": encode_tensors({"rng": np.arange(5, dtype=np.uint8)}),
        "trainer_state.json": encode_json({"step": step}),
    }


def load(path: Path) -> Checkpoint:
    """Read everything a checkpoint holds, and see that it is the example of its step."""
    checkpoint = Checkpoint.open(path)
    assert checkpoint.config(Config).hidden_size == 3
    assert checkpoint.vocab() == ["\n", "a", "b"]
    arrays = checkpoint.tensors(SHAPES)
    assert all((arrays[name] == checkpoint.step).all() for name in SHAPES)
    assert (checkpoint.training_tensors()["rng"] == np.arange(5)).all()
    assert checkpoint.json("trainer_state.json", dict[str, Any]) == {"step": checkpoint.step}
    return checkpoint
