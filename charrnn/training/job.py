"""What a training run asks of its task: data, a model, what trains it, and what is saved of it."""

from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch

from charrnn.checkpoint import Checkpoint
from charrnn.config import ResolvedConfig, RunRecord, TrainConfig
from charrnn.corpus.batching import Position
from charrnn.corpus.encoded import Progress
from charrnn.training.loop import Learner
from charrnn.training.observer import Trial

Arrays = dict[str, npt.NDArray[np.floating]]


class Source(Protocol):
    """Where training data comes from, as far as every task is concerned."""

    @property
    def windows_per_epoch(self) -> float: ...

    @property
    def position(self) -> Position: ...


class TaskLearner(Learner, Protocol):
    """A learner that can be saved and put back."""

    @property
    def source(self) -> Source: ...

    @property
    def trained(self) -> dict[str, torch.Tensor]:
        """The parameters that are not frozen."""

    def carried(self) -> Arrays:
        """What is carried from step to step beside the parameters, as named arrays."""

    def restore(self, carried: Arrays, position: Position) -> None:
        """Puts what was carried, and the data, back to where a checkpoint left them."""


class Job(Protocol):
    """One run of a task, its data read and every choice made."""

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> Self:
        """A new run. Raises UsageError for settings that the task does not have, CorpusError."""

    @classmethod
    def stored(cls, record: RunRecord, root: Path, progress: Progress) -> Self:
        """A run to go on with."""

    @property
    def config(self) -> ResolvedConfig: ...

    @property
    def dataset(self) -> Any:
        """The task's own."""

    @property
    def trial(self) -> Trial | None:
        """What sizes were chosen by, if they were chosen by the machine's speed."""

    @property
    def parent(self) -> RunRecord | None:
        """The run whose weights this one begins with, where its held-out rows had to be kept out of training."""

    @property
    def files(self) -> tuple[str, ...]: ...

    @property
    def sha256(self) -> str:
        """Of the files."""

    @property
    def num_bytes(self) -> int: ...

    @property
    def num_parameters(self) -> int: ...

    def initial_params(self, root: Path) -> dict[str, Any]:
        """Fresh parameters, or those of `--init-from`."""

    def saved_params(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Raises CheckpointError for a checkpoint of another model."""

    def learner(self, params: dict[str, Any], device: torch.device) -> TaskLearner: ...

    def model_files(self, params: Arrays) -> dict[str, bytes]:
        """What a checkpoint holds of the model."""

    def preview(self, params: Arrays, step: int) -> str:
        """What the model as it is makes, to be looked at."""
