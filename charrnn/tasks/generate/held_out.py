"""Finds the text to evaluate a run on, and the run's own text for the baselines."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charrnn.checkpoint import Checkpoint
from charrnn.config import RunRecord, SplitName
from charrnn.corpus.encoded import EncodedCorpus, encode
from charrnn.corpus.partition import seen_in
from charrnn.corpus.sequences import Sequences, to_text
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CharRNNError, CheckpointError, CorpusError, UsageError
from charrnn.models.store import ModelConfig
from charrnn.tasks.generate.conditioned import read_texts
from charrnn.tasks.generate.data import Dataset, plain_text_notes, training_text
from charrnn.tasks.stored import PartName, run_record


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The text to score, and the training text for the baselines if it still exists."""

    name: str
    sequences: Sequences
    train: Sequences | None = None
    valid: Sequences | None = None
    corpus: EncodedCorpus | None = None
    """What they are parts of."""
    seen: npt.NDArray[np.bool_] | None = None
    """(S,) which of the sequences also occur in the training text, if known."""
    notes: tuple[str, ...] = ()

    @property
    def overlap(self) -> int | None:
        """The number of sequences that are `seen`."""
        return None if self.seen is None else int(np.count_nonzero(self.seen))


def held_out(
    checkpoint: Checkpoint,
    root: Path,
    *,
    file: str | None = None,
    part: PartName | None = None,
    split: SplitName | None = None,
) -> HeldOut:
    """A file, or a part of the run's own text (by default test if any, else validation).

    split: how to split the file into sequences, by default as the run did. Raises CorpusError, CheckpointError.
    """
    record = run_record(checkpoint)
    dataset: Dataset | None = None
    notes: tuple[str, ...] = ()
    try:
        if record is not None:
            dataset = training_text(record, root)
    except CharRNNError as error:
        if file is None:
            raise
        notes = (f"no baselines: {error}",)
    if file is not None:
        found = _from_file(checkpoint, file, split, record, dataset)
        return replace(found, notes=(*found.notes, *notes))
    if dataset is None:
        raise CheckpointError(f"{checkpoint.path}: has no run beside it; name a FILE to evaluate it on")
    if part is None:
        part = "test" if dataset.parts.test.num_chars else "valid"
    sequences = dataset.part(part)
    if not sequences.num_chars:
        raise CorpusError(f"the {part} split of {checkpoint.path.parent.name} is empty; name a FILE instead")
    train = dataset.parts.train
    seen = None
    if dataset.order == "independent" and part != "train":
        seen = seen_in(train, sequences)
    return HeldOut(
        name=part, sequences=sequences, train=train, valid=dataset.parts.valid, corpus=dataset.corpus, seen=seen
    )


def _from_file(
    checkpoint: Checkpoint,
    file: str,
    split: SplitName | None,
    record: RunRecord | None,
    dataset: Dataset | None,
) -> HeldOut:
    config = checkpoint.config(ModelConfig)
    encoding = "utf-8" if record is None else record.config.text_encoding
    notes: tuple[str, ...]
    if config.text_column is None:
        corpus = encode([file], split=split or config.split, mark=config.separator, encoding=encoding)
        sequences, notes = corpus.sequences, (*plain_text_notes(corpus), *corpus.notes)
    else:
        if split is not None:
            raise UsageError("the model was trained on a table, whose rows are its texts; leave --split out")
        asked = [column.spec for column in config.columns]
        texts = read_texts([file], asked, config.text_column, encoding=encoding)
        sequences, notes = texts.sequences(config.columns), texts.table.notes
    advice = Vocabulary(tuple(checkpoint.vocab())).other_form(to_text(sequences.alphabet))
    if advice is not None:
        notes = (*notes, f"the model does not know some of its characters; {advice}")
    if dataset is None:
        return HeldOut(name=file, sequences=sequences, notes=notes)
    train = dataset.parts.train
    return HeldOut(
        name=file,
        sequences=sequences,
        train=train,
        valid=dataset.parts.valid,
        corpus=dataset.corpus,
        seen=seen_in(train, sequences),
        notes=notes,
    )
