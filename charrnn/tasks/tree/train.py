"""The task `tree`: a label or a number for each tree, or for each of its nodes."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charrnn.config import ResolvedConfig, RunRecord, TrainConfig
from charrnn.corpus.bucketed import by_length
from charrnn.corpus.encoded import Progress
from charrnn.corpus.readers import relative_to
from charrnn.errors import UsageError
from charrnn.tasks.cell_options import encoder_config, layer_settings
from charrnn.tasks.defaults import USUAL_MINUTES
from charrnn.tasks.rows.defaults import resolved
from charrnn.tasks.rows.job import LabelJob
from charrnn.tasks.rows.learner import RowLearner, validated
from charrnn.tasks.tree.composition import COMPOSITIONS
from charrnn.tasks.tree.data import TreeDataset, TreeExamples, TreeReader, load_trees
from charrnn.tasks.tree.predict import load
from charrnn.tasks.tree.recursive import RecursiveNetwork, TreeConfig, Trees, trees_of
from charrnn.training.dropout import dropout
from charrnn.training.job import Arrays
from charrnn.training.loop import Loss


class TreeLearner(RowLearner[RecursiveNetwork]):
    """Trains a recursive network on batches of trees of similar depths; a `training.job.TaskLearner`."""

    def __init__(
        self,
        model: RecursiveNetwork,
        params: dict[str, Any],
        dataset: TreeDataset,
        config: ResolvedConfig,
        device: torch.device,
    ) -> None:
        self._dataset = dataset
        super().__init__(model, params, dataset.train.forest.depths, _labels(dataset.train), config, device)

    def next_loss(self, step: int, share: float) -> Loss:
        rows, config = self.source.next_rows(), self._config
        rng = np.random.default_rng([config.seed, step])
        trees = self._batch(self._dataset.train, rows)
        trees = trees._replace(ids=self.mask_symbols(trees.ids, self.model.config.vocab_size, rng))
        nats = self.model.nll(self.parameters, trees, dropout(config.dropout, rng)).sum()
        return Loss(nats, self._terms, len(trees.labelled))

    @property
    def validation_size(self) -> int:
        return int(np.count_nonzero(~np.isnan(self._dataset.valid.outputs)))

    @torch.no_grad()
    def validate(self, share: float = 1.0) -> float | None:
        """Nats per label over a share of the validation part; also fits the temperature of the probabilities."""
        valid = self._dataset.valid
        if not self.validation_size:
            return None
        logits, outputs = [], []
        labelled = np.flatnonzero(_labels(valid))
        for rows in by_length(valid.forest.depths[labelled], share):
            trees = self._batch(valid, labelled[rows])
            logits.append(self.model.logits(self.parameters, trees)[trees.labelled].double())
            outputs.append(trees.outputs)
        return validated(self.model.readout, self.parameters, logits, outputs)

    def _batch(self, examples: TreeExamples, rows: npt.NDArray[np.int64]) -> Trees:
        unknown, readout = self.model.config.vocab_size, self.model.readout
        found = trees_of(examples.forest, examples.words, rows, examples.outputs, unknown)
        outputs = found.outputs.astype(np.float32 if readout.is_regression else np.int64)
        return Trees(
            levels=tuple(level._replace(order=self.tensor(level.order)) for level in found.levels),
            ids=self.tensor(found.ids),
            lengths=self.tensor(found.lengths),
            leaves=self.tensor(found.leaves),
            nodes=found.nodes,
            labelled=self.tensor(found.labelled),
            outputs=self.tensor(outputs),
        )


def reader_of(config: TrainConfig) -> TreeReader:
    pairs = COMPOSITIONS[config.composition].pairs
    return TreeReader(config.node_labels, pairs, characters=config.leaves == "characters")


def _labels(examples: TreeExamples) -> npt.NDArray[np.int64]:
    """(R,) how many nodes of each tree have a label."""
    said, forest = ~np.isnan(examples.outputs), examples.forest
    counts: npt.NDArray[np.int64] = np.add.reduceat(said.astype(np.int64), forest.ends - forest.sizes)
    return counts


def chosen_for(config: TrainConfig, num_trees: int) -> ResolvedConfig:
    """The configuration with defaults for trees; its seed must be set. Raises UsageError for several layers."""
    if config.num_layers not in (None, 1):
        raise UsageError(f"--num-layers {config.num_layers}: --task tree has one layer, the composition")
    small = num_trees < 20_000
    chosen: dict[str, Any] = {
        "hidden_size": 128,
        "num_layers": 1,
        "dropout": 0.1 if small else 0.0,
        "weight_dropout": 0.0,
        "symbol_dropout": 0.0,
        "lm_weight": 0.0,
        "batch_size": 64 if small else 128,
        "learning_rate": 2e-3 if config.composition == "tanh" else 4e-3,
    }
    return resolved(config, chosen, minutes=USUAL_MINUTES if small else 5 * USUAL_MINUTES)


class TreeJob(LabelJob[TreeDataset]):
    """A `training.job.Job`."""

    load = staticmethod(load)

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> "TreeJob":
        dataset = load_trees(config, reader_of(config))
        return cls(chosen_for(config, len(dataset.train)), dataset)

    @classmethod
    def stored(cls, record: RunRecord, root: Path, progress: Progress) -> "TreeJob":
        config = relative_to(record.config, Path(record.directory))
        return cls(record.config, load_trees(config, reader_of(record.config)))

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
                class_weights=config.class_weights,
            )
        )

    def learner(self, params: dict[str, Any], device: torch.device) -> TreeLearner:
        return TreeLearner(self.model, params, self.dataset, self.config, device)

    def preview(self, params: Arrays, step: int) -> str:
        """An expression of the validation part and the model's prediction for it."""
        examples = self.dataset.valid if len(self.dataset.valid) else self.dataset.train
        row, unknown = step % len(examples), self.dataset.symbols.size
        trees = trees_of(examples.forest, examples.words, np.array([row]), examples.outputs, unknown)
        root = self.model.logits(params, trees)[-1]
        return f"{examples.texts[row][:60]}: {self.model.readout.describe(root)}"


JOB = TreeJob
