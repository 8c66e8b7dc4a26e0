"""What a checkpoint contains besides the model to resume training exactly: optimiser, data, progress.

There are no random generators to save: every random choice of training is a function of the seed and of the step
or the position in the text.
"""

from dataclasses import dataclass

import numpy as np
import torch

from charrnn.checkpoint import TRAINER_STATE, TRAINING_STATE, Checkpoint, encode_json, encode_tensors
from charrnn.corpus.batching import Position
from charrnn.errors import CheckpointError
from charrnn.training.loop import Progress
from charrnn.training.optimizer import Optimizer


@dataclass(frozen=True, kw_only=True)
class TrainerState:
    """trainer_state.json"""

    progress: Progress
    position: Position
    torch_version: str
    threads: int


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


def restore(checkpoint: Checkpoint, optimizer: Optimizer) -> tuple[TrainerState, dict[str, np.ndarray]]:
    """Restores the optimiser and returns the state and the carried arrays. Raises CheckpointError."""
    trainer_state = checkpoint.json(TRAINER_STATE, TrainerState)
    arrays = checkpoint.training_tensors()
    try:
        optimizer.restore(
            {name: torch.from_numpy(array) for name, array in arrays.items()}, trainer_state.progress.step
        )
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path / TRAINING_STATE}: {error}") from error
    prefix = "carried."
    carried = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return trainer_state, carried
