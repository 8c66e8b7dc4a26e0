"""The task `classify`: a label or a number for each text."""

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
from charrnn.tasks.cell_options import encoder_config, layer_settings
from charrnn.tasks.classify.classifier import Classifier, ClassifierConfig, Labelled
from charrnn.tasks.classify.data import Examples, LabelledDataset, load_labelled
from charrnn.tasks.classify.predict import load
from charrnn.tasks.defaults import USUAL_MINUTES, fit_of
from charrnn.tasks.rows.defaults import resolved
from charrnn.tasks.rows.job import LabelJob
from charrnn.tasks.rows.learner import ExamplesLearner, validated
from charrnn.training.job import Arrays


class ClassifyLearner(ExamplesLearner[Classifier]):
    """Trains a classifier on batches of whole texts; a `training.job.TaskLearner`."""

    def __init__(
        self,
        model: Classifier,
        params: dict[str, Any],
        dataset: LabelledDataset,
        config: ResolvedConfig,
        device: torch.device,
    ) -> None:
        self._dataset = dataset
        lengths = dataset.train.inputs.lengths
        super().__init__(model, params, lengths, np.ones_like(lengths), config, device)

    def training_batch(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Labelled:
        return self._batch(self._dataset.train, rows)

    def counted(self, rows: npt.NDArray[np.int64]) -> int:
        return len(rows)

    @property
    def validation_size(self) -> int:
        return len(self._dataset.valid)

    @torch.no_grad()
    def validate(self, share: float = 1.0) -> float | None:
        """Nats per example over a share of the validation part; also fits the temperature of the probabilities."""
        valid = self._dataset.valid
        if not len(valid):
            return None
        logits, outputs = [], []
        for rows in by_length(valid.inputs.lengths, share):
            batch = self._batch(valid, rows)
            logits.append(self.model.logits(self.parameters, batch.ids, batch.lengths).double())
            outputs.append(batch.outputs)
        return validated(self.model.readout, self.parameters, logits, outputs)

    def _batch(self, examples: Examples, rows: npt.NDArray[np.int64]) -> Labelled:
        ids = examples.inputs.padded(rows, fill=self.model.config.encoder.vocab_size)
        outputs = examples.outputs[rows]
        outputs = outputs.astype(np.float32) if self.model.readout.is_regression else outputs.astype(np.int64)
        arrays = (ids, examples.inputs.lengths[rows], outputs)
        return Labelled(*map(self.tensor, arrays))


def chosen_for(config: TrainConfig, num_examples: int) -> ResolvedConfig:
    """The configuration with defaults for labelled texts; its seed must be set."""
    fit, small = fit_of(config.cell), num_examples < 5_000
    chosen: dict[str, Any] = {
        "hidden_size": 128,
        "num_layers": 1,
        "dropout": 0.5,
        "weight_dropout": 0.0,
        "symbol_dropout": 0.1,
        "lm_weight": 0.5,
        "batch_size": 32,
        "learning_rate": 3e-3 if fit.learning_rate < 1.0 else 5e-3,
    }
    return resolved(config, chosen, minutes=1.0 if small else USUAL_MINUTES)


class ClassifyJob(LabelJob[LabelledDataset]):
    """A `training.job.Job`."""

    load = staticmethod(load)

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> "ClassifyJob":
        dataset = load_labelled(config)
        return cls(chosen_for(config, len(dataset.train)), dataset)

    @classmethod
    def stored(cls, record: RunRecord, root: Path, progress: Progress) -> "ClassifyJob":
        return cls(record.config, load_labelled(relative_to(record.config, Path(record.directory))))

    @cached_property
    def model(self) -> Classifier:
        config, dataset = self.config, self.dataset
        return Classifier(
            ClassifierConfig(
                text_column=dataset.text_column,
                source_sep=config.source_sep,
                label=dataset.label,
                encoder=encoder_config(config, layer_settings(config), dataset.symbols.size),
                pooling=config.pooling,
                class_weights=config.class_weights,
            )
        )

    def learner(self, params: dict[str, Any], device: torch.device) -> ClassifyLearner:
        return ClassifyLearner(self.model, params, self.dataset, self.config, device)

    def preview(self, params: Arrays, step: int) -> str:
        """A text of the validation part and the model's prediction for it."""
        examples = self.dataset.valid if len(self.dataset.valid) else self.dataset.train
        row = np.array([step % len(examples)])
        ids = examples.inputs.padded(row, fill=self.dataset.symbols.size)
        logits = self.model.logits(params, ids, examples.inputs.lengths[row])
        return f"{examples.texts[row[0]][:60]}: {self.model.readout.describe(logits[0])}"


JOB = ClassifyJob
