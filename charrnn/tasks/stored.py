"""What the run of a checkpoint says of itself."""

from typing import Literal

from charrnn.checkpoint import Checkpoint, RunDirectory
from charrnn.config import RunRecord

PartName = Literal["train", "valid", "test"]
"""A part of a run's own text or table."""


def run_record(checkpoint: Checkpoint) -> RunRecord | None:
    """What the run of a checkpoint says of itself; None for a checkpoint that stands alone."""
    run = RunDirectory(checkpoint.path.resolve().parent)
    return run.read_run(RunRecord) if run.run_path.is_file() else None


def encoding_of(checkpoint: Checkpoint) -> str:
    """That of the files that its run read, in which others are read too."""
    record = run_record(checkpoint)
    return "utf-8" if record is None else record.config.encoding
