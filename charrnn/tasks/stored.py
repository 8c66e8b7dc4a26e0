"""Reads the run record of a checkpoint."""

from typing import Literal

from charrnn.checkpoint import Checkpoint, RunDirectory
from charrnn.config import Encoding, RunRecord

PartName = Literal["train", "valid", "test"]
"""A part of a run's own text or table."""


def run_record(checkpoint: Checkpoint) -> RunRecord | None:
    """The record of the run that a checkpoint belongs to; None for a checkpoint without a run."""
    run = RunDirectory(checkpoint.path.resolve().parent)
    return run.read_run(RunRecord) if run.run_path.is_file() else None


def encoding_of(checkpoint: Checkpoint) -> Encoding:
    """How the files that its run read were decoded; other files are decoded so too."""
    record = run_record(checkpoint)
    return Encoding("utf-8") if record is None else record.config.text_encoding
