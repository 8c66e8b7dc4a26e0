"""The task `tag`: a symbol for each symbol of an input."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charrnn.checkpoint import Checkpoint
from charrnn.config import DEPTHS, EncoderConfig, GeneratorConfig, ResolvedConfig, TaggerConfig, TrainConfig
from charrnn.corpus.encoded import Progress
from charrnn.corpus.pairs import PairDataset, Pairs, load_pairs
from charrnn.corpus.paths import seen_from
from charrnn.errors import CheckpointError, UsageError
from charrnn.models.encoder import Encoder
from charrnn.models.saved import SavedTagger, load_tagger, model_files
from charrnn.models.tagger import Tagged, Tagger
from charrnn.sampling.tagging import search_tags
from charrnn.tasks.cell_options import cell_options, has_output_edges
from charrnn.tasks.defaults import resolve_tagger
from charrnn.tasks.examples_learner import ExamplesLearner, by_length
from charrnn.tasks.job import Arrays
from charrnn.tasks.table_job import TableJob


class TagLearner(ExamplesLearner):
    """Trains a tagger on batches of whole sequences; a `tasks.job.TaskLearner`."""

    def __init__(
        self,
        model: Tagger,
        params: dict[str, Any],
        dataset: PairDataset,
        config: ResolvedConfig,
        device: torch.device,
    ) -> None:
        self.model, self._dataset = model, dataset
        lengths = dataset.train.inputs.lengths
        super().__init__(model, params, lengths, lengths, config, device)

    def training_batch(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Tagged:
        return self._batch(self._dataset.train, rows)

    def counted(self, rows: npt.NDArray[np.int64]) -> int:
        return int(self._dataset.train.inputs.lengths[rows].sum())

    @torch.no_grad()
    def validate(self) -> float | None:
        """Nats a symbol over the validation part."""
        valid = self._dataset.valid
        symbols = int(valid.inputs.lengths.sum())
        if not symbols:
            return None
        batches = (self._batch(valid, rows) for rows in by_length(valid.inputs.lengths))
        nats = (self.model.nll(self.parameters, batch).sum(dtype=torch.float64) for batch in batches)
        return sum(map(float, nats)) / symbols

    def _batch(self, pairs: Pairs, rows: npt.NDArray[np.int64]) -> Tagged:
        return Tagged(*map(self.tensor, batch_of(self.model, pairs, rows)))


def batch_of(model: Tagger, pairs: Pairs, rows: npt.NDArray[np.int64]) -> Tagged:
    """Some of the pairs side by side."""
    ids = pairs.inputs.padded(rows, fill=model.config.encoder.vocab_size)
    return Tagged(ids, pairs.inputs.lengths[rows], pairs.outputs.padded(rows, fill=model.num_tags + 1))


class TagJob(TableJob[PairDataset]):
    """A `tasks.job.Job`."""

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> "TagJob":
        if config.init_from is not None or config.context:
            raise UsageError("--task tag has no --init-from and no --context")
        if has_output_edges(config) and config.feedback != "target":
            raise UsageError("--task tag: --feedback feeds back the true output in training; say no other")
        dataset = load_pairs(config)
        return cls(resolve_tagger(config, int(dataset.train.inputs.lengths.sum())), dataset)

    @classmethod
    def stored(cls, config: ResolvedConfig, root: Path, progress: Progress, directory: Path) -> "TagJob":
        return cls(config, load_pairs(seen_from(config, directory)))

    @cached_property
    def model(self) -> Tagger:
        config, dataset = self.config, self.dataset
        layers: dict[str, Any] = {name: getattr(config, name) for name in (*DEPTHS, "cell", "hidden_size")}
        layers |= {"cell_options": cell_options(config), "initial_state": config.initial_state}
        encoder = EncoderConfig(
            **layers,
            vocab_size=dataset.source.size,
            num_layers=config.num_layers,
            direction=config.direction,
            language_model=config.lm_weight > 0,
        )
        K, chars = dataset.target.size, int(dataset.train.outputs.lengths.sum())
        decoder = None
        if has_output_edges(config):
            decoder = GeneratorConfig(
                **layers,
                vocab_size=K,
                num_layers=1,
                context_size=Encoder(encoder, num_outputs=K).output_size,
                context_mode="add",
                stop=("none",),
                training_chars=chars,
            )
        return Tagger(
            TaggerConfig(
                source_column=dataset.source_column,
                target_column=dataset.target_column,
                source_sep=config.source_sep,
                target_sep=config.target_sep,
                encoder=encoder,
                num_tags=K,
                training_chars=chars,
                decoder=decoder,
            )
        )

    def initial_params(self, root: Path) -> dict[str, Any]:
        return self.model.init(np.random.default_rng(self.config.seed), self.dataset.train.outputs.lengths)

    def saved_params(self, checkpoint: Checkpoint) -> dict[str, Any]:
        saved, data = load_tagger(checkpoint), self.dataset
        if (saved.config, saved.source, saved.target) != (self.model.config, data.source, data.target):
            raise CheckpointError(f"{checkpoint.path}: is not of the model that run.json describes")
        return saved.params

    def learner(self, params: dict[str, Any], device: torch.device) -> TagLearner:
        return TagLearner(self.model, params, self.dataset, self.config, device)

    def model_files(self, params: Arrays) -> dict[str, bytes]:
        return model_files(self.model.config, params, self.dataset.source.symbols, self.dataset.target.symbols)

    def preview(self, params: Arrays, step: int) -> str:
        """An input of the validation part as the model tags it."""
        data = self.dataset
        pairs = data.valid if len(data.valid) else data.train
        one = pairs.take(np.array([step % len(pairs)]))
        saved = SavedTagger(self.model.config, self.model, params, data.source, data.target, "")
        ((best,),) = search_tags(saved, one.inputs)
        return data.target.decode(best.symbols)
