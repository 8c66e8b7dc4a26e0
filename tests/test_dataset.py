"""A run's text as its configuration asks for it: sequences, regime, parts, vocabulary, and what is said of it."""

import io
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from charrnn.config import TrainConfig
from charrnn.corpus.dataset import Dataset, keep_standard_input, load_dataset
from charrnn.corpus.sequences import Sequences
from charrnn.errors import CorpusError

NAMES = [f"{a}{b}{c}" for a in "klmnpr" for b in "aeiou" for c in ("", "n", "sa", "tte")]
SPEECH = "First Speaker:\nWhat is said here\nis said in two lines.\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def names(tmp_path: Path) -> str:
    return write(tmp_path / "names.txt", "".join(f"{name}\n" for name in NAMES))


@pytest.fixture
def play(tmp_path: Path) -> str:
    return write(tmp_path / "play.txt", "\n".join([SPEECH] * 60))


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def load(root: Path, *corpus: str, **config: Any) -> Dataset:
    return load_dataset(TrainConfig(corpus=corpus, **config), root)


def texts(sequences: Sequences) -> list[str]:
    return [sequences.get(index) for index in range(len(sequences))]


def all_texts(dataset: Dataset) -> list[str]:
    return [text for part in ("train", "valid", "test") for text in texts(dataset.part(part))]


def test_a_list_of_names(root, names):
    dataset = load(root, names)
    assert (dataset.split, dataset.order) == ("line", "independent")
    assert Counter(all_texts(dataset)) == Counter(NAMES)
    sizes = [len(dataset.part(part)) for part in ("train", "valid", "test")]
    assert sizes == [108, 6, 6]
    assert any("sequences are lines" in note and "--split" in note for note in dataset.notes)
    assert any("read as independent" in note and "--order" in note for note in dataset.notes)


def test_a_play(root, play):
    dataset = load(root, play)
    assert (dataset.split, dataset.order) == ("paragraph", "ordered")
    assert all_texts(dataset) == [SPEECH.rstrip("\n")] * 60
    assert any("sequences are paragraphs" in note for note in dataset.notes)
    assert any("read as ordered" in note for note in dataset.notes)


def test_the_seed_divides_independent_sequences_and_no_others(root, names, play):
    def held_out(corpus: str, seed: int) -> list[str]:
        return texts(load(root, corpus, seed=seed).parts.valid)

    assert held_out(names, 1) == held_out(names, 1)
    assert held_out(names, 1) != held_out(names, 2)
    assert held_out(play, 1) == held_out(play, 2)


def test_what_is_asked_for_is_not_explained(root, names):
    dataset = load(root, names, split="line", order="ordered")
    assert (dataset.split, dataset.order) == ("line", "ordered")
    assert all_texts(dataset) == NAMES
    assert not any("--split" in note or "--order" in note for note in dataset.notes)


def test_the_fractions_are_those_of_the_configuration(root, names):
    dataset = load(root, names, valid_fraction=0.25, test_fraction=0.0)
    assert [len(dataset.part(part)) for part in ("train", "valid", "test")] == [90, 30, 0]


def test_the_vocabulary_is_of_the_training_text_alone(root, tmp_path):
    lines = [f"{'ab' * 20}\n"] * 95 + ["zz\n"] * 5
    dataset = load(root, write(tmp_path / "late.txt", "".join(lines)), split="line", order="ordered")
    assert "z" in "".join(texts(dataset.parts.valid) + texts(dataset.parts.test))
    assert dataset.vocabulary.symbols == ("a", "b")


# Streams ---------------------------------------------------------------------------------------------------


def test_without_endings_an_ordered_text_is_one_stream(root, play):
    dataset = load(root, play, stop=("none",))
    assert (dataset.split, dataset.order) == ("file", "ordered")
    assert "".join(all_texts(dataset)) == "\n".join([SPEECH] * 60)
    assert "\n" in dataset.vocabulary.symbols
    (note,) = (note for note in dataset.notes if "--split" in note)
    assert "one stream" in note
    assert any("read as ordered" in note for note in dataset.notes)


def test_without_endings_names_stay_names(root, names):
    dataset = load(root, names, stop=("none",))
    assert (dataset.split, dataset.order) == ("line", "independent")
    assert any("sequences are lines" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("asked", "split", "order"),
    [
        ({"order": "ordered"}, "file", "ordered"),
        ({"order": "independent"}, "line", "independent"),
        ({"split": "line"}, "line", "independent"),
        ({"split": "line", "order": "ordered"}, "line", "ordered"),
    ],
)
def test_a_stream_is_no_more_than_was_asked_for(root, names, asked, split, order):
    dataset = load(root, names, stop=("none",), **asked)
    assert (dataset.split, dataset.order) == (split, order)


