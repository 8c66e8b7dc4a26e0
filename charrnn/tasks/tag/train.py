"""The task `tag`: a symbol for each symbol of an input."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.corpus.bucketed import by_length
from charrnn.corpus.encoded import Progress
from charrnn.errors import UsageError
from charrnn.models.encoder import Encoder
from charrnn.models.language_model import GeneratorConfig
from charrnn.tasks.cell_options import encoder_config, layer_settings
from charrnn.tasks.defaults import USUAL_MINUTES, fit_of
from charrnn.tasks.rows.defaults import resolved
from charrnn.tasks.rows.job import PairJob
from charrnn.tasks.rows.learner import ExamplesLearner
from charrnn.tasks.rows.pairs import PairDataset, Pairs, load_pairs
from charrnn.tasks.tag.predict import SavedTagger, load, search_tags
from charrnn.tasks.tag.tagger import Tagged, Tagger, TaggerConfig, batch_of
from charrnn.training.job import Arrays


class TagLearner(ExamplesLearner[Tagger]):
    """Trains a tagger on batches of whole sequences; a `training.job.TaskLearner`."""

    def __init__(
        self,
        model: Tagger,
        params: dict[str, Any],
        dataset: PairDataset,
        config: ResolvedConfig,
        device: torch.device,
    ) -> None:
        self._dataset = dataset
        lengths = dataset.train.inputs.lengths
        super().__init__(model, params, lengths, lengths, config, device)

    def training_batch(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Tagged:
        batch = self._batch(self._dataset.train, rows)
        # If an edge always brought the true symbol, the model would rely on it where it must be right by itself.
        return batch._replace(before=self.mask_symbols(batch.before, self.model.num_tags + 1, rng))

    def counted(self, rows: npt.NDArray[np.int64]) -> int:
        return int(self._dataset.train.inputs.lengths[rows].sum())

    @property
    def validation_size(self) -> int:
        return int(self._dataset.valid.inputs.lengths.sum())

    @torch.no_grad()
    def validate(self, share: float = 1.0) -> float | None:
        """Nats per symbol over a share of the validation part."""
        valid = self._dataset.valid
        nats, symbols = 0.0, 0
        for rows in by_length(valid.inputs.lengths, share):
            nats += float(self.model.nll(self.parameters, self._batch(valid, rows)).sum(dtype=torch.float64))
            symbols += int(valid.inputs.lengths[rows].sum())
        return nats / symbols if symbols else None

    def _batch(self, pairs: Pairs, rows: npt.NDArray[np.int64]) -> Tagged:
        return Tagged(*map(self.tensor, batch_of(self.model, pairs, rows)))


MANY_ROWS = 500_000
"""From this many symbols in a table on, its models may be larger."""


def chosen_for(config: TrainConfig, num_symbols: int) -> ResolvedConfig:
    """The configuration with defaults for tagging; its seed must be set."""
    fit, small = fit_of(config.cell), num_symbols < MANY_ROWS
    chosen: dict[str, Any] = {
        "hidden_size": 192 if small else 256,
        "num_layers": 2,
        "dropout": 0.4 if small else 0.2,
        "weight_dropout": 0.0,
        "symbol_dropout": 0.1,
        "lm_weight": 0.0,
        # Small batches and a high rate: with few examples, runs had too few steps.
        "batch_size": 8 if small else 32,
        "learning_rate": (3e-3 if fit.learning_rate < 1.0 else 4e-3) * (2 if small else 1),
    }
    return resolved(config, chosen, minutes=2 * USUAL_MINUTES if small else 5 * USUAL_MINUTES)


class TagJob(PairJob):
    """A `training.job.Job`."""

    load = staticmethod(load)

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> "TagJob":
        if config.has_output_edges and config.feedback != "target":
            raise UsageError("--task tag: --feedback feeds back the true output in training; say no other")
        dataset = load_pairs(config)
        return cls(chosen_for(config, int(dataset.train.inputs.lengths.sum())), dataset)

    @cached_property
    def model(self) -> Tagger:
        config, dataset = self.config, self.dataset
        layers = layer_settings(config)
        encoder = encoder_config(config, layers, dataset.source.size)
        K, chars = dataset.target.size, int(dataset.train.outputs.lengths.sum())
        decoder = None
        if config.has_output_edges:
            decoder = GeneratorConfig(
                **(layers | {"num_layers": 1}),
                vocab_size=K,
                context_size=Encoder(encoder, num_outputs=K).output_size,
                context_mode="add",
                context_readout=True,
                stop=("none",),
                training_chars=chars,
            )
        return Tagger(
            TaggerConfig(
                **self.symbols_and_columns,
                encoder=encoder,
                num_tags=K,
                training_chars=chars,
                decoder=decoder,
            )
        )

    def learner(self, params: dict[str, Any], device: torch.device) -> TagLearner:
        return TagLearner(self.model, params, self.dataset, self.config, device)

    def preview(self, params: Arrays, step: int) -> str:
        """The model's output for an input of the validation part."""
        data, one = self.dataset, self.shown(step)
        saved = SavedTagger(self.model.config, self.model, params, "", data.source, data.target)
        ((best,),) = search_tags(saved, one.inputs)
        return data.target.decode(best.symbols)


JOB = TagJob
