"""The content hash, against its formula in Python integers."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers_corpus import sequences_of, texts
from hypothesis import given
from hypothesis import strategies as st

from charrnn.corpus.hashing import contains, hash_sequences, hash_text, mix
from charrnn.corpus.sequences import Block, Sequences

MASK = 2**64 - 1


def mixed(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def formula(text: str) -> int:
    total = len(text) * 0x8CB92BA72F3D8DD7
    for place, character in enumerate(text):
        total += mixed(ord(character) + 0x9E3779B97F4A7C15) * (mixed(place + 0xD1B54A32D192ED03) | 1)
    return mixed(total & MASK)


@given(st.integers(0, MASK))
def test_mix_is_the_finaliser_of_splitmix64(value: int) -> None:
    assert int(mix(np.array([value], np.uint64))[0]) == mixed(value)


@given(st.text(st.characters(codec=None)))
def test_hash_of_a_string_is_the_formula(text: str) -> None:
    assert hash_text(text) == formula(text)


@given(texts, st.booleans(), st.integers(1, 20))
def test_hash_of_sequences_knows_neither_ids_nor_blocks(strings: list[str], reverse: bool, max_chars: int) -> None:
    class InSmallBlocks(Sequences):
        def blocks(self, max_chars: int = max_chars) -> Iterator[Block]:
            return super().blocks(max_chars)

    found = sequences_of(strings, reverse_alphabet=reverse)
    small = InSmallBlocks(found.text, found.alphabet, found.starts, found.ends)
    expected = [formula(string) for string in strings]
    assert hash_sequences(found).tolist() == expected
    assert hash_sequences(small).tolist() == expected


def test_a_sequence_longer_than_a_block() -> None:
    long = "abcde" * 300_000
    assert hash_sequences(sequences_of(["x", long, ""])).tolist() == [
        hash_text("x"),
        hash_text(long),
        hash_text(""),
    ]


def test_no_collisions_where_weaker_hashes_have_them() -> None:
    short = ["".join(letters) for n in range(12) for letters in product("ab", repeat=n)]
    # Prefixes of the Thue-Morse word and its complement collide under every polynomial modulo 2^64.
    thue_morse = "".join("ab"[bin(i).count("1") % 2] for i in range(2**12))
    complement = thue_morse.translate(str.maketrans("ab", "ba"))
    runs = ["a" * n for n in range(12, 500)]
    hashes = {hash_text(text) for text in [*short, *runs, thue_morse, complement]}
    assert len(hashes) == len(short) + len(runs) + 2


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_contains_equals_membership(held: list[int], wanted: list[int]) -> None:
    found = contains(np.sort(np.array(held, np.uint64)), np.array(wanted, np.uint64))
    assert found.tolist() == [value in held for value in wanted]


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_a_large_result_lies_in_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr("charrnn.corpus.scratch.IN_MEMORY_BYTES", in_memory)
    found = hash_sequences(sequences_of(["a", "", "b"]), tmp_path)
    assert found.tolist() == [hash_text("a"), hash_text(""), hash_text("b")]
    assert list(tmp_path.iterdir()) == []
