"""Base classes of jobs on the rows of a table: for all, for labels, and for pairs of sequences."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from charrnn.checkpoint import Checkpoint
from charrnn.config import ResolvedConfig, RunRecord
from charrnn.corpus.encoded import Progress
from charrnn.corpus.readers import relative_to
from charrnn.corpus.symbols import Symbols
from charrnn.errors import CheckpointError
from charrnn.models.store import Saved, SavedPair, model_files
from charrnn.tasks.rows.pairs import PairDataset, Pairs, load_pairs
from charrnn.training.job import Arrays
from charrnn.training.observer import Trial


class _Table(Protocol):
    @property
    def files(self) -> tuple[str, ...]: ...

    @property
    def sha256(self) -> str: ...

    @property
    def num_bytes(self) -> int: ...


class _LabelTable(_Table, Protocol):
    @property
    def symbols(self) -> Symbols: ...


class _Model(Protocol):
    @property
    def config(self) -> Any: ...

    @property
    def num_parameters(self) -> int: ...

    def init(self, rng: np.random.Generator) -> dict[str, Any]: ...


class _PairModel(Protocol):
    @property
    def config(self) -> Any: ...

    @property
    def num_parameters(self) -> int: ...

    def init(self, rng: np.random.Generator, lengths: npt.NDArray[np.int64]) -> dict[str, Any]: ...


Data = TypeVar("Data", bound=_Table)
LabelData = TypeVar("LabelData", bound=_LabelTable)


@dataclass(frozen=True, eq=False)
class TableJob(ABC, Generic[Data]):
    """A part of a `training.job.Job`; a task adds the rest."""

    config: ResolvedConfig
    dataset: Data
    trial: Trial | None = None
    parent: RunRecord | None = None
    parent_symbols: str = ""

    @property
    @abstractmethod
    def model(self) -> _Model | _PairModel:
        """The model that the configuration and the data describe."""

    @staticmethod
    @abstractmethod
    def load(checkpoint: Checkpoint) -> Any:
        """The model of a checkpoint. Raises CheckpointError."""

    @property
    def files(self) -> tuple[str, ...]:
        return self.dataset.files

    @property
    def sha256(self) -> str:
        return self.dataset.sha256

    @property
    def num_bytes(self) -> int:
        return self.dataset.num_bytes

    @property
    def num_parameters(self) -> int:
        return self.model.num_parameters


class LabelJob(TableJob[LabelData]):
    """A part of a `training.job.Job` that predicts a label or a number."""

    @property
    @abstractmethod
    def model(self) -> _Model: ...

    def initial_params(self, root: Path) -> dict[str, Any]:
        return self.model.init(np.random.default_rng(self.config.seed))

    def saved_params(self, checkpoint: Checkpoint) -> dict[str, Any]:
        saved: Saved[Any, Any] = self.load(checkpoint)
        if (saved.config, saved.source) != (self.model.config, self.dataset.symbols):
            raise CheckpointError(f"{checkpoint.path}: is not of the model that run.json describes")
        return saved.params

    def model_files(self, params: Arrays) -> dict[str, bytes]:
        return model_files(self.model.config, params, self.dataset.symbols.symbols)


class PairJob(TableJob[PairDataset]):
    """A part of a `training.job.Job` that maps sequences to sequences."""

    @property
    @abstractmethod
    def model(self) -> _PairModel: ...

    @classmethod
    def stored(cls, record: RunRecord, root: Path, progress: Progress) -> Self:
        return cls(record.config, load_pairs(relative_to(record.config, Path(record.directory))))

    @property
    def symbols_and_columns(self) -> dict[str, Any]:
        """The fields of `PairConfig` that name the columns of the sequences and what separates their symbols."""
        return {
            "source_column": self.dataset.source_column,
            "target_column": self.dataset.target_column,
            "source_sep": self.config.source_sep,
            "target_sep": self.config.target_sep,
        }

    def initial_params(self, root: Path) -> dict[str, Any]:
        return self.model.init(np.random.default_rng(self.config.seed), self.dataset.train.outputs.lengths)

    def saved_params(self, checkpoint: Checkpoint) -> dict[str, Any]:
        saved: SavedPair[Any, Any] = self.load(checkpoint)
        described = (self.model.config, self.dataset.source, self.dataset.target)
        if (saved.config, saved.source, saved.target) != described:
            raise CheckpointError(f"{checkpoint.path}: is not of the model that run.json describes")
        return saved.params

    def model_files(self, params: Arrays) -> dict[str, bytes]:
        return model_files(self.model.config, params, self.dataset.source.symbols, self.dataset.target.symbols)

    def shown(self, step: int) -> Pairs:
        """One pair to show, from the validation part if any."""
        pairs = self.dataset.valid if len(self.dataset.valid) else self.dataset.train
        return pairs.take(np.array([step % len(pairs)]))
