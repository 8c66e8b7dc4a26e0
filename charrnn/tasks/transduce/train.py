"""The task `transduce`: an output sequence for each input sequence."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.corpus.bucketed import by_length
from charrnn.corpus.encoded import Progress
from charrnn.corpus.steps import STOP_INDEX, map_arrays
from charrnn.errors import UsageError
from charrnn.models.language_model import GeneratorConfig
from charrnn.tasks.cell_options import encoder_config, layer_settings
from charrnn.tasks.defaults import USUAL_MINUTES, fit_of
from charrnn.tasks.rows.defaults import resolved
from charrnn.tasks.rows.job import PairJob
from charrnn.tasks.rows.learner import ExamplesLearner
from charrnn.tasks.rows.pairs import PairDataset, Pairs, load_pairs
from charrnn.tasks.transduce.encoder_decoder import (
    EncoderDecoder,
    Transduced,
    TransducerConfig,
    batch_of,
    encoder_of,
)
from charrnn.tasks.transduce.predict import SavedTransducer, load, search
from charrnn.training.job import Arrays


class TransduceLearner(ExamplesLearner[EncoderDecoder]):
    """Trains an encoder-decoder on batches of whole pairs; a `training.job.TaskLearner`."""

    def __init__(
        self,
        model: EncoderDecoder,
        params: dict[str, Any],
        dataset: PairDataset,
        config: ResolvedConfig,
        device: torch.device,
    ) -> None:
        self._dataset = dataset
        read, written = dataset.train.inputs.lengths, dataset.train.outputs.lengths
        super().__init__(model, params, read + written, written + 1, config, device)
        self._stops = np.array([STOP_INDEX[stop] for stop in model.decoder.stops])

    def training_batch(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Transduced:
        """The decoder also reads a share of unknown symbols, so that it must use the input."""
        stops = self._stops[rng.integers(len(self._stops), size=len(rows))]
        batch, target = self._batch(self._dataset.train, rows, stops), self._dataset.target
        written: Any = batch.steps.inputs
        masked: Any = torch.where(written == target.bos, written, self.mask_symbols(written, target.unknown, rng))
        return batch._replace(steps=batch.steps._replace(inputs=masked))

    def counted(self, rows: npt.NDArray[np.int64]) -> int:
        return int(self._dataset.train.outputs.lengths[rows].sum())

    @property
    def validation_size(self) -> int:
        return int(self._dataset.valid.outputs.lengths.sum()) * len(self._stops)

    @torch.no_grad()
    def validate(self, share: float = 1.0) -> float | None:
        """Nats per symbol over a share of the validation part, averaged over the stopping mechanisms."""
        valid = self._dataset.valid
        nats, symbols = 0.0, 0
        for stop in self._stops:
            for rows in by_length(valid.inputs.lengths, share):
                batch = self._batch(valid, rows, np.full(len(rows), stop))
                nats += float(self.model.nll(self.parameters, batch).sum(dtype=torch.float64))
                symbols += int(valid.outputs.lengths[rows].sum())
        return nats / symbols if symbols else None

    def _batch(self, pairs: Pairs, rows: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]) -> Transduced:
        found = batch_of(self._dataset.source, self._dataset.target, pairs, rows, stops)
        steps = map_arrays(self.tensor, found.steps)
        return Transduced(self.tensor(found.ids), self.tensor(found.lengths), steps)


def chosen_for(config: TrainConfig, num_pairs: int) -> ResolvedConfig:
    """The configuration with defaults for encoder-decoders; its seed must be set."""
    fit, small = fit_of(config.cell), num_pairs < 20_000
    chosen: dict[str, Any] = {
        "hidden_size": 128 if small else 160,
        "num_layers": 2,
        "dropout": 0.5 if num_pairs < 5_000 else 0.4 if small else 0.2,
        "weight_dropout": 0.0,
        "weight_decay": 0.1,
        "symbol_dropout": 0.02 if num_pairs >= 5_000 and small else 0.0,
        "lm_weight": 0.0,
        "batch_size": 32 if small else 64,
        "learning_rate": 4e-3 if fit.learning_rate < 1.0 else 6e-3,
    }
    return resolved(config, chosen, minutes=USUAL_MINUTES if small else 5 * USUAL_MINUTES)


class TransduceJob(PairJob):
    """A `training.job.Job`."""

    load = staticmethod(load)

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> "TransduceJob":
        if config.init_from is not None or "none" in config.stop:
            raise UsageError("--task transduce has no --init-from and no --stop none: its outputs end")
        dataset = load_pairs(config)
        return cls(chosen_for(config, len(dataset.train)), dataset)

    @cached_property
    def model(self) -> EncoderDecoder:
        config, dataset = self.config, self.dataset
        layers = layer_settings(config)
        encoder = encoder_config(config, layers, dataset.source.size)
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
                **self.symbols_and_columns,
                columns=dataset.columns,
                encoder=encoder,
                decoder=decoder,
            )
        )

    def learner(self, params: dict[str, Any], device: torch.device) -> TransduceLearner:
        return TransduceLearner(self.model, params, self.dataset, self.config, device)

    def preview(self, params: Arrays, step: int) -> str:
        """An input of the validation part, and the model's output for it."""
        data, one = self.dataset, self.shown(step)
        saved = SavedTransducer(self.model.config, self.model, params, "", data.source, data.target)
        ((best, *_),) = search(saved, one.inputs, one.contexts)
        return f"{one.sources[0]} -> {data.target.decode(best.symbols)}"


JOB = TransduceJob
