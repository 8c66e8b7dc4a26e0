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

PATIENCE_CHARS = 1_000_000
"""Or after so many rejected characters in a row."""

NOVEL_SPAN = 50
"""The most characters in a row that a novel sample may share with a text that is no list of short ones."""

BATCH_CHARS = 400_000

Accepts = Callable[[str], bool]


def draw(draws: "Draws", number: int) -> Iterator["Sample"]:
    """`number` samples, each as soon as those before it are done."""
    return _in_order(draws, range(number))


def draw_accepted(
    draws: "Draws", number: int, accepts: Accepts, patience: int = PATIENCE, novelty: "Novelty | None" = None
) -> Iterator["Sample"]:
    """The first `number` accepted samples, which also are novel if that is asked.

    They are fewer if `patience` samples or PATIENCE_CHARS characters are rejected in a row.
    """
    kept = refused = chars = first = 0
    while True:
        drawn = range(first, first + max(number - kept, min(ROUND, patience, first)))
        samples = _in_order(draws, drawn)
        for sample, is_new in novelty.told(samples) if novelty else ((sample, True) for sample in samples):
            if is_new and accepts(sample.text):
                kept, refused, chars = kept + 1, 0, 0
                yield sample
            else:
                refused, chars = refused + 1, chars + len(sample.text)
            if kept == number or refused == patience or chars >= PATIENCE_CHARS:
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


class Novelty:
    """What a novel text is: it is no sequence of the training text, and what follows its prompt has at most `span`
    characters in a row from there.

    span: by default NOVEL_SPAN, or None, no bound, where the training text is a list of short texts. Raises
    CheckpointError for a checkpoint without its run, CorpusError if the corpus is missing or has changed.
    """

    def __init__(self, checkpoint: Path, span: int | None) -> None:
        from charrnn.corpus.hashing import hash_sequences
        from charrnn.corpus.splitting import LONGEST_INDEPENDENT_LINE
        from charrnn.tasks.generate.data import training_text
        from charrnn.tasks.stored import record_beside

        record = record_beside(checkpoint)
        if record is None:
            raise CheckpointError(
                f"{checkpoint}: has no run beside it that names a training text; leave --novel out"
            )
        try:
            dataset = training_text(record, checkpoint.resolve().parent.parent)
        except CorpusError as error:
            raise CorpusError(f"--novel needs the training text: {error}") from error
        self._train = dataset.parts.train
        self._hashes = hash_sequences(self._train)
        self._hashes.sort()
        is_list = self._train.num_chars <= LONGEST_INDEPENDENT_LINE * len(self._train)
        self.span = span or (None if is_list and dataset.order == "independent" else NOVEL_SPAN)

    @property
    def words(self) -> str:
        spans = f", or has more than {self.span:,} characters in a row from it" if self.span else ""
        return f"--novel: skips what is a sequence of the training text{spans} (--novel-span)"

    def told(self, samples: Iterator["Sample"]) -> Iterator[tuple["Sample", bool]]:
        """The samples, each with whether it is novel; many are compared with the training text in one pass."""
        batch: list[Sample] = []
        for sample in samples:
            batch.append(sample)
            if self.span is None or sum(len(one.text) for one in batch) >= BATCH_CHARS:
                yield from zip(batch, self._are_novel(batch), strict=True)
                batch = []
        if batch:
            yield from zip(batch, self._are_novel(batch), strict=True)

    def _are_novel(self, batch: list["Sample"]) -> list[bool]:
        import numpy as np

        from charrnn.corpus.hashing import contains, hash_text
        from charrnn.metrics.copies import with_copies

        old = contains(self._hashes, np.array([hash_text(one.text) for one in batch], np.uint64))
        if self.span is not None:
            old |= with_copies(self._train, [one.text[len(one.prompt) :] for one in batch], self.span + 1)
        return [not one for one in old.tolist()]


def _in_order(draws: "Draws", samples: range) -> Iterator["Sample"]:
    waiting: dict[int, Sample] = {}
    due = samples.start
    for number, sample in draws.draw(samples):
        waiting[number] = sample
        while due in waiting:
            yield waiting.pop(due)
            due += 1
