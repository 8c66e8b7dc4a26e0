"""A training run's text: read, split into sequences, and divided into training, validation and test.

The text is plain, or a column of a table; it may be conditioned on other columns.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from charrnn.config import OrderName, RunRecord, SplitName, TrainConfig
from charrnn.corpus.columns import Column, fit_column, parse_spec
from charrnn.corpus.encoded import EncodedCorpus, Progress, encode
from charrnn.corpus.hashing import hash_sequences
from charrnn.corpus.partition import Partition, fractions, partition, seen_in
from charrnn.corpus.readers import relative_to
from charrnn.corpus.records import HEAD_CHARS, plain_text_note
from charrnn.corpus.scratch import CACHE
from charrnn.corpus.sequences import Sequences, to_text
from charrnn.corpus.sides import TRAIN, Kept, divide
from charrnn.corpus.splitting import choose_order
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CorpusError, UsageError
from charrnn.tasks.generate.conditioned import read_texts
from charrnn.tasks.generate.parent import ParentText


@dataclass(frozen=True, eq=False)
class Dataset:
    corpus: EncodedCorpus
    split: SplitName
    order: OrderName
    parts: Partition
    vocabulary: Vocabulary
    """The vocabulary of the training split alone."""
    notes: tuple[str, ...]
    columns: tuple[Column, ...] = ()
    """What the text is conditioned on."""
    text_column: str | None = None
    """The text's column in a table; None for plain text."""

    def part(self, name: str) -> Sequences:
        """The split `train`, `valid` or `test`."""
        found: Sequences = getattr(self.parts, name)
        return found


PLURALS: dict[str, str] = {
    "line": "lines",
    "paragraph": "paragraphs",
    "file": "whole files",
    "mark": "texts between marks",
}


def load_dataset(
    config: TrainConfig,
    root: Path,
    progress: Progress | None = None,
    *,
    directory: Path | None = None,
    parent: ParentText | None = None,
) -> Dataset:
    """The text that a run's configuration describes; options left open are chosen from the text.

    The paths of the configuration are relative to `directory`, the current one by default. The encoded corpus
    is kept under `root`/.corpus. Independent sequences that `parent` held out are not trained on. Raises
    CorpusError.
    """
    cache = root / CACHE
    config = relative_to(config, directory)
    if config.split_on is not None:
        config = replace(config, split="mark")
    if config.context or config.text_column is not None:
        return _load_table(config, parent)
    corpus, order, notes = _read(config, config.split, cache, progress)
    if config.stop == ("none",) and config.split == "auto" and order == "ordered" and corpus.split != "file":
        # Without a model of endings an ordered corpus is one stream, separators included.
        corpus, _, _ = _read(config, "file", cache, progress)
        notes[0] = "each file is one stream, line ends and all: --stop none learns no endings (--split)"
    notes += plain_text_notes(corpus)
    valid_fraction, test_fraction = _held_out_fractions(config)
    parts = partition(
        corpus.sequences,
        order=order,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        hold_out=config.hold_out,
        kept=_kept(config, parent),
        scratch=cache,
    )
    notes += [*corpus.notes, *parts.notes, *_parent_notes(config, parent, parts, order, corpus.sha256)]
    if config.valid is not None:
        valid = encode(
            [config.valid],
            split=corpus.split,
            mark=corpus.separator,
            encoding=config.text_encoding,
            cache=cache,
        ).sequences
        parts = _validated_on(parts, valid, notes)
    vocabulary = Vocabulary.from_sequences(parts.train)
    if config.normalize == "none" and (note := vocabulary.in_two_forms()):
        notes.append(note)
    return Dataset(corpus, corpus.split, order, parts, vocabulary, tuple(notes))


def plain_text_notes(corpus: EncodedCorpus) -> list[str]:
    """A note if the text looks like a table."""
    head = corpus.sequences.alphabet[corpus.sequences.text[:HEAD_CHARS]]
    note = plain_text_note(corpus.files, to_text(head))
    return [] if note is None else [note]


def _held_out_fractions(config: TrainConfig) -> tuple[float | None, float | None]:
    """With a validation file the corpus is divided only if fractions are set."""
    usual = None if config.valid is None else 0.0
    return (
        usual if config.valid_fraction is None else config.valid_fraction,
        usual if config.test_fraction is None else config.test_fraction,
    )


def _validates_itself(config: TrainConfig) -> bool:
    """Whether there is a validation part that may take in more sequences."""
    return config.valid is None and config.valid_fraction != 0


