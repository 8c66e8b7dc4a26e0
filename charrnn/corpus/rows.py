"""How the rows of a table are divided, and read as symbols, whatever they are for."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from charrnn.config import TrainConfig
from charrnn.corpus.partition import fractions, sides_by_value
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.symbols import LONGEST, Ragged, Symbols
from charrnn.corpus.table import Table
from charrnn.errors import CorpusError, UsageError


def sides_of(texts: Sequence[str], config: TrainConfig) -> npt.NDArray[np.uint8]:
    """(R,) 0 for training, 1 for validation, 2 for test, by distinct text: all rows of one go to one side.

    Raises UsageError for shares that leave nothing to train on, and for settings that only running text has.
    """
    if config.split not in ("auto", "line") or config.order == "ordered":
        raise UsageError("the rows of a table are independent; leave --split and --order out")
    sequences = Sequences.from_texts(texts)
    usual = None if config.valid is None else 0.0
    shares = fractions(
        sequences,
        usual if config.valid_fraction is None else config.valid_fraction,
        usual if config.test_fraction is None else config.test_fraction,
    )
    return sides_by_value(sequences, *shares, config.seed or 0)


def encode_rows(texts: Sequence[str], symbols: Symbols, table: Table, unknown: int) -> Ragged:
    """The texts' symbols. Raises CorpusError for a text that is too long."""
    rows = [symbols.encode(text, unknown) for text in texts]
    for row, numbers in enumerate(rows):
        if len(numbers) > LONGEST:
            raise CorpusError(f"{table.where(row)}: {len(numbers):,} symbols; at most {LONGEST:,} can be read")
    return Ragged.of(rows)
