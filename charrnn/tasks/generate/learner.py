"""The task `generate`: a language model on sequences, its loss, and its validation figure."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from charrnn.cells.arrays import where
from charrnn.cells.cell import State, map_state, state_arrays
from charrnn.config import OrderName, Precision, StopName
from charrnn.corpus.batching import BatchSource, Position
from charrnn.corpus.passes import independent_pass, ordered_pass
from charrnn.corpus.steps import Kind, StepReader, Steps, Window, map_arrays
from charrnn.errors import CheckpointError
from charrnn.models.language_model import LanguageModel
from charrnn.models.stack import States
from charrnn.tasks.generate.scheduled_sampling import read_own_draws
from charrnn.training.dropout import dropout, fallen, weight_dropout
from charrnn.training.environment import products_in
from charrnn.training.job import trainable
from charrnn.training.loop import Loss

VALIDATION_LANES, VALIDATION_WARM_UP = 16, 128
"""Lanes of a validation pass over ordered text, and the steps that each reads before its part. `charrnn eval`
reads it in one lane, which is exact."""


class GenerateLearner:
    """Trains a language model on the windows of a source; a `training.loop.Learner`."""

    def __init__(
        self,
        model: LanguageModel,
        params: dict[str, npt.NDArray[np.float32]],
        source: BatchSource,
        validation: StepReader | None,
        *,
        order: OrderName,
        dropout: float,
        weight_dropout: float = 0.0,
        washout: int = 0,
        scheduled_sampling: float = 0.0,
        precision: Precision = "float32",
        seed: int,
        device: torch.device,
    ) -> None:
        self.model, self.source = model, source
        self.parameters = trainable(model, params, device)
        self.state: States | None = None
        """The state carried to the next window, detached."""
        self._validation, self._order = validation, order
        self._dropout, self._weight_dropout = dropout, weight_dropout
        self._washout, self._scheduled_sampling = washout, scheduled_sampling
        self._precision, self._seed, self._device = precision, seed, device

    @property
    def epoch(self) -> float:
        return self.source.epoch

    @property
    def trained(self) -> dict[str, torch.Tensor]:
        """The parameters that are not frozen."""
        return {name: value for name, value in self.parameters.items() if value.requires_grad}

    def next_loss(self, step: int, share: float) -> Loss:
        window = self.source.next_window()
        read = self._washed_out(window)
        steps = self._tensors(read)
        rng = np.random.default_rng([self._seed, step])
        state = self._begin(window, steps, self.state)
        mask = dropout(fallen(self._dropout, share), rng)
        params = {**self.parameters, **weight_dropout(self.trained, self._weight_dropout, rng)}
        own = self._scheduled_sampling * share
        with products_in(self._precision, self._device):
            if self._scheduled_sampling:
                hidden, state = read_own_draws(self.model, params, steps, state, mask, own, rng)
            else:
                hidden, state = self.model.read(params, steps, state, mask)
            logits = self.model.logits(self.parameters, hidden)
        self.state = self._carried(state)
        nats = self.model.nll(self.parameters, self._whole(hidden), steps, self._whole(logits)).sum()
        return Loss(nats, self.source.steps_per_window, int(np.count_nonzero(read.kinds == Kind.CHARACTER)))

    def _washed_out(self, window: Window) -> Steps:
        """The window's steps, with no loss on the first `washout` steps of fresh rows."""
        kinds = window.steps.kinds.copy()
        first = kinds[: self._washout, window.fresh]
        # A length is drawn before the text, so its head has no other step to learn from.
        kinds[: self._washout, window.fresh] = np.where(first == Kind.ANNOUNCEMENT, first, Kind.NOTHING)
        return window.steps._replace(kinds=kinds)

    def carried(self) -> dict[str, npt.NDArray[np.floating]]:
        """The carried state as named arrays, for a checkpoint."""
        layers = enumerate(self.state or ())
        return {
            f"{layer}.{i}": array.cpu().numpy()
            for layer, state in layers
            for i, array in enumerate(state_arrays(state))
        }

    def restore(self, carried: dict[str, npt.NDArray[np.floating]], position: Position) -> None:
        """Restores the carried state and the data position of a checkpoint."""
        self.source.seek(position)
        if not carried:
            return
        rows = len(next(iter(carried.values())))
        like = next(iter(self.parameters.values()))
        self.state = tuple(
            _replaced(state, [carried.get(f"{layer}.{i}") for i in range(len(state_arrays(state)))])
            for layer, state in enumerate(cell.zero_state(rows, like) for cell in self.model.layers)
        )

    @property
    def validation_size(self) -> int:
        return 0 if self._validation is None else self._validation.sequences.num_chars * len(self.model.stops)

    def validate(self, share: float = 1.0) -> float | None:
        """Nats per character over a share of the validation text, averaged over the stopping mechanisms."""
        if self._validation is None:
            return None
        losses = [self._pass(stop, share) for stop in self.model.stops]
        return sum(losses) / len(losses)

    @torch.no_grad()
    def _pass(self, stop: StopName, share: float) -> float:
        assert self._validation is not None
        state: States | None = None
        nats, chars = 0.0, 0
        for window in validation_windows(self._validation, self._order, stop, share):
            steps = self._tensors(window.steps)
            with products_in(self._precision, self._device):
                hidden, state = self.model.read(self.parameters, steps, self._begin(window, steps, state))
                logits = self.model.logits(self.parameters, hidden)
            state = self._carried(state)
            nll = self.model.nll(self.parameters, self._whole(hidden), steps, self._whole(logits))
            nats += float(nll.sum(dtype=torch.float64))
            chars += int(np.count_nonzero(window.steps.kinds == Kind.CHARACTER))
        return nats / max(chars, 1)

    def _begin(self, window: Window, steps: Steps, carried: States | None) -> States:
        """The state before a window: initial in fresh rows, carried in the others.

        A learned initial state takes part in every window, so that its gradient may be zero but is never
        missing: the optimiser counts the same steps for all parameters.
        """
        initial = self.model.initial_state(self.parameters, len(window.fresh), steps.context)
        if carried is None or window.fresh.all():
            return initial
        fresh = torch.from_numpy(window.fresh).to(self._device)[:, None]
        return tuple(
            map_state(lambda a, b: where(fresh, a, b), new, old) for new, old in zip(initial, carried, strict=True)
        )

    def _carried(self, state: States) -> States:
        """The state that the next window begins with: without a gradient, and in full precision."""
        return tuple(map_state(lambda array: self._whole(array.detach()), layer) for layer in state)

    def _whole(self, array: torch.Tensor) -> torch.Tensor:
        """The array in the precision of the parameters."""
        return array.to(next(iter(self.parameters.values())).dtype)

    def _tensors(self, steps: Steps) -> Steps:
        return map_arrays(lambda array: torch.from_numpy(array).to(self._device), steps)


def _replaced(state: State, arrays: list[npt.NDArray[np.floating] | None]) -> State:
    """A state of the same structure with other arrays. Raises CheckpointError when they do not fit."""
    given = iter(arrays)

    def put(old: torch.Tensor) -> torch.Tensor:
        new = next(given)
        if new is None or new.shape != tuple(old.shape):
            raise CheckpointError("the carried state of the checkpoint does not fit its model")
        return torch.from_numpy(new).to(old)

    return map_state(put, state)


def validation_windows(reader: StepReader, order: str, stop: StopName, share: float = 1.0) -> Iterator[Window]:
    """A pass over a share of a split, as the run reads it."""
    if order == "independent":
        return independent_pass(reader, stop, share=share)
    return ordered_pass(reader, stop, lanes=VALIDATION_LANES, warm_up=VALIDATION_WARM_UP, share=share)
