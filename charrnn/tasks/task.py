"""The interface of a task. A folder of a task's name is that task; this file loads its files by their names.

train.py      JOB, which trains it (of these files the only one that loads torch)
predict.py    open_model(checkpoint), a Predictor
evaluate.py   reports(checkpoint, file=…, part=…, split=…, stop=…, how=…, notify=…, prior=…): fields of the JSON
words.py      shown(report, verbose=…), data_words(dataset), model_words(config, num_parameters),
              rival(config, dataset), commands(config, dataset)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from charrnn.checkpoint import Checkpoint
from charrnn.config import Prior, ResolvedConfig, SplitName, StopName, TaskName, TrainConfig
from charrnn.models.store import ModelConfig
from charrnn.tasks.stored import PartName
from charrnn.words import Block, Facts

if TYPE_CHECKING:
    from charrnn.sampling.beam import Search
    from charrnn.sampling.prediction import Prediction
    from charrnn.tasks.verdict import Rival
    from charrnn.training.job import Job

Flag: TypeAlias = Literal["--beam", "--length-penalty", "--sample", "--given", "--stop", "--prior", "--indent"]

Notify: TypeAlias = Callable[[str, float], object]
"""Called with the name of the current work and the share of it that is done."""


class Predictor(Protocol):
    """A trained model that predicts an output for each text. It needs no torch."""

    @property
    def saved(self) -> Any: ...

    @property
    def path(self) -> Path: ...

    @property
    def predict(self) -> "Callable[..., Iterator[Prediction]]":
        """Texts -> the n best predictions for each. It takes `n` and the task's flags: given, stop, how, prior."""


class Next(NamedTuple):
    """A command that uses a run."""

    command: str
    options: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Task:
    name: TaskName
    unit: str
    """The unit that losses are averaged over and that speed is counted in."""
    flags: frozenset[Flag] = frozenset()
    """Options of `predict` and `eval` that apply to its models."""

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
        prior: Prior | None = None,
    ) -> list[Any]:
        """Evaluates on a file or a part of the run's data: one report, or one per stopping mechanism."""
        found: list[Any] = self._file("evaluate").reports(
            checkpoint, file=file, part=part, split=split, stop=stop, how=how, notify=notify, prior=prior
        )
        return found

    def shown(self, report: Any, *, verbose: bool) -> Iterator[Block]:
        """A report in human-readable form."""
        blocks: Iterator[Block] = self._file("words").shown(report, verbose=verbose)
        return blocks

    def data_words(self, dataset: Any) -> Facts:
        """Describes the training data."""
        facts: Facts = self._file("words").data_words(dataset)
        return facts

    def model_words(self, config: TrainConfig | ModelConfig, num_parameters: int) -> str:
        words: str = self._file("words").model_words(config, num_parameters)
        return words

    def rival(self, config: ResolvedConfig, dataset: Any) -> "Rival | None":
        """The validation loss of a count-based model, in a few seconds at most; None if there is none."""
        found: Rival | None = self._file("words").rival(config, dataset)
        return found

    def commands(self, config: ResolvedConfig, dataset: Any) -> list[Next]:
        """Commands that use a run."""
        found: list[Next] = self._file("words").commands(config, dataset)
        return found

    def _file(self, name: str) -> Any:
        return import_module(f"charrnn.tasks.{self.name}.{name}")


def task(name: TaskName) -> Task:
    found: Task = import_module(f"charrnn.tasks.{name}").TASK
    return found
