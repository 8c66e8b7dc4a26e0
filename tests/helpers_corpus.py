"""Sequences made of strings."""

import numpy as np
from hypothesis import strategies as st

from charrnn.corpus.sequences import Sequences, to_code_points

texts = st.lists(st.text(max_size=12), max_size=12)


def sequences_of(strings: list[str], *, gap: str = "\n", reverse_alphabet: bool = False) -> Sequences:
    """Sequences with these texts and `gap` between them, over an alphabet in either order."""
    joined = to_code_points(gap.join(strings))
    alphabet = np.unique(joined)[:: -1 if reverse_alphabet else 1]
    position = {int(code): index for index, code in enumerate(alphabet)}
    text = np.array([position[int(code)] for code in joined], np.uint32)
    lengths = np.array([len(string) for string in strings], np.int64)
    starts = np.cumsum(lengths + len(gap)) - lengths - len(gap)
    return Sequences(text, alphabet, starts, starts + lengths)


def texts_of(sequences: Sequences) -> list[str]:
    return [sequences.get(s) for s in range(len(sequences))]
