"""What jobs on the rows of a table share: the data's identity and the model's size."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from charrnn.config import ResolvedConfig


class _Table(Protocol):
    @property
    def files(self) -> tuple[str, ...]: ...

    @property
    def sha256(self) -> str: ...

    @property
    def num_bytes(self) -> int: ...


class _Sized(Protocol):
    @property
    def num_parameters(self) -> int: ...


Data = TypeVar("Data", bound=_Table)


@dataclass(frozen=True, eq=False)
class TableJob(ABC, Generic[Data]):
    """A part of a `tasks.job.Job`; a task adds the rest."""

    config: ResolvedConfig
    dataset: Data

    @property
    @abstractmethod
    def model(self) -> _Sized:
        """What the configuration and the data describe."""

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