def test_what_was_chosen_reads_the_same_again(root, play, names):
    """A run stores what was chosen in place of `auto`."""
    for corpus, stop in ((play, "none"), (play, "eos"), (names, "none"), (names, "eos")):
        first = load(root, corpus, stop=(stop,))
        again = load(root, corpus, stop=(stop,), split=first.split, order=first.order)
        assert all_texts(again) == all_texts(first)
        assert again.corpus.separator == first.corpus.separator


# Validation text as given ----------------------------------------------------------------------------------


def test_validation_text_as_given_takes_nothing_from_the_corpus(root, names, tmp_path):
    valid = write(tmp_path / "valid.txt", "kan\nunheard\nkan\n")
    dataset = load(root, names, valid=valid)
    assert Counter(texts(dataset.parts.train)) == Counter(NAMES)
    assert texts(dataset.parts.valid) == ["kan", "unheard", "kan"]
    assert not len(dataset.parts.test)
    assert any("2 of 3 validation sequences" in note for note in dataset.notes)


def test_no_overlap_is_not_mentioned(root, names, tmp_path):
    dataset = load(root, names, valid=write(tmp_path / "valid.txt", "unheard\n"))
    assert not any("validation sequences" in note for note in dataset.notes)


def test_a_test_split_beside_validation_text_as_given(root, names, tmp_path):
    valid = write(tmp_path / "valid.txt", "unheard\n")
    dataset = load(root, names, valid=valid, test_fraction=0.25)
    assert [len(dataset.part(part)) for part in ("train", "valid", "test")] == [90, 1, 30]


def test_validation_text_is_split_as_the_corpus_is(root, play, tmp_path):
    valid = write(tmp_path / "valid.txt", f"{SPEECH}\n{SPEECH}")
    assert texts(load(root, play, valid=valid).parts.valid) == [SPEECH.rstrip("\n")] * 2
    assert texts(load(root, play, valid=valid, stop=("none",)).parts.valid) == [f"{SPEECH}\n{SPEECH}"]


def test_paths_are_relative_to_a_directory(root, names, tmp_path):
    write(tmp_path / "valid.txt", "unheard\n")
    config = TrainConfig(corpus=("names.txt",), valid="valid.txt")
    dataset = load_dataset(config, root, directory=tmp_path)
    assert Counter(texts(dataset.parts.train)) == Counter(NAMES)
    assert texts(dataset.parts.valid) == ["unheard"]
    with pytest.raises(CorpusError):
        load_dataset(config, root, directory=tmp_path / "elsewhere")
    assert all_texts(load_dataset(TrainConfig(corpus=(names,)), root, directory=tmp_path / "elsewhere"))


# Standard input and what cannot be read --------------------------------------------------------------------


def test_standard_input_is_kept_as_a_file(root, names, monkeypatch):
    data = b"ada\nbob\n"
    kept = []
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        kept.append(keep_standard_input((names, "-"), root))
    assert kept[0] == kept[1]
    first, second = kept[0]
    assert first == names
    assert Path(second).read_bytes() == data
    assert texts(load(root, second, split="line", valid_fraction=0.0, test_fraction=0.0).parts.train) == [
        "ada",
        "bob",
    ]


def test_files_are_not_copied(root, names):
    assert keep_standard_input((names,), root) == (names,)
    assert not root.exists()


@pytest.mark.parametrize(
    ("text", "config", "message"),
    [
        ("", {}, "empty"),
        ("\n\n\n", {"split": "line"}, "no characters"),
        ("ab", {"encoding": "no-such"}, "no-such"),
        ("é", {"encoding": "ascii"}, "ascii"),
    ],
)
def test_a_corpus_without_text_is_an_error(root, tmp_path, text, config, message):
    path = write(tmp_path / "text.txt", text)
    with pytest.raises(CorpusError) as caught:
        load(root, path, **config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(root, names, tmp_path):
    missing = str(tmp_path / "missing.txt")
    for corpus, config in ((missing, {}), (names, {"valid": missing})):
        with pytest.raises(CorpusError, match=r"missing\.txt"):
            load(root, corpus, **config)
