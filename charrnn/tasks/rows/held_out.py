"""The table rows that a model of whole inputs is evaluated on: a file's, or a part of its run's own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from charrnn.checkpoint import Checkpoint
from charrnn.config import TrainConfig
from charrnn.corpus.columns import Column
from charrnn.corpus.readers import relative_to
from charrnn.errors import CheckpointError, CorpusError
from charrnn.models.store import SavedPair
from charrnn.tasks.rows.data import Learned
from charrnn.tasks.rows.pairs import PairConfig, Pairs, load_pairs, read_pair_table
from charrnn.tasks.stored import PartName, encoding_of, run_record


class _Rows(Protocol):
    def __len__(self) -> int: ...


Rows = TypeVar("Rows", bound=_Rows, covariant=True)


class _Dataset(Protocol[Rows]):
    @property
    def sha256(self) -> str: ...

    @property
    def learned(self) -> Learned: ...

    def part(self, name: str) -> Rows: ...


def own_rows(
    checkpoint: Checkpoint,
    part: PartName | None,
    load: Callable[[TrainConfig], _Dataset[Rows]],
    learned: Learned,
) -> tuple[str, Rows]:
    """The name and the rows of a part of the run's own table, by default test if any, else validation.

    learned: what the model knows of its table. Raises CheckpointError for a checkpoint without its run and for a
    run of another model, CorpusError for a table that has changed and for an empty part.
    """
    record = run_record(checkpoint)
    if record is None:
        raise CheckpointError(f"{checkpoint.path}: has no run beside it; name a FILE to evaluate it on")
    dataset = load(relative_to(record.config, Path(record.directory)))
    if dataset.sha256 != record.corpus_sha256:
        raise CorpusError(f"{record.corpus_files[0]}: has changed since the run {record.name} was trained")
    if dataset.learned != learned:
        raise CheckpointError(f"{checkpoint.path}: its run.json reads other symbols or columns than its model")
    name = part or ("test" if len(dataset.part("test")) else "valid")
    if not len(dataset.part(name)):
        raise CorpusError(f"the {name} split of {record.name} is empty; name a FILE instead")
    return name, dataset.part(name)


class _LabelConfig(Protocol):
    @property
    def label(self) -> Column: ...

    @property
    def text_column(self) -> str: ...


def columns_asked(checkpoint: Checkpoint, config: _LabelConfig) -> tuple[str, str] | tuple[None, None]:
    """The columns of labels and texts in other files; None if the run named none, as there is no header then."""
    record = run_record(checkpoint)
    if record is not None and record.config.label_column is None and record.config.text_column is None:
        return None, None
    return config.label.spec, config.text_column


def pair_rows(
    checkpoint: Checkpoint,
    saved: SavedPair[Any, Any],
    columns: Sequence[Column] = (),
    *,
    file: str | None,
    part: PartName | None,
    same_length: bool,
) -> tuple[str, Pairs, tuple[str, ...]]:
    """The name of a file, or of a part of the run's own table, its pairs, and notes. Raises as `own_rows` does.

    columns: what outputs are conditioned on; same_length: an output must be as long as its input.
    """
    config: PairConfig = saved.config
    if file is None:
        return *own_rows(checkpoint, part, load_pairs, Learned.of((saved.source, saved.target), columns)), ()
    found = read_pair_table(
        [file],
        config.source_column,
        config.target_column,
        [column.spec for column in columns],
        encoding=encoding_of(checkpoint),
        separators=(config.source_sep, config.target_sep),
    )
    pairs = found.pairs(saved.source, saved.target, columns, same_length=same_length)
    return file, pairs, found.table.notes
