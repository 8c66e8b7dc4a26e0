"""The figures that the benchmark of samples prints, on texts that are counted by hand."""

import random

import pytest
from benchmarks.samples import (
    copied,
    distinct_words,
    enough,
    known_words,
    repeated_grams,
    repeated_lines,
    settings,
    without_cut_word,
    words,
)


def copied_by_hand(text: str, source: str, span: int) -> float:
    covered = set()
    for begin in range(len(text)):
        for end in range(begin + span, len(text) + 1):
            if text[begin:end] in source:
                covered.update(range(begin, end))
    return len(covered) / len(text)


@pytest.mark.parametrize("seed", range(20))
def test_copied_spans_are_those_found_by_trying_each(seed):
    rng = random.Random(seed)
    source, text = ("".join(rng.choices("ab", k=length)) for length in (60, 40))
    assert copied([text], source, span=5) == copied_by_hand(text, source, span=5)


def test_copied_spans_do_not_run_over_the_ends_of_texts():
    assert copied(["abc", "def"], "abcdef", span=4) == 0
    assert copied(["abc", "xabcdy"], "abcdef", span=3) == 7 / 9
    assert copied([], "abc") is None


def test_words_are_letters_with_apostrophes_inside():
    assert words("'Tis the King's, o'er 3rd\nÉtat_x") == ["tis", "the", "king's", "o'er", "rd", "état", "x"]


def test_known_words_are_of_four_letters_or_more():
    assert known_words(["They say THEE I'll", "known knovn"], {"they", "say", "known"}) == 2 / 4


def test_repetition_is_of_what_came_before():
    assert repeated_grams(["a b c d e", "x a b c d", "a b c"]) == 1 / 4
    assert repeated_lines(["KING:\nGo.\n\nKING:", " Go.\n\n"]) == 2 / 4
    assert repeated_grams(["a b"]) is None


def test_distinct_words_count_in_blocks():
    assert distinct_words(["a b a b", "c c"], block=4) == 2
    assert distinct_words(["a b", "A c"]) == 750


def test_a_cut_word_is_left_out():
    assert without_cut_word("to be or no") == "to be or "
    assert without_cut_word("to be.") == "to be."


def test_enough_texts_are_kept_even_of_empty_ones():
    assert enough(["abc", "", "de", "f"], 5) == ["abc", ""]
    assert enough([""] * 9, 3) == [""] * 3


def test_each_filter_is_tried_at_each_temperature():
    found = settings([1.0, 0.5], top_p=[0.95], min_p=[])
    assert list(found) == [
        "temperature 1",
        "temperature 0.5",
        "temperature 1, top-p 0.95",
        "temperature 0.5, top-p 0.95",
    ]
    assert found["temperature 0.5, top-p 0.95"] == {"temperature": 0.5, "top_p": 0.95}
