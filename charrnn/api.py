"""charrnn as a library: what the commands do, as functions. Nothing but `train` needs torch."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from charrnn.checkpoint import Checkpoint, Which, resolve_checkpoint
from charrnn.config import CellName, Prior, SplitName, StopName, TaskName, TrainConfig, ordered_stops
from charrnn.corpus.kept import keep_texts
from charrnn.errors import UsageError
from charrnn.models.store import ModelConfig, load_model, task_of
from charrnn.sampling.beam import BEAM, Search
from charrnn.tasks.generate.predict import Model, Sample
from charrnn.tasks.generate.transfer import parent_settings
from charrnn.tasks.stored import PartName
from charrnn.tasks.task import Predictor, task

__all__ = ["Model", "Predictor", "Sample", "evaluate", "load", "load_text", "train", "train_config"]

if TYPE_CHECKING:
    from charrnn.training.observer import RunObserver

CHECKPOINTS = Path("checkpoints")


def load(
    run: str | Path | None = None, *, checkpoint: Which = "best", checkpoints: str | Path = CHECKPOINTS
) -> Any:
    """What a run learned: by default the newest one's; or that of a checkpoint, or of a path to either.

    A `Model` of text draws, scores and, given columns, predicts; a model of another task predicts.
    checkpoint: "best", "last" or a step. Raises CheckpointError.
    """
    found = _found(run, checkpoint, checkpoints)
    return task(task_of(found)).open_model(found)


def load_text(
    run: str | Path | None = None, *, checkpoint: Which = "best", checkpoints: str | Path = CHECKPOINTS
) -> Model:
    """As `load`, of a run that generates text. Raises CheckpointError for one of another task."""
    found = _found(run, checkpoint, checkpoints)
    return Model(load_model(found), found.path)


def evaluate(
    run: str | Path | None = None,
    file: str | Path | None = None,
    *,
    part: PartName | None = None,
    split: SplitName | None = None,
    stop: StopName | None = None,
    how: Search = BEAM,
    prior: Prior | None = None,
    checkpoint: Which = "best",
    checkpoints: str | Path = CHECKPOINTS,
) -> list[Any]:
    """How good a run is on a file, or on a part of its own data: reports with the fields of `charrnn eval --json`.

    One report, or of a model with several ways to end texts one for each. Raises CheckpointError, CorpusError.
    """
    found = _found(run, checkpoint, checkpoints)
    return task(task_of(found)).reports(
        found,
        file=None if file is None else str(file),
        part=part,
        split=split,
        stop=stop,
        how=how,
        notify=lambda _what, _share: None,
        prior=prior,
    )


def _found(run: str | Path | None, which: Which, root: str | Path) -> Checkpoint:
    return resolve_checkpoint(None if run is None else str(run), Path(root), which)


def train(
    *corpus: str | Path | Sequence[str],
    minutes: float | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    cell: CellName | None = None,
    hidden_size: int | None = None,
    num_layers: int | None = None,
    stop: StopName | Literal["all"] | Sequence[StopName] | None = None,
    split: SplitName | Literal["auto"] | None = None,
    task: TaskName | None = None,
    context: str | Sequence[str] | None = None,
    seed: int | None = None,
    threads: int | None = None,
    name: str | None = None,
    overwrite: bool = False,
    checkpoints: str | Path = CHECKPOINTS,
    observer: "RunObserver | None" = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Trains a model and returns its run directory.

    corpus: paths, or a list of texts. settings: any other field of `TrainConfig`, by name; what is None here is
    chosen. Nothing is shown unless an observer is given. Raises UsageError for a value out of bounds, and whatever
    else `charrnn train` reports.
    """
    from charrnn.training.threads import limit_omp_spinning

    limit_omp_spinning()
    from charrnn.tasks.run import start_run
    from charrnn.training.observer import SilentObserver

    asked = {
        "minutes": minutes,
        "epochs": epochs,
        "steps": steps,
        "cell": cell,
        "hidden_size": hidden_size,
        "num_layers": num_layers,
        "stop": stop,
        "split": split,
        "task": task,
        "context": context,
        "seed": seed,
        "threads": threads,
    }
    given = {**(settings or {}), **{key: value for key, value in asked.items() if value is not None}}
    paths: list[str] = []
    for item in corpus:
        if isinstance(item, str | Path):
            paths.append(str(item))
        else:
            path, found = keep_texts(item, Path(checkpoints))
            paths.append(path)
            given.setdefault("split", found)
            given.setdefault("order", "independent")
    outcome = start_run(
        train_config(checkpoints=Path(checkpoints), corpus=paths, **given),
        root=Path(checkpoints),
        observer=observer or SilentObserver(),
        name=name,
        overwrite=overwrite,
    )
    return outcome.run


def train_config(*, checkpoints: Path = CHECKPOINTS, **values: Any) -> TrainConfig:
    """A checked configuration. Raises UsageError that names the field, what came and what was expected.

    With `init_from`, what is not given is that run's, as far as the model and the reading of its text go; then it
    raises CheckpointError too.
    """
    values = {key: value for key, value in values.items() if value is not None}
    if "init_from" in values and values.get("task", "generate") == "generate":
        parent = resolve_checkpoint(str(values["init_from"]), checkpoints).config(ModelConfig)
        values |= parent_settings(parent, values)
    values["corpus"] = [str(path) for path in values.get("corpus", ())]
    stop = values.get("stop", "eos")
    values["stop"] = ordered_stops([stop] if isinstance(stop, str) else list(stop))
    context = values.get("context", ())
    values["context"] = [context] if isinstance(context, str) else list(context)
    unknown = values.keys() - TrainConfig.__dataclass_fields__.keys()
    if unknown:
        raise UsageError(f"there is no option {min(unknown)!r}")
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name} = {value}: expected a finite number")
    try:
        config = msgspec.convert(values, type=TrainConfig, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(_misfit(error, values)) from error
    config.check()
    return config


def _misfit(error: msgspec.ValidationError, values: dict[str, Any]) -> str:
    """What the error says of a field, with the field's value and, for a name, the names there are."""
    what, _, place = str(error).partition(" - at `$.")
    name = re.split(r"\W", place)[0]
    hint = get_type_hints(TrainConfig)[name]
    if what.startswith("Invalid enum value"):
        what = f"expected {', '.join(_choices(hint))}"
    elif "matching regex" in what:
        what = "expected text without characters that control a terminal"
    return f"{name} = {values[name]!r}: {what[0].lower()}{what[1:]}"


def _choices(hint: Any) -> list[str]:
    """The values of every Literal in a type."""
    if get_origin(hint) is Literal:
        return list(map(str, get_args(hint)))
    return [choice for part in get_args(hint) for choice in _choices(part)]
