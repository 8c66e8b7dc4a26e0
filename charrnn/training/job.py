"""What a training run needs from its task: data, a model, its learner, and the files to save."""

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
    """The source of training data: the part that every task has."""

    @property
    def windows_per_epoch(self) -> float: ...

    @property
    def position(self) -> Position: ...


class TaskLearner(Learner, Protocol):
    """A learner that can be saved and restored."""

    @property
    def source(self) -> Source: ...

    @property
    def trained(self) -> dict[str, torch.Tensor]:
        """The parameters that are not frozen."""

    def carried(self) -> Arrays:
        """The state carried from step to step besides the parameters, as named arrays."""

    def restore(self, carried: Arrays, position: Position) -> None:
        """Restores the carried state and the position in the data from a checkpoint."""


class Job(Protocol):
    """One run of a task, with its data read and every setting chosen."""

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> Self:
        """A new run. Raises UsageError for settings that the task does not have, and CorpusError."""

    @classmethod
    def stored(cls, record: RunRecord, root: Path, progress: Progress) -> Self:
        """A saved run to resume."""

    @property
    def config(self) -> ResolvedConfig: ...

    @property
    def dataset(self) -> Any:
        """The dataset, in the task's own type."""

    @property
    def trial(self) -> Trial | None:
        """The trial behind the choice of sizes, if they were chosen by the machine's speed."""

    @property
    def parent(self) -> RunRecord | None:
        """The run whose weights this run starts with, if its held-out rows had to be kept out of training."""

    @property
    def parent_symbols(self) -> str:
        """The characters of that run's model; none if there is no such run."""

    @property
    def files(self) -> tuple[str, ...]: ...

    @property
    def sha256(self) -> str:
        """The hash of the files."""

    @property
    def num_bytes(self) -> int: ...

    @property
    def num_parameters(self) -> int: ...

    def initial_params(self, root: Path) -> dict[str, Any]:
        """New parameters, or those of `--init-from`."""

    def saved_params(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """The checkpoint's parameters. Raises CheckpointError for a checkpoint of another model."""

    def learner(self, params: dict[str, Any], device: torch.device) -> TaskLearner: ...

    def model_files(self, params: Arrays) -> dict[str, bytes]:
        """The model's files in a checkpoint."""

    def preview(self, params: Arrays, step: int) -> str:
        """Sample output of the current model, to be shown."""


class _Model(Protocol):
    @property
    def shapes(self) -> dict[str, tuple[int, ...]]: ...

    @property
    def frozen(self) -> frozenset[str]: ...


def trainable(model: _Model, params: dict[str, Any], device: torch.device) -> dict[str, torch.Tensor]:
    """In the model's own order: rounding of sums over parameters, such as a gradient's norm, depends on it."""
    return {
        name: torch.tensor(params[name], device=device, requires_grad=name not in model.frozen)
        for name in model.shapes
    }
