"""The rows of a table that a model of whole inputs is measured on: a file's, or those that its run kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from charrnn.checkpoint import Checkpoint
from charrnn.config import ClassifierConfig, TrainConfig, TransducerConfig, TreeConfig
from charrnn.corpus.pairs import Pairs, load_pairs, read_pair_table
from charrnn.corpus.paths import seen_from
from charrnn.errors import CheckpointError, CorpusError
from charrnn.models.saved import SavedTagger, SavedTransducer
from charrnn.report.held_out import PartName, encoding_of
from charrnn.tasks.run_text import run_record


class _Rows(Protocol):
    def __len__(self) -> int: ...


Rows = TypeVar("Rows", bound=_Rows, covariant=True)


class _Dataset(Protocol[Rows]):
    @property
    def sha256(self) -> str: ...

    def part(self, name: str) -> Rows: ...


def own_rows(
    checkpoint: Checkpoint, part: PartName | None, load: Callable[[TrainConfig], _Dataset[Rows]]
) -> tuple[str, Rows]:
    """The name and the rows of a part of the run's own table, by default test where there is one, else validation.

    Raises CheckpointError for a checkpoint without its run, CorpusError for a table that has changed and for a
    part that is empty.
    """
    record = run_record(checkpoint)
    if record is None:
        raise CheckpointError(f"{checkpoint.path}: has no run beside it; name a FILE to evaluate it on")
    dataset = load(seen_from(record.config, Path(record.directory)))
    if dataset.sha256 != record.corpus_sha256:
        raise CorpusError(f"{record.corpus_files[0]}: has changed since the run {record.name} was trained")
    name = part or ("test" if len(dataset.part("test")) else "valid")
    if not len(dataset.part(name)):
        raise CorpusError(f"the {name} split of {record.name} is empty; name a FILE instead")
    return name, dataset.part(name)


def columns_asked(
    checkpoint: Checkpoint, config: ClassifierConfig | TreeConfig
) -> tuple[str, str] | tuple[None, None]:
    """The columns of labels and texts in other files; None where the run named none: there is no header then."""
    record = run_record(checkpoint)
    if record is not None and record.config.label_column is None and record.config.text_column is None:
        return None, None
    return config.label.name, config.text_column


def pair_rows(
    checkpoint: Checkpoint, saved: SavedTagger | SavedTransducer, *, file: str | None, part: PartName | None
) -> tuple[str, Pairs]:
    """The name and the pairs of a file as given, or of a part of the run's own. Raises as `own_rows` does."""
    config = saved.config
    if file is None:
        return own_rows(checkpoint, part, load_pairs)
    columns = config.columns if isinstance(config, TransducerConfig) else ()
    names = [column.name for column in columns]
    table = read_pair_table(
        [file], config.source_column, config.target_column, names, encoding=encoding_of(checkpoint)
    )
    return file, table.pairs(saved.source, saved.target, columns, same_length=config.task == "tag")
