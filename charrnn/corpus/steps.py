"""Sequences as the steps that a language model reads and is charged for.

A sequence y_1 … y_τ is read as BOS, y_1, …, y_τ: position i has input y_i (BOS for i = 0) and is charged for
(its loss is that of) what follows it, a character or the ending. Under `length`, BOS is read twice: at
position −1 without the count, where τ is announced and charged, and at position 0 with the count. Here the
three ways to end differ only in what is read and charged; the model computes the probabilities.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.config import STOP_NAMES
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.vocabulary import Numbered, Vocabulary

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ABSENT = -1
"""In `remaining`: the model does not receive the number of characters to come."""

PADDING = -1
"""In place of a sequence's index: nothing is read there."""

STOP_INDEX: dict[str, int] = {name: index for index, name in enumerate(STOP_NAMES)}
_LENGTH, NONE = STOP_INDEX["length"], STOP_INDEX["none"]


class Kind(IntEnum):
    """What a step is charged for."""

    NOTHING = 0
    CHARACTER = 1
    """The target, a character, follows (and so the sequence does not end here)."""
    ENDING = 2
    """The sequence ends here."""
    ANNOUNCEMENT = 3
    """The target is τ, drawn from the length distribution."""


def first_positions(stops: IntArray | int) -> IntArray:
    """Where sequences begin, by their stop mechanisms: −1, the announcement of τ, under `length`; else 0."""
    return np.where(np.equal(stops, _LENGTH), -1, 0)


class Steps(NamedTuple):
    """T steps of B rows: integers (T, B), except stops (B,) and context. NumPy arrays, or torch's in training."""

    inputs: IntArray
    """Input ids: characters 0 … V−1, BOS = V, V+1 the zero vector (unknown, or padding)."""
    remaining: IntArray
    """r_t = τ − t, the characters still to come, or ABSENT."""
    targets: IntArray
    """The character (or V+1 if it is unknown) or τ that the step is charged for; 0 if there is none."""
    kinds: IntArray
    stops: IntArray
    """Index into STOP_NAMES of the stop mechanism of each row."""
    context: npt.NDArray[np.floating] | None = None
    """(B, X) the vector that each row is conditioned on, zero in a row of padding; None for plain text."""


class Window(NamedTuple):
    steps: Steps
    fresh: BoolArray
    """(B,) rows that start from the initial state; the others carry the state of the previous window."""
    sequence: IntArray
    """(T, B) index of the sequence that each step belongs to, PADDING where it is not to be charged."""


@dataclass(frozen=True)
class StepReader:
    """Reads steps of sequences through a vocabulary."""

    sequences: Sequences
    vocabulary: Numbered
    table: npt.NDArray[np.int32]
    """(A,) alphabet id of the corpus -> input id of the model."""

    @classmethod
    def of(cls, sequences: Sequences, vocabulary: Vocabulary) -> "StepReader":
        return cls(sequences, vocabulary, vocabulary.table(sequences.alphabet))

    def first_position(self, sequence: int, stop: int) -> int:
        """As `first_positions`, but 0 for a sequence that is cut, whose length is not announced."""
        return 0 if self._is_cut(sequence) else int(first_positions(stop))

    def _is_cut(self, sequence: int) -> bool:
        s = self.sequences
        return (s.open_start and sequence == 0) or (s.open_end and sequence == len(s) - 1)

    def steps(self, sequence: IntArray, position: IntArray, stops: IntArray) -> Steps:
        """The steps at given sequences (PADDING for none) and positions, both (T, B), for stops (B,)."""
        s, v = self.sequences, self.vocabulary
        last = len(s) - 1
        real = sequence != PADDING
        index = np.where(real, sequence, 0)
        start = np.asarray(s.starts)[index]
        tau = np.asarray(s.ends)[index] - start
        stop = np.broadcast_to(stops, sequence.shape)
        open_start = (index == 0) & s.open_start
        open_end = (index == last) & s.open_end

        character = real & (position >= 0) & (position < tau)
        announced = real & (position == -1)
        charged_ending = (stop != _LENGTH) & (stop != NONE)
        ending = real & (position == tau) & charged_ending & ~open_end
        kinds = Kind.CHARACTER * character + Kind.ENDING * ending + Kind.ANNOUNCEMENT * announced

        # A sequence cut at its beginning does not read BOS there, except a stream, which has no endings either.
        beginning = np.where(open_start & (stop != NONE), v.unknown, v.bos)
        inputs = np.where(position > 0, self._characters(start + position - 1, real & (position > 0)), beginning)
        targets = np.where(character, self._characters(start + position, character), announced * tau)
        counted = real & (stop == _LENGTH) & (position >= 0) & ~open_end
        return Steps(
            inputs=np.where(real, inputs, v.unknown),
            remaining=np.where(counted, tau - position, ABSENT),
            targets=targets,
            kinds=kinds.astype(np.int64),
            stops=stops,
            context=self._contexts(sequence),
        )

    def _contexts(self, sequence: IntArray) -> npt.NDArray[np.floating] | None:
        """(B, X) contexts of the sequences in a window; each row of a conditioned text reads one sequence."""
        contexts = self.sequences.contexts
        if contexts is None:
            return None
        rows = sequence.max(axis=0)
        return np.where(rows[:, None] == PADDING, np.float32(0.0), contexts[rows])

    def _characters(self, at: IntArray, valid: BoolArray) -> IntArray:
        """Ids of the characters at offsets of the text; arbitrary where not valid."""
        if not len(self.sequences.text):
            return np.zeros(at.shape, np.int64)
        ids: IntArray = self.table[self.sequences.text[np.where(valid, at, 0)]].astype(np.int64)
        return ids


def cut_beginnings(steps: Steps, inside: BoolArray, reader: StepReader) -> None:
    """Hides the previous character from lanes that start inside a sequence: BOS in a stream, else a zero input."""
    vocabulary = reader.vocabulary
    steps.inputs[0, inside] = np.where(steps.stops == NONE, vocabulary.bos, vocabulary.unknown)[inside]


def map_arrays(function: Callable[[Any], Any], steps: Steps) -> Steps:
    """Applies the function to every array that is not None."""
    return Steps(*(None if array is None else function(array) for array in steps))  # type: ignore[arg-type]
