"""What charrnn must know of a task. Each folder beside this file is one; its files have names that are found here.

train.py      JOB, what trains it (the only one that loads torch)
predict.py    open_model(checkpoint), a Predictor
evaluate.py   evaluate(checkpoint, file=…, part=…, stop=…, how=…, notify=…), a report, whose fields are the JSON
words.py      shown(report, verbose=…), data_words(dataset), model_words(config, num_parameters),
              rival(config, dataset), commands(config, dataset)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from charrnn.checkpoint import Checkpoint
from charrnn.config import ResolvedConfig, SplitName, StopName, TaskName, TrainConfig
from charrnn.models.store import ModelConfig
from charrnn.tasks.stored import PartName
from charrnn.words import Block, Facts

if TYPE_CHECKING:
    from charrnn.sampling.beam import Search
    from charrnn.sampling.prediction import Prediction
    from charrnn.tasks.verdict import Rival
    from charrnn.training.job import Job

Flag: TypeAlias = Literal["--beam", "--length-penalty", "--sample", "--given", "--stop"]

Notify: TypeAlias = Callable[[str, float], object]
"""Called with what is being done and the share of it that is done."""


class Predictor(Protocol):
    """A trained model that answers each text. It needs no torch."""

    @property
    def saved(self) -> Any: ...

    @property
    def path(self) -> Path: ...

    @property
    def predict(self) -> "Callable[..., Iterator[Prediction]]":
        """Texts -> the n best answers to each. It takes `n` and what the task's flags set: given, stop, how."""


class Next(NamedTuple):
    """A command that uses a run."""

    command: str
    options: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Task:
    name: TaskName
    unit: str
    """What a loss is divided by, and what is counted a second."""
    flags: frozenset[Flag] = frozenset()
    """Options of `predict` and `eval` that mean something for its models."""

    def job(self) -> "type[Job]":
        job: type[Job] = self._file("train").JOB
        return job

    def open_model(self, checkpoint: Checkpoint) -> Predictor:
        """Raises CheckpointError."""
        found: Predictor = self._file("predict").open_model(checkpoint)
        return found

    def reports(
        self,
        checkpoint: Checkpoint,
        *,
        file: str | None,
        part: PartName | None,
        split: SplitName | None,
        stop: StopName | None,
        how: "Search",
        notify: Notify,
    ) -> list[Any]:
        """On a model and a file, or a part of its run's own data: one, or one for each way in which texts end."""
        found: list[Any] = self._file("evaluate").reports(
            checkpoint, file=file, part=part, split=split, stop=stop, how=how, notify=notify
        )
        return found

    def shown(self, report: Any, *, verbose: bool) -> Iterator[Block]:
        """A report as a person reads it."""
        blocks: Iterator[Block] = self._file("words").shown(report, verbose=verbose)
        return blocks

    def data_words(self, dataset: Any) -> Facts:
        """What is trained on."""
        facts: Facts = self._file("words").data_words(dataset)
        return facts

    def model_words(self, config: TrainConfig | ModelConfig, num_parameters: int) -> str:
        words: str = self._file("words").model_words(config, num_parameters)
        return words

    def rival(self, config: ResolvedConfig, dataset: Any) -> "Rival | None":
        """What counts make of the validation part, in a few seconds at most; None where there are no counts."""
        found: Rival | None = self._file("words").rival(config, dataset)
        return found

    def commands(self, config: ResolvedConfig, dataset: Any) -> list[Next]:
        """What a run is good for."""
        found: list[Next] = self._file("words").commands(config, dataset)
        return found

    def _file(self, name: str) -> Any:
        return import_module(f"charrnn.tasks.{self.name}.{name}")


def task(name: TaskName) -> Task:
    found: Task = import_module(f"charrnn.tasks.{name}").TASK
    return found
