"""The text of a run, read again as the run read it, and that of its parent run."""

from pathlib import Path

from charrnn.config import RunRecord
from charrnn.corpus.encoded import Progress
from charrnn.errors import CorpusError
from charrnn.tasks.generate.data import Dataset, load_dataset
from charrnn.tasks.generate.parent import ParentText


def text_of(record: RunRecord, root: Path, progress: Progress | None = None) -> Dataset:
    """The run's text as it is now. Raises CorpusError if it no longer exists.

    root: where encoded corpora are kept.
    """
    parent = None if record.parent is None else parent_text(record.parent, root)
    return load_dataset(record.config, root, progress, directory=Path(record.directory), parent=parent)


def training_text(record: RunRecord, root: Path) -> Dataset:
    """The run's text, read again. Raises CorpusError if it no longer exists or has changed."""
    dataset = text_of(record, root)
    if dataset.corpus.sha256 != record.corpus_sha256:
        raise CorpusError(f"{record.corpus_files[0]}: has changed since the run {record.name} was trained")
    return dataset


def parent_text(record: RunRecord, root: Path) -> ParentText:
    """This run's text, for a run that starts from its weights. Raises as `training_text` does."""
    dataset = training_text(record, root)
    return ParentText(record.name, dataset.order, dataset.corpus.sha256, dataset.parts)
