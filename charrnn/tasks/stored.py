"""Reads the run record of a checkpoint."""

from pathlib import Path
from typing import Literal

from charrnn.checkpoint import Checkpoint, RunDirectory
from charrnn.config import Encoding, RunRecord

PartName = Literal["train", "valid", "test"]
"""A part of a run's own text or table."""


def run_record(checkpoint: Checkpoint) -> RunRecord | None:
    """The record of the run that a checkpoint belongs to; None for a checkpoint without a run."""
    return record_beside(checkpoint.path)


def record_beside(path: Path) -> RunRecord | None:
    """The same by the checkpoint's path; since it was loaded, training may have removed it."""
    run = RunDirectory(path.resolve().parent)
    return run.read_run(RunRecord) if run.run_path.is_file() else None


def encoding_of(checkpoint: Checkpoint | Path) -> Encoding:
    """How the files that its run read were decoded; other files are decoded so too."""
    record = record_beside(checkpoint if isinstance(checkpoint, Path) else checkpoint.path)
    return Encoding("utf-8") if record is None else record.config.text_encoding
