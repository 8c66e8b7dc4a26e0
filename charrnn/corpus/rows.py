"""How the rows of a table are divided, and read as symbols, whatever they are for."""

from collections.abc import Sequence

from charrnn.config import TrainConfig
from charrnn.corpus.hashing import hash_sequences
from charrnn.corpus.partition import fractions
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.sides import Labels, Sides, divide
from charrnn.corpus.symbols import LONGEST, Ragged, Symbols
from charrnn.corpus.table import Table
from charrnn.errors import CorpusError, UsageError


def sides_of(
    texts: Sequence[str],
    config: TrainConfig,
    *,
    copies_of: Sequence[str] | None = None,
    labels: Sequence[Labels] = (),
) -> Sides:
    """How the rows of a table are divided, by their texts (R,); see `sides.divide`.

    What is said of a text plays no part in how it is held out, but that each label is trained on: a text with two
    labels is one value, and a row that repeats a text with another label is a copy. Where an input may have
    several right outputs, `copies_of` (R,) is the whole row: rows of one input with different outputs are its
    variants, which stay together by value, and are no sign of a table that repeats itself.

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
    copies = None if copies_of is None else hash_sequences(Sequences.from_texts(copies_of))
    return divide(hash_sequences(sequences), *shares, config.hold_out, copies_of=copies, labels=labels)


def encode_rows(texts: Sequence[str], symbols: Symbols, table: Table, unknown: int) -> Ragged:
    """The texts' symbols. Raises CorpusError for a text that is too long."""
    rows = [symbols.encode(text, unknown) for text in texts]
    for row, numbers in enumerate(rows):
        if len(numbers) > LONGEST:
            raise CorpusError(f"{table.where(row)}: {len(numbers):,} symbols; at most {LONGEST:,} can be read")
    return Ragged.of(rows)
