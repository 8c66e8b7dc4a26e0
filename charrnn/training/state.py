"""What a checkpoint contains besides the model to resume training exactly: optimiser, data, progress.

There are no random generators to save: every random choice of training is a function of the seed and of the step
or the position in the text.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta

from charrnn.checkpoint import TRAINER_STATE, TRAINING_STATE, Checkpoint, encode_json, encode_tensors
from charrnn.corpus.batching import Position
from charrnn.errors import CheckpointError
from charrnn.training.job import TaskLearner
from charrnn.training.loop import Progress
from charrnn.training.optimizer import Optimizer


@dataclass(frozen=True, kw_only=True)
class TrainerState:
    """trainer_state.json"""

    progress: Progress
    position: Position
    torch_version: Annotated[str, Meta(max_length=100)]
    threads: Annotated[int, Meta(ge=1)]


def state_files(
    optimizer: Optimizer,
    carried: dict[str, np.ndarray],
    position: Position,
    progress: Progress,
) -> dict[str, bytes]:
    arrays = {f"carried.{name}": array for name, array in carried.items()}
    arrays |= {name: moment.cpu().numpy() for name, moment in optimizer.moments().items()}
    trainer_state = TrainerState(
        progress=progress,
        position=position,
        torch_version=str(torch.__version__),
        threads=torch.get_num_threads(),
    )
    return {TRAINING_STATE: encode_tensors(arrays), TRAINER_STATE: encode_json(trainer_state)}


def restore(
    checkpoint: Checkpoint, planned: Progress, optimizer: Optimizer, learner: TaskLearner, *, timed: bool
) -> TrainerState:
    """Restores the optimiser and the learner, and returns the state.

    planned: the progress that the run began with, and the schedule that follows from its budgets.
    timed: whether one of them is in minutes, which adds pieces to the schedule as the speed is measured.
    Raises CheckpointError for a state that the run cannot have reached.
    """
    state = checkpoint.json(TRAINER_STATE, TrainerState)
    if not _reachable(state.progress, planned, checkpoint.step, timed):
        raise CheckpointError(f"{checkpoint.path / TRAINER_STATE}: its progress is not of the run in run.json")
    arrays = checkpoint.training_tensors()
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise CheckpointError(f"{checkpoint.path / TRAINING_STATE}: has numbers that are not finite")
    prefix = "carried."
    carried = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    try:
        optimizer.restore({name: torch.from_numpy(array) for name, array in arrays.items()}, checkpoint.step)
        learner.restore(carried, state.position)
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error
    return state


def _reachable(progress: Progress, planned: Progress, step: int, timed: bool) -> bool:
    """Whether a run can get from what was planned to `progress` in `step` steps."""
    schedule = progress.schedule
    return (
        progress.step == step > 0
        and (progress.best_step or 0) <= step
        and (progress.best_step is None) == (progress.best_loss is None) == (progress.least_loss is None)
        and progress.eval_every == planned.eval_every
        and schedule.peak == planned.schedule.peak
        and (schedule == planned.schedule or timed)
        and schedule.is_possible(planned.schedule)
    )
