"""A training run's text: read, split into sequences, and divided into training, validation and test."""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from charrnn.config import OrderName, SplitName, TrainConfig
from charrnn.corpus.encoded import EncodedCorpus, Progress, encode
from charrnn.corpus.partition import Partition, overlap, partition
from charrnn.corpus.readers import expand, read_bytes
from charrnn.corpus.scratch import workspace
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.splitting import choose_order
from charrnn.corpus.vocabulary import Vocabulary

CACHE = ".corpus"


@dataclass(frozen=True, eq=False)
class Dataset:
    corpus: EncodedCorpus
    split: SplitName
    order: OrderName
    parts: Partition
    vocabulary: Vocabulary
    """Of the training split alone."""
    notes: tuple[str, ...]

    def part(self, name: str) -> Sequences:
        """The split `train`, `valid` or `test`."""
        found: Sequences = getattr(self.parts, name)
        return found


def load_dataset(
    config: TrainConfig, root: Path, progress: Progress | None = None, *, directory: Path | None = None
) -> Dataset:
    """The text of a run as its configuration says; what that leaves open is chosen from the text.

    The paths of the configuration are relative to `directory`, the current one by default. The encoded corpus
    is kept under `root`/.corpus. Raises CorpusError.
    """
    cache = root / CACHE
    config = _seen_from_here(config, directory)
    corpus, order, notes = _read(config, config.split, cache, progress)
    if config.stop == ("none",) and config.split == "auto" and order == "ordered" and corpus.split != "file":
        # Without a model of endings an ordered corpus is one stream, separators and all.
        corpus, _, _ = _read(config, "file", cache, progress)
        notes[0] = "each file is one stream, line ends and all: --stop none learns no endings (--split)"
    parts = partition(
        corpus.sequences,
        order=order,
        seed=config.seed or 0,
        valid_fraction=0.0
        if config.valid is not None and config.valid_fraction is None
        else config.valid_fraction,
        test_fraction=0.0 if config.valid is not None and config.test_fraction is None else config.test_fraction,
        scratch=cache,
    )
    notes += [*corpus.notes, *parts.notes]
    if config.valid is not None:
        valid = encode([config.valid], split=corpus.split, encoding=config.encoding, cache=cache).sequences
        parts = replace(parts, valid=valid)
        if shared := overlap(parts.train, valid):
            notes.append(f"{shared:,} of {len(valid):,} validation sequences also stand in the training text")
    return Dataset(corpus, corpus.split, order, parts, Vocabulary.from_sequences(parts.train), tuple(notes))


def keep_standard_input(corpus: tuple[str, ...], root: Path) -> tuple[str, ...]:
    """The corpus with `-` replaced by a file under `root`/.corpus: a pipe can be read only once."""
    if "-" not in corpus:
        return corpus
    cache = root / CACHE
    cache.mkdir(parents=True, exist_ok=True)
    with workspace(cache) as work:
        (source,) = expand(["-"], work)
        digest = hashlib.sha256()
        for data in read_bytes(source):
            digest.update(data)
        kept = cache / f"stdin-{digest.hexdigest()[:12]}.txt"
        os.replace(source.path, kept)
    return tuple(str(kept) if argument == "-" else argument for argument in corpus)


def _seen_from_here(config: TrainConfig, directory: Path | None) -> TrainConfig:
    if directory is None or directory == Path.cwd():
        return config
    valid = None if config.valid is None else str(directory / config.valid)
    return replace(config, corpus=tuple(str(directory / path) for path in config.corpus), valid=valid)


PLURALS: dict[str, str] = {"line": "lines", "paragraph": "paragraphs", "file": "whole files"}


def _read(
    config: TrainConfig, split: SplitName | Literal["auto"], cache: Path, progress: Progress | None
) -> tuple[EncodedCorpus, OrderName, list[str]]:
    """The corpus, its regime, and why each was chosen where it was not asked for."""
    corpus = encode(config.corpus, split=split, encoding=config.encoding, cache=cache, progress=progress)
    notes = []
    if corpus.split_reason:
        notes.append(f"sequences are {PLURALS[corpus.split]}: {corpus.split_reason} (--split)")
    if config.order != "auto":
        return corpus, config.order, notes
    order, reason = choose_order(corpus.split, len(corpus.sequences), corpus.sequences.num_chars)
    notes.append(f"they are read as {order}: {reason} (--order)")
    return corpus, order, notes