def _kept(config: TrainConfig, parent: ParentText | None) -> Kept | None:
    return None if parent is None else parent.kept(in_validation=_validates_itself(config))


def _parent_notes(
    config: TrainConfig, parent: ParentText | None, parts: Partition, order: OrderName, sha256: str
) -> list[str]:
    if parent is None:
        return []
    return parent.notes(parts, order, sha256, in_validation=_validates_itself(config))


def _validated_on(parts: Partition, valid: Sequences, notes: list[str]) -> Partition:
    if shared := int(np.count_nonzero(seen_in(parts.train, valid))):
        notes.append(f"{shared:,} of {len(valid):,} validation sequences also occur in the training text")
    return replace(parts, valid=valid)


def _load_table(config: TrainConfig, parent: ParentText | None) -> Dataset:
    """A column of texts, each an independent sequence, and the columns that it is conditioned on."""
    if config.split not in ("auto", "line") or config.order == "ordered":
        raise UsageError("the rows of a table are independent sequences; leave --split and --order out")
    specs = [parse_spec(spec) for spec in config.context]
    texts = read_texts(config.corpus, config.context, config.text_column, encoding=config.text_encoding)
    table, text_column = texts.table, texts.column
    sequences = texts.sequences(())
    if not sequences.num_chars:
        raise CorpusError(f"{table.files[0]}: the column {text_column} is empty; name another --text-column")
    valid_fraction, test_fraction = _held_out_fractions(config)
    shares = fractions(sequences, valid_fraction, test_fraction)
    sides = divide(hash_sequences(sequences), *shares, config.hold_out, kept=_kept(config, parent))
    train = sides.of_row == TRAIN
    columns = tuple(fit_column(name, kind, table.column(name), train, table.where) for name, kind in specs)
    sequences = replace(sequences, contexts=texts.contexts(columns))
    parts = partition(
        sequences,
        order="independent",
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        sides=sides,
    )
    notes = [*table.notes, *parts.notes, *_parent_notes(config, parent, parts, "independent", table.sha256)]
    notes += [f"the texts are the column {text_column}, each by itself (--text-column)"]
    notes += [f"{column.name} is {_kind_words(column)}" for column in columns]
    if config.valid is not None:
        asked = [column.spec for column in columns]
        valid = read_texts([config.valid], asked, text_column, encoding=config.text_encoding)
        notes += valid.table.notes
        parts = _validated_on(parts, valid.sequences(columns), notes)
    corpus = EncodedCorpus(
        sequences=sequences,
        files=table.files,
        file_offsets=np.array([0, len(sequences)]),
        sha256=table.sha256,
        num_bytes=table.num_bytes,
        split="line",
        split_reason="",
        separator="\n",
        notes=(),
    )
    vocabulary = Vocabulary.from_sequences(parts.train)
    return Dataset(corpus, "line", "independent", parts, vocabulary, tuple(notes), columns, text_column)


def _kind_words(column: Column) -> str:
    if column.values:
        return f"one of {len(column.values):,} categories"
    spread = f"mean {column.mean:.4g}, standard deviation {column.scale:.4g}"
    return f"a number, {spread} ({column.name}:category reads it as a category)"


def _read(
    config: TrainConfig, split: SplitName | Literal["auto"], cache: Path, progress: Progress | None
) -> tuple[EncodedCorpus, OrderName, list[str]]:
    """The corpus, its order, and notes on why its split and order were chosen if not set."""
    corpus = encode(
        config.corpus,
        split="auto" if split == "mark" else split,
        mark=config.split_on,
        encoding=config.text_encoding,
        cache=cache,
        progress=progress,
    )
    if corpus.split == "mark" and len(corpus.sequences) <= len(corpus.files):
        raise CorpusError(
            f"{corpus.files[0]}: --split-on {config.split_on!r} stands between no two texts; name a mark that "
            "does, or leave it out"
        )
    notes = []
    if corpus.split_reason:
        option = "--split-on" if corpus.split == "mark" else "--split"
        notes.append(f"sequences are {PLURALS[corpus.split]}: {corpus.split_reason} ({option})")
    if config.order != "auto":
        return corpus, config.order, notes
    order, reason = choose_order(corpus.split, len(corpus.sequences), corpus.sequences.num_chars)
    notes.append(f"they are read as {order}: {reason} (--order)")
    return corpus, order, notes


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
