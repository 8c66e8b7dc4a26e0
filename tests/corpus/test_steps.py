"""What a model reads and is charged for, step by step, against lists written out by hand."""

import numpy as np
from helpers_models import alphabet_of, corpus, reader_of
from hypothesis import given
from hypothesis import strategies as st

from charrnn.corpus.steps import ABSENT, PADDING, STOP_INDEX, Kind, StepReader, Steps
from charrnn.corpus.vocabulary import Vocabulary

VOCABULARY = alphabet_of(3)
A, B, C, BOS, UNKNOWN = range(5)
NOTHING, CHARACTER, ENDING, ANNOUNCEMENT = Kind

Step = tuple[int, int, int, int]
"""Input, remaining, target, kind."""


def read(reader: StepReader, sequence: int, stop: str) -> list[Step]:
    """Every step of one sequence."""
    index = STOP_INDEX[stop]
    tau = int(reader.sequences.ends[sequence] - reader.sequences.starts[sequence])
    position = np.arange(reader.first_position(sequence, index), tau + 1)[:, None]
    steps = reader.steps(np.full_like(position, sequence), position, np.array([index]))
    assert steps.stops.tolist() == [index]
    return column(steps, 0)


def column(steps: Steps, row: int) -> list[Step]:
    columns = (array[:, row].tolist() for array in steps[:4])
    return list(zip(*columns, strict=True))


def test_eos_is_charged_after_the_last_character():
    assert read(reader_of(["ab"], VOCABULARY), 0, "eos") == [
        (BOS, ABSENT, A, CHARACTER),
        (A, ABSENT, B, CHARACTER),
        (B, ABSENT, 0, ENDING),
    ]


def test_halt_is_read_and_charged_as_eos_is():
    reader = reader_of(["ab", ""], VOCABULARY)
    for sequence in range(2):
        assert read(reader, sequence, "halt") == read(reader, sequence, "eos")


def test_length_reads_bos_without_the_count_and_again_with_it():
    assert read(reader_of(["ab"], VOCABULARY), 0, "length") == [
        (BOS, ABSENT, 2, ANNOUNCEMENT),
        (BOS, 2, A, CHARACTER),
        (A, 1, B, CHARACTER),
        (B, 0, 0, NOTHING),
    ]


def test_a_stream_has_no_ending():
    assert read(reader_of(["ab"], VOCABULARY), 0, "none") == [
        (BOS, ABSENT, A, CHARACTER),
        (A, ABSENT, B, CHARACTER),
        (B, ABSENT, 0, NOTHING),
    ]


def test_an_empty_sequence_has_an_ending_alone():
    reader = reader_of([""], VOCABULARY)
    assert read(reader, 0, "eos") == [(BOS, ABSENT, 0, ENDING)]
    assert read(reader, 0, "halt") == [(BOS, ABSENT, 0, ENDING)]
    assert read(reader, 0, "length") == [(BOS, ABSENT, 0, ANNOUNCEMENT), (BOS, 0, 0, NOTHING)]
    assert read(reader, 0, "none") == [(BOS, ABSENT, 0, NOTHING)]


def test_a_text_without_any_character():
    sequences = corpus([""])
    empty = StepReader.of(
        type(sequences)(sequences.text[:0], sequences.alphabet[:0], sequences.starts, sequences.ends), VOCABULARY
    )
    assert read(empty, 0, "eos") == [(BOS, ABSENT, 0, ENDING)]


def test_characters_outside_the_vocabulary_are_unknown():
    """As an input the zero vector, as a target a number that no logit has."""
    assert read(reader_of(["axb"], VOCABULARY), 0, "eos") == [
        (BOS, ABSENT, A, CHARACTER),
        (A, ABSENT, UNKNOWN, CHARACTER),
        (UNKNOWN, ABSENT, B, CHARACTER),
        (B, ABSENT, 0, ENDING),
    ]


