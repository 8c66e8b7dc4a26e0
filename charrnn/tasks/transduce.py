"""The task `transduce`: a sequence for a sequence."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charrnn.checkpoint import Checkpoint
from charrnn.config import (
    DEPTHS,
    EncoderConfig,
    GeneratorConfig,
    ResolvedConfig,
    TrainConfig,
    TransducerConfig,
)
from charrnn.corpus.batching import Position
from charrnn.corpus.bucketed import BucketedBatches
from charrnn.corpus.encoded import Progress
from charrnn.corpus.pairs import PairDataset, Pairs, load_pairs
from charrnn.corpus.paths import seen_from
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.steps import LENGTH, PADDING, STOP_INDEX, StepReader
from charrnn.errors import CheckpointError, UsageError
from charrnn.models.encoder_decoder import EncoderDecoder, Transduced, encoder_of
from charrnn.models.saved import SavedTransducer, load_transducer, model_files
from charrnn.sampling.search import search
from charrnn.tasks.cell_options import cell_options
from charrnn.tasks.defaults import resolve_transducer
from charrnn.tasks.generate_learner import map_arrays
from charrnn.tasks.job import Arrays
from charrnn.training.dropout import dropout, weight_dropout

VALIDATION_ROWS = 128


class TransduceLearner:
    """Trains an encoder-decoder on batches of whole pairs; a `tasks.job.TaskLearner`."""

    def __init__(
        self,
        model: EncoderDecoder,
        params: dict[str, Any],
        dataset: PairDataset,
        config: ResolvedConfig,
        device: torch.device,
    ) -> None:
        self.model, self._dataset, self._config, self._device = model, dataset, config, device
        self.parameters = {
            name: torch.tensor(params[name], device=device, requires_grad=name not in model.frozen)
            for name in model.shapes
        }
        train = dataset.train
        self.source = BucketedBatches(train.inputs.lengths + train.outputs.lengths, config.batch_size, config.seed)
        self._terms = float(np.mean(train.outputs.lengths + 1) * min(config.batch_size, len(train)))
        self._stops = np.array([STOP_INDEX[stop] for stop in model.decoder.stops])

    @property
    def epoch(self) -> float:
        return self.source.epoch

    @property
    def trained(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in self.parameters.items() if value.requires_grad}

    def next_loss(self, step: int, share: float) -> tuple[torch.Tensor, float, int]:
        rows = self.source.next_rows()
        rng = np.random.default_rng([self._config.seed, step])
        mask = dropout(self._config.dropout, rng)
        params = {**self.parameters, **weight_dropout(self.trained, self._config.weight_dropout, rng)}
        stops = self._stops[rng.integers(len(self._stops), size=len(rows))]
        nats = self.model.nll(params, self._batch(self._dataset.train, rows, stops), mask).sum()
        return nats, self._terms, int(self._dataset.train.outputs.lengths[rows].sum())

    def carried(self) -> Arrays:
        return {}

    def restore(self, carried: Arrays, position: Position) -> None:
        self.source.seek(position)

    @torch.no_grad()
    def validate(self) -> float | None:
        """Nats a symbol over the validation part; with several mechanisms their mean."""
        valid = self._dataset.valid
        symbols = int(valid.outputs.lengths.sum())
        if not symbols:
            return None
        order, nats = np.argsort(valid.inputs.lengths, kind="stable"), 0.0
        for stop in self._stops:
            for first in range(0, len(order), VALIDATION_ROWS):
                rows = order[first : first + VALIDATION_ROWS]
                batch = self._batch(valid, rows, np.full(len(rows), stop))
                nats += float(self.model.nll(self.parameters, batch).sum(dtype=torch.float64))
        return nats / symbols / len(self._stops)

    def _batch(self, pairs: Pairs, rows: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]) -> Transduced:
        found = batch_of(self._dataset, pairs, rows, stops)

        def tensor(array: npt.NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(array).to(self._device)

        return Transduced(tensor(found.ids), tensor(found.lengths), map_arrays(tensor, found.steps))


def batch_of(
    dataset: PairDataset, pairs: Pairs, rows: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]
) -> Transduced:
    """Some of the pairs, each ending by the mechanism of that index, side by side."""
    outputs, tau, V = pairs.outputs, pairs.outputs.lengths[rows], dataset.target.size
    texts = Sequences(
        outputs.values,
        np.arange(V + 2, dtype=np.uint32),
        outputs.ends - outputs.lengths,
        outputs.ends,
        contexts=pairs.contexts,
    )
    first = np.where(stops == LENGTH, -1, 0)
    position = first + np.arange(int(np.max(tau + 1 - first)))[:, None]
    reader = StepReader(texts, dataset.target, np.arange(V + 2, dtype=np.int32))
    steps = reader.steps(np.where(position <= tau, rows, PADDING), position, stops)
    ids = pairs.inputs.padded(rows, fill=dataset.source.size)
    return Transduced(ids, pairs.inputs.lengths[rows], steps)


@dataclass(frozen=True, eq=False)
class TransduceJob:
    """A `tasks.job.Job`."""

    config: ResolvedConfig
    dataset: PairDataset

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> "TransduceJob":
        if config.init_from is not None or "none" in config.stop:
            raise UsageError("--task transduce has no --init-from and no --stop none: its outputs end")
        dataset = load_pairs(config)
        return cls(resolve_transducer(config, len(dataset.train)), dataset)

    @classmethod
    def stored(cls, config: ResolvedConfig, root: Path, progress: Progress, directory: Path) -> "TransduceJob":
        return cls(config, load_pairs(seen_from(config, directory)))

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
        return self._model.num_parameters

    @cached_property
    def _model(self) -> EncoderDecoder:
        config, dataset = self.config, self.dataset
        layers: dict[str, Any] = {
            name: getattr(config, name) for name in (*DEPTHS, "cell", "hidden_size", "num_layers")
        }
        layers |= {"cell_options": cell_options(config), "initial_state": config.initial_state}
        encoder = EncoderConfig(**layers, vocab_size=dataset.source.size, direction=config.direction)
        E = encoder_of(encoder).output_size
        outputs = dataset.train.outputs.lengths
        decoder = GeneratorConfig(
            **layers,
            vocab_size=dataset.target.size,
            context_size=E + sum(column.size for column in dataset.columns),
            context_mode=config.context_mode,
            attention=None if config.attention == "none" else config.attention,
            memory_size=0 if config.attention == "none" else E,
            stop=config.stop,
            length_scale=max(1.0, float(outputs.mean())),
            training_chars=int(outputs.sum()),
        )
        return EncoderDecoder(
            TransducerConfig(
                source_column=dataset.source_column,
                target_column=dataset.target_column,
                source_sep=config.source_sep,
                target_sep=config.target_sep,
                columns=dataset.columns,
                encoder=encoder,
                decoder=decoder,
            )
        )

    def initial_params(self, root: Path) -> dict[str, Any]:
        return self._model.init(np.random.default_rng(self.config.seed), self.dataset.train.outputs.lengths)

    def saved_params(self, checkpoint: Checkpoint) -> dict[str, Any]:
        saved, data = load_transducer(checkpoint), self.dataset
        if (saved.config, saved.source, saved.target) != (self._model.config, data.source, data.target):
            raise CheckpointError(f"{checkpoint.path}: is not of the model that run.json describes")
        return saved.params

    def learner(self, params: dict[str, Any], device: torch.device) -> TransduceLearner:
        return TransduceLearner(self._model, params, self.dataset, self.config, device)

    def model_files(self, params: Arrays) -> dict[str, bytes]:
        return model_files(self._model.config, params, self.dataset.source.symbols, self.dataset.target.symbols)

    def preview(self, params: Arrays, step: int) -> str:
        """An input of the validation part, and what the model makes of it."""
        data = self.dataset
        pairs = data.valid if len(data.valid) else data.train
        one = pairs.take(np.array([step % len(pairs)]))
        saved = SavedTransducer(self._model.config, self._model, params, data.source, data.target, "")
        ((best, *_),) = search(saved, one.inputs, one.contexts)
        return f"{one.sources[0]} -> {data.target.decode(best.symbols)}"
