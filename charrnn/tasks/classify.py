"""The task `classify`: a label or a number for each text."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charrnn.checkpoint import Checkpoint
from charrnn.config import ClassifierConfig, ResolvedConfig, TrainConfig
from charrnn.corpus.encoded import Progress
from charrnn.corpus.labelled import Examples, LabelledDataset, load_labelled
from charrnn.corpus.paths import seen_from
from charrnn.errors import CheckpointError, UsageError
from charrnn.models.classifier import Classifier, Labelled
from charrnn.models.label_readout import LOG_TEMPERATURE
from charrnn.models.saved import load_classifier, model_files
from charrnn.tasks.cell_options import encoder_config, layer_settings
from charrnn.tasks.defaults import resolve_classifier
from charrnn.tasks.examples_learner import ExamplesLearner, by_length
from charrnn.tasks.job import Arrays
from charrnn.tasks.table_job import TableJob
from charrnn.training.temperature import fit_temperature


class ClassifyLearner(ExamplesLearner[Classifier]):
    """Trains a classifier on batches of whole texts; a `tasks.job.TaskLearner`."""

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

    @torch.no_grad()
    def validate(self) -> float | None:
        """Nats an example over the validation part; there the temperature of the probabilities is fitted too."""
        valid = self._dataset.valid
        if not len(valid):
            return None
        logits, outputs = [], []
        for rows in by_length(valid.inputs.lengths):
            batch = self._batch(valid, rows)
            logits.append(self.model.logits(self.parameters, batch.ids, batch.lengths).double())
            outputs.append(batch.outputs)
        o, y = torch.cat(logits), torch.cat(outputs)
        params = {name: value.double() for name, value in self.parameters.items()}
        if not self.model.readout.is_regression:
            fitted = fit_temperature(o.cpu().numpy(), y.cpu().numpy())
            self.parameters[LOG_TEMPERATURE].fill_(fitted)
        return float(self.model.readout.nll(params, o, y).mean())

    def _batch(self, examples: Examples, rows: npt.NDArray[np.int64]) -> Labelled:
        ids = examples.inputs.padded(rows, fill=self.model.config.encoder.vocab_size)
        outputs = examples.outputs[rows]
        outputs = outputs.astype(np.float32) if self.model.readout.is_regression else outputs.astype(np.int64)
        arrays = (ids, examples.inputs.lengths[rows], outputs)
        return Labelled(*map(self.tensor, arrays))


class ClassifyJob(TableJob[LabelledDataset]):
    """A `tasks.job.Job`."""

    @classmethod
    def fresh(cls, config: TrainConfig, root: Path, progress: Progress) -> "ClassifyJob":
        if config.init_from is not None or config.context:
            raise UsageError("--task classify has no --init-from and no --context")
        dataset = load_labelled(config)
        return cls(resolve_classifier(config, len(dataset.train)), dataset)

    @classmethod
    def stored(cls, config: ResolvedConfig, root: Path, progress: Progress, directory: Path) -> "ClassifyJob":
        return cls(config, load_labelled(seen_from(config, directory)))

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
            )
        )

    def initial_params(self, root: Path) -> dict[str, Any]:
        return self.model.init(np.random.default_rng(self.config.seed))

    def saved_params(self, checkpoint: Checkpoint) -> dict[str, Any]:
        saved = load_classifier(checkpoint)
        if saved.config != self.model.config or saved.symbols != self.dataset.symbols:
            raise CheckpointError(f"{checkpoint.path}: is not of the model that run.json describes")
        return saved.params

    def learner(self, params: dict[str, Any], device: torch.device) -> ClassifyLearner:
        return ClassifyLearner(self.model, params, self.dataset, self.config, device)

    def model_files(self, params: Arrays) -> dict[str, bytes]:
        return model_files(self.model.config, params, self.dataset.symbols.symbols)

    def preview(self, params: Arrays, step: int) -> str:
        """A text of the validation part and what the model makes of it."""
        examples = self.dataset.valid if len(self.dataset.valid) else self.dataset.train
        row = np.array([step % len(examples)])
        ids = examples.inputs.padded(row, fill=self.dataset.symbols.size)
        logits = self.model.logits(params, ids, examples.inputs.lengths[row])
        if self.model.readout.is_regression:
            found = f"{self.model.readout.numbers(logits)[0]:.4g}"
        else:
            found = self.dataset.label.values[int(logits[0].argmax())]
        return f"{examples.texts[row[0]][:60]}: {found}"