def test_the_vocabulary_numbers_the_symbols_whatever_the_corpus_has():
    assert [step[2] for step in read(reader_of(["cabba"], Vocabulary(("a", "b", "c"))), 0, "none")][:5] == [
        2,
        0,
        1,
        1,
        0,
    ]
    assert [step[2] for step in read(reader_of(["cabba"], Vocabulary(("b", "c"))), 0, "none")][:5] == [
        1,
        3,
        0,
        0,
        3,
    ]


def test_a_cut_end_charges_no_ending_and_announces_no_length():
    reader = reader_of(["c", "ab"], VOCABULARY, open_end=True)
    for stop in ("eos", "halt", "length", "none"):
        assert read(reader, 1, stop) == [
            (BOS, ABSENT, A, CHARACTER),
            (A, ABSENT, B, CHARACTER),
            (B, ABSENT, 0, NOTHING),
        ]
        assert read(reader, 0, stop) == read(reader_of(["c"], VOCABULARY), 0, stop)


def test_a_cut_beginning_reads_no_bos_but_ends():
    reader = reader_of(["ab", "c"], VOCABULARY, open_start=True)
    assert read(reader, 0, "eos") == [
        (UNKNOWN, ABSENT, A, CHARACTER),
        (A, ABSENT, B, CHARACTER),
        (B, ABSENT, 0, ENDING),
    ]
    assert read(reader, 0, "length") == [
        (UNKNOWN, 2, A, CHARACTER),
        (A, 1, B, CHARACTER),
        (B, 0, 0, NOTHING),
    ]
    for stop in ("eos", "halt", "length"):
        assert read(reader, 1, stop) == read(reader_of(["c"], VOCABULARY), 0, stop)


def test_a_cut_stream_begins_as_every_stream_does():
    reader = reader_of(["ab"], VOCABULARY, open_start=True)
    assert read(reader, 0, "none") == read(reader_of(["ab"], VOCABULARY), 0, "none")


def test_padding_is_charged_for_nothing():
    reader = reader_of(["ab", "c"], VOCABULARY)
    sequence = np.array([[0, 1], [0, PADDING], [PADDING, PADDING]])
    position = np.array([[0, 0], [1, 1], [2, -1]])
    steps = reader.steps(sequence, position, np.array([STOP_INDEX["eos"], STOP_INDEX["length"]]))
    nothing = (UNKNOWN, ABSENT, 0, NOTHING)
    assert column(steps, 0) == [(BOS, ABSENT, A, CHARACTER), (A, ABSENT, B, CHARACTER), nothing]
    assert column(steps, 1) == [(BOS, 1, C, CHARACTER), nothing, nothing]


@given(
    texts=st.lists(st.text("abcx", max_size=5), min_size=1, max_size=5),
    stops=st.lists(st.sampled_from(["eos", "halt", "length", "none"]), min_size=5, max_size=5),
)
def test_rows_of_a_batch_are_read_as_they_are_alone(texts, stops):
    """Any sequences side by side, each by a mechanism of its own, in any place of their windows."""
    reader = reader_of(texts, VOCABULARY)
    stops = stops[: len(texts)]
    indices = np.array([STOP_INDEX[stop] for stop in stops])
    first = np.array([reader.first_position(row, index) for row, index in enumerate(indices)])
    taus = np.array([len(text) for text in texts])
    position = first + np.arange(7)[:, None]
    rows = np.arange(len(texts))
    steps = reader.steps(np.where(position <= taus, rows, PADDING), position, indices)
    for row, stop in enumerate(stops):
        alone = read(reader, row, stop)
        assert column(steps, row) == alone + [(UNKNOWN, ABSENT, 0, NOTHING)] * (7 - len(alone))
        charged = [step[2] for step in alone if step[3] == CHARACTER]
        assert charged == VOCABULARY.encode(texts[row]).tolist()
        assert [step[3] for step in alone].count(ENDING) == (stop in ("eos", "halt"))
        assert [step[3] for step in alone].count(ANNOUNCEMENT) == (stop == "length")
