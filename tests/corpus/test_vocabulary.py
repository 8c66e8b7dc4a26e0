"""The vocabulary: ids, their inverse, and what it says of characters it lacks."""

import numpy as np
import pytest
from helpers_corpus import sequences_of
from hypothesis import given
from hypothesis import strategies as st

from charrnn.corpus.sequences import to_code_points
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CorpusError

any_text = st.text(st.characters(codec=None))


@given(any_text, any_text)
def test_encode_equals_a_dictionary(known: str, text: str) -> None:
    vocabulary = Vocabulary(tuple(sorted(set(known))))
    ids = {symbol: index for index, symbol in enumerate(vocabulary.symbols)}
    encoded = vocabulary.encode(text + known)
    assert encoded.dtype == np.int32
    assert encoded.tolist() == [ids.get(character, len(ids) + 1) for character in text + known]
    assert vocabulary.decode(vocabulary.encode(known)) == known


def test_special_ids_follow_the_characters() -> None:
    vocabulary = Vocabulary(("a", "b", "c"))
    assert (vocabulary.size, vocabulary.bos, vocabulary.eos, vocabulary.unknown) == (3, 3, 3, 4)


@given(st.lists(st.text(max_size=8), max_size=8), st.booleans())
def test_from_sequences_knows_their_characters_alone(strings: list[str], reverse: bool) -> None:
    sequences = sequences_of(strings, gap="\n\r", reverse_alphabet=reverse)
    vocabulary = Vocabulary.from_sequences(sequences)
    assert vocabulary.symbols == tuple(sorted(set("".join(strings))))
    table = vocabulary.table(sequences.alphabet)
    for index, string in enumerate(strings):
        ids = table[sequences.text[sequences.starts[index] : sequences.ends[index]]]
        assert ids.tolist() == vocabulary.encode(string).tolist()
        assert vocabulary.decode(ids) == string


def test_table_gives_unknown_for_the_rest() -> None:
    assert Vocabulary(("b", "d")).table(to_code_points("abcde")).tolist() == [3, 0, 3, 1, 3]


@pytest.mark.parametrize("symbols", [("b", "a"), ("a", "a"), ("ab",), ("",)])
def test_symbols_must_be_sorted_single_characters(symbols: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        Vocabulary(symbols)


@pytest.mark.parametrize("ids", [[2], [-1], [0, 1, 3]])
def test_decode_refuses_other_ids(ids: list[int]) -> None:
    with pytest.raises(ValueError, match=r"0\.\.1"):
        Vocabulary(("a", "b")).decode(ids)


def test_require_names_what_is_unknown_visibly() -> None:
    vocabulary = Vocabulary(("a", "b"))
    vocabulary.require("abba")
    with pytest.raises(CorpusError) as caught:
        vocabulary.require("a\té\u202e\ud800é")
    message = str(caught.value)
    assert r"'\t' (U+0009), 'é' (U+00E9), '\u202e' (U+202E), '\ud800' (U+D800)" in message
    assert "the 2 characters" in message
    assert "\t" not in message


def test_require_names_only_some_of_many() -> None:
    with pytest.raises(CorpusError, match="and 16 more characters"):
        Vocabulary(("0",)).require("abcdefghijklmnopqrstuvwxyz")


def test_another_form_of_what_is_known_is_said_to_be_that() -> None:
    composed, decomposed = Vocabulary(("e", "é")), Vocabulary(("e", "\u0301"))
    for vocabulary, text, form in ((composed, "e\u0301", "C"), (decomposed, "é", "D")):
        with pytest.raises(CorpusError, match=f"form {form} .*--normalize nfc"):
            vocabulary.require(text)
        assert vocabulary.in_two_forms() is None
    assert Vocabulary(("é",)).other_form("e") is None
    assert composed.other_form("e\u0300") is None
    jamo = Vocabulary(("\u1112", "\u1161", "\u11ab"))
    assert "form D" in (jamo.other_form("한") or "")
    assert "form C" in (Vocabulary(("한",)).other_form("".join(jamo.symbols)) or "")


def test_symbols_in_two_forms_are_named() -> None:
    note = Vocabulary(("e", "é", "\u0301")).in_two_forms()
    assert note is not None
    assert "'é'" in note
    assert "--normalize nfc" in note
