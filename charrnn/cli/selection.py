"""Draws samples in the order of their numbers and selects those to keep. Does not depend on a terminal."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.errors import CheckpointError, CorpusError

if TYPE_CHECKING:
    from charrnn.tasks.generate.predict import Draws, Sample

ROUND = 64
"""The fewest samples drawn together if some may be rejected."""

PATIENCE = 1000
"""The search for more samples ends after this many rejected ones in a row."""

Accepts = Callable[[str], bool]


def draw(draws: "Draws", number: int) -> Iterator["Sample"]:
    """`number` samples, each as soon as those before it are done."""
    return _in_order(draws, range(number))


def draw_accepted(draws: "Draws", number: int, accepts: Accepts, patience: int = PATIENCE) -> Iterator["Sample"]:
    """The first `number` accepted samples; fewer if `patience` samples in a row are rejected."""
    kept = refused = first = 0
    while True:
        drawn = range(first, first + max(number - kept, min(ROUND, patience)))
        for sample in _in_order(draws, drawn):
            if accepts(sample.text):
                kept, refused = kept + 1, 0
                yield sample
            else:
                refused += 1
            if kept == number or refused == patience:
                return
        first = drawn.stop


def not_seen_before() -> Accepts:
    """Accepts every text once."""
    seen: set[str] = set()

    def accepts(text: str) -> bool:
        is_new = text not in seen
        seen.add(text)
        return is_new

    return accepts


def not_in_training_text(checkpoint: Path) -> Accepts:
    """Accepts texts that are not a sequence of the run's training text, compared by hash.

    Raises CheckpointError for a checkpoint without its run, CorpusError if the corpus is missing or has changed.
    """
    import numpy as np

    from charrnn.checkpoint import Checkpoint
    from charrnn.corpus.hashing import contains, hash_sequences, hash_text
    from charrnn.tasks.generate.data import training_text
    from charrnn.tasks.stored import run_record

    record = run_record(Checkpoint.open(checkpoint))
    if record is None:
        raise CheckpointError(f"{checkpoint}: has no run beside it that names a training text; leave --novel out")
    try:
        train = training_text(record, checkpoint.resolve().parent.parent).parts.train
    except CorpusError as error:
        raise CorpusError(f"--novel needs the training text: {error}") from error
    hashes = hash_sequences(train)
    hashes.sort()

    def accepts(text: str) -> bool:
        return not contains(hashes, np.array([hash_text(text)], np.uint64))[0]

    return accepts


def _in_order(draws: "Draws", samples: range) -> Iterator["Sample"]:
    waiting: dict[int, Sample] = {}
    due = samples.start
    for number, sample in draws.draw(samples):
        waiting[number] = sample
        while due in waiting:
            yield waiting.pop(due)
            due += 1
