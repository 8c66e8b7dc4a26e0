"""Runs and checkpoints on disk, without torch: atomic writing, bounded reading, manifest, lock, names.

It stores named arrays and typed JSON, and knows nothing of models or training.
"""

from charrnn.checkpoint.checkpoint import (
    CONFIG,
    MODEL,
    TRAINER_STATE,
    TRAINING_STATE,
    VOCAB,
    Checkpoint,
    encode_vocab,
)
from charrnn.checkpoint.reading import encode_json
from charrnn.checkpoint.resolve import list_runs, names_a_run, resolve, resolve_checkpoint
from charrnn.checkpoint.run_directory import Best, RunDirectory, Which
from charrnn.checkpoint.run_writer import RunWriter, refuse_taken
from charrnn.checkpoint.tensors import encode_tensors

__all__ = [
    "CONFIG",
    "MODEL",
    "TRAINER_STATE",
    "TRAINING_STATE",
    "VOCAB",
    "Best",
    "Checkpoint",
    "RunDirectory",
    "RunWriter",
    "Which",
    "encode_json",
    "encode_tensors",
    "encode_vocab",
    "list_runs",
    "names_a_run",
    "refuse_taken",
    "resolve",
    "resolve_checkpoint",
]
