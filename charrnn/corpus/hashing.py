"""A 64-bit hash of a sequence's text: computed from code points, independent of alphabet ids and blocks.

    hash(c_1 … c_n) = mix(n·k + Σ_j mix(c_j + a) · (mix(j + b) | 1))  mod 2^64

Each character is multiplied by a factor for its position, so a hash is a sum to which the parts of a sequence
can be added separately; the factors are odd, so strings that differ in one character never collide, and other
pairs collide with a probability of about 2^-64. The hash does not resist a deliberate search for collisions.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.corpus.scratch import allocate
from charrnn.corpus.sequences import Sequences, row_slices, to_code_points

_CHARACTER = np.uint64(0x9E3779B97F4A7C15)
_PLACE = np.uint64(0xD1B54A32D192ED03)
_LENGTH = np.uint64(0x8CB92BA72F3D8DD7)


def mix(values: NDArray[Any]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64, a bijection that makes neighbouring integers look unrelated."""
    z = values.astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _place_factors(first: int, count: int) -> NDArray[np.uint64]:
    places = np.arange(first, first + count, dtype=np.uint64)
    return mix(places + _PLACE) | np.uint64(1)


def _character_factors(code_points: NDArray[np.uint32]) -> NDArray[np.uint64]:
    return mix(code_points.astype(np.uint64) + _CHARACTER)


def _finish(sums: NDArray[np.uint64], lengths: NDArray[Any]) -> NDArray[np.uint64]:
    return mix(sums + lengths.astype(np.uint64) * _LENGTH)


def hash_text(text: str) -> int:
    """The hash of one string."""
    terms = _character_factors(to_code_points(text)) * _place_factors(0, len(text))
    return int(_finish(np.sum(terms, keepdims=True), np.array([len(text)]))[0])


def hash_sequences(sequences: Sequences, scratch: Path | None = None) -> NDArray[np.uint64]:
    """(S,) the hash of each sequence, the same as `hash_text(sequences.get(s))`.

    A large result is mapped from a nameless file in the folder `scratch`.
    """
    hashes = allocate(len(sequences), np.uint64, scratch)
    of_id = _character_factors(sequences.alphabet)
    for block in sequences.blocks():
        rows = slice(block.first, block.first + len(block.lengths))
        ends = np.cumsum(block.lengths)
        begins = ends - block.lengths
        factors = _place_factors(block.offset, int(block.lengths.max()))
        places = np.arange(len(block.ids)) - np.repeat(begins, block.lengths)
        running = np.zeros(len(block.ids) + 1, np.uint64)
        np.cumsum(of_id[block.ids] * factors[places], out=running[1:])
        hashes[rows] += running[ends] - running[begins]
    for rows in row_slices(len(sequences)):
        hashes[rows] = _finish(hashes[rows], sequences.ends[rows] - sequences.starts[rows])
    return hashes


def contains(hashes: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """(W,) which of `wanted` occur among `hashes`, which must be sorted."""
    if not len(hashes):
        return np.zeros(len(wanted), bool)
    found = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
    return np.asarray(hashes[found] == wanted)
