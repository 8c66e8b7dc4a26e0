"""Base classes of learners on table rows: batches of similar lengths, dropout, and resuming a run."""

from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from charrnn.cells.arrays import Array, Params
from charrnn.config import ResolvedConfig
from charrnn.corpus.batching import Position
from charrnn.corpus.bucketed import BucketedBatches
from charrnn.models.encoder import Encoded, Encoder
from charrnn.models.label_readout import LOG_TEMPERATURE, LabelReadout
from charrnn.models.layers import Dropout
from charrnn.training.dropout import dropout, weight_dropout
from charrnn.training.job import Arrays, trainable
from charrnn.training.loop import Loss
from charrnn.training.temperature import fit_temperature


class Batch(Protocol):
    """A batch of whole inputs, with their outputs."""

    @property
    def ids(self) -> Any:
        """(S, B) symbols"""

    @property
    def lengths(self) -> Any:
        """(B,)"""


class _Parametric(Protocol):
    @property
    def shapes(self) -> dict[str, tuple[int, ...]]: ...

    @property
    def frozen(self) -> frozenset[str]: ...


class _Model(_Parametric, Protocol):
    @property
    def encoder(self) -> Encoder: ...

    def encoder_params(self, params: Params) -> Params: ...

    def nll_given(self, params: Params, encoded: Encoded, batch: Any, dropout: Dropout | None = None) -> Array: ...


AnyModel = TypeVar("AnyModel", bound=_Parametric)
Model = TypeVar("Model", bound=_Model)


class RowLearner(Generic[AnyModel]):
    """A part of a `training.job.TaskLearner`: all but the loss and the validation.

    lengths: (R,) what examples are batched by; sizes: (R,) terms in each example's loss.
    """

    def __init__(
        self,
        model: AnyModel,
        params: dict[str, Any],
        lengths: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        config: ResolvedConfig,
        device: torch.device,
    ) -> None:
        self.model, self._config, self._device = model, config, device
        self.parameters = trainable(model, params, device)
        self.source = BucketedBatches(lengths, config.batch_size, config.seed)
        self._terms = float(sizes.mean() * min(config.batch_size, len(sizes)))

    @property
    def epoch(self) -> float:
        return self.source.epoch

    @property
    def trained(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in self.parameters.items() if value.requires_grad}

    def mask_symbols(self, ids: torch.Tensor, unknown: int, rng: np.random.Generator) -> torch.Tensor:
        """Symbols (S, B), a share of them unknown, so that the model learns to handle these and the others."""
        if not self._config.symbol_dropout:
            return ids
        drop = self.tensor(rng.random(tuple(ids.shape)) < self._config.symbol_dropout)
        return torch.where(drop, unknown, ids)

    def carried(self) -> Arrays:
        return {}

    def restore(self, carried: Arrays, position: Position) -> None:
        self.source.seek(position)

    def tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


class ExamplesLearner(RowLearner[Model], ABC):
    """Trains a model on batches of whole sequences; a `training.job.TaskLearner` with what a task adds."""

    @abstractmethod
    def training_batch(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Some of the training examples."""

    @abstractmethod
    def counted(self, rows: npt.NDArray[np.int64]) -> int:
        """The size of some training examples, in the unit of progress."""

    def next_loss(self, step: int, share: float) -> Loss:
        rows, config, model = self.source.next_rows(), self._config, self.model
        rng = np.random.default_rng([config.seed, step])
        mask = dropout(config.dropout, rng)
        params = {**self.parameters, **weight_dropout(self.trained, config.weight_dropout, rng)}
        batch = self.training_batch(rows, rng)
        ids = self.mask_symbols(batch.ids, model.encoder.config.vocab_size, rng)
        own = model.encoder_params(params)
        encoded = model.encoder.read(own, ids, batch.lengths, mask)
        nats: torch.Tensor = model.nll_given(params, encoded, batch, mask).sum()
        if config.lm_weight:
            beside = model.encoder.language_nll(own, encoded, batch.lengths, batch.ids, mask).sum()
            # Its gradient counts, its value does not: the reported loss is the task's own.
            nats = nats + config.lm_weight * (1.0 - share) * (beside - beside.detach())
        return Loss(nats, self._terms, self.counted(rows))


def validated(
    readout: LabelReadout,
    parameters: dict[str, torch.Tensor],
    logits: list[torch.Tensor],
    outputs: list[torch.Tensor],
) -> float:
    """Nats per output, for batches of logits (M, K) and outputs (M,); fits the temperature in the parameters."""
    o, y = torch.cat(logits), torch.cat(outputs)
    if not readout.is_regression:
        found = o.cpu().numpy(), y.cpu().numpy()
        parameters[LOG_TEMPERATURE].fill_(fit_temperature(*found, readout.weights(found[1], found[0])))
    params = {name: parameters[name].double() for name in readout.shapes}
    return float(readout.nll(params, o, y).mean())
