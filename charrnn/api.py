"""charrnn as a library: train a run, load it, sample and score. What the commands do, as functions."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from charrnn.checkpoint import Checkpoint, Which, resolve_checkpoint
from charrnn.config import TrainConfig
from charrnn.errors import UsageError
from charrnn.models.store import load_model, task_of
from charrnn.tasks.generate.predict import Model, Sample
from charrnn.tasks.task import Predictor, task

__all__ = ["Model", "Predictor", "Sample", "load", "load_predictor", "train", "train_config"]

if TYPE_CHECKING:
    from charrnn.training.observer import RunObserver

CHECKPOINTS = Path("checkpoints")


def load_predictor(
    run: str | Path | None = None, *, checkpoint: Which = "best", checkpoints: str | Path = CHECKPOINTS
) -> Predictor:
    """As `load`, of any task. Raises CheckpointError."""
    found = _found(run, checkpoint, checkpoints)
    return task(task_of(found)).open_model(found)


def _found(run: str | Path | None, which: Which, root: str | Path) -> Checkpoint:
    return resolve_checkpoint(None if run is None else str(run), Path(root), which)


def load(
    run: str | Path | None = None, *, checkpoint: Which = "best", checkpoints: str | Path = CHECKPOINTS
) -> Model:
    """A model from a run (the newest by default), a run's checkpoint, or a path to either.

    checkpoint: "best", "last" or a step. Raises CheckpointError.
    """
    found = _found(run, checkpoint, checkpoints)
    return Model(load_model(found), found.path)


def train(
    *corpus: str | Path,
    checkpoints: str | Path = CHECKPOINTS,
    name: str | None = None,
    overwrite: bool = False,
    observer: "RunObserver | None" = None,
    **config: Any,
) -> Path:
    """Trains a model and returns its run directory. `config` are the fields of `TrainConfig`.

    `stop` may be one name or several. Nothing is shown unless an observer is given. Raises UsageError for a
    value out of bounds, and whatever else `charrnn train` reports.
    """
    from charrnn.training.threads import wait_briefly

    wait_briefly()
    from charrnn.tasks.run import start_run
    from charrnn.training.observer import SilentObserver

    outcome = start_run(
        train_config(corpus=corpus, **config),
        root=Path(checkpoints),
        observer=observer or SilentObserver(),
        name=name,
        overwrite=overwrite,
    )
    return outcome.run


def train_config(**values: Any) -> TrainConfig:
    """A checked configuration. Raises UsageError that names the field, what came and what was expected."""
    values = {key: value for key, value in values.items() if value is not None}
    values["corpus"] = [str(path) for path in values.get("corpus", ())]
    stop = values.get("stop", "eos")
    values["stop"] = [stop] if isinstance(stop, str) else list(stop)
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
    return f"{name} = {values[name]!r}: {what[0].lower()}{what[1:]}"


def _choices(hint: Any) -> list[str]:
    """The values of every Literal in a type."""
    if get_origin(hint) is Literal:
        return list(map(str, get_args(hint)))
    return [choice for part in get_args(hint) for choice in _choices(part)]
