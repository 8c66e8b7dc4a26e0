"""The task `tree`: a label or a number for each tree, or for each of its nodes."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charrnn.checkpoint import Checkpoint
from charrnn.config import ResolvedConfig, TrainConfig, TreeConfig
from charrnn.corpus.batching import Position
from charrnn.corpus.bucketed import BucketedBatches
from charrnn.corpus.encoded import Progress
from charrnn.corpus.labelled_trees import TreeDataset, TreeExamples, TreeReader, load_trees
from charrnn.corpus.paths import seen_from
from charrnn.errors import CheckpointError, UsageError
from charrnn.models.composition import COMPOSITIONS
from charrnn.models.label_readout import LOG_TEMPERATURE
from charrnn.models.recursive import RecursiveNetwork, Trees, trees_of
from charrnn.models.saved import load_tree_model, model_files
from charrnn.tasks.cell_options import encoder_config, layer_settings
from charrnn.tasks.defaults import resolve_tree
from charrnn.tasks.job import Arrays
from charrnn.tasks.parameters import trainable
from charrnn.tasks.table_job import TableJob
from charrnn.training.dropout import dropout
from charrnn.training.temperature import fit_temperature

VALIDATION_ROWS = 256


class TreeLearner:
    """Trains a recursive network on batches of trees of similar depths; a `tasks.job.TaskLearner`."""

    def __init__(
        self,
        model: RecursiveNetwork,
        params: dict[str, Any],
        dataset: TreeDataset,
        config: ResolvedConfig,
        device: torch.device,
    ) -> None:
        self.model, self._dataset, self._config, self._device = model, dataset, config, device
        self.parameters = trainable(model, params, device)
        train = dataset.train
        self.source = BucketedBatches(train.forest.depths, config.batch_size, config.seed)
        said = np.count_nonzero(~np.isnan(train.outputs))
        self._terms = said / max(1, len(train)) * min(config.batch_size, len(train))

    @property
    def epoch(self) -> float:
        return self.source.epoch

    @property
    def trained(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in self.parameters.items() if value.requires_grad}

    def next_loss(self, step: int, share: float) -> tuple[torch.Tensor, float, int]:
        rows, config = self.source.next_rows(), self._config
        rng = np.random.default_rng([config.seed, step])
        trees = self._batch(self._dataset.train, rows)
        if config.symbol_dropout:
            drop = torch.from_numpy(rng.random(tuple(trees.ids.shape)) < config.symbol_dropout)
            unknown = self.model.config.vocab_size
            trees = trees._replace(ids=torch.where(drop.to(self._device), unknown, trees.ids))
        nats = self.model.nll(self.parameters, trees, dropout(config.dropout, rng)).sum()
        return nats, self._terms, len(rows)

    @torch.no_grad()
    def validate(self) -> float | None:
        """Nats a label over the validation part; there the temperature of the probabilities is fitted too."""
        valid, readout = self._dataset.valid, self.model.readout
        if not len(valid):
            return None
        logits, outputs = [], []
        for rows in by_depth(valid):
            trees = self._batch(valid, rows)
            logits.append(self.model.logits(self.parameters, trees)[trees.labelled].double())
            outputs.append(trees.outputs)
        o, y = torch.cat(logits), torch.cat(outputs)
        if not readout.is_regression:
            fitted = fit_temperature(o.cpu().numpy(), y.cpu().numpy())
            self.parameters[LOG_TEMPERATURE].fill_(fitted)
        params = {name: value.double() for name, value in self.parameters.items()}
        return float(readout.nll(params, o, y).mean())

    def carried(self) -> Arrays:
        return {}

    def restore(self, carried: Arrays, position: Position) -> None:
        self.source.seek(position)

    def _batch(self, examples: TreeExamples, rows: npt.NDArray[np.int64]) -> Trees:
        unknown, readout = self.model.config.vocab_size, self.model.readout
        found = trees_of(examples.forest, examples.words, rows, examples.outputs, unknown)
        outputs = found.outputs.astype(np.float32 if readout.is_regression else np.int64)
        return Trees(
            levels=tuple(level._replace(order=self._tensor(level.order)) for level in found.levels),
            ids=self._tensor(found.ids),
            lengths=self._tensor(found.lengths),
            leaves=self._tensor(found.leaves),
            nodes=found.nodes,
            labelled=self._tensor(found.labelled),
            outputs=self._tensor(outputs),
        )

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def by_depth(examples: TreeExamples) -> list[npt.NDArray[np.int64]]:
    """The rows in batches of similar depths."""
    order = np.argsort(examples.forest.depths, kind="stable")
    return [order[first : first + VALIDATION_ROWS] for first in range(0, len(order), VALIDATION_ROWS)]


def reader_of(config: TrainConfig) -> TreeReader:
    pairs = COMPOSITIONS[config.composition].pairs
    return TreeReader(config.node_labels, pairs, characters=config.leaves == "characters")


class TreeJob(TableJob[TreeDataset]):
    """A `tasks.job.Job`."""

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> "TreeJob":
        if config.init_from is not None or config.context:
            raise UsageError("--task tree has no --init-from and no --context")
        dataset = load_trees(config, reader_of(config))
        return cls(resolve_tree(config, len(dataset.train)), dataset)

    @classmethod
    def stored(cls, config: ResolvedConfig, root: Path, progress: Progress, directory: Path) -> "TreeJob":
        return cls(config, load_trees(seen_from(config, directory), reader_of(config)))

    @cached_property
    def model(self) -> RecursiveNetwork:
        config, size = self.config, self.dataset.symbols.size
        encoder = None
        if config.leaves == "characters":
            encoder = encoder_config(config, layer_settings(config), size)
        return RecursiveNetwork(
            TreeConfig(
                text_column=self.dataset.text_column,
                node_labels=config.node_labels,
                label=self.dataset.label,
                vocab_size=size,
                composition=config.composition,
                hidden_size=config.hidden_size,
                encoder=encoder,
            )
        )

    def initial_params(self, root: Path) -> dict[str, Any]:
        return self.model.init(np.random.default_rng(self.config.seed))

    def saved_params(self, checkpoint: Checkpoint) -> dict[str, Any]:
        saved = load_tree_model(checkpoint)
        if saved.config != self.model.config or saved.symbols != self.dataset.symbols:
            raise CheckpointError(f"{checkpoint.path}: is not of the model that run.json describes")
        return saved.params

    def learner(self, params: dict[str, Any], device: torch.device) -> TreeLearner:
        return TreeLearner(self.model, params, self.dataset, self.config, device)

    def model_files(self, params: Arrays) -> dict[str, bytes]:
        return model_files(self.model.config, params, self.dataset.symbols.symbols)

    def preview(self, params: Arrays, step: int) -> str:
        """An expression of the validation part and what the model makes of it."""
        examples = self.dataset.valid if len(self.dataset.valid) else self.dataset.train
        row, readout = step % len(examples), self.model.readout
        trees = trees_of(
            examples.forest, examples.words, np.array([row]), examples.outputs, self.dataset.symbols.size
        )
        root = self.model.logits(params, trees)[-1]
        if readout.is_regression:
            found = f"{readout.numbers(root):.4g}"
        else:
            found = self.dataset.label.values[int(root.argmax())]
        return f"{examples.texts[row][:60]}: {found}"
